"""The plan of a prune: what a policy removes from a registry and why, and what speaks against it.

It is what a dry run prints, what a plan file holds, and what is applied.
"""

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from jettison.errors import Refused
from jettison.model.digest import Digest
from jettison.model.listing_problems import ListingProblem
from jettison.model.manifest import referenced_digest
from jettison.model.names import RepoName
from jettison.model.plan import Plan
from jettison.model.plausibility import Owner
from jettison.model.removal import Removal, plan_removal
from jettison.model.retention.decide import GroupSizes, RepositoryDecision, Sums
from jettison.model.retention.policy import Policy
from jettison.model.retention.quantities import Share
from jettison.model.retention.reasons import Decision, Reason
from jettison.model.retention.removed_bytes import RemovedBytes
from jettison.model.snapshot import Node, RepositorySnapshot

__all__ = [
    "NOTHING_ALLOWED",
    "PRUNE_SCHEMA",
    "Allowed",
    "PruneCode",
    "PruneObjection",
    "PrunePlan",
    "RepositoryCount",
    "Stay",
    "added_up",
    "copied_note",
    "count_repository",
    "find_clock_objection",
    "find_early_objection",
    "find_objections",
    "find_owner_objection",
    "plan_decided",
    "stays_of",
    "unread_note",
]

PRUNE_SCHEMA: Final = 1
MOST_DIFFERENCE: Final = 60.0
"""Seconds by which two clocks may differ."""
_SHOWN: Final = 3


class Stay(msgspec.Struct, frozen=True):
    """How many tags and untagged manifests of a repository stay for one reason."""

    repository: RepoName
    reason: Reason
    rule: str
    count: int


class RepositoryCount(msgspec.Struct, frozen=True):
    """A repository in figures.

    ``tags`` are those that lead to a manifest. ``removed_tags`` go, signatures' too. ``complete``:
    nothing in its list was missing or unreadable. ``emptied``: every tag of an image goes.
    """

    repository: RepoName
    tags: int
    images: int
    removed_tags: int
    removed_images: int
    complete: bool = True
    emptied: bool = False


class PruneCode(enum.StrEnum):
    """What speaks against a prune."""

    ALL_TAGS = "all-tags"
    """Every tag of a repository would go."""
    SHARE = "large-share"
    """More would go than the policy allows."""
    CLOCK = "clock"
    """The clocks of this machine and of the registry differ."""
    OWNER = "foreign-owner"
    """Another program knows which images of the storage exist."""
    INCOMPLETE = "incomplete"
    """The list of a repository, from which something would go, is not complete."""


class PruneObjection(msgspec.Struct, frozen=True):
    """Why a prune is refused; ``option`` allows it all the same.

    ``repository``: only that one is left out, and the others are pruned.
    """

    code: PruneCode
    message: str
    option: str
    repository: RepoName | None = None


class Allowed(msgspec.Struct, frozen=True):
    """What a user allows; ``most`` in place of the policy's ``max_removal``."""

    all_tags: bool = False
    clock: bool = False
    incomplete: bool = False
    foreign_owner: bool = False
    most: Share | None = None

    def with_more(self, other: "Allowed") -> "Allowed":
        """Return what either allows; of two shares, the other's."""
        return Allowed(
            self.all_tags or other.all_tags,
            self.clock or other.clock,
            self.incomplete or other.incomplete,
            self.foreign_owner or other.foreign_owner,
            other.most or self.most,
        )


NOTHING_ALLOWED: Final = Allowed()


