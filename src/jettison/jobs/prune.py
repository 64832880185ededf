"""A prune from policy to receipt: read, decide, plan, apply, verify.

What a policy removes is removed as by ``rm``, step by step, journaled, and undone as one run. This
module makes the plan, and looks before it is applied whether the registry is still what was seen.
"""

from collections.abc import Iterator, Sequence
from contextlib import aclosing, suppress
from typing import Final

import msgspec

from jettison.collector.parallel import few_cycles
from jettison.errors import (
    AccessDenied,
    DeletionDisabled,
    InvalidName,
    JettisonError,
    LoginRefused,
    NotFoundError,
    Refused,
    StorageError,
    UnexpectedResponse,
)
from jettison.jobs.apply import Deleting, require_deletion
from jettison.jobs.discover import list_repositories
from jettison.jobs.prune_planning import Planning, PruneRequest
from jettison.jobs.prune_renewal import keep_what_stays, renew_plan
from jettison.jobs.removal_plan import nearest
from jettison.jobs.remove import PreparedRemoval, RemovalJob, RemovalSettings
from jettison.jobs.survey import Cache, survey
from jettison.jobs.workspace import Workspace
from jettison.model import codec
from jettison.model.digest import Digest
from jettison.model.journal import JobState, RemovalEntry
from jettison.model.listing_problems import ListingProblem
from jettison.model.names import RepoName
from jettison.model.retention.decide import (
    NOTHING_HELD,
    Decider,
    Held,
)
from jettison.model.retention.in_use import held_together
from jettison.model.retention.mistakes import require_meant
from jettison.model.retention.patterns import matcher
from jettison.model.retention.policy import Policy, State
from jettison.model.retention.prune_plan import (
    NOTHING_ALLOWED,
    Allowed,
    PrunePlan,
)
from jettison.model.retention.pulls import KnownPulls
from jettison.registry import Registry
from jettison.storage.untagged_seen import note_untagged

__all__ = ["PreparedPrune", "PruneJob", "PruneRequest", "held_at", "require_unopposed"]

