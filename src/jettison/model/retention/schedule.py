"""When a policy runs by itself: the five fields of cron, in a time zone.

Times are those of Debian's cron. A time that the clocks skip in spring comes right after the gap,
and one that they show twice in autumn comes once; where the minute or the hour is ``*``, the
schedule goes by time that passes, and comes in both of the two hours.
"""

import math
from datetime import datetime
from typing import Final, Self
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from jettison.errors import ConfigurationError

__all__ = ["Schedule"]

_FIELDS: Final = 5
_LONGEST: Final = 200
_HINT: Final = (
    "It is the five fields of cron: minute, hour, day of month, month, day of week. "
    '"30 3 * * *" is every day at 3:30, "0 4 * * SUN" every Sunday at 4:00.'
)


class Schedule(msgspec.Struct, frozen=True):
    """A schedule that comes at some time; :meth:`parse` makes one from what people write."""

    text: str
    time_zone: str = "UTC"

    @classmethod
    def parse(cls, text: str, time_zone: str) -> Self:
        """Return a schedule in a time zone that exists.

        Raises :class:`~jettison.errors.ConfigurationError` for what is none, or never comes.
        """
        # A sixth field, seconds, would be one in which nothing is done about summer time.
        if len(text) > _LONGEST or len(text.split()) != _FIELDS:
            raise ConfigurationError("is no schedule", hint=_HINT)
        found = cls(text, time_zone)
        try:
            found.after(0.0)
        except CronSimError as error:
            raise ConfigurationError(f"is no schedule: {str(error).lower()}", hint=_HINT) from None
        return found

    def after(self, moment: float) -> float:
        """Return the first time after a moment, both in seconds since the epoch.

        Raises :class:`~jettison.errors.ConfigurationError` if there is none in fifty years.
        """
        start = datetime.fromtimestamp(math.floor(moment), ZoneInfo(self.time_zone))
        # From within the second of two equal hours, the first that is found may be in the first.
        times = (found.timestamp() for found in CronSim(self.text, start))
        first = next((time for time in times if time > moment), None)
        if first is None:
            raise ConfigurationError("is a time that never comes", hint=_HINT)
        return first

    def shown(self, moment: float) -> str:
        """Return a time for people, in the zone of the schedule: ``2026-01-02 03:04 CET``."""
        zone = ZoneInfo(self.time_zone)
        return datetime.fromtimestamp(moment, zone).strftime("%Y-%m-%d %H:%M %Z")
