"""Why an image stays or goes by a policy: one repository is read, and nothing is changed."""

from typing import NamedTuple

import msgspec

from jettison.errors import NotFoundError, UsageError
from jettison.jobs.description import what_it_is
from jettison.jobs.prune import held_at
from jettison.jobs.removal_plan import nearest, with_nearest
from jettison.jobs.survey import Cache, Surveyed, survey_repository
from jettison.jobs.workspace import Workspace
from jettison.model.digest import Digest
from jettison.model.names import Reference, Tag
from jettison.model.retention.decide import NOTHING_HELD, Decider, Held
from jettison.model.retention.explain import Explanation, explain
from jettison.model.retention.mistakes import require_meant
from jettison.model.retention.policy import Policy
from jettison.model.retention.prune_plan import Allowed, find_clock_objection
from jettison.model.retention.pulls import KnownPulls
from jettison.model.snapshot import RepositorySnapshot

__all__ = ["ExplainedImage", "explain_image"]


class ExplainedImage(NamedTuple):
    """An explanation, with what the image is in a few words, and when it was asked for."""

    explanation: Explanation
    what: str
    now: float


async def explain_image(
    place: Workspace,
    reference: Reference,
    policy: Policy,
    *,
    held: Held = NOTHING_HELD,
    pulls: KnownPulls | None = None,
    cache: Cache | None = None,
) -> ExplainedImage:
    """Explain what becomes of a tag or a manifest.

    Raises :class:`NotFoundError`, with the nearest names, if there is no such thing.
    """
    require_meant(policy)
    now = place.clock()
    held = held_at(place, held)
    snapshot, evidence = await _read(place, reference, Decider(policy, now, held), pulls, cache)
    wanted = _find(place, snapshot, reference)
    found = explain(snapshot, evidence, policy, wanted, now=now, held=held)
    notes = [one.message for one in find_clock_objection(_difference(place), Allowed())]
    if notes:
        found = msgspec.structs.replace(found, notes=(*found.notes, *notes))
    tag = wanted if isinstance(wanted, Tag) else None
    return ExplainedImage(found, what_it_is(snapshot.manifests.get(found.digest), tag), now)


async def _read(
    place: Workspace,
    reference: Reference,
    decider: Decider,
    pulls: KnownPulls | None,
    cache: Cache | None,
) -> Surveyed:
    if reference.tag is None and reference.digest is None and reference.short is None:
        hint = "Give a tag or a digest."
        if place.host:
            ls = f"jettison ls {place.host}/{reference.repository}"
            hint = f"Give a tag or a digest; they are listed by: {ls}"
        raise UsageError(f"{reference} is not one image", hint=hint)
    name = reference.repository
    try:
        return await survey_repository(
            place.source,
            name,
            decider,
            now=decider.now,
            pulls=pulls,
            cache=cache,
            progress=place.progress,
        )
    except NotFoundError as error:
        raise await with_nearest(place.source, [name], error) from None


def _find(place: Workspace, snapshot: RepositorySnapshot, reference: Reference) -> Tag | Digest:
    where = "/".join(filter(None, (place.host, snapshot.name)))
    tag = reference.tag
    if tag is None:
        return _find_digest(snapshot, reference, where)
    if tag in snapshot.tags:
        return tag
    if tag in snapshot.dangling:
        message = f"{where}:{tag} leads to no manifest, and no policy is about it"
        raise NotFoundError(message, hint="`jettison rm` removes such a tag.")
    problem = next((one for one in snapshot.problems if one.subject == tag), None)
    if problem is not None:
        raise NotFoundError(f"{where}:{tag} cannot be read: {problem.message}")
    hint = nearest(tag, snapshot.tags, "tags", where)
    if not place.host:
        hint = hint.partition(" (see ")[0]
    raise NotFoundError(f"{where} has no tag {tag}", hint=hint)


def _find_digest(snapshot: RepositorySnapshot, reference: Reference, where: str) -> Digest:
    known = {*snapshot.manifests, *snapshot.unreadable}
    found = sorted(digest for digest in known if reference.means(digest))
    asked = reference.digest or reference.short
    if len(found) == 1:
        return found[0]
    if found:
        message = f"several manifests of {where} begin with {asked}: {', '.join(found[:3])}"
        raise UsageError(message, hint=f"Give more digits, for example {where}@{found[0]}")
    hint = None
    if not snapshot.complete:
        hint = "What no tag leads to is seen in the storage alone: add --storage CONFIG or DIR."
    raise NotFoundError(f"{where} has no manifest {asked}, as far as is seen", hint=hint)


def _difference(place: Workspace) -> float | None:
    return None if place.remote is None else place.remote.clock_difference
