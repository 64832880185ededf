"""Times as text. A journal may contain any number of seconds, so every number has a text."""

from datetime import UTC, datetime
from typing import Final

__all__ = ["moment", "rfc3339"]

_LAST: Final = 253402300799
"""The last second of the year 9999, the last year of Python's calendar."""


def rfc3339(seconds: float) -> str:
    """Return a time (seconds since the epoch) in RFC 3339, UTC, or the nearest that has one."""
    moment = datetime.fromtimestamp(min(max(seconds, 0), _LAST), UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def moment(seconds: float) -> str:
    """Return a time (seconds since the epoch) for people: ``2026-01-02 03:04 UTC``."""
    return rfc3339(seconds)[:16].replace("T", " ") + " UTC"