class PrunePlan(msgspec.Struct, frozen=True):
    """What a policy removes, with the steps that do it.

    ``decided`` is the time of the decision (seconds since the epoch), ``policy_fingerprint`` tells
    policies apart. ``decisions`` are those for all that goes; ``stays`` counts what stays.
    ``storage`` is that on which it was made, if it was at hand, and ``configuration`` the path of
    the file that opens it, if it is a bucket. ``allowed`` is what a user allows, ``trust_times``
    whether the times of a copy count.
    ``unread`` are repositories that could not be read, ``left`` sentences about what changed since
    the plan was made: neither is touched. ``notes`` are sentences about what could not be known.
    """

    plan: Plan
    policy: Policy
    policy_fingerprint: Digest
    decided: float
    decisions: tuple[Decision, ...]
    stays: tuple[Stay, ...]
    counts: tuple[RepositoryCount, ...]
    bytes: RemovedBytes
    sums: tuple[Sums, ...] = ()
    groups: tuple[GroupSizes, ...] = ()
    objections: tuple[PruneObjection, ...] = ()
    storage: str | None = None
    configuration: str | None = None
    allowed: Allowed = NOTHING_ALLOWED
    trust_times: bool = False
    unread: tuple[ListingProblem, ...] = ()
    left: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    schema_version: int = PRUNE_SCHEMA

    @property
    def opened_by(self) -> str | None:
        """What ``--storage`` has to name so that the storage is opened."""
        return self.configuration or self.storage

    @property
    def removed_images(self) -> int:
        """How many images go."""
        counts = (one for one in self.counts if one.repository not in self.left_out)
        return sum(count.removed_images for count in counts)

    @property
    def deleted(self) -> frozenset[Node]:
        """The manifests that go."""
        steps = self.plan.steps
        return frozenset((one.repository, one.deletes) for one in steps if one.deletes is not None)

    @property
    def refused(self) -> tuple[PruneObjection, ...]:
        """The objections to the whole, not to one repository."""
        return tuple(one for one in self.objections if one.repository is None)

    @property
    def left_out(self) -> frozenset[RepoName]:
        """The repositories of which nothing goes, since something speaks against it."""
        return frozenset(one.repository for one in self.objections if one.repository is not None)

    @property
    def going(self) -> Plan:
        """The plan without the steps of repositories that are left out: what is carried out."""
        left_out = self.left_out
        if not left_out:
            return self.plan
        steps = tuple(step for step in self.plan.steps if step.repository not in left_out)
        return msgspec.structs.replace(self.plan, steps=steps)


def plan_decided(
    repository: RepositorySnapshot, decided: RepositoryDecision
) -> tuple[RepositoryDecision, Removal]:
    """Return how what was decided is removed, and the decision as far as it can be carried out.

    Where something that cannot be read may need an untagged manifest, none of these goes.
    """
    if not repository.problems:
        try:
            return decided, plan_removal(repository, decided.tags, decided.digests)
        except Refused:
            pass
    kept = tuple(
        msgspec.structs.replace(one, removed=False, reason=Reason.HELD)
        if one.removed and one.tag is None
        else one
        for one in decided.decisions
    )
    decided = msgspec.structs.replace(decided, decisions=kept)
    return decided, plan_removal(repository, decided.tags)


def count_repository(
    found: RepositoryDecision, removal: Removal, repository: RepositorySnapshot
) -> RepositoryCount:
    """Return a repository in figures. An image whose manifest stays is not removed."""
    images = {one.digest for one in found.decisions if one.removed and not one.follows}
    going = removal.tags & repository.tags.keys()
    # A signature that stays behind is no image.
    own = {tag for tag in repository.tags if referenced_digest(tag) is None}
    return RepositoryCount(
        found.repository,
        len(repository.tags),
        found.images,
        len(going),
        len(images & removal.manifests),
        not repository.problems,
        bool(going) and (own or repository.tags.keys()) <= going,
    )


def stays_of(found: RepositoryDecision) -> Iterator[Stay]:
    """Yield what stays of a repository, by reason."""
    counts = Counter((one.reason, one.rule) for one in found.decisions if not one.removed)
    for (reason, rule), count in sorted(counts.items()):
        yield Stay(found.repository, reason, rule, count)


