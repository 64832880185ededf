"""A prune from policy to receipt: read, decide, plan, apply, verify.

What a policy removes is removed as by ``rm``, step by step, journaled, and undone as one run. This
module makes the plan, and looks before it is applied whether the registry is still what was seen.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, suppress
from typing import Final

import msgspec

from jettison.errors import (
    AccessDenied,
    InvalidName,
    JettisonError,
    LoginRefused,
    NotFoundError,
    Refused,
    StorageError,
    UnexpectedResponse,
)
from jettison.jobs.apply import require_deletion
from jettison.jobs.concurrency import each
from jettison.jobs.current_state import list_tags
from jettison.jobs.discover import UNTAGGED, add_referrers, list_repositories
from jettison.jobs.incomplete_images import note_missing
from jettison.jobs.removal_plan import nearest
from jettison.jobs.remove import PreparedRemoval, RemovalJob, RemovalSettings
from jettison.jobs.steps import moved
from jettison.jobs.survey import Cache, Surveyed, survey
from jettison.jobs.workspace import Workspace
from jettison.model import codec
from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.journal import JobState, PruneHead, RemovalEntry
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
from jettison.model.retention.in_use import held_together
from jettison.model.retention.patterns import Pattern, matcher
from jettison.model.retention.policy import Policy, State
from jettison.model.retention.prune_plan import (
    Allowed,
    PruneObjection,
    PrunePlan,
    RepositoryCount,
    Stay,
    count_repository,
    find_clock_objection,
    find_objections,
    plan_decided,
    stays_of,
)
from jettison.model.retention.pulls import KnownPulls
from jettison.model.retention.reasons import Decision, Reason
from jettison.model.retention.removed_bytes import RemovalAccounting
from jettison.model.snapshot import RepositorySnapshot, Snapshot
from jettison.model.times import rfc3339
from jettison.storage.untagged_seen import note_untagged

__all__ = ["PreparedPrune", "PruneJob", "PruneRequest", "held_at"]

ELSEWHERE: Final = (
    "repositories that the policy does not name were not looked at, and may share layers"
)

_NONE_IN_USE: Final = (
    "no image that the policy is about is in the lists of what is in use; are they of what uses "
    "this registry?"
)
_NO_LIST: Final = (AccessDenied, LoginRefused, NotFoundError, UnexpectedResponse)


class PruneRequest(msgspec.Struct, frozen=True):
    """The request of a prune.

    ``repositories`` narrow the policy to those that match any of the patterns. ``typed`` is the
    request as typed. ``held`` is what is in use; what the configuration of a storage says is
    immutable is held too. ``pulls`` is what a book of pulls tells, beside that of the storage.
    """

    policy: Policy
    typed: tuple[str, ...] = ()
    repositories: tuple[Pattern, ...] = ()
    held: Held = NOTHING_HELD
    pulls: KnownPulls | None = None
    allowed: Allowed = Allowed()


class PreparedPrune(msgspec.Struct, frozen=True):
    """A prune that can be applied; ``plan`` is None for the rest of an interrupted run."""

    plan: PrunePlan | None
    removal: PreparedRemoval


class PruneJob:
    """One prune in a workspace: planned, applied, and verified.

    The registry of the workspace is over its API, or that of its storage.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.removal = RemovalJob(workspace)

    # Planning.

    async def plan(self, request: PruneRequest, cache: Cache | None = None) -> PrunePlan:
        """Read the registry and decide, changing nothing.

        Raises :class:`NotFoundError` if the request names no repository that exists.
        """
        place = self._workspace
        now = place.clock()
        decider = Decider(request.policy, now, held_at(place, request.held))
        planning = _Planning(place, request, decider, now)
        try:
            names, problems = await list_repositories(place.source, place.progress)
        except _NO_LIST as error:
            # Robots of Harbor and Quay may not list them, and need not where each is named in full.
            names, problems = await self._named(request, error), []
            planning.look_no_further(error)
        wanted = self._wanted(request, decider, names)
        planning.note(*(problem.message for problem in problems))
        async for found in survey(
            place.source,
            wanted,
            decider,
            now=now,
            pulls=request.pulls,
            cache=cache,
            progress=place.progress,
        ):
            if isinstance(found, ListingProblem):
                planning.leave_out(found)
            else:
                await planning.add(found, cache)
        await planning.add_others(name for name in names if name not in set(wanted))
        return await planning.finish()

    async def _named(self, request: PruneRequest, error: JettisonError) -> list[RepoName]:
        """Return the repositories, if all are named in full; raise ``error`` otherwise."""
        patterns = request.repositories or tuple(
            one for rule in request.policy.rules if rule.removes for one in rule.repositories
        )
        try:
            names = sorted(set(map(RepoName, patterns)))
        except InvalidName:
            raise error from None
        for name in names if request.repositories else ():
            # What the command names and is not there is an error, with a list and without.
            async with aclosing(self._workspace.source.tags(name)) as tags:  # type: ignore[type-var]
                await anext(tags, None)
        return names

    def _wanted(
        self, request: PruneRequest, decider: Decider, names: list[RepoName]
    ) -> list[RepoName]:
        if not request.repositories:
            return [name for name in names if decider.names(name)]
        matches = matcher(request.repositories)
        found = [name for name in names if matches(name)]
        if not found:
            asked = ", ".join(request.repositories)
            where = self._workspace.source.name
            message = f"{where} has no repository {asked}"
            raise NotFoundError(message, hint=nearest(asked, names, "repositories", where))
        return [name for name in found if decider.names(name)]

    # Applying.

    def fingerprint(self, request: PruneRequest, settings: RemovalSettings) -> str:
        """Return what tells the command of a request from others, so that it can finish a run."""
        place = self._workspace
        parts = (
            "prune",
            place.registry.name,
            sorted(request.repositories),
            request.policy.fingerprint,
            request.held.fingerprint,
            None if place.storage is None else place.storage.location,
            settings.reclaim,
        )
        return msgspec.json.encode(codec.plain(parts)).decode()

    def fingerprint_of(self, made: PrunePlan) -> str:
        """Return what tells the application of a plan from others."""
        return str(Digest.of(codec.encode(made)))

    def find_interrupted(self, fingerprint: str, settings: RemovalSettings) -> PreparedPrune | None:
        """Return the rest of a run of the same command that stopped half-way."""
        begun = self.removal.find_unfinished(fingerprint)
        if begun is None:
            return None
        return PreparedPrune(None, self.removal.plan_rest(begun, settings))

    def find_done(self, fingerprint: str) -> PruneHead | None:
        """Return the run that applied a plan already and was not undone."""
        place = self._workspace
        found = [
            head
            for journal in (place.users_journal, place.journal)
            for head in journal.heads()
            if isinstance(head, PruneHead)
            and head.fingerprint == fingerprint
            and head.state is JobState.DONE
        ]
        return max(found, key=lambda head: head.id, default=None)

    async def prepare(
        self, made: PrunePlan, settings: RemovalSettings, fingerprint: str
    ) -> PreparedPrune:
        """Return what applying a plan does; raise if the registry does not delete."""
        left_out = {one.repository for one in made.objections if one.repository is not None}
        steps = tuple(step for step in made.plan.steps if step.repository not in left_out)
        plan = msgspec.structs.replace(made.plan, steps=steps)
        place = self._workspace
        deleting = await require_deletion(place.registry, sorted({s.repository for s in steps})[:1])
        await place.require_same(plan)
        removal = self.removal.prepare(fingerprint, settings, plan, made.decided, deleting)
        return PreparedPrune(made, msgspec.structs.replace(removal, pruned=True))

    async def without_moved(self, made: PrunePlan, *, skip: bool) -> PrunePlan:
        """Return a plan that was made earlier, as far as the registry is what it saw.

        A tag that is to go and points elsewhere, and a tag that was to stay and is gone, raise
        :class:`PlanStale`; with ``skip`` they are left, and a repository of the second kind as a
        whole. What is gone already is as it should be.
        """
        place, plan = self._workspace, made.plan
        stale: set[RepoName] = set()
        going = {(s.repository, tag): s.digest for s in plan.steps for tag in s.tags}

        async def listed(name: RepoName) -> set[Tag]:
            return await list_tags(place.source, name)

        async for name, present in each(sorted({s.repository for s in plan.steps}), listed):
            seen = plan.seen.get(name, {})
            lost = sorted(tag for tag in seen if tag not in present and (name, tag) not in going)
            if lost and not skip:
                raise moved(plan.registry, name, lost[0], seen[lost[0]], None)
            if lost:
                stale.add(name)

        async def resolve(item: tuple[RepoName, Tag]) -> Digest | None:
            return await place.source.resolve(*item)

        if not skip:
            async for (name, tag), now in each(going, resolve):
                was = going[name, tag]
                if now is not None and was is not None and now != was:
                    raise moved(plan.registry, name, tag, was, now)
        steps = tuple(step for step in plan.steps if step.repository not in stale)
        return msgspec.structs.replace(made, plan=msgspec.structs.replace(plan, steps=steps))

    async def apply(self, prepared: PreparedPrune, cache: Cache | None = None) -> RemovalEntry:
        """Apply a plan and verify it; return its journal entry.

        Raises :class:`Refused`, and changes nothing, if something speaks against the whole.
        """
        if prepared.plan is not None:
            require_unopposed(prepared.plan)
        entry = await self.removal.apply(prepared.removal, cache)
        if prepared.plan is not None:
            self.note_untagged(prepared.plan)
        return entry

    def note_untagged(self, made: PrunePlan) -> None:
        """Note which manifests have no tag in a storage, so that later runs know since when.

        That is for a run that removes what its policy says, be it nothing. Repositories count that
        a rule about untagged images names.
        """
        storage = self._workspace.storage
        if storage is None:
            return
        decider = Decider(made.policy, made.decided)
        for count in made.counts:
            if State.UNTAGGED in decider.states(count.repository):
                with suppress(StorageError):  # then it takes longer until something is old
                    note_untagged(storage, count.repository, self._workspace.clock)


