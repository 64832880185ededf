"""What a storage knows of its scheduled retention: one run at a time, each time once."""

import msgspec
import pytest

from jettison.storage.scheduled_runs import RunResult, ScheduledRun, ScheduledRuns
from tests.contract.storages import Subject

DUE = 1_800_000_000.0
HOUR = 3600.0


def ended(due: float, result: RunResult = RunResult.DONE) -> ScheduledRun:
    return ScheduledRun(due=due, ended=due + 5, result=result)


def claimed(subject: Subject, due: float, now: float | None = None) -> bool:
    with ScheduledRuns(subject.again()).claim(due, due if now is None else now) as found:
        return found


def test_run_is_held_by_one_at_a_time(subject: Subject) -> None:
    with ScheduledRuns(subject.storage).claim(DUE, DUE) as first:
        assert first
        assert not claimed(subject, DUE)
        assert not claimed(subject, DUE + 60)
    assert claimed(subject, DUE)


def test_time_that_is_done_is_not_done_again(subject: Subject) -> None:
    runs = ScheduledRuns(subject.storage)
    assert runs.last() is None
    noted = runs.note(ended(DUE))
    assert ScheduledRuns(subject.again()).last() == noted
    assert not claimed(subject, DUE)
    assert not claimed(subject, DUE - 60)  # another server, whose schedule is a minute earlier
    assert claimed(subject, DUE + 60)


def test_time_far_in_the_future_keeps_nobody_from_pruning(subject: Subject) -> None:
    ScheduledRuns(subject.storage).note(ended(DUE + 365 * 24 * HOUR))
    assert claimed(subject, DUE)
    ScheduledRuns(subject.storage).note(ended(DUE + 60))
    assert not claimed(subject, DUE, now=DUE - 10)  # a clock that goes slow


def test_last_success_outlives_failures(subject: Subject) -> None:
    runs = ScheduledRuns(subject.storage)
    assert runs.note(ended(DUE, RunResult.REFUSED)).succeeded is None
    runs.note(ended(DUE + 60))
    for result in (RunResult.FAILED, RunResult.PARTLY, RunResult.INTERRUPTED):
        assert runs.note(ended(DUE + 120, result)).succeeded == DUE + 65
    last = runs.last()
    assert last is not None
    assert last.result is RunResult.INTERRUPTED
    assert last.succeeded == DUE + 65


def test_what_is_said_is_bounded(subject: Subject) -> None:
    runs = ScheduledRuns(subject.storage)
    long = "x" * 100_000
    run = msgspec.structs.replace(ended(DUE), message=long, hint=long, notes=(long,) * 1000)
    noted = runs.note(run)
    assert runs.last() == noted
    assert len(noted.notes) == 5


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"due": 1}',
        b'{"due": 1e308, "ended": 1, "result": "unheard of"}',
        b'{"due": 1800000000, "ended": 1, "result": "done", "schema_version": 2}',
        b"{" + b" " * 100_000 + b"}",
    ],
)
def test_document_that_cannot_be_read_is_none(subject: Subject, raw: bytes) -> None:
    subject.storage.documents("retention").write("last.json", raw)
    assert ScheduledRuns(subject.storage).last() is None
    assert claimed(subject, DUE)
    runs = ScheduledRuns(subject.storage)
    assert runs.note(ended(DUE)) == runs.last()