def find_objections(
    counts: Sequence[RepositoryCount], sizes: RemovedBytes, policy: Policy, allowed: Allowed
) -> Iterator[PruneObjection]:
    """Yield what speaks against a prune and is not allowed (the circuit breakers of design.md)."""
    if not allowed.all_tags:
        emptied = [one.repository for one in counts if one.emptied]
        if emptied:
            message = f"every tag of {_names(emptied)} would go"
            yield PruneObjection(PruneCode.ALL_TAGS, message, "--allow-all-tags")
    most = allowed.most or policy.max_removal
    large, percent = [], 0
    for what, part, whole in (
        ("tags", sum(one.removed_tags for one in counts), sum(one.tags for one in counts)),
        ("bytes", sizes.freed_bytes, sizes.total_bytes),
    ):
        if whole and part > most.value * whole:
            large.append(f"{part:,} of {whole:,} {what} ({100 * part / whole:.0f} %)")
            percent = max(percent, min(100, int(100 * part / whole) + 1))
    if large:
        message = f"{' and '.join(large)} would go, more than {most}"
        yield PruneObjection(PruneCode.SHARE, message, f"--max-removal {percent}%")
    if not allowed.incomplete:
        for one in counts:
            if not one.complete and (one.removed_tags or one.removed_images):
                message = f"the list of {one.repository} is not complete, so nothing of it goes"
                yield PruneObjection(
                    PruneCode.INCOMPLETE, message, "--allow-incomplete", one.repository
                )


def find_clock_objection(difference: float | None, allowed: Allowed) -> Iterator[PruneObjection]:
    """Yield an objection if a registry's clock is ``difference`` seconds before this machine's.

    Ages are then wrong by as much; a minute does not matter.
    """
    if difference is not None and abs(difference) > MOST_DIFFERENCE and not allowed.clock:
        message = f"the registry's clock and this machine's differ by {abs(difference):,.0f} s"
        yield PruneObjection(PruneCode.CLOCK, message, "--ignore-clock")


def find_early_objection(ahead: float, allowed: Allowed) -> Iterator[PruneObjection]:
    """Yield an objection if a plan was decided ``ahead`` seconds after the present.

    A clock was wrong: then, and young images were old to it, or now.
    """
    if ahead > MOST_DIFFERENCE and not allowed.clock:
        message = f"the plan was made {ahead:,.0f} s after the present, by this machine's clock"
        yield PruneObjection(PruneCode.CLOCK, message, "--ignore-clock")


def find_owner_objection(
    storage: str, owners: Iterable[Owner], allowed: Allowed
) -> Iterator[PruneObjection]:
    """Yield an objection for each program that knows which images of a storage exist."""
    for owner in () if allowed.foreign_owner else owners:
        message = f"{storage} belongs to {owner.name} ({owner.clue}); let it remove images"
        yield PruneObjection(PruneCode.OWNER, message, "--allow-foreign-owner")


def copied_note(names: Iterable[RepoName]) -> str:
    """Return a sentence about repositories with times that look like those of a copy."""
    what = "the times of the links look like those of a copy, so when it was pushed is not known"
    return f"{_names(names)}: {what}"


def unread_note(problem: ListingProblem) -> str:
    """Return a sentence about a repository that could not be read."""
    return f"{problem.subject} could not be read, and is left alone: {problem.message}"


def added_up(sums: Iterable[Sums]) -> tuple[Sums, ...]:
    """Return the sums of all repositories, by rule."""
    found: dict[str, Sums] = {}
    for one in sums:
        before = found.get(one.rule, Sums(one.rule, 0, 0))
        found[one.rule] = Sums(
            one.rule,
            before.old_and_beyond + one.old_and_beyond,
            before.old_or_beyond + one.old_or_beyond,
        )
    return tuple(found[rule] for rule in sorted(found))


def _names(names: Iterable[RepoName]) -> str:
    found = sorted(names)
    more = f" and {len(found) - _SHOWN} more repositories" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
