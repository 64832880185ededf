"""`listen` beside Distribution: real notifications, and what a prune makes of them."""

import contextlib
import http.client
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jettison.demo import images
from jettison.model.mediatypes import ACCEPT
from jettison.model.retention.pulls import KnownPulls, PullBook
from jettison.storage.pulls import book_at
from tests.support.cli import Jettison
from tests.support.missing import need
from tests.support.registry import DockerRegistry, free_port

if TYPE_CHECKING:
    import subprocess

DAY = 86_400.0
SECRET = "a secret of this test"
GET = {"Accept": ACCEPT, "User-Agent": "containerd/1"}

pytestmark = pytest.mark.distribution


class Listening:
    """A listener that can be stopped, killed and begun again at one address."""

    def __init__(self, jettison: Jettison, folder: Path) -> None:
        self.jettison = jettison
        self.addr = f"127.0.0.1:{free_port()}"
        self.book = folder / "pulls.json"
        self.secret = folder / "secret"
        self.secret.write_text(f"{SECRET}\n", encoding="utf-8")
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        options = ("--addr", self.addr, "--book", self.book, "--secret-file", self.secret)
        self.process = self.jettison.start("listen", *options)
        host, port = self.addr.split(":")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection((host, int(port)), 1):
                return
            time.sleep(0.05)
        raise RuntimeError("the listener does not listen")

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.communicate(timeout=60)

    def known(self, later: float = 0.0) -> KnownPulls:
        found = book_at(self.book).read(time.time() + later)
        assert found is not None
        return found

    def wait_for(self, tag: str) -> None:
        """Wait until a pull is in the book, or what the listener has heard so far."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            pulls = self.known().repositories.get("team/app")
            if pulls is not None and tag in pulls.tags:
                return
            time.sleep(0.2)
        raise RuntimeError(f"{tag} is not in the book")


@pytest.fixture
def listener(jettison: Jettison, tmp_path: Path) -> Iterator[Listening]:
    found = Listening(jettison, tmp_path)
    found.start()
    yield found
    if found.process is not None and found.process.poll() is None:
        found.end()


@contextmanager
def registry(listener: Listening, folder: Path) -> Iterator[DockerRegistry]:
    """docker-registry, with the settings of docs/operations.md."""
    endpoint = {
        "name": "jettison",
        "url": f"http://{listener.addr}/",
        "headers": {"Authorization": [f"Bearer {SECRET}"]},
        "timeout": "5s",
        "threshold": 3,
        "backoff": "200ms",
    }
    extra = {"notifications": {"endpoints": [endpoint]}}
    with DockerRegistry(folder / "registry", delete=True, extra=extra) as running:
        yield running


def image(seed: int) -> images.Image:
    created = (datetime.now(UTC) - timedelta(days=60, hours=seed)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return images.image([images.layer({"own": images.random_bytes(seed, 300)})], created=created)


def test_pulls_of_skopeo_are_known_and_the_rest_goes(
    listener: Listening, jettison: Jettison, tmp_path: Path
) -> None:
    need("skopeo")
    policy = tmp_path / "policy.yml"
    policy.write_text(
        'max_removal: 90%\nrules: [{tags: ["*"], clock: created, '
        "remove: {not_pulled_within: 30d}}]\n",
        encoding="utf-8",
    )
    with registry(listener, tmp_path) as docker:
        index = images.index([image(3), image(4)])
        builds = [image(number) for number in range(3)]
        for number, build in enumerate(builds):
            docker.push("team/app", f"b{number}", build)
        docker.push("team/app", "multi", index)
        docker.request("HEAD", "/v2/team/app/manifests/b0", GET)
        docker.request("GET", f"/v2/team/app/manifests/{index.members[0].digest}", GET)
        docker.pull_skopeo("team/app", "b1")
        listener.wait_for("b1")
        pulls = listener.known().repositories["team/app"]
        assert set(pulls.tags) == {"b1"}
        assert {builds[1].digest, index.members[0].digest} == set(pulls.digests)
        assert {builds[0].digest, index.digest} <= set(pulls.pushed)
        options = (docker.host, "--policy", policy, "--pulls", listener.book, "--yes")
        said = jettison("prune", *options)
        assert "Nothing is to be removed" in said.stderr  # watched for seconds
        assert len(docker.tags("team/app")) == 4

        def long_ago(book: PullBook) -> None:
            book.since = time.time() - 31 * DAY

        book_at(listener.book).change(long_ago)
        jettison("prune", *options)
        assert docker.tags("team/app") == ["b1", "multi"]


def test_events_of_a_pause_arrive_later_and_those_of_a_killed_listener_do_not(
    listener: Listening, tmp_path: Path
) -> None:
    with registry(listener, tmp_path) as docker:
        for number in range(3):
            docker.push("team/app", f"b{number}", image(number))
        docker.request("GET", "/v2/team/app/manifests/b0", GET)
        listener.wait_for("b0")
        began = listener.known().watching_since
        assert began is not None
        listener.end()
        assert listener.known().watching_since is None
        docker.request("GET", "/v2/team/app/manifests/b1", GET)
        listener.start()
        listener.wait_for("b1")
        assert listener.known().watching_since == began
        # A registry that begins anew may have had more to tell.
        docker.restart()
        docker.request("GET", "/v2/team/app/manifests/b2", GET)
        listener.wait_for("b2")
        again = listener.known().watching_since
        assert again is not None
        assert again > began
        listener.end(signal.SIGKILL)
        assert listener.known(400).watching_since is None


def test_sender_without_the_secret_is_refused(listener: Listening) -> None:
    with contextlib.closing(http.client.HTTPConnection(listener.addr, timeout=10)) as connection:
        connection.request("POST", "/", b"{}")
        assert connection.getresponse().status == 401


def test_address_that_others_reach_needs_a_secret(jettison: Jettison) -> None:
    said = jettison("listen", "--addr", ":5010", check=2)
    assert "--secret-file" in said.stderr
