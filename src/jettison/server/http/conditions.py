"""Conditional requests and ranges (RFC 9110, sections 13 and 14), as far as content needs them.

The entity tag of content is its digest, so it is strong and never changes.
"""

import re
from typing import Final

from jettison.server.http.answers import ApiError, Code

__all__ = ["etag_matches", "requested_range"]

_TAGS: Final = re.compile(r'(?:W/)?"([^"]*)"')
_RANGE: Final = re.compile(
    r"\s*(?:(?P<first>[0-9]{1,19})-(?P<last>[0-9]{0,19})|-(?P<tail>[0-9]{1,19}))\s*"
)


def etag_matches(value: str, etag: str) -> bool:
    """Whether the value of ``If-None-Match`` or ``If-Match`` names a content's tag (unquoted)."""
    return value.strip() == "*" or etag in _TAGS.findall(value)


def requested_range(value: str | None, size: int) -> tuple[int, int] | None:
    """Return the first and the last byte of ``Range``; None for the whole content.

    Another unit than bytes, and several ranges at once, get the whole content, as the
    specification allows. Raises :class:`~jettison.server.http.answers.ApiError` (416) for a range
    that cannot be read or lies outside, as Distribution does.
    """
    if value is None:
        return None
    unit, equals, ranges = value.partition("=")
    if unit.strip().lower() != "bytes" or "," in ranges:
        return None
    found = _RANGE.fullmatch(ranges) if equals else None
    if found is None:
        raise _unsatisfiable(size, "the range cannot be read")
    if found["tail"] is not None:
        first, last = max(0, size - int(found["tail"])), size - 1
    else:
        first = int(found["first"])
        last = min(int(found["last"]), size - 1) if found["last"] else size - 1
        if found["last"] and int(found["last"]) < first:
            raise _unsatisfiable(size, "the range ends before it begins")
    if first >= size or first > last:
        raise _unsatisfiable(size, f"the range lies outside of the {size} bytes there are")
    return first, last


def _unsatisfiable(size: int, message: str) -> ApiError:
    headers = [(b"content-range", b"bytes */%d" % size)]
    return ApiError(416, Code.RANGE_INVALID, message, headers=headers)
