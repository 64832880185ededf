"""Files that are as old as their modification time says, which is all that a test can set."""

import os

import pytest

from jettison.storage.filesystem import reading


def _written(status: os.stat_result) -> int:
    return status.st_mtime_ns


@pytest.fixture(autouse=True)
def arrived_when_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file have come to its place when it was written, not when a test made it."""
    monkeypatch.setattr(reading, "arrival", _written)
