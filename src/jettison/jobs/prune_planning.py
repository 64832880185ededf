"""The plan of a prune while it is made: repository after repository, decided, planned, counted."""

import os
from collections.abc import AsyncIterator, Iterable
from typing import Final

import msgspec

from jettison.collector.plausibility import find_owners
from jettison.errors import JettisonError, UsageError
from jettison.jobs.discover import UNTAGGED, add_referrers
from jettison.jobs.incomplete_images import note_missing
from jettison.jobs.survey import Cache, Surveyed, survey
from jettison.jobs.workspace import Workspace
from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.listing_problems import ListingProblem
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Estimate, Plan, Step, StepCode
from jettison.model.removal import Removal
from jettison.model.retention.decide import (
    NOTHING_HELD,
    Decider,
    GroupSizes,
    Held,
    RepositoryDecision,
    Sums,
)
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.policy import Policy, State
from jettison.model.retention.prune_plan import (
    NOTHING_ALLOWED,
    Allowed,
    PrunePlan,
    RepositoryCount,
    Stay,
    added_up,
    copied_note,
    count_repository,
    find_clock_objection,
    find_early_objection,
    find_objections,
    find_owner_objection,
    plan_decided,
    stays_of,
    unread_note,
)
from jettison.model.retention.pulls import KnownPulls
from jettison.model.retention.reasons import Decision, Reason
from jettison.model.retention.removed_bytes import RemovalAccounting
from jettison.model.snapshot import RepositorySnapshot, Snapshot
from jettison.model.times import rfc3339
from jettison.registry import Registry
from jettison.storage.registry import blob_sizes

__all__ = ["Planning", "PruneRequest", "decide_whole", "explained", "object_to"]

ELSEWHERE: Final = (
    "repositories that the policy does not name were not looked at, and may share layers"
)

_NONE_IN_USE: Final = (
    "no image that the policy is about is in the lists of what is in use; are they of what uses "
    "this registry?"
)


_TIMELESS: Final = (
    "the configs of some images tell no time, as those of reproducible builds: they stay "
    "(--storage counts by pushes, and `jettison rm` takes tags by name)"
)


class PruneRequest(msgspec.Struct, frozen=True):
    """The request of a prune.

    ``repositories`` narrow the policy to those that match any of the patterns. ``typed`` is the
    request as typed. ``held`` is what is in use; what the configuration of a storage says is
    immutable is held too. ``pulls`` is what a book of pulls tells, beside that of the storage.
    ``trust_times``: the times of a storage's links count even if they look like those of a copy.
    """

    policy: Policy
    typed: tuple[str, ...] = ()
    repositories: tuple[Pattern, ...] = ()
    held: Held = NOTHING_HELD
    pulls: KnownPulls | None = None
    allowed: Allowed = NOTHING_ALLOWED
    trust_times: bool = False


