"""Case 4: the server killed, or met by an error, at each call of a push that changes the disk.

Whatever it acknowledged is there afterwards with the right bytes; whatever it did not is absent or
whole; a push again works. `make test` takes some of the points, `make soak` each of them.
"""

import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from jettison.demo.images import Image, image, layer, random_bytes
from jettison.model.digest import Digest
from tests.support import one_thread
from tests.support.cli import Jettison
from tests.support.disk import small_disk
from tests.support.missing import need
from tests.support.registry import DockerRegistry, JettisonRegistry, Response

CALLS = ("fsync", "renameat", "write", "writev", "mkdirat")
STEPS = ("start", "patch", "finish", "whole", "manifest")
"""The requests of a push, in order: a layer in three, a config in one, the manifest by tag."""
PIECE = 1_200_000
"""Bytes of the layer: more than the server writes at once."""

NUMBERS = itertools.count()


class OneThread(JettisonRegistry):
    command: ClassVar[tuple[str, ...]] = (sys.executable, one_thread.__file__)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def disk_thread(self) -> int:
        """The thread that works on the disk, begun by a request if it is not there yet."""
        started = self.request("POST", "/v2/first/blobs/uploads/")
        assert started.status == 202
        return int((self.base / one_thread.FILE).read_text(encoding="ascii"))


@dataclass
class Push:
    """A push of one image with nothing in common with others; what was answered to each step."""

    registry: DockerRegistry
    repo: str
    made: Image
    answers: dict[str, Response | None] = field(default_factory=dict)
    """None: the connection ended."""

    @classmethod
    def of(cls, registry: DockerRegistry) -> "Push":
        number = next(NUMBERS)
        big = layer({"big": random_bytes(f"crash {number}", PIECE)})
        return cls(registry, f"app{number}", image([big], labels={"number": str(number)}))

    def request(
        self, step: str, method: str, path: str, body: bytes = b"", kind: str = ""
    ) -> Response | None:
        headers = {"Content-Type": kind or "application/octet-stream"}
        answer = None
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = self.registry.request(method, path, headers, body)
        self.answers[step] = answer
        return answer

    def run(self) -> None:
        """Push until a step is not acknowledged."""
        uploads = f"/v2/{self.repo}/blobs/uploads/"
        big, config, manifest = self.made.layers[0], self.made.config, self.made.manifest
        answer = self.request("start", "POST", uploads)
        if answer is None or answer.status != 202:
            return
        upload = urlsplit(answer.headers["Location"]).path
        answer = self.request("patch", "PATCH", upload, big.raw)
        if answer is None or answer.status != 202:
            return
        for step, method, path, body in (
            ("finish", "PUT", f"{upload}?digest={big.digest}", b""),
            ("whole", "POST", f"{uploads}?digest={config.digest}", config.raw),
            ("manifest", "PUT", f"/v2/{self.repo}/manifests/1", manifest.raw),
        ):
            answer = self.request(step, method, path, body, manifest.media_type)
            if answer is None or answer.status != 201:
                return

    def acknowledged(self, step: str) -> bool:
        answer = self.answers.get(step)
        return answer is not None and answer.status == 201

    def wrong(self) -> Iterator[str]:
        """Yield what is not as it was acknowledged, or is there and not whole."""
        for step, blob in (("finish", self.made.layers[0]), ("whole", self.made.config)):
            found = self.registry.request("GET", f"/v2/{self.repo}/blobs/{blob.digest}")
            yield from self._judge(step, found, blob.raw)
        for ref in ("1", self.made.digest):
            yield from self._judge(
                "manifest", self.registry.manifest(self.repo, ref), self.made.manifest.raw
            )
        tags = self.registry.tags(self.repo)
        if tags and self.registry.manifest(self.repo, "1").status != 200:
            yield f"the tags {tags} lead nowhere"
        if tags and not all(
            self.registry.request("GET", f"/v2/{self.repo}/blobs/{blob.digest}").body == blob.raw
            for blob in self.made.blobs()
        ):
            yield "the tag's image is not whole"

    def _judge(self, step: str, found: Response, raw: bytes) -> Iterator[str]:
        if found.status == 200 and Digest.of(found.body) != Digest.of(raw):
            yield f"{step}: other bytes"
        elif found.status not in {200, 404}:
            yield f"{step}: {found.status} {found.body!r}"
        elif found.status == 404 and self.acknowledged(step):
            yield f"{step} was acknowledged, and is gone"