_NO_LIST: Final = (AccessDenied, LoginRefused, NotFoundError, UnexpectedResponse)


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

        Raises :class:`NotFoundError` if the request names no repository that exists, and
        :class:`~jettison.errors.InvalidPolicy` for a policy that cannot be meant.
        """
        require_meant(request.policy)
        with few_cycles():
            return await self._plan(request, cache)

    async def _plan(self, request: PruneRequest, cache: Cache | None) -> PrunePlan:
        place = self._workspace
        if request.trust_times:
            place = place.trusting_times()
        place.look_again()
        now = place.clock()
        decider = Decider(request.policy, now, held_at(place, request.held))
        planning = Planning(place, request, decider, now)
        try:
            names, problems = await list_repositories(place.source, place.progress)
        except _NO_LIST as error:
            # Robots of Harbor and Quay may not list them, and need not where each is named in full.
            names, problems = await self._named(request, error), []
            planning.look_no_further(error)
        wanted = self._wanted(request, decider, names)
        planning.note(*(problem.message for problem in problems))
        planning.note(*_unmatched(request.policy, names))
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
        looked_at = set(wanted)
        await planning.add_others(name for name in names if name not in looked_at)
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
            None if place.storage is None else place.storage.location,
            settings.reclaim,
        )
        return msgspec.json.encode(codec.plain(parts)).decode()

    def fingerprint_of(self, made: PrunePlan) -> str:
        """Return what tells the application of a plan from others."""
        return str(Digest.of(codec.encode(made)))

    async def find_interrupted(
        self,
        fingerprint: str,
        settings: RemovalSettings,
        request: PruneRequest,
        cache: Cache | None = None,
    ) -> PreparedPrune | None:
        """Return the rest of a run of the same command that stopped half-way.

        The policy decides again: what stays by now is left.
        """
        begun = self.removal.find_unfinished(fingerprint)
        if begun is None:
            return None
        return await self._rest(begun, settings, await self.plan(request, cache), request.held)

    async def find_rest(
        self,
        made: PrunePlan,
        settings: RemovalSettings,
        held: Held = NOTHING_HELD,
        pulls: KnownPulls | None = None,
        cache: Cache | None = None,
    ) -> PreparedPrune | None:
        """Return the rest of a run that applied a plan and stopped half-way, looked at again."""
        begun = self.removal.find_unfinished(self.fingerprint_of(made))
        if begun is None:
            return None
        by_now = await self.renew(made, held, skip=True, pulls=pulls, cache=cache)
        return await self._rest(begun, settings, by_now, held)

    async def _rest(
        self, begun: RemovalEntry, settings: RemovalSettings, by_now: PrunePlan, held: Held
    ) -> PreparedPrune:
        place = self._workspace
        if begun.state is not JobState.DONE:
            begun = await keep_what_stays(place, begun, by_now, held_at(place, held))
        return PreparedPrune(None, self.removal.plan_rest(begun, settings))

    async def renew(
        self,
        made: PrunePlan,
        held: Held = NOTHING_HELD,
        *,
        skip: bool = False,
        allowed: Allowed = NOTHING_ALLOWED,
        pulls: KnownPulls | None = None,
        cache: Cache | None = None,
    ) -> PrunePlan:
        """Return a plan that was made earlier, as far as its policy still says so.

        What is gone already is as it should be. What changed so that it stays by now raises
        :class:`PlanStale`; with ``skip`` it is left.
        """
        place = self._workspace
        if made.trust_times:
            place = place.trusting_times()
        place.look_again()
        held = held_at(place, held)
        return await renew_plan(place, made, held, allowed, skip=skip, pulls=pulls, cache=cache)

    async def prepare(
        self,
        made: PrunePlan,
        settings: RemovalSettings,
        fingerprint: str,
        looked: float,
        *,
        once: bool = False,
    ) -> PreparedPrune:
        """Return what applying a plan does, of which the registry was read at ``looked``.

        ``once``: the fingerprint is that of the plan, which is applied once.
        Raises if the registry does not delete, and if the storage is not its storage.
        """
        plan = made.going
        place = self._workspace
        deleting = await _find_deletion(place.registry, sorted({s.repository for s in plan.steps}))
        await place.require_same(plan)
        removal = self.removal.prepare(fingerprint, settings, plan, looked, deleting)
        return PreparedPrune(made, msgspec.structs.replace(removal, pruned=True, once=once))

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


async def _find_deletion(registry: Registry, repositories: Sequence[RepoName]) -> Deleting:
    """Return how the registry deletes, by the first repository in which it does.

    One that a login may not delete from is no reason to leave the others.
    """
    first: JettisonError | None = None
    for name in repositories:
        try:
            return await require_deletion(registry, [name])
        except (AccessDenied, DeletionDisabled) as error:
            first = first or error
    if first is not None:
        raise first
    return await require_deletion(registry, ())


def _unmatched(policy: Policy, names: Sequence[RepoName]) -> Iterator[str]:
    """Yield a sentence for each pattern of a rule that matches no repository, such as a typo."""
    patterns = (one for rule in policy.rules if rule.removes for one in rule.repositories)
    for pattern in dict.fromkeys(patterns):
        if pattern != "*" and not any(map(matcher([pattern]), names)):
            yield f"no repository matches {pattern}, which the policy names"


def held_at(place: Workspace, held: Held) -> Held:
    """Return what is held, with what the configuration of a storage says is immutable."""
    if place.configuration is None:
        return held
    return held_together((held, Held(immutable=place.configuration.immutable)))


def require_unopposed(made: PrunePlan) -> None:
    """Raise :class:`Refused` with the option that allows what speaks against a plan."""
    opposed = made.refused
    if not opposed and made.objections and not made.going.steps:
        opposed = made.objections
    if opposed:
        message = "; ".join(one.message for one in opposed) + "; nothing was changed"
        options = list(dict.fromkeys(one.option for one in opposed))
        again = tuple(word for option in options for word in option.split())
        raise Refused(message, hint="If that is meant, add " + " ".join(options), again=again)