class Planning:
    """A plan while it is made, repository by repository."""

    def __init__(
        self, place: Workspace, request: PruneRequest, decider: Decider, now: float
    ) -> None:
        self._place = place
        self._request = request
        self._decider = decider
        self._now = now
        self._accounting = RemovalAccounting()
        self._plans: dict[RepoName, Plan] = {}
        self._decisions: dict[RepoName, tuple[Decision, ...]] = {}
        self._stays: list[Stay] = []
        self._counts: list[RepositoryCount] = []
        self._sums: list[Sums] = []
        self._groups: list[GroupSizes] = []
        self._notes: dict[str, None] = {}
        self._copied: list[RepoName] = []
        self._unseen = 0
        self._unknown: dict[str, None] = {}
        self._unread: list[ListingProblem] = []

    def _are_timeless(self) -> bool:
        return any(stay.reason is Reason.TIME_UNKNOWN for stay in self._stays)

    def note(self, *sentences: str) -> None:
        """Note what could not be known."""
        self._notes.update(dict.fromkeys(sentences))

    @property
    def _unlisted(self) -> str:
        return f"{self._place.source.name} does not list untagged manifests over its API"

    def leave_out(self, problem: ListingProblem) -> None:
        """Note a repository that could not be read."""
        self.note(unread_note(problem))
        self._unknown[problem.message] = None
        self._unread.append(problem)

    async def add(self, found: Surveyed, cache: Cache | None) -> None:
        """Decide about a repository."""
        evidence = found.evidence
        snapshot, decided = await decide_whole(self._place.source, self._decider, found, cache)
        name = snapshot.name
        decided, removal = plan_decided(snapshot, decided)
        self._accounting.add(snapshot, removal.manifests)
        self._counts.append(count_repository(decided, removal, snapshot))
        self._stays += stays_of(decided)
        self._groups += decided.groups
        self._sums += decided.sums
        if evidence.copied:
            self._copied.append(name)
        if evidence.unknown:
            # Without the repository's name: it is the same for all of a registry, most times.
            self.note(
                f"not all times are known, and what is not is never old: {evidence.unknown} "
                "(--clock created counts by the configs)"
            )
        if not snapshot.complete:
            self._unknown[UNTAGGED] = None
            states = self._decider.states(name)
            self._unseen += states == {State.UNTAGGED}
            if states - {State.TAGGED}:
                self.note(f"{self._unlisted}, so those stay; give its storage to remove them")
        if removal.steps:
            await self._add_plan(snapshot, decided, removal)

    async def _add_plan(
        self, snapshot: RepositorySnapshot, decided: RepositoryDecision, removal: Removal
    ) -> None:
        goes = tuple(one for one in decided.decisions if one.removed)
        self._decisions[snapshot.name] = goes
        plan = Plan(
            registry=self._place.registry.name,
            created=rfc3339(self._now),
            request=self._request.typed,
            steps=explained(removal.steps, goes),
            kept=removal.kept,
            estimate=Estimate(),
            seen={snapshot.name: dict(snapshot.tags)},
            warnings=removal.warnings,
        )
        if self._place.storage is not None:
            alone = Snapshot(plan.registry, {snapshot.name: snapshot}, {}, stored=True)
            plan = await note_missing(self._place.source, plan, alone)
        self._plans[snapshot.name] = plan

    def look_no_further(self, error: JettisonError) -> None:
        """Note that the repositories of the registry could not be listed."""
        self._unknown[f"other repositories could not be listed: {error.message}"] = None

    async def add_others(self, names: Iterable[RepoName]) -> None:
        """Count what other repositories hold, which may share layers."""
        rest = list(names)
        if not rest:
            return
        if self._place.storage is None:
            self._unknown[ELSEWHERE] = None
            return
        others: AsyncIterator[Surveyed | ListingProblem] = survey(
            self._place.source, rest, self._decider, now=self._now
        )
        async for found in others:
            if isinstance(found, ListingProblem):
                self._unknown[found.message] = None
            else:
                self._accounting.add(found.snapshot, frozenset())

    async def finish(self) -> PrunePlan:
        """Return the plan as a whole.

        Raises :class:`UsageError` if it can have nothing, as all that the policy is about is
        not listed: a run every night would seem to be right.
        """
        place, request = self._place, self._request
        if self._unseen and self._unseen == len(self._counts):
            message = f"{self._unlisted}, and the policy is about no others; nothing was changed"
            hint = (
                "Add --storage CONFIG or DIR. Harbor, GitLab, Quay and zot remove them themselves."
            )
            raise UsageError(message, hint=hint)
        stored = place.storage
        blobs = () if stored is None else blob_sizes(stored)
        sizes, freed = self._accounting.counted(blobs, stored=stored is not None)
        unknown = tuple(self._unknown)
        plans = [self._plans[name] for name in sorted(self._plans)]
        plan = Plan(
            registry=place.registry.name,
            created=rfc3339(self._now),
            request=request.typed,
            steps=tuple(step for one in plans for step in one.steps),
            kept=tuple(kept for one in plans for kept in one.kept),
            estimate=Estimate(freed, (), sizes.freed_bytes, sizes.shared_bytes, unknown=unknown),
            seen={name: seen for one in plans for name, seen in one.seen.items()},
            warnings=tuple(warning for one in plans for warning in one.warnings),
            missing=tuple(broken for one in plans for broken in one.missing),
        )
        counts = tuple(sorted(self._counts, key=lambda count: count.repository))
        if self._copied:
            self.note(
                f"{copied_note(self._copied)} (--trust-times uses them, --clock created counts by "
                "the configs)"
            )
        elif self._place.storage is None and not self._notes and self._are_timeless():
            self.note(_TIMELESS)
        held = request.held
        if (held.tags or held.digests) and all(s.reason is not Reason.IN_USE for s in self._stays):
            self.note(_NONE_IN_USE)
        made = PrunePlan(
            plan=plan,
            policy=request.policy,
            policy_fingerprint=request.policy.fingerprint,
            decided=self._now,
            decisions=tuple(
                one for name in sorted(self._decisions) for one in self._decisions[name]
            ),
            stays=tuple(sorted(self._stays, key=lambda stay: stay.repository)),
            counts=counts,
            bytes=sizes,
            sums=added_up(self._sums),
            groups=tuple(sorted(self._groups, key=lambda one: (one.rule, one.repository))),
            storage=None if stored is None else stored.location,
            configuration=_opening(place),
            allowed=request.allowed,
            trust_times=request.trust_times,
            unread=tuple(sorted(self._unread, key=lambda one: one.subject)),
            notes=tuple(self._notes),
        )
        return object_to(place, made)


