"""`jettison serve` prunes by its schedule: two servers, signals, undo, pulls."""

import json
import os
import re
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from jettison.demo import images
from jettison.model.mediatypes import ACCEPT
from jettison.model.retention.pulls import PullBook
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.pulls import book_of
from tests.support import later
from tests.support.cli import Jettison
from tests.support.registry import JettisonRegistry, free_port

T = TypeVar("T")

NOW = datetime.now(UTC)
MINUTE = 60.0
DAY = 86_400.0
AHEAD = 5.0
"""Longer than a server takes to start."""
SECONDS = 90.0
POLICY = """
max_removal: 99%
rules:
- {tags: ["b*"], clock: created, keep: {last: 2}, remove: rest}
"""


def image(seed: int, days: float) -> images.Image:
    created = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return images.image([images.layer({"own": images.random_bytes(seed, 300)})], created=created)


def until(condition: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return found


class Server(JettisonRegistry):
    """A server with a schedule, whose clock is ahead: its next minute begins in a few seconds."""

    command: ClassVar[tuple[str, ...]] = (sys.executable, later.__file__)
    ahead = True

    def _arguments(self) -> list[str]:
        ahead = MINUTE - (time.time() + AHEAD) % MINUTE if self.ahead else 0.0
        return [str(ahead), *super()._arguments()]

    def schedule(self, policy: Path, **ours: Any) -> None:
        """Let it prune each minute, and restart it."""
        retention = {"policy": str(policy), "schedule": "* * * * *", "undo_window": "48h"}
        self.debug = f"127.0.0.1:{free_port()}"
        http = {"debug": {"addr": self.debug, "prometheus": {"enabled": True}}}
        self.reconfigure(extra={"jettison": {"retention": retention, **ours}, "http": http})

    def wait_for(self, said: str) -> str:
        """Wait until its log says something, and return all that it has said."""
        return until(lambda: self.said if said in self.said else None)

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"http://{self.debug}/metrics") as answer:
            text = answer.read().decode()
        found = re.search(rf"^jettison_retention_{re.escape(name)} (\S+)$", text, re.MULTILINE)
        assert found is not None
        return float(found[1])

    @property
    def last(self) -> Any:
        """What the storage knows of the last run."""
        path = self.root / "jettison" / "retention" / "last.json"
        return json.loads(path.read_bytes()) if path.exists() else None

    def kill(self) -> None:
        """End it as `kill -9` does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def forget_time(self) -> None:
        """Let the same time come again: clocks that are ahead may well show it twice."""
        (self.root / "jettison" / "retention" / "last.json").unlink()

    def journal(self, ending: str = ".json") -> list[Path]:
        return sorted((self.root / "jettison" / "runs").glob(f"*{ending}"))

    def pruning(self) -> int | None:
        """The process that prunes its storage, if there is one."""
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if b"jettison.server.prune_process" in words and os.fsencode(self.root) in words:
                    return int(folder.name)
        return None


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yml"
    path.write_text(POLICY, encoding="utf-8")
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with six builds, one a day, and no schedule yet."""
    with Server(tmp_path / "registry", delete=True) as found:
        for number in range(1, 7):
            found.push("team/app", f"b{number}", image(number, 7 - number))
        yield found


def test_it_prunes_by_itself_and_the_run_can_be_undone(
    server: Server, policy: Path, jettison: Jettison
) -> None:
    server.schedule(policy, immutable=["b1"])
    told = server.wait_for("removed 3 tags and 3 manifests")
    assert "the policy" in told
    assert server.tags("team/app") == ["b1", "b5", "b6"]
    assert server.metric("last_run_removed_tags") == 3
    assert server.metric('last_run_result{result="done"}') == 1
    assert server.metric("last_success_timestamp_seconds") == server.last["ended"]
    assert server.metric("next_run_timestamp_seconds") > server.last["due"]
    undo = re.search(r"jettison (undo \S+ --storage \S+);", told)
    assert undo is not None
    server.stop()  # or it would prune again
    jettison(*undo[1].split(), "--yes")
    with server:
        assert len(server.tags("team/app")) == 6