@dataclass(frozen=True)
class Tracer:
    """strace on the thread that works on the disk of a running server."""

    registry: OneThread

    @contextlib.contextmanager
    def attached(self, *options: str) -> Iterator[Path]:
        """Trace meanwhile; yield where the trace is."""
        log = self.registry.base / "strace.log"
        log.unlink(missing_ok=True)
        thread = self.registry.disk_thread
        command = ["strace", "-q", "-y", "-o", str(log), *options, "-p", str(thread)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            deadline = time.monotonic() + 20
            status = Path(f"/proc/{thread}/status")
            while f"TracerPid:\t{process.pid}\n" not in status.read_text(encoding="utf-8"):
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < deadline
                time.sleep(0.005)
            time.sleep(0.05)
            yield log
        finally:
            process.terminate()
            process.communicate(timeout=20)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OneThread]:
    need("strace")
    registry = OneThread(tmp_path / "registry", delete=True)
    for number in range(256):
        # Else a push makes a few folders fewer, the more of them are there already.
        (registry.tree / "blobs" / "sha256" / f"{number:02x}").mkdir(parents=True)
    with registry:
        yield registry


def points(server: OneThread, call: str, most: int | None) -> list[int]:
    """Return which uses of a call a push makes for the tree, or so many of them, evenly.

    The last is among them. The thread has other uses of `write`: it wakes up the event loop.
    """
    tries: list[list[int]] = []
    for _ in range(4):
        push = Push.of(server)
        with Tracer(server).attached("-e", f"trace={call}") as log:
            push.run()
        assert [push.acknowledged(step) for step in STEPS[2:]] == [True] * 3
        lines = log.read_text(encoding="utf-8").splitlines()
        calls = [line for line in lines if line.startswith(f"{call}(")]
        tries.append([n for n, line in enumerate(calls, 1) if str(server.root) in line])
    # The first makes some folders for all others. How many pieces a body comes in is a matter of
    # time; what every push has can be waited for.
    found = min(tries[1:], key=len)
    assert len(found) >= (1 if call == "writev" else 5), lines
    if most is None or most >= len(found):
        return found
    last = len(found) - 1
    return [found[last - round(at * last / most)] for at in range(most)]


def finish(server: OneThread, jettison: Jettison, push: Push) -> Iterator[str]:
    """Yield what is wrong after a crash or an error, and after a push again."""
    yield from push.wrong()
    report = jettison("fsck", server.storage, "--grace", "0s", "-o", "json", check=None).json
    if report["damage"] or not report["classes"].keys() <= {"leftover"}:
        yield f"fsck: {report['flaws']}"
    again = Push(server, push.repo, push.made)
    again.run()
    if not again.acknowledged("manifest"):
        yield f"a push again is refused: {again.answers}"
    yield from (f"after a push again, {line}" for line in again.wrong())


def killed(server: OneThread, jettison: Jettison, call: str, most: int | None) -> None:
    found: dict[str, list[str]] = {}
    for number in points(server, call, most):
        push = cut_short(server, call, number)
        server.stop()
        server.start()
        wrong = list(finish(server, jettison, push))
        if wrong:
            found[f"{call} {number}"] = wrong
    assert not found, json.dumps(found, indent=1)


def cut_short(server: OneThread, call: str, number: int) -> Push:
    """Push until the server is killed at a call."""
    for _ in range(6):
        push = Push.of(server)
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        with Tracer(server).attached("-e", f"trace={call}", "-e", inject):
            push.run()
        if None in push.answers.values():
            return push
        # The event loop was woken up less often this time.
    pytest.fail(f"{call} {number} never happens")


@pytest.mark.parametrize("call", ["fsync", "renameat"])
def test_killed_at_some_calls(server: OneThread, jettison: Jettison, call: str) -> None:
    killed(server, jettison, call, 3)


@pytest.mark.soak
@pytest.mark.parametrize("call", CALLS)
def test_killed_at_every_call(server: OneThread, jettison: Jettison, call: str) -> None:
    killed(server, jettison, call, None)


def failed(server: OneThread, jettison: Jettison, call: str, error: str, most: int | None) -> None:
    found: dict[str, list[str]] = {}
    for number in points(server, call, most):
        push = disturbed(server, call, number, error)
        wrong = list(judged(server, push, error))
        wrong += finish(server, jettison, push)
        if wrong:
            found[f"{call} {number} {error}"] = wrong
    assert server.running
    assert not found, json.dumps(found, indent=1)
    assert "Traceback" not in server.log.read_text(encoding="utf-8")


