"""Periods of a policy: ``7d`` is exactly seven times 24 hours, ``1mo`` is a calendar month."""

import calendar
import functools
import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple, Self

from jettison.errors import InvalidPolicy

__all__ = ["Period"]

_PART: Final = re.compile(r"([0-9]{1,9})([a-z]+)")
_SECONDS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_MONTHS: Final = {"mo": 1, "y": 12}
_LONGEST: Final = 1000 * 366 * 86400
"""A thousand years, in seconds: no longer period is meant."""
_FIRST_YEAR: Final = 2
_LAST_YEAR: Final = 9998


class _Length(NamedTuple):
    seconds: int
    months: int


class Period(str):
    """A length of time: ``30d``, ``12h``, ``2w``, ``1mo``, ``1y``, or a sum such as ``1d12h``.

    ``m`` may be a minute or a month, and is neither. Raises :class:`InvalidPolicy` for what is no
    period.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check ``text``, and take it without spaces and in lower case."""
        plain = re.sub(r"\s+", "", text.lower())
        _length(plain)
        return super().__new__(cls, plain)

    @property
    def is_zero(self) -> bool:
        """Whether it is no time at all."""
        return _length(self) == (0, 0)

    def before(self, now: float, zone: tzinfo = UTC) -> float:
        """Return the moment this long before ``now`` (both seconds since the epoch).

        Months are of the calendar of ``zone``; a day that a month lacks is its last.
        """
        length = _length(self)
        if length.months:
            now = _months_later(now, -length.months, zone)
        return now - length.seconds

    def after(self, moment: float, zone: tzinfo = UTC) -> float:
        """Return when something of ``moment`` is this old; it is older strictly after that."""
        length = _length(self)
        later = moment + length.seconds
        if not length.months:
            return later
        later = _months_later(later, length.months, zone)
        # A month before any time of 28 February is 28 January, and a month before 1 March is
        # 1 February: what is of 31 January is a month old when March begins.
        while self.before(later, zone) < moment:
            later = _next_midnight(later, zone)
        return later


@functools.lru_cache(256)
def _length(text: str) -> _Length:
    if text == "0":
        return _Length(0, 0)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        message = f"{text!r} is no period"
        raise InvalidPolicy(message, hint="Write 12h, 30d, 2w, 1mo or 1y.")
    seconds = months = 0
    for number, unit in parts:
        if unit in _MONTHS:
            months += int(number) * _MONTHS[unit]
        elif unit in _SECONDS:
            seconds += int(number) * _SECONDS[unit]
        elif unit == "m":
            # A month that is taken for a minute removes nearly everything.
            message = f"{text!r} may be minutes or months"
            raise InvalidPolicy(message, hint=f"Write {number}min or {number}mo.")
        else:
            message = f"{text!r} has the unknown unit {unit!r}"
            raise InvalidPolicy(message, hint="Write s, min, h, d, w, mo or y.")
    if seconds + months * 31 * 86400 > _LONGEST:
        raise InvalidPolicy(f"{text!r} is longer than a thousand years")
    return _Length(seconds, months)


def _next_midnight(now: float, zone: tzinfo) -> float:
    local = datetime.fromtimestamp(now, zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return (midnight + timedelta(days=1)).timestamp()


def _months_later(now: float, months: int, zone: tzinfo) -> float:
    local = datetime.fromtimestamp(now, zone)
    year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
    year = min(max(year, _FIRST_YEAR), _LAST_YEAR)
    day = min(local.day, calendar.monthrange(year, month + 1)[1])
    return local.replace(year=year, month=month + 1, day=day).timestamp()