def test_two_servers_on_one_storage_prune_once(
    server: Server, policy: Path, tmp_path: Path
) -> None:
    with Server(tmp_path / "second", delete=True) as second:
        second.root = server.root
        second.schedule(policy, workers=2)
        server.schedule(policy, workers=2)
        until(lambda: "another process prunes" in server.said + second.said)
        until(lambda: "removed 4 tags" in server.said + second.said)
        assert len(server.journal()) == 1
        assert second.tags("team/app") == ["b5", "b6"]


def test_policy_that_breaks_while_it_runs_removes_nothing(server: Server, policy: Path) -> None:
    server.schedule(policy)
    policy.write_text("rules: [{tags: ['b*'], keep: {last: two}, remove: rest}]")
    told = server.wait_for("failed by")
    assert "level=error" in told
    assert "line 1: rules[0].keep.last" in told
    assert server.metric('last_run_result{result="failed"}') == 1
    assert len(server.tags("team/app")) == 6
    assert server.journal() == []
    policy.write_text(POLICY)
    server.forget_time()
    server.restart()
    server.wait_for("removed 4 tags")


def many(server: Server) -> None:
    """Push so many builds that a run takes a moment; each has a step of its own."""
    for number in range(10, 100):
        server.push("team/app", f"b{number}", image(number, 400 - number))


def test_run_goes_on_if_the_server_is_killed(server: Server, policy: Path) -> None:
    many(server)
    server.schedule(policy)
    child = until(server.pruning)
    until(lambda: server.journal(".steps"))
    os.kill(child, signal.SIGSTOP)
    server.kill()
    assert not server.last
    os.kill(child, signal.SIGCONT)
    until(lambda: server.last)
    assert server.last["result"] == "done"
    assert server.last["tags"] == 94
    server.start()
    assert server.tags("team/app") == ["b5", "b6"]
    server.wait_for("runs next at")


def test_run_that_is_killed_is_finished_by_the_next(server: Server, policy: Path) -> None:
    many(server)
    server.schedule(policy)
    child = until(server.pruning)
    until(lambda: server.journal(".steps"))
    os.kill(child, signal.SIGKILL)
    assert "The next run goes on where it stopped." in server.wait_for("was killed by Killed")
    until(lambda: server.last)
    assert server.last["result"] == "failed"
    server.stop()
    server.forget_time()
    server.start()
    told = server.wait_for("done by")
    assert server.tags("team/app") == ["b5", "b6"]
    [run] = server.journal()
    assert f"run {run.stem} removed 94 tags" in told


def test_server_that_is_stopped_ends_the_run_in_time(server: Server, policy: Path) -> None:
    many(server)
    server.schedule(policy)
    until(lambda: server.journal(".steps"))
    server.stop()
    assert server.pruning() is None
    left = server.last
    assert left["result"] in {"interrupted", "done"}
    if left["result"] == "interrupted":
        server.wait_for("the run was interrupted; the next one finishes it")
    server.forget_time()
    with server:
        until(lambda: server.last)
        assert server.last["result"] == "done"
        assert server.tags("team/app") == ["b5", "b6"]
    assert len(server.journal()) == 1


@pytest.mark.soak
def test_by_the_real_clock_what_was_pulled_stays(server: Server, policy: Path) -> None:
    server.ahead = False
    policy.write_text(POLICY.replace("last: 2", "last: 2, pulled_within: 1d"))
    server.schedule(policy, pulls={"across_restarts": True})
    get = {"Accept": ACCEPT, "User-Agent": "containerd/1"}
    server.request("GET", "/v2/team/app/manifests/b2", get)
    server.stop()

    def older(book: PullBook) -> None:
        book.since = time.time() - 2 * DAY

    book_of(StorageTree(server.root)).change(older)
    with server:
        server.wait_for("removed 3 tags")
        assert server.tags("team/app") == ["b2", "b5", "b6"]