def disturbed(server: OneThread, call: str, number: int, error: str) -> Push:
    """Push, and meet an error at a call for the tree."""
    for more in (0, 0, 1, -1, 2, -2, 3, -3) * 4:
        push = Push.of(server)
        inject = f"inject={call}:error={error}:when={max(1, number + more)}"
        with Tracer(server).attached("-e", f"trace={call}", "-e", inject) as log:
            push.run()
        hit = [line for line in log.read_text(encoding="utf-8").splitlines() if "INJECTED" in line]
        if hit and str(server.root) in hit[0]:
            return push
        # It was the event loop that was to be woken up, and that cannot live with it. How often
        # that happens is chance, so the next may be one for the tree.
        server.restart()
    pytest.fail(f"{call} {number} is never one for the tree")


def judged(server: OneThread, push: Push, error: str) -> Iterator[str]:
    """Yield what is wrong about the answers to a push that met an error."""
    status = 507 if error == "ENOSPC" else 500
    for step, answer in push.answers.items():
        if answer is None:
            yield f"{step}: no answer"
        elif answer.status >= 400:
            if answer.status != status:
                yield f"{step}: {answer.status} {answer.body!r}"
            [told] = answer.json["errors"]
            if re.search("Errno|Traceback|/", told["message"]):
                yield f"{step}: {told}"
    refused = "manifest" not in push.answers
    if error == "ENOSPC" and refused and (left := uploads(server, push.repo)):
        yield f"left over: {left}"


def uploads(server: DockerRegistry, repo: str) -> list[str]:
    """Return what lies in the repository's folder of uploads."""
    folder = server.tree / "repositories" / repo / "_uploads"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_errors_at_some_calls(server: OneThread, jettison: Jettison, error: str) -> None:
    for call in ("fsync", "renameat", "write", "writev"):
        failed(server, jettison, call, error, 2)


@pytest.mark.soak
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EACCES", "EROFS"])
def test_an_error_at_every_call(
    server: OneThread, jettison: Jettison, call: str, error: str
) -> None:
    failed(server, jettison, call, error, None)


# A disk that is full.


@pytest.fixture
def small(tmp_path: Path) -> Iterator[DockerRegistry]:
    """A server on a disk of 20 MB."""
    disk = tmp_path / "disk"
    with small_disk(disk, "20m"), JettisonRegistry(disk / "registry", delete=True) as registry:
        yield registry


@pytest.mark.parametrize("way", ["patch", "put", "post", "chunked"])
def test_a_disk_that_gets_full_in_an_upload(small: DockerRegistry, way: str) -> None:
    kept = image([layer({"kept": random_bytes("kept", 6_000_000)})])
    small.push("app", "kept", kept)
    before = os.statvfs(small.base).f_bavail
    raw = random_bytes("too much", 30_000_000)
    answer = sent(small, way, raw)
    assert answer.status == 507, answer
    [told] = answer.json["errors"]
    assert told["code"] == "UNAVAILABLE"
    assert "disk is full" in told["message"]
    assert uploads(small, "app") == []
    assert os.statvfs(small.base).f_bavail > before - 100  # pages, for the log and some folders
    assert small.running
    assert small.pull_skopeo("app", "kept").manifest == kept.manifest.raw
    # Something that fits, at once; and what did not, when there is room.
    fitting = image([layer({"small": random_bytes("small", 2_000_000)})])
    small.push("app", "small", fitting)
    subprocess.run(["mount", "-o", "remount,size=80m", str(small.base.parent)], check=True)
    assert sent(small, way, raw).status in {201, 202}
    small.push("app", "big", image([layer({"big": raw})]))
    assert small.tags("app") == ["big", "kept", "small"]


def sent(registry: DockerRegistry, way: str, raw: bytes) -> Response:
    """Upload a blob in one of the ways that there are; return the answer to its bytes."""
    path = "/v2/app/blobs/uploads/"
    digest = Digest.of(raw)
    if way == "post":
        return registry.request("POST", f"{path}?digest={digest}", body=raw)
    started = registry.request("POST", path)
    assert started.status == 202
    path = urlsplit(started.headers["Location"]).path
    if way == "put":
        return registry.request("PUT", f"{path}?digest={digest}", body=raw)
    if way == "patch":
        return registry.request("PATCH", path, body=raw)
    first = 0
    while first < len(raw):
        piece = raw[first : first + 3_000_000]
        headers = {"Content-Range": f"{first}-{first + len(piece) - 1}"}
        answer = registry.request("PATCH", path, headers, piece)
        if answer.status != 202:
            return answer
        first += len(piece)
    return registry.request("PUT", f"{path}?digest={digest}")


