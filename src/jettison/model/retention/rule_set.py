"""What one rule of a policy says of each image of its set."""

import enum
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Final, NamedTuple

from jettison.model.names import Tag
from jettison.model.retention.evidence import Moment
from jettison.model.retention.images import Image
from jettison.model.retention.patterns import matcher
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Clock, Keep, Remove, Rule
from jettison.model.retention.reasons import Reason
from jettison.model.times import moment as written

__all__ = ["Member", "Outcome", "RuleSet", "Verdict"]


class Member(NamedTuple):
    """An image of a rule's set, with those of its tags that are in the set."""

    image: Image
    tags: tuple[Tag, ...]
    time: Moment | None
    pulled: Moment | None


class Outcome(enum.Enum):
    """What a rule says of a member; it is ``PASSED`` if it is in the set, and not yet to go."""

    KEPT = "kept"
    REMOVED = "removed"
    PASSED = "passed"


class Verdict(NamedTuple):
    """What a rule says of a member, and why.

    The other members are those of a :class:`~jettison.model.retention.reasons.Decision`.
    """

    outcome: Outcome
    reason: Reason
    limit: str = ""
    clock: Clock | None = None
    time: Moment | None = None
    rank: int | None = None
    group: str = ""
    since: str = ""


_BUCKETS: Final[tuple[tuple[str, Reason, Callable[[datetime], object]], ...]] = (
    ("hourly", Reason.HOURLY, lambda at: (at.date(), at.hour, at.utcoffset())),
    ("daily", Reason.DAILY, lambda at: at.date()),
    ("weekly", Reason.WEEKLY, lambda at: at.isocalendar()[:2]),
    ("monthly", Reason.MONTHLY, lambda at: (at.year, at.month)),
    ("yearly", Reason.YEARLY, lambda at: at.year),
)


