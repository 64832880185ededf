"""This machine's clock beside a registry's, as far as its answers tell."""

import email.utils
import functools
from collections.abc import Mapping

__all__ = ["clock_difference"]


def clock_difference(headers: Mapping[str, str], sent: float, received: float) -> float | None:
    """Return how many seconds this machine's clock is ahead of the one that wrote ``Date``.

    ``sent`` and ``received`` are this machine's times of the request and of the answer's head. What
    lies between them, and the fraction of a second that ``Date`` lacks, is no difference. None if
    the answer does not tell, or was kept by a cache (RFC 9110, 6.6.1; RFC 9111, 5.1).
    """
    date = headers.get("Date")
    if date is None or headers.get("Age", "0").strip() != "0":
        return None
    written = _seconds(date)
    if written is None:
        return None
    if sent > written + 1:
        return sent - written - 1
    return min(received - written, 0.0)


@functools.lru_cache(maxsize=8)
def _seconds(date: str) -> float | None:
    try:
        found = email.utils.parsedate_to_datetime(date)
        return None if found.tzinfo is None else found.timestamp()
    except (ValueError, OverflowError):
        return None