def test_a_full_disk_refuses_every_write_and_takes_deletions(small: DockerRegistry) -> None:
    made = image([layer({"app": random_bytes("app", 1_000_000)})])
    other = image([layer({"app": random_bytes("app", 1_000_000)})], labels={"other": "1"})
    small.push("app", "1", made)
    small.push("app", None, other)
    rest = small.base / "rest"
    with rest.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    content = {"Content-Type": other.manifest.media_type}
    for answer in (
        small.request("POST", "/v2/new/blobs/uploads/"),
        small.request("POST", "/v2/app/blobs/uploads/"),
        small.request("PUT", "/v2/app/manifests/new", content, other.manifest.raw),
        small.request("PUT", "/v2/app/manifests/1", content, other.manifest.raw),
    ):
        assert answer.status == 507, answer
        assert answer.json["errors"]
    assert small.tags("app") == ["1"]
    assert small.manifest("app", "1").body == made.manifest.raw
    assert uploads(small, "app") == uploads(small, "new") == []
    assert small.delete("app", other.digest) == 202
    assert small.request("DELETE", "/v2/app/manifests/1").status == 202
    rest.unlink()
    small.push("app", "1", made)
    assert small.pull_skopeo("app", "1").manifest == made.manifest.raw


# An upload that goes on.


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_an_upload_survives_a_restart(server: OneThread, end: str) -> None:
    raw = random_bytes("upload", 5_000_000)
    started = server.request("POST", "/v2/app/blobs/uploads/")
    path = urlsplit(started.headers["Location"]).path
    first, second = raw[:2_000_000], raw[2_000_000:4_500_000]
    answer = server.request("PATCH", path, body=first)
    for expected, piece in ((first, second), (first + second, b"")):
        assert answer.headers["Range"] == f"0-{len(expected) - 1}"
        if end == "kill":
            os.kill(server.pid, signal.SIGKILL)
        server.restart()
        status = server.request("GET", path)
        assert (status.status, status.headers["Range"]) == (204, f"0-{len(expected) - 1}")
        if piece:
            wrong = {"Content-Range": f"0-{len(piece) - 1}"}
            assert server.request("PATCH", path, wrong, piece).status == 416
            right = {"Content-Range": f"{len(expected)}-{len(expected) + len(piece) - 1}"}
            answer = server.request("PATCH", path, right, piece)
            assert answer.status == 202
    done = server.request("PUT", f"{path}?digest={Digest.of(raw)}", body=raw[4_500_000:])
    assert done.status == 201
    assert server.request("GET", f"/v2/app/blobs/{Digest.of(raw)}").body == raw
    assert uploads(server, "app") == []


def test_an_upload_goes_on_in_another_worker(tmp_path: Path) -> None:
    """Whichever worker it was begun in is killed, and others take over."""
    raw = random_bytes("workers", 900_000)
    extra = {"jettison": {"workers": 3}}
    with JettisonRegistry(tmp_path / "registry", delete=True, extra=extra) as server:
        started = server.request("POST", "/v2/app/blobs/uploads/")
        path = urlsplit(started.headers["Location"]).path
        for first in range(0, len(raw), 100_000):
            if first == 400_000:
                for worker in children(vars(server)["_process"].pid):
                    os.kill(worker, signal.SIGKILL)
            headers = {"Content-Range": f"{first}-{first + 99_999}"}
            answer = patiently(server, "PATCH", path, headers, raw[first : first + 100_000])
            assert answer.status == 202
        assert server.request("PUT", f"{path}?digest={Digest.of(raw)}").status == 201
        assert server.request("GET", f"/v2/app/blobs/{Digest.of(raw)}").body == raw
        assert server.running
        assert len(children(vars(server)["_process"].pid)) == 3


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(word) for word in listed.split()]


def patiently(
    server: DockerRegistry, method: str, path: str, headers: dict[str, str], body: bytes
) -> Response:
    """Send a request; again if a worker that was just killed had taken the connection."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return server.request(method, path, headers, body)
        except (OSError, http.client.HTTPException):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
