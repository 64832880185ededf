"""Signed deletes: what is not sent, because it could land too late."""

import time
from typing import Any

import pytest

from jettison.errors import StorageError
from jettison.storage.objects import deleting
from jettison.storage.objects.deleting import ClockDifference, SignedDeletes, uptime


class Signing:
    """A bucket that signs, and whose process stands still for some seconds before that."""

    settings = type("Settings", (), {"verify": True})
    location = "s3://images"

    def __init__(self, monkeypatch: pytest.MonkeyPatch, still: float) -> None:
        self._patch = monkeypatch
        self._still = still

    def url(self, *_: object) -> str:
        later = uptime() + self._still
        self._patch.setattr(deleting, "uptime", lambda: later)
        return "http://127.0.0.1:9/"


def message(bucket: Signing, base: float, end: float) -> str:
    signing: Any = bucket
    deletes = SignedDeletes(signing, ClockDifference(0.0, 0.0, base))
    [deleted] = deletes.delete(["key"], end)
    assert isinstance(deleted.outcome, StorageError)
    assert deleted.lands_until == 0.0
    return deleted.outcome.message


def test_a_process_that_stood_still_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    base = time.time() - uptime()
    assert "time of its sweep" in message(Signing(monkeypatch, 3600), base - 3600, uptime() + 90)


@pytest.mark.parametrize("moved", [-600.0, 600.0])
def test_nothing_is_sent_once_the_clock_was_moved(
    monkeypatch: pytest.MonkeyPatch, moved: float
) -> None:
    base = time.time() - uptime() + moved
    assert "put forward or back" in message(Signing(monkeypatch, 0), base, uptime() + 90)
