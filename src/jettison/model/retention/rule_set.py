"""What one rule of a policy says of each image of its set."""

import enum
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
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
    """An image of a rule's set, with those of its tags that are in the set.

    ``pulled`` counts its platforms too, ``asked_for`` only itself.
    """

    image: Image
    tags: tuple[Tag, ...]
    time: Moment | None
    pulled: Moment | None
    asked_for: Moment | None


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


class _Buckets(NamedTuple):
    """The hours, days and so on that a rule keeps, at most ``most``, each with its newest time."""

    reason: Reason
    most: int
    of: Callable[[datetime], object]
    kept: Mapping[object, float]
    times: AbstractSet[float]


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
        self._times = times[::-1]
        self._pulls = sorted(m.asked_for.seconds for m in members if m.asked_for is not None)
        self._buckets = self._find_buckets(times)
        self._left = self._find_left(times)

    def _newer(self, seconds: float) -> int:
        """Return how many images of the set are newer than that."""
        return len(self._times) - bisect_right(self._times, seconds)

    def _find_left(self, times: list[float]) -> float:
        """Return from which time on ``leaving`` leaves what is old."""
        remove = self._rule.remove
        if not isinstance(remove, Remove) or remove.leaving is None or remove.older_than is None:
            return self._now
        cutoff = self._cutoff(remove.older_than)
        old = [time for time in times if time < cutoff]
        return old[remove.leaving - 1] if len(old) >= remove.leaving else -math.inf

    def _find_buckets(self, times: list[float]) -> list[_Buckets]:
        """Return the times that hourly to yearly keep: the newest of each, ties included."""
        keep = self._rule.keep
        if keep is None:
            return []
        found: list[_Buckets] = []
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
            found.append(_Buckets(reason, most, bucket_of, kept, set(kept.values())))
        return found

    def _is_counted(self, seconds: float) -> bool:
        at = bisect_left(self._times, seconds)
        return at < len(self._times) and self._times[at] == seconds

    def _takes_place(self, seconds: float, buckets: _Buckets) -> bool:
        """Whether hourly to yearly would keep what is not counted, if it was."""
        newest = buckets.kept.get(buckets.of(datetime.fromtimestamp(seconds, self._zone)))
        if newest is not None:
            return seconds >= newest
        return sum(time > seconds for time in buckets.times) < buckets.most

    def verdicts(self) -> Iterator[tuple[Member, Verdict, tuple[bool, bool]]]:
        """Yield each member, its verdict, and whether it is old and beyond, and old or beyond."""
        for member in self._members:
            yield member, *self.judge(member)

    def _cutoff(self, period: Period) -> float:
        if period not in self._cutoffs:
            self._cutoffs[period] = period.before(self._now, self._zone)
        return self._cutoffs[period]

    def judge(self, member: Member) -> tuple[Verdict, tuple[bool, bool]]:
        """Return the verdict of a member, or of what follows one and is not counted.

        What is not counted stays where it would if it was.
        """
        keep, remove = self._rule.keep, self._rule.remove
        sums = (False, False)
        if keep is not None:
            verdict = self._keeps(member, keep)
            if verdict is not None:
                return verdict, sums
            if member.time is None and _needs_time(keep):
                return self._unknown(Outcome.KEPT), sums
        if remove is None:
            return Verdict(Outcome.PASSED, Reason.NO_RULE), sums
        if remove == "all":
            return Verdict(Outcome.REMOVED, Reason.ALL), sums
        if remove == "rest":
            rests = keep is not None and bool(keep.pulled_within or keep.last_pulled)
            since = self._unpulled(member) if rests else ""
            return self._said(Outcome.REMOVED, Reason.REST, "", member, since), sums
        return self._removes(member, remove)

    def _said(
        self, outcome: Outcome, reason: Reason, limit: str, member: Member, since: str = ""
    ) -> Verdict:
        rank = None if member.time is None else self._newer(member.time.seconds) + 1
        clock = None if member.time is None else self._clock
        return Verdict(outcome, reason, limit, clock, member.time, rank, self._group, since)

    def _unknown(self, outcome: Outcome) -> Verdict:
        return Verdict(outcome, Reason.TIME_UNKNOWN, clock=self._clock, group=self._group)

    def _keeps(self, member: Member, keep: Keep) -> Verdict | None:
        if keep.tags:
            named = next((p for p in keep.tags if any(map(matcher([p]), member.image.tags))), None)
            if named is not None:
                return Verdict(Outcome.KEPT, Reason.KEEP_TAG, named)
        time = member.time
        if time is not None:
            seconds = time.seconds
            if keep.last is not None and self._newer(seconds) < keep.last:
                return self._said(Outcome.KEPT, Reason.LAST, str(keep.last), member)
            if keep.within is not None and seconds >= self._cutoff(keep.within):
                return self._said(Outcome.KEPT, Reason.WITHIN, keep.within, member)
            for one in self._buckets:
                kept = seconds in one.times
                if kept or (not self._is_counted(seconds) and self._takes_place(seconds, one)):
                    return self._said(Outcome.KEPT, one.reason, str(one.most), member)
        lately = None
        if keep.pulled_within is not None:
            lately = self._pulled_lately(member, keep.pulled_within)
        if lately is None and keep.last_pulled is not None:
            lately = self._pulled_last(member, keep.last_pulled)
        return lately

    def _pulled_last(self, member: Member, most: int) -> Verdict | None:
        """Return the verdict that keeps what is among the last pulled, or may be.

        Only a pull since pulls are known is certainly later than one that is not known. A pull of a
        platform counts for the image that lists it, and against no other: who pulls the platform
        may know it from elsewhere.
        """
        pulled, watching, limit = member.pulled, self._watching, str(most)
        later = 0
        if pulled is not None and watching is not None and pulled.seconds >= watching:
            later = len(self._pulls) - bisect_right(self._pulls, pulled.seconds)
        elif watching is not None:
            later = len(self._pulls) - bisect_left(self._pulls, watching)
        if later >= most:
            return None
        reason = Reason.PULLS_UNKNOWN if pulled is None else Reason.LAST_PULLED
        since = self._since(pulled)
        if pulled is None:
            limit = f"the {most} pulled last"
        return Verdict(Outcome.KEPT, reason, limit, group=self._group, since=since)

    def _since(self, pulled: Moment | None) -> str:
        if pulled is not None:
            return f"{written(pulled.seconds)} ({pulled.source})"
        if self._watching is None:
            return self._unwatched
        return f"watching since {written(self._watching)}"

    def _unpulled(self, member: Member) -> str:
        """Return what is known of the pulls of what goes for want of them."""
        pulled = member.pulled
        last = "no pull seen" if pulled is None else f"last pulled {self._since(pulled)}"
        return f"{last}, {self._since(None)}"

    def _pulled_lately(self, member: Member, period: Period) -> Verdict | None:
        """Return the verdict that keeps what was pulled lately, or may have been."""
        cutoff = self._cutoff(period)
        pulled = member.pulled
        if pulled is not None and pulled.seconds >= cutoff:
            since = self._since(pulled)
            return Verdict(Outcome.KEPT, Reason.PULLED, period, group=self._group, since=since)
        if self._watching is None or self._watching > cutoff:
            since = self._since(None)
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
        beyond = count is not None and self._newer(time.seconds) >= count
        sums = (old and beyond, old or beyond)
        if remove.and_beyond is not None:
            goes, reason = old and beyond, Reason.OLD_AND_BEYOND
            beyond_what = "not the newest" if count == 1 else f"beyond the newest {count}"
            limit = f"older than {period} and {beyond_what}"
        elif period is not None and (old or remove.or_beyond is None):
            goes, reason, limit = old, Reason.OLDER, str(period)
        elif count is not None:
            goes, reason, limit = beyond, Reason.BEYOND, str(count)
        else:
            goes, reason, limit = pulled is not None, Reason.NOT_PULLED, str(pulled)
        spared = self._spared(member, time, remove) if goes else None
        if spared is not None:
            return spared, sums
        if goes:
            since = "" if pulled is None else self._unpulled(member)
            return self._said(Outcome.REMOVED, reason, limit, member, since), sums
        # It is of the set, and only not yet to go: another rule may still remove it.
        if period is not None and not old:
            return self._said(Outcome.PASSED, Reason.NOT_OLD, period, member), sums
        return self._said(Outcome.PASSED, Reason.NOT_BEYOND, str(count), member), sums

    def _spared(self, member: Member, time: Moment, remove: Remove) -> Verdict | None:
        """Return why what is old and beyond is not to go yet; None if it is."""
        if remove.leaving is not None and time.seconds >= self._left:
            return self._said(Outcome.PASSED, Reason.LEFT, str(remove.leaving), member)
        pulled = remove.not_pulled_within
        if pulled is None:
            return None
        lately = self._pulled_lately(member, pulled)
        if lately is not None:
            return lately._replace(outcome=Outcome.PASSED)
        if time.seconds >= self._cutoff(pulled):
            return self._said(Outcome.PASSED, Reason.NOT_OLD, pulled, member)
        return None


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