class RuleSet:
    """The images that a rule is about in one repository, or in one ``group`` of it.

    ``clock`` is the time that counts, of which ``now`` (seconds since the epoch) is the present.
    ``unwatched`` is why pulls are not known.
    """

    def __init__(
        self,
        rule: Rule,
        members: Sequence[Member],
        clock: Clock,
        *,
        now: float,
        zone: tzinfo,
        watching_since: float | None,
        unwatched: str = "nobody watches them",
        group: str = "",
    ) -> None:
        self._rule = rule
        self._members = members
        self._clock = clock
        self._now = now
        self._zone = zone
        self._watching = watching_since
        self._unwatched = unwatched
        self._group = group
        self._cutoffs: dict[Period, float] = {}
        times = sorted((m.time.seconds for m in members if m.time is not None), reverse=True)
        self._newer: dict[float, int] = {}
        for place, time in enumerate(times):
            self._newer.setdefault(time, place)
        self._buckets = self._find_buckets(times)

    def _find_buckets(self, times: list[float]) -> list[tuple[Reason, int, set[float]]]:
        """Return the times that hourly to yearly keep: the newest of each, ties included."""
        keep = self._rule.keep
        if keep is None:
            return []
        found = []
        for name, reason, bucket_of in _BUCKETS:
            most: int | None = getattr(keep, name)
            if most is None:
                continue
            kept: dict[object, float] = {}
            for time in times:
                bucket = bucket_of(datetime.fromtimestamp(time, self._zone))
                if bucket not in kept:
                    if len(kept) == most:
                        break
                    kept[bucket] = time
            found.append((reason, most, set(kept.values())))
        return found

    def verdicts(self) -> Iterator[tuple[Member, Verdict, tuple[bool, bool]]]:
        """Yield each member, its verdict, and whether it is old and beyond, and old or beyond."""
        for member in self._members:
            yield member, *self._judge(member)

    def _cutoff(self, period: Period) -> float:
        if period not in self._cutoffs:
            self._cutoffs[period] = period.before(self._now, self._zone)
        return self._cutoffs[period]

    def _judge(self, member: Member) -> tuple[Verdict, tuple[bool, bool]]:
        keep, remove = self._rule.keep, self._rule.remove
        sums = (False, False)
        if keep is not None:
            verdict = self._keeps(member, keep)
            if verdict is not None:
                return verdict, sums
        if remove is None:
            return Verdict(Outcome.PASSED, Reason.NO_RULE), sums
        if remove == "all":
            return Verdict(Outcome.REMOVED, Reason.ALL), sums
        if remove == "rest":
            if member.time is None and keep is not None and _needs_time(keep):
                return self._unknown(Outcome.KEPT), sums
            return self._said(Outcome.REMOVED, Reason.REST, "", member), sums
        return self._removes(member, remove)

    def _said(self, outcome: Outcome, reason: Reason, limit: str, member: Member) -> Verdict:
        rank = None if member.time is None else self._newer[member.time.seconds] + 1
        clock = None if member.time is None else self._clock
        return Verdict(outcome, reason, limit, clock, member.time, rank, self._group)

    def _unknown(self, outcome: Outcome) -> Verdict:
        return Verdict(outcome, Reason.TIME_UNKNOWN, clock=self._clock, group=self._group)

    def _keeps(self, member: Member, keep: Keep) -> Verdict | None:
        if keep.tags and any(map(matcher(keep.tags), member.image.tags)):
            return Verdict(Outcome.KEPT, Reason.KEEP_TAG, ", ".join(keep.tags))
        time = member.time
        if time is not None:
            seconds = time.seconds
            if keep.last is not None and self._newer[seconds] < keep.last:
                return self._said(Outcome.KEPT, Reason.LAST, str(keep.last), member)
            if keep.within is not None and seconds >= self._cutoff(keep.within):
                return self._said(Outcome.KEPT, Reason.WITHIN, keep.within, member)
            for reason, most, times in self._buckets:
                if seconds in times:
                    return self._said(Outcome.KEPT, reason, str(most), member)
        if keep.pulled_within is not None:
            return self._pulled_lately(member, keep.pulled_within)
        return None

    def _pulled_lately(self, member: Member, period: Period) -> Verdict | None:
        """Return the verdict that keeps what was pulled lately, or may have been."""
        cutoff = self._cutoff(period)
        pulled = member.pulled
        if pulled is not None and pulled.seconds >= cutoff:
            since = f"pulled {written(pulled.seconds)} ({pulled.source})"
            return Verdict(Outcome.KEPT, Reason.PULLED, period, group=self._group, since=since)
        if self._watching is None or self._watching > cutoff:
            since = self._unwatched
            if self._watching is not None:
                since = f"watching since {written(self._watching)}"
            return Verdict(
                Outcome.KEPT, Reason.PULLS_UNKNOWN, period, group=self._group, since=since
            )
        return None

    def _removes(self, member: Member, remove: Remove) -> tuple[Verdict, tuple[bool, bool]]:
        time = member.time
        if time is None:
            return self._unknown(Outcome.PASSED), (False, False)
        period, pulled = remove.older_than, remove.not_pulled_within
        count = remove.beyond or remove.and_beyond or remove.or_beyond
        old = period is not None and time.seconds < self._cutoff(period)
        beyond = count is not None and self._newer[time.seconds] >= count
        sums = (old and beyond, old or beyond)
        if remove.and_beyond is not None:
            goes, reason = old and beyond, Reason.OLD_AND_BEYOND
            limit = f"older than {period} and beyond the newest {count}"
        elif period is not None and (old or remove.or_beyond is None):
            goes, reason, limit = old, Reason.OLDER, str(period)
        elif count is not None:
            goes, reason, limit = beyond, Reason.BEYOND, str(count)
        else:
            goes, reason, limit = True, Reason.NOT_PULLED, str(pulled)
        if goes and pulled is not None:
            lately = self._pulled_lately(member, pulled)
            if lately is None and time.seconds >= self._cutoff(pulled):
                lately = self._said(Outcome.PASSED, Reason.NOT_OLD, pulled, member)
            if lately is not None:
                return lately._replace(outcome=Outcome.PASSED), sums
        if goes:
            return self._said(Outcome.REMOVED, reason, limit, member), sums
        # It is of the set, and only not yet to go: another rule may still remove it.
        if period is not None and not old:
            return self._said(Outcome.PASSED, Reason.NOT_OLD, period, member), sums
        return self._said(Outcome.PASSED, Reason.NOT_BEYOND, str(count), member), sums


def _needs_time(keep: Keep) -> bool:
    """Whether a rule's keep rests on the times of images."""
    return any(
        member is not None
        for member in (
            keep.last,
            keep.within,
            keep.hourly,
            keep.daily,
            keep.weekly,
            keep.monthly,
            keep.yearly,
        )
    )
