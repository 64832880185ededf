"""Schedules come when cron would come, also on days of 23 and 25 hours."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.errors import ConfigurationError
from jettison.model.retention.mistakes import is_time_zone
from jettison.model.retention.schedule import Schedule

NOW = datetime(2026, 11, 26, tzinfo=UTC).timestamp()
ZONES = ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata")
TEXTS = ("* * * * *", "30 2 * * *", "0 0 * * *", "*/15 1-3 * * *", "0 4 * * SUN", "59 23 L * *")


def times(text: str, zone: str, after: str, count: int) -> list[str]:
    """The next times of a schedule, in UTC."""
    moment = datetime.fromisoformat(after).timestamp()
    found = []
    for _ in range(count):
        moment = Schedule(text, zone).after(moment)
        found.append(datetime.fromtimestamp(moment, UTC).strftime("%m-%d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        ("30 3 * * *", "UTC", "2026-11-26T03:30:00+00:00", ["11-27 03:30", "11-28 03:30"]),
        ("30 3 * * *", "Europe/Berlin", "2026-11-26T00:00:00+01:00", ["11-26 02:30"]),
        # The day of 25 hours: 2:30 comes once, the first time that the clocks show it ...
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00+02:00",
            ["10-25 00:30", "10-26 01:30"],
        ),
        # ... and also for a server that starts between the two.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T02:10:00+01:00", ["10-26 01:30"]),
        # What goes by time that passes comes in both.
        (
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-25T02:00:00+02:00",
            ["10-25 00:30", "10-25 01:00", "10-25 01:30", "10-25 02:00"],
        ),
        # The day of 23 hours: what is skipped comes right after, once.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00+01:00",
            ["03-29 01:00", "03-30 00:30"],
        ),
        (
            "0,30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00+01:00",
            ["03-29 01:00", "03-30 00:00"],
        ),
        # A day without a midnight.
        (
            "0 0 * * *",
            "America/Sao_Paulo",
            "2018-11-03T12:00:00-03:00",
            ["11-04 03:00", "11-05 02:00"],
        ),
        # A day with two: 23:00 to 24:00 comes twice.
        (
            "30 23 * * *",
            "America/Sao_Paulo",
            "2019-02-16T12:00:00-02:00",
            ["02-17 01:30", "02-18 02:30"],
        ),
        ("0 0 29 2 *", "UTC", "2026-11-26T00:00:00+00:00", ["02-29 00:00"]),
        ("0 0 L * *", "UTC", "2028-02-01T00:00:00+00:00", ["02-29 00:00", "03-31 00:00"]),
        ("0 0 * * MON#1", "UTC", "2026-11-26T00:00:00+00:00", ["12-07 00:00"]),
    ],
)
def test_it_comes_as_cron_would(text: str, zone: str, after: str, expected: list[str]) -> None:
    assert times(text, zone, after, len(expected)) == expected


def test_leap_day_comes_every_fourth_year() -> None:
    found = Schedule.parse("0 0 29 2 *", "UTC")
    first = found.after(NOW)
    assert first == datetime(2028, 2, 29, tzinfo=UTC).timestamp()
    assert found.after(first) == datetime(2032, 2, 29, tzinfo=UTC).timestamp()


@given(
    text=st.sampled_from(TEXTS),
    zone=st.sampled_from(ZONES),
    start=st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - it gets a zone
)
def test_each_time_is_later_than_the_one_before_and_none_is_left_out(
    text: str, zone: str, start: datetime
) -> None:
    schedule = Schedule(text, zone)
    moment = start.replace(tzinfo=UTC).timestamp()
    found = [moment]
    for _ in range(5):
        found.append(schedule.after(found[-1]))
    for one, two in itertools.pairwise(found):
        assert one < two
        # From anywhere between two times, the next is the second.
        assert schedule.after((one + two) / 2) == two
        assert schedule.after(two - 1e-6) == two
        assert schedule.after(two - 1) == two


@given(st.dates(datetime(2015, 1, 1).date(), datetime(2030, 1, 1).date()), st.sampled_from(ZONES))  # noqa: DTZ001 - dates
def test_what_is_daily_comes_once_on_each_day(date: object, zone: str) -> None:
    day = datetime.fromisoformat(f"{date}T12:00:00").replace(tzinfo=ZoneInfo(zone))
    schedule = Schedule("30 2 * * *", zone)
    moment, days = day.timestamp(), []
    for _ in range(3):
        moment = schedule.after(moment)
        days.append(datetime.fromtimestamp(moment, ZoneInfo(zone)).date())
    assert days == [day.date() + timedelta(days=number) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@daily", "is no schedule"),
        ("", "is no schedule"),
        ("* * * *", "is no schedule"),
        ("0 * * * * *", "is no schedule"),  # seconds
        ("60 * * * *", "is no schedule: bad minute"),
        ("0 3 * * FUNDAY", "is no schedule: bad day-of-week"),
        ("0 0 31 2 *", "is no schedule: bad day-of-month"),
        ("0 0 LW * */7", "is a time that never comes"),  # the last weekday, on a Sunday
        ("*" * 300 + " * * * *", "is no schedule"),
    ],
)
def test_what_is_no_schedule_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Schedule.parse(text, "Europe/Berlin")
    assert caught.value.message == said
    assert "30 3 * * *" in (caught.value.hint or "")


def test_time_zones_are_those_of_the_machine() -> None:
    assert all(map(is_time_zone, ZONES))
    assert not any(map(is_time_zone, ("Europe/Bärlin", "", "../etc/passwd", "a\0b")))