def held_at(place: Workspace, held: Held) -> Held:
    """Return what is held, with what the configuration of a storage says is immutable."""
    if place.configuration is None:
        return held
    return held_together((held, Held(immutable=place.configuration.immutable)))


def require_unopposed(made: PrunePlan) -> None:
    """Raise :class:`Refused` with the option that allows what speaks against a plan."""
    opposed = made.refused
    if not opposed and made.objections and not _steps_left(made):
        opposed = made.objections
    if opposed:
        message = "; ".join(one.message for one in opposed) + "; nothing was changed"
        options = list(dict.fromkeys(one.option for one in opposed))
        again = tuple(word for option in options for word in option.split())
        raise Refused(message, hint="If that is meant, add " + " ".join(options), again=again)


def _steps_left(made: PrunePlan) -> bool:
    left_out = {one.repository for one in made.objections}
    return any(step.repository not in left_out for step in made.plan.steps)


class _Planning:
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
        self._sums: dict[str, Sums] = {}
        self._groups: list[GroupSizes] = []
        self._notes: dict[str, None] = {}
        self._unknown: dict[str, None] = {}

    def note(self, *sentences: str) -> None:
        """Note what could not be known."""
        self._notes.update(dict.fromkeys(sentences))

    def leave_out(self, problem: ListingProblem) -> None:
        """Note a repository that could not be read."""
        self.note(f"{problem.subject} could not be read, and is left alone: {problem.message}")
        self._unknown[problem.message] = None

    async def add(self, found: Surveyed, cache: Cache | None) -> None:
        """Decide about a repository."""
        snapshot, evidence = found
        name = snapshot.name
        decided = self._decider.decide(snapshot, evidence)
        snapshot, decided, removal = await self._removal(found, decided, cache)
        self._accounting.add(snapshot, removal.manifests)
        listed = len(snapshot.tags) + len(snapshot.dangling) + len(snapshot.unresolved)
        self._counts.append(count_repository(decided, listed, complete=not snapshot.problems))
        self._stays += stays_of(decided)
        self._groups += decided.groups
        for one in decided.sums:
            before = self._sums.get(one.rule, Sums(one.rule, 0, 0))
            self._sums[one.rule] = Sums(
                one.rule,
                before.old_and_beyond + one.old_and_beyond,
                before.old_or_beyond + one.old_or_beyond,
            )
        if evidence.copied:
            self.note(
                f"{name}: the times of its links look like those of a copy, so nothing is old by "
                "them (--trust-times uses them)"
            )
        if evidence.unknown:
            # Without the repository's name: it is the same for all of a registry, most times.
            self.note(
                f"not all times are known, and what is not is never old: {evidence.unknown} "
                "(--clock created counts by the configs)"
            )
        if not snapshot.complete:
            self._unknown[UNTAGGED] = None
            if self._decider.states(name) - {State.TAGGED}:
                self.note(
                    f"{self._place.source.name} does not list untagged manifests over its API, so "
                    "none is removed; give its storage to remove them"
                )
        if removal.steps:
            await self._add_plan(snapshot, decided, removal)

    async def _removal(
        self, found: Surveyed, decided: RepositoryDecision, cache: Cache | None
    ) -> tuple[RepositorySnapshot, RepositoryDecision, Removal]:
        snapshot = found.snapshot
        tags, digests = decided.tags, decided.digests
        start = {snapshot.tags[tag] for tag in tags} | digests
        if start and not snapshot.complete:
            below = reach(start, snapshot.edges, {}).manifests
            snapshot = await add_referrers(self._place.source, snapshot, sorted(below), cache)
            # One of them may be held, and then what it is about is, too.
            if snapshot.manifests.keys() != found.snapshot.manifests.keys():
                decided = self._decider.decide(snapshot, found.evidence)
        return snapshot, *plan_decided(snapshot, decided)

    async def _add_plan(
        self, snapshot: RepositorySnapshot, decided: RepositoryDecision, removal: Removal
    ) -> None:
        goes = tuple(one for one in decided.decisions if one.removed)
        self._decisions[snapshot.name] = goes
        by_tag = {one.tag: one for one in goes if one.tag is not None}
        by_digest = {one.digest: one for one in goes if one.tag is None}
        plan = Plan(
            registry=self._place.registry.name,
            created=rfc3339(self._now),
            request=self._request.typed,
            steps=tuple(_explained(step, by_tag, by_digest) for step in removal.steps),
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
        """Return the plan as a whole."""
        place, request = self._place, self._request
        stored = place.storage
        blobs = () if stored is None else ((blob.digest, blob.size) for blob in stored.blobs())
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
        held = request.held
        if (held.tags or held.digests) and all(s.reason is not Reason.IN_USE for s in self._stays):
            self.note(_NONE_IN_USE)
        counts = tuple(sorted(self._counts, key=lambda count: count.repository))
        objections: list[PruneObjection] = list(
            find_objections(counts, sizes, request.policy, request.allowed)
        )
        difference = place.registry.clock_difference
        objections += find_clock_objection(difference, request.allowed)
        return PrunePlan(
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
            sums=tuple(self._sums[name] for name in sorted(self._sums)),
            groups=tuple(sorted(self._groups, key=lambda one: (one.rule, one.repository))),
            objections=tuple(objections),
            storage=None if stored is None else stored.location,
            notes=tuple(self._notes),
        )


def _explained(step: Step, by_tag: dict[Tag, Decision], by_digest: dict[Digest, Decision]) -> Step:
    """Return a step with the policy's reason in place of "named by the request"."""
    decision = next((by_tag[tag] for tag in step.tags if tag in by_tag), None)
    if decision is None and step.digest is not None:
        decision = by_digest.get(step.digest)
    if decision is None:
        return step
    return msgspec.structs.replace(step, reason=decision.sentence, code=StepCode.POLICY)
