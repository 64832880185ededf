"""Which times of pushes are those of a copy."""

from jettison.model.digest import Digest
from jettison.model.retention.evidence import are_times_of_a_copy, pushed_within_an_hour

HOUR = 3600.0
DAY = 24 * HOUR


def digests(count: int) -> list[Digest]:
    return sorted(Digest.of(bytes([number])) for number in range(count))


def within(*times: float) -> list[int]:
    """The places of the images that came within an hour."""
    images = digests(len(times))
    found = pushed_within_an_hour(dict(zip(images, times, strict=True)))
    assert found == sorted(found)
    return [images.index(digest) for digest in found]


def test_more_than_half_have_to_come_within_an_hour() -> None:
    assert within() == []
    assert within(5.0) == []
    assert within(0.0, HOUR) == [0, 1]
    assert within(0.0, HOUR + 1) == []
    assert within(0.0, HOUR, DAY) == [0, 1]
    assert within(0.0, HOUR, DAY, 2 * DAY) == []
    assert within(-DAY, 0.0, 10.0, HOUR, 2 * DAY) == [1, 2, 3]


def test_all_of_the_hour_are_found_and_not_half_alone() -> None:
    assert within(*[float(number) for number in range(10)]) == list(range(10))
    assert within(*[float(number) for number in range(9)], DAY) == list(range(9))


def is_copy(*created: float | None) -> bool:
    """Images that were all pushed at the same time, and created so many seconds before."""
    images = digests(len(created))
    pushed = dict.fromkeys(images, 100 * DAY)
    known = {
        digest: 100 * DAY - ago
        for digest, ago in zip(images, created, strict=True)
        if ago is not None
    }
    return are_times_of_a_copy(images, pushed, known)


def test_half_of_them_have_to_be_created_within_the_day_before() -> None:
    assert not is_copy(0.0, HOUR, DAY)
    assert not is_copy(0.0, 2 * DAY)
    assert is_copy(0.0, 2 * DAY, 3 * DAY)
    assert is_copy(DAY + 1, DAY + 1)
    assert is_copy(None, None)
    assert is_copy(0.0, None, None)
    assert not is_copy(0.0, 1.0, None)


def test_the_clock_of_a_builder_may_be_a_little_ahead() -> None:
    assert not is_copy(-HOUR, -60.0)
    assert is_copy(-HOUR - 1, -DAY)
