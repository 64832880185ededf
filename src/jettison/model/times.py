"""Times as text. A journal may contain any number of seconds, so every number has a text."""

from datetime import UTC, datetime
from typing import Final

__all__ = ["moment", "rfc3339", "seconds_of"]

_LAST: Final = 253402300799
"""The last second of the year 9999, the last year of Python's calendar."""


def rfc3339(seconds: float) -> str:
    """Return a time (seconds since the epoch) in RFC 3339, UTC, or the nearest that has one."""
    moment = datetime.fromtimestamp(min(max(seconds, 0), _LAST), UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def seconds_of(text: str) -> float | None:
    """Return the seconds since the epoch of a time in RFC 3339; None for what is none."""
    try:
        found = datetime.fromisoformat(text)
        return None if found.tzinfo is None else found.timestamp()
    except (ValueError, OverflowError):
        return None


def moment(seconds: float) -> str:
    """Return a time (seconds since the epoch) for people: ``2026-01-02 03:04 UTC``."""
    return rfc3339(seconds)[:16].replace("T", " ") + " UTC"
