"""Decisions of a retention policy, with coded reasons, and the sentences for them."""

import enum
from typing import Final, Self

import msgspec

from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.retention.evidence import Moment
from jettison.model.retention.policy import Clock
from jettison.model.times import moment as written

__all__ = ["Decision", "Reason"]


class Reason(enum.StrEnum):
    """Why something stays or goes."""

    sentence: str
    single: str

    def __new__(cls, value: str, sentence: str, single: str = "") -> Self:
        """Make a reason with its sentence: ``{limit}`` and ``{since}`` are the decision's.

        ``single`` is the sentence if the limit is 1.
        """
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.sentence = sentence
        reason.single = single or sentence
        return reason

    @property
    def meaning(self) -> str:
        """The sentence without a figure or a name: for sums."""
        return _BRIEF.get(self, self.sentence)

    # What stays.
    NO_RULE = "no-rule", "no rule removes it"
    PROTECTED = "protected", "protected by {limit}"
    IMMUTABLE = "immutable", "immutable by {limit}"
    IN_USE = "in-use", "in use: {limit}"
    KEEP_TAG = "keep-tag", "a tag of it matches {limit}"
    LAST = "last", "among the newest {limit}", "the newest"
    WITHIN = "within", "not older than {limit}"
    HOURLY = (
        "hourly",
        "the newest of its hour, among the last {limit} hours that have one",
        "the newest of its hour, the last that has one",
    )
    DAILY = (
        "daily",
        "the newest of its day, among the last {limit} days that have one",
        "the newest of its day, the last that has one",
    )
    WEEKLY = (
        "weekly",
        "the newest of its week, among the last {limit} weeks that have one",
        "the newest of its week, the last that has one",
    )
    MONTHLY = (
        "monthly",
        "the newest of its month, among the last {limit} months that have one",
        "the newest of its month, the last that has one",
    )
    YEARLY = (
        "yearly",
        "the newest of its year, among the last {limit} years that have one",
        "the newest of its year, the last that has one",
    )
    PULLED = "pulled", "pulled within {limit}, last {since}"
    LAST_PULLED = (
        "last-pulled",
        "among the {limit} pulled last, {since}",
        "the one pulled last, {since}",
    )
    PULLS_UNKNOWN = "pulls-unknown", "pulls are not known for {limit}: {since}"
    TIME_UNKNOWN = "time-unknown", "when it was {clock} is not known, and not known is never old"
    NOT_OLD = "not-old", "not older than {limit}"
    NOT_BEYOND = "not-beyond", "among the newest {limit}", "the newest"
    LEFT = (
        "left",
        "among the newest {limit} of those that are old",
        "the newest of those that are old",
    )
    TYPE_UNKNOWN = "type-unknown", "what it is cannot be told"
    SIZE_UNKNOWN = "size-unknown", "how large it is cannot be told"
    FOLLOWS = "follows", "belongs to {limit}, which stays"
    HELD = "held", "something that cannot be read may need it"
    INCOMPLETE = "incomplete", "the repository's list is not complete"
    # What goes.
    OLDER = "older", "older than {limit}"
    BEYOND = "beyond", "beyond the newest {limit}", "not the newest"
    OLD_AND_BEYOND = "old-and-beyond", "{limit}"
    NOT_PULLED = "not-pulled", "not pulled for {limit}"
    REST = "rest", "the rule does not keep it"
    ALL = "all", "the rule removes all that it names"
    FOLLOWED = "followed", "belongs to {limit}, which goes"


_BRIEF: Final = {
    Reason.PROTECTED: "protected",
    Reason.IMMUTABLE: "immutable",
    Reason.IN_USE: "in use",
    Reason.KEEP_TAG: "its tag is kept",
    Reason.LAST: "among the newest",
    Reason.WITHIN: "not old enough",
    Reason.HOURLY: "the newest of its hour",
    Reason.DAILY: "the newest of its day",
    Reason.WEEKLY: "the newest of its week",
    Reason.MONTHLY: "the newest of its month",
    Reason.YEARLY: "the newest of its year",
    Reason.PULLED: "pulled lately",
    Reason.LAST_PULLED: "among those pulled last",
    Reason.PULLS_UNKNOWN: "when it was pulled is not known",
    Reason.TIME_UNKNOWN: "its age is not known, and not known is never old",
    Reason.NOT_OLD: "not old enough",
    Reason.NOT_BEYOND: "among the newest",
    Reason.LEFT: "among the newest of those that are old",
    Reason.FOLLOWS: "belongs to an image that stays",
    Reason.OLDER: "too old",
    Reason.BEYOND: "beyond the newest",
    Reason.OLD_AND_BEYOND: "old, and beyond the newest",
    Reason.NOT_PULLED: "not pulled for long",
    Reason.FOLLOWED: "belongs to an image that goes",
}
"""Sentences that have a figure or a name, without it."""


class Decision(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What becomes of a tag, or (``tag`` None) of an untagged manifest, and why.

    ``rule`` is the name of the rule that decided, "" if none did. ``limit`` is the figure or the
    pattern that mattered, as it was written. ``time`` is the time that counted, with its source,
    ``clock`` which of an image's times that is. ``rank`` is the place in its ``group``, counted
    from 1 for the newest. ``since`` is what is known of pulls, if the decision rests on them.
    """

    repository: RepoName
    digest: Digest
    tag: Tag | None
    removed: bool
    reason: Reason
    rule: str = ""
    limit: str = ""
    clock: Clock | None = None
    time: Moment | None = None
    rank: int | None = None
    group: str = ""
    since: str = ""

    @property
    def name(self) -> str:
        """The tag or the manifest, for people."""
        if self.tag is not None:
            return f"{self.repository}:{self.tag}"
        return f"{self.repository}@{self.digest.short}"

    @property
    def follows(self) -> bool:
        """Whether it is about the tag of what belongs to an image."""
        return self.reason in {Reason.FOLLOWS, Reason.FOLLOWED}

    @property
    def sentence(self) -> str:
        """The reason in one sentence, with the time that counted and the rule."""
        form = self.reason.single if self.limit == "1" else self.reason.sentence
        parts = [form.format(limit=self.limit, since=self.since, clock=self.clock or "pushed")]
        place = [] if self.rank is None else [f"number {self.rank}"]
        place += [f"in {self.group}"] if self.group else []
        if place:
            parts.append(" ".join(place))
        if self.time is not None:
            parts.append(f"{self.clock} {written(self.time.seconds)} ({self.time.source})")
        if self.since and "{since}" not in form:
            parts.append(self.since)
        told = ", ".join(parts)
        return f"{told} [{self.rule}]" if self.rule else told
