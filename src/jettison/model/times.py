"""Times as texts. A journal may claim any number of seconds, and that ends no run of ours."""

from datetime import UTC, datetime
from typing import Final

__all__ = ["moment", "rfc3339"]

_LAST: Final = 253402300799
"""The last second of the year 9999, in which the calendar of programs ends."""


def rfc3339(seconds: float) -> str:
    """Return a time (seconds since the epoch) in RFC 3339, UTC; the nearest one that it can say."""
    moment = datetime.fromtimestamp(min(max(seconds, 0), _LAST), UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def moment(seconds: float) -> str:
    """Return a time (seconds since the epoch) for people: ``2026-01-02 03:04 UTC``."""
    return rfc3339(seconds)[:16].replace("T", " ") + " UTC"