def _opening(place: Workspace) -> str | None:
    """Return the path of the configuration that opens a bucket; a folder is named by its path."""
    known = place.configuration
    if place.storage is None or known is None or known.storage.bucket is None:
        return None
    return None if known.path is None else os.path.abspath(known.path)  # noqa: PTH100 - a text


async def decide_whole(
    source: Registry, decider: Decider, found: Surveyed, cache: Cache | None
) -> tuple[RepositorySnapshot, RepositoryDecision]:
    """Return a repository and its decision, with what refers to the images that go.

    Where a list does not show that, it is asked for.
    """
    repository, evidence = found
    decided = decider.decide(repository, evidence)
    start = {repository.tags[tag] for tag in decided.tags} | decided.digests
    if not start or repository.complete:
        return repository, decided
    below = reach(start, repository.lists, {}).manifests
    whole = await add_referrers(source, repository, sorted(below), cache)
    # One of them may be held, and then what it is about is, too.
    if whole.manifests.keys() != repository.manifests.keys():
        decided = decider.decide(whole, evidence)
    return whole, decided


def object_to(place: Workspace, made: PrunePlan) -> PrunePlan:
    """Return a plan with what speaks against it here and now, and is not allowed."""
    allowed, storage = made.allowed, place.storage
    objections = list(find_objections(made.counts, made.bytes, made.policy, allowed))
    objections += find_clock_objection(place.registry.clock_difference, allowed)
    objections += find_early_objection(made.decided - place.clock(), allowed)
    if storage is not None and made.plan.steps:
        owners = find_owners(storage, place.configuration)
        objections += find_owner_objection(storage.location, owners, allowed)
    return msgspec.structs.replace(made, objections=tuple(objections))


def explained(steps: Iterable[Step], decisions: Iterable[Decision]) -> tuple[Step, ...]:
    """Return steps with the policy's reasons in place of "named by the request"."""
    by_tag, by_digest = dict[Tag, Decision](), dict[Digest, Decision]()
    for one in decisions:
        if one.tag is None:
            by_digest[one.digest] = one
        else:
            by_tag[one.tag] = one
    return tuple(_explained(step, by_tag, by_digest) for step in steps)


def _explained(step: Step, by_tag: dict[Tag, Decision], by_digest: dict[Digest, Decision]) -> Step:
    """Return a step with the policy's reason in place of "named by the request"."""
    decision = next((by_tag[tag] for tag in step.tags if tag in by_tag), None)
    if decision is None and step.digest is not None:
        decision = by_digest.get(step.digest)
    if decision is None:
        return step
    return msgspec.structs.replace(step, reason=decision.sentence, code=StepCode.POLICY)
