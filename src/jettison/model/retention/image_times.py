"""Which time of an image counts, and what it is, as far as it can be known.

A time before there were registries, or later than now, says nothing: archives and reproducible
builds write 1970, and a clock that was years ahead would make old images the newest for ever.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.names import Tag
from jettison.model.retention.evidence import EARLIEST, NO_TIMES, Evidence, Moment
from jettison.model.retention.images import Image
from jettison.model.retention.policy import Clock, Rule, State
from jettison.model.retention.rule_set import Member
from jettison.model.snapshot import RepositorySnapshot

__all__ = ["ImageTimes"]

_AHEAD: Final = 60.0
"""Seconds by which another clock may be ahead."""


class ImageTimes:
    """The times of the images of a repository, at ``now`` (seconds since the epoch)."""

    def __init__(self, repository: RepositorySnapshot, evidence: Evidence, now: float) -> None:
        self._repository = repository
        self._evidence = evidence
        self._latest = now + _AHEAD
        self._any_pulled = any(of.pulled is not None for of in evidence.manifests.values())
        self._pulled: dict[Digest, Moment | None] = {}

    def member(self, image: Image, tags: tuple[Tag, ...]) -> Member:
        """Return an image as a member of a rule's set, with those of its tags that are in it."""
        asked_for = self._asked_for(image)
        return Member(image, tags, None, self._pulled_at(image, asked_for), asked_for)

    def timed(self, members: Iterable[Member], clock: Clock) -> list[Member]:
        """Return the members of a rule's set with the time that counts."""
        return [member._replace(time=self.time(member, clock)) for member in members]

    def clock(self, rule: Rule, members: Sequence[Member]) -> Clock:
        """Return the clock of a rule for the members of its set."""
        if rule.clock is not Clock.AUTO:
            return rule.clock
        if rule.state is State.UNTAGGED:
            return Clock.UNTAGGED
        # Where the registry could tell, and did not answer or tells of a copy, the clock is the
        # same: by its creation an image is old that was pushed a minute ago.
        if self._evidence.unknown or self._evidence.copied:
            return Clock.PUSHED
        if any(self.time(member, Clock.PUSHED) is not None for member in members):
            return Clock.PUSHED
        return Clock.CREATED

    def time(self, member: Member, clock: Clock) -> Moment | None:
        """Return the time of a member by a clock, or None if it is not known."""
        of = self._evidence.manifests.get(member.image.digest, NO_TIMES)
        if clock is Clock.CREATED:
            return self._known(of.created)
        if clock is Clock.UNTAGGED:
            return self._unused(member.image, self._known(of.untagged))
        if clock is Clock.UPLOADED:
            return self._known(of.pushed)
        tags = self._evidence.tags
        pushed = [self._known(tags.get(tag, NO_TIMES).pushed) for tag in member.tags]
        if clock is Clock.PUSHED:
            pushed.append(self._known(of.pushed))
        return _latest(pushed)

    def _pulled_at(self, image: Image, asked_for: Moment | None) -> Moment | None:
        """Return when an image was last pulled: itself, which is told, or one of its platforms.

        A client that pulls an image for one platform by digest may never ask for its index.
        """
        if image.digest not in self._pulled:
            self._pulled[image.digest] = self._pulled_by_digest(image.digest)
        return _latest([asked_for, self._pulled[image.digest]])

    def _asked_for(self, image: Image) -> Moment | None:
        """Return when an image itself was last pulled: by a tag, or by its digest."""
        tags = self._evidence.tags
        by_digest = self._evidence.manifests.get(image.digest, NO_TIMES).pulled
        return _latest([by_digest, *(tags.get(tag, NO_TIMES).pulled for tag in image.tags)])

    def _pulled_by_digest(self, digest: Digest) -> Moment | None:
        if not self._any_pulled:
            return None
        of = self._evidence.manifests
        below = reach([digest], self._repository.lists, {}).manifests
        return _latest(of.get(one, NO_TIMES).pulled for one in below)

    def _unused(self, image: Image, untagged: Moment | None) -> Moment | None:
        """Return since when an untagged image is not used: one that is pulled by digest is."""
        pulled = self._pulled_at(image, self._asked_for(image))
        if untagged is None or pulled is None or pulled.seconds <= untagged.seconds:
            return untagged
        return Moment(pulled.seconds, f"last pulled then, {pulled.source}")

    def _known(self, moment: Moment | None) -> Moment | None:
        if moment is None or EARLIEST <= moment.seconds <= self._latest:
            return moment
        return None


def _latest(moments: Iterable[Moment | None]) -> Moment | None:
    known = [moment for moment in moments if moment is not None]
    return max(known, key=lambda moment: moment.seconds) if known else None
