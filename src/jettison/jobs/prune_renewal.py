"""A second look at a plan that was made earlier, before it is applied or finished.

A plan file may be old, edited, or about another registry of the same name. So its steps are not
taken from it: the repositories are read again, the plan's policy is decided on them again at the
plan's time, and what goes is what both say.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from jettison.errors import JettisonError, PlanStale, Refused, UsageError
from jettison.jobs.concurrency import each
from jettison.jobs.incomplete_images import note_missing
from jettison.jobs.prune_planning import decide_whole, explained, object_to
from jettison.jobs.survey import Cache, Surveyed, survey
from jettison.jobs.workspace import Workspace
from jettison.model.digest import Digest
from jettison.model.journal import LeftCode, RemovalEntry, StepLeft
from jettison.model.listing_problems import ListingProblem
from jettison.model.manifest import referenced_digest
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Estimate, Plan, Step, StepCode
from jettison.model.retention.decide import Decider, Held
from jettison.model.retention.mistakes import require_meant
from jettison.model.retention.prune_plan import (
    Allowed,
    PrunePlan,
    RepositoryCount,
    count_repository,
    plan_decided,
    unread_note,
)
from jettison.model.retention.pulls import KnownPulls
from jettison.model.retention.reasons import Decision
from jettison.model.retention.removed_bytes import contents_of
from jettison.model.retention.renewal import Renewed, renew
from jettison.model.snapshot import Snapshot

__all__ = ["keep_what_stays", "renew_plan"]

_AGAIN: Final = "Make a new plan: jettison prune … --out FILE. Or leave what changed: --skip-moved."
_SHOWN: Final = 3


async def renew_plan(
    place: Workspace,
    made: PrunePlan,
    held: Held,
    allowed: Allowed,
    *,
    skip: bool,
    pulls: KnownPulls | None = None,
    cache: Cache | None = None,
) -> PrunePlan:
    """Return a plan that was made earlier, as far as its policy still says so.

    What is gone already is as it should be. What changed so that it stays by now, such as a tag
    that points elsewhere, raises :class:`PlanStale`; with ``skip`` it is left. ``allowed`` is what
    is allowed beside what was allowed when the plan was made.
    """
    _check(place, made)
    planned = _planned(made)
    decider = Decider(made.policy, made.decided, held)
    freed = frozenset(content.digest for content in made.plan.estimate.freed)
    parts: dict[RepoName, _Part] = {}
    unread: list[ListingProblem] = []
    async for found in survey(
        place.source,
        sorted(planned),
        decider,
        now=made.decided,
        pulls=pulls,
        cache=cache,
        progress=place.progress,
    ):
        if isinstance(found, ListingProblem):
            unread.append(found)
        else:
            name = found.snapshot.name
            parts[name] = await _part(
                place, made, decider, found, planned[name], cache, freed=freed
            )
    moved = [sentence for name in sorted(parts) for sentence in parts[name].moved]
    if moved and not skip:
        shown = "; ".join(moved[:_SHOWN])
        more = f"; and {len(moved) - _SHOWN} more" if len(moved) > _SHOWN else ""
        raise PlanStale(f"the registry is not what the plan saw: {shown}{more}", hint=_AGAIN)
    return _together(place, made, [parts[name] for name in sorted(parts)], unread, allowed)


def _check(place: Workspace, made: PrunePlan) -> None:
    if made.policy_fingerprint != made.policy.fingerprint:
        message = "the plan was edited: its fingerprint is not that of the policy in it"
        raise Refused(f"{message}; nothing was changed", hint="Make a new plan.")
    require_meant(made.policy)
    if made.plan.registry != place.registry.name:
        message = f"the plan is for {made.plan.registry}, and this is {place.registry.name}"
        raise UsageError(message)
    if place.storage is None and any(one.tag is None for one in made.decisions):
        message = "the plan removes untagged images, which only the storage shows"
        raise UsageError(message, hint=f"Add --storage {made.opened_by or 'DIR'}.")


class _Planned(NamedTuple):
    """What a plan says of one repository."""

    decisions: list[Decision]
    steps: list[Step]


def _planned(made: PrunePlan) -> dict[RepoName, _Planned]:
    """Return what a plan says, by the repositories that its decisions are about."""
    found: dict[RepoName, _Planned] = {}
    for one in made.decisions:
        found.setdefault(one.repository, _Planned([], [])).decisions.append(one)
    for step in made.plan.steps:
        if step.repository in found:
            found[step.repository].steps.append(step)
    return found


class _Part(msgspec.Struct, frozen=True):
    """What a plan is by now in one repository.

    ``going`` is what of the contents that the plan frees its removed manifests reference, and
    ``staying`` what the others do.
    """

    plan: Plan
    decisions: tuple[Decision, ...]
    count: RepositoryCount
    moved: tuple[str, ...]
    going: frozenset[Digest]
    staying: frozenset[Digest]


async def _part(
    place: Workspace,
    made: PrunePlan,
    decider: Decider,
    found: Surveyed,
    planned: _Planned,
    cache: Cache | None,
    *,
    freed: frozenset[Digest],
) -> _Part:
    snapshot, decided = await decide_whole(place.source, decider, found, cache)
    decided, _ = plan_decided(snapshot, decided)
    name = snapshot.name
    new: Renewed = renew(snapshot, decided, planned.decisions, planned.steps)
    plan = msgspec.structs.replace(
        made.plan,
        steps=explained(new.removal.steps, new.decisions),
        kept=new.removal.kept,
        seen={name: dict(snapshot.tags)},
        warnings=new.removal.warnings,
        missing=(),
    )
    if place.storage is not None:
        alone = Snapshot(plan.registry, {name: snapshot}, {}, stored=True)
        plan = await note_missing(place.source, plan, alone)
    count = count_repository(new.decided, new.removal, snapshot)
    removed = new.removal.manifests
    return _Part(
        plan,
        new.decisions,
        count,
        new.moved,
        freed & contents_of(snapshot, removed),
        freed & contents_of(snapshot, snapshot.manifests.keys() - removed),
    )


def _together(
    place: Workspace,
    made: PrunePlan,
    parts: Sequence[_Part],
    unread: Sequence[ListingProblem],
    allowed: Allowed,
) -> PrunePlan:
    counts = {one.repository: one for one in made.counts}
    counts |= {part.count.repository: part.count for part in parts}
    notes = list(made.notes)
    skipped = [sentence for part in parts for sentence in part.moved]
    notes += [f"left, since it changed: {sentence}" for sentence in skipped]
    notes += map(unread_note, unread)
    estimate = _still_freed(made.plan.estimate, parts)
    plan = msgspec.structs.replace(
        made.plan,
        steps=tuple(step for part in parts for step in part.plan.steps),
        estimate=estimate,
        kept=tuple(kept for part in parts for kept in part.plan.kept),
        seen={name: seen for part in parts for name, seen in part.plan.seen.items()},
        warnings=tuple(warning for part in parts for warning in part.plan.warnings),
        missing=tuple(broken for part in parts for broken in part.plan.missing),
    )
    whole = msgspec.structs.replace(
        made,
        plan=plan,
        decisions=tuple(one for part in parts for one in part.decisions),
        counts=tuple(counts[name] for name in sorted(counts)),
        bytes=msgspec.structs.replace(
            made.bytes, freed=len(estimate.freed), freed_bytes=estimate.freed_bytes
        ),
        allowed=made.allowed.with_more(allowed),
        left=tuple(skipped),
        unread=(*made.unread, *unread),
        notes=tuple(dict.fromkeys(notes)),
    )
    return object_to(place, whole)


def _still_freed(estimate: Estimate, parts: Sequence[_Part]) -> Estimate:
    """Return an estimate without what nothing of the plan removes by now, or something needs."""
    going = frozenset[Digest]().union(*(part.going for part in parts))
    going -= frozenset[Digest]().union(*(part.staying for part in parts))
    freed = tuple(content for content in estimate.freed if content.digest in going)
    return msgspec.structs.replace(
        estimate, freed=freed, freed_bytes=sum(content.size for content in freed)
    )


async def keep_what_stays(
    place: Workspace, begun: RemovalEntry, by_now: PrunePlan, held: Held
) -> RemovalEntry:
    """Return an interrupted run with the steps ``left`` that the policy does not want by now.

    ``by_now`` is what the policy says now. A tag is wanted gone if it says so, if it is gone, or if
    it points to the run's own placeholder. Children and referrers follow what they belong to, which
    may be gone already, unless they are in use.
    """
    wanted = {(one.repository, one.tag, one.digest) for one in by_now.decisions}
    left = {one.step: one for one in begun.left}

    async def stays(item: tuple[int, Step]) -> tuple[Tag, ...] | None:
        """Return the tags of a step that stay; None if the step may be done."""
        _, step = item
        digest, name = step.digest, step.repository
        if digest is None:
            return None
        found = []
        for tag in step.tags:
            follows = referenced_digest(tag) is not None and step.code is not StepCode.POLICY
            if not follows and (name, tag, digest) not in wanted:
                found += [tag] if await _is_still(place, step, tag) else []
        if found or step.tags:
            return tuple(found) or None
        named = step.code is StepCode.POLICY and (name, None, digest) not in wanted
        if (named or digest in held.digests) and await _is_still(place, step, None):
            return ()
        return None

    home = place.journal
    if begun.id not in home.ids():
        home = place.users_journal.home_of(begun.id)
    done = home.steps(begun.id).done
    undone = [item for item in enumerate(begun.plan.steps) if item[0] not in done]
    async for (number, _), found in each(undone, stays):
        if found is not None:
            step = begun.plan.steps[number]
            what = f":{', '.join(found)}" if found else f"@{step.short}"
            reason = f"{step.repository}{what} stays by now: the policy does not remove it any more"
            left.setdefault(number, StepLeft(number, found, LeftCode.CHANGED, reason))
    return msgspec.structs.replace(begun, left=tuple(left[number] for number in sorted(left)))


async def _is_still(place: Workspace, step: Step, tag: Tag | None) -> bool:
    """Whether a tag, or for None the manifest, of a step is there; what cannot be read is."""
    try:
        if tag is not None:
            return await place.source.resolve(step.repository, tag) == step.digest
        if step.digest is None:
            return False
        return await place.source.manifest(step.repository, step.digest) is not None
    except JettisonError:
        return True
