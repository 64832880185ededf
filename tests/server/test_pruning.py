"""The server prunes by its schedule, in a process of its own."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

import pytest

from jettison.configuration import read_configuration
from jettison.server import pruning
from jettison.server.pruning import RetentionKeeper
from jettison.storage.scheduled_runs import RunResult, ScheduledRun, ScheduledRuns
from tests.support.scheduled import DAY, POLICY, Builds

T = TypeVar("T")

MINUTE = 60.0
SECONDS = 90.0
"""More than a minute: on a slow machine a test may have to wait for the next one."""


async def in_thread(function: Callable[[], T]) -> T:
    return await asyncio.to_thread(function)


class Place(Builds):
    """Five builds, and a clock that can be set."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 5, schedule="schedule: '* * * * *'")
        self.runs = ScheduledRuns(self.storage)
        self.ahead = 0.0

    def soon(self, seconds: float = 0.2) -> None:
        """Let the schedule come a moment from now."""
        self.ahead = MINUTE - (time.time() + seconds) % MINUTE

    def clock(self) -> float:
        return time.time() + self.ahead

    def keeper(self) -> RetentionKeeper:
        settings = read_configuration(self.config, {}, "serving").retention
        assert settings is not None
        return RetentionKeeper(self.config, settings, self.storage, in_thread, self.clock)


@pytest.fixture
def place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Place:
    caplog.set_level("INFO")
    return Place(tmp_path)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


class Running:
    """Keepers at work, in an ``async with`` block, whose time comes at once."""

    def __init__(self, place: Place, *keepers: RetentionKeeper, soon: bool = True) -> None:
        self._place = place
        self._keepers = keepers or (place.keeper(),)
        self._soon = soon
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        if self._soon:
            self._place.soon()
        self.tasks = [asyncio.create_task(one.keep_pruning()) for one in self._keepers]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)


def children() -> list[int]:
    """The processes that prune for this one."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread ends meanwhile
            for child in (task / "children").read_text().split():
                with suppress(OSError):
                    if b"prune_process" in Path(f"/proc/{child}/cmdline").read_bytes():
                        found.append(int(child))
    return found


def last(place: Place) -> ScheduledRun:
    found = place.runs.last()
    assert found is not None
    return found


ALL = ["b1", "b2", "b3", "b4", "b5"]
LEFT = ["b4", "b5"]


async def test_it_prunes_when_the_time_comes(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = place.keeper()
    async with Running(place, keeper):
        await until(lambda: "removed" in caplog.text)
    assert place.tags == LEFT
    run = last(place)
    assert (run.result, run.tags, run.manifests) == (RunResult.DONE, 3, 3)
    assert run.due % MINUTE == 0
    assert f"the policy {place.policy} runs next at " in caplog.text
    assert f"run {run.run} removed 3 tags and 3 manifests, {run.bytes} bytes" in caplog.text
    assert f"jettison undo {run.run} --storage {place.config}; next at " in caplog.text
    assert keeper.figures().last == run
    assert keeper.figures().next == run.due + MINUTE


async def test_two_servers_on_one_storage_prune_once(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async with Running(place, place.keeper(), place.keeper()):
        await until(lambda: "removed" in caplog.text and "another process" in caplog.text)
    assert place.tags == LEFT
    assert len(list((place.tree.root / "jettison" / "runs").glob("*.json"))) == 1


async def test_server_that_starts_after_a_run_waits_for_the_next_time(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = place.keeper()
    place.soon(2.0)
    due = keeper.figures().next
    place.runs.note(ScheduledRun(due=due, ended=due, result=RunResult.DONE))
    async with Running(place, keeper, soon=False):
        await until(lambda: "has pruned for this time" in caplog.text)
    assert place.tags == ALL


async def test_what_is_wrong_by_then_is_told_and_removes_nothing(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_LOOK_SECONDS", 0.05)
    keeper = place.keeper()
    place.policy.write_text("rules: [{tags: ['b*'], remove: sometimes}]", encoding="utf-8")
    async with Running(place, keeper):
        await until(lambda: last(place) if place.runs.last() else None)
        await until(lambda: "failed" in caplog.text)
        assert place.tags == ALL
        [record] = [one for one in caplog.records if "failed" in one.message]
        assert record.levelname == "ERROR"
        assert "line 1: rules[0].remove" in record.message
        # The next time tries again.
        place.policy.write_text(POLICY, encoding="utf-8")
        place.ahead += MINUTE
        await until(lambda: "removed 3 tags" in caplog.text)
    assert place.tags == LEFT


async def test_clock_that_is_set_back_is_noticed(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_LOOK_SECONDS", 0.05)
    place.ahead = 365 * DAY
    async with Running(place, soon=False):
        await until(lambda: "runs next at" in caplog.text)
        place.soon()
        await until(lambda: "removed 3 tags" in caplog.text)
    assert place.clock() - MINUTE < last(place).due < place.clock()


async def test_refusal_is_a_warning_with_the_command(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.policy.write_text(POLICY.replace("90%", "10%"), encoding="utf-8")
    async with Running(place):
        await until(lambda: "refused" in caplog.text)
    [record] = [one for one in caplog.records if "refused" in one.message]
    assert record.levelname == "WARNING"
    assert f"Look at it: jettison prune {place.config} --policy {place.policy} -n" in record.message
    assert last(place).result is RunResult.REFUSED
    assert place.tags == ALL


async def test_process_that_is_killed_is_told(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async with Running(place):
        await until(children)
        [child] = children()
        os.kill(child, signal.SIGKILL)
        await until(lambda: "was killed by Killed" in caplog.text)
        await until(place.runs.last)
    assert last(place).result is RunResult.FAILED
    assert not children()


@pytest.mark.parametrize("obeys", [True, False])
async def test_run_ends_with_the_server(
    place: Place,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    obeys: bool,
) -> None:
    monkeypatch.setattr(pruning, "_END_SECONDS", 30.0 if obeys else 0.1)
    async with Running(place):
        await until((place.tree.root / "jettison/retention/run.lease").exists)
        if not obeys:
            [child] = children()
            os.kill(child, signal.SIGSTOP)
    assert not children()
    assert "the run was interrupted; the next one finishes it" in caplog.text
    assert set(LEFT) <= set(place.tags)


async def test_process_that_cannot_be_started_is_told(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fail)
    async with Running(place) as running:
        await until(lambda: "Resource temporarily unavailable" in caplog.text)
        assert not running.tasks[0].done()


async def test_process_that_cannot_note_its_end_is_told(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = place.tree.root / "jettison" / "retention"
    blocked.parent.mkdir()
    blocked.write_bytes(b"")
    async with Running(place) as running:
        await until(lambda: str(blocked) in caplog.text)
        assert not running.tasks[0].done()
    assert place.tags == ALL
