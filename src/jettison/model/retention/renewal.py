"""What a plan that was made earlier still removes from a repository, as that is by now."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.manifest import referenced_digest
from jettison.model.names import Tag
from jettison.model.plan import Step, StepAction
from jettison.model.removal import Removal, plan_removal
from jettison.model.retention.decide import RepositoryDecision
from jettison.model.retention.reasons import Decision
from jettison.model.snapshot import RepositorySnapshot

__all__ = ["Renewed", "renew"]


class Renewed(msgspec.Struct, frozen=True):
    """A plan renewed in one repository.

    ``decisions`` are those planned that still hold, ``decided`` is the decision of now without
    what was not planned. ``moved`` has a sentence for each planned decision that does not hold.
    """

    decisions: tuple[Decision, ...]
    decided: RepositoryDecision
    removal: Removal
    moved: tuple[str, ...]


def renew(
    repository: RepositorySnapshot,
    decided: RepositoryDecision,
    planned: Sequence[Decision],
    steps: Iterable[Step],
) -> Renewed:
    """Return what ``planned`` still removes where the policy decides ``decided`` by now.

    Of ``steps``, the planned ones, it counts which manifests they delete: no other is deleted.
    What is gone already needs no step.
    """
    now = {_key(one): one for one in decided.decisions}
    holds: dict[tuple[Tag | None, Digest], Decision] = {}
    moved = []
    for one in planned:
        found = now.get(_key(one))
        if found is not None and found.removed:
            holds[_key(one)] = found
        elif sentence := _why_not(repository, one, found):
            moved.append(sentence)
    kept = tuple(
        one
        if not one.removed or _key(one) in holds
        else msgspec.structs.replace(one, removed=False)
        for one in decided.decisions
    )
    decided = msgspec.structs.replace(decided, decisions=kept)
    removal = plan_removal(repository, decided.tags, decided.digests)
    deletes = {digest for step in steps if (digest := step.deletes) is not None}
    return Renewed(
        tuple(holds.values()), decided, _limited(repository, removal, deletes), tuple(moved)
    )


def _key(decision: Decision) -> tuple[Tag | None, Digest]:
    return decision.tag, decision.digest


def _why_not(repository: RepositorySnapshot, planned: Decision, found: Decision | None) -> str:
    """Return why a planned decision does not hold; "" if what it is about is gone."""
    if found is not None:
        return f"{planned.name} stays by now: {found.sentence}"
    if planned.tag is None:
        there = planned.digest in repository.manifests or planned.digest in repository.unreadable
        return f"{planned.name} is needed by now" if there else ""
    digest = repository.tags.get(planned.tag)
    if digest is not None and digest != planned.digest:
        return f"{planned.name} pointed to {planned.digest.short} and now points to {digest.short}"
    if digest is not None or planned.tag in repository.unresolved:
        return f"{planned.name} cannot be decided by now"
    return ""


def _limited(repository: RepositorySnapshot, removal: Removal, planned: set[Digest]) -> Removal:
    """Return a removal without manifests that are not ``planned``, and what these need."""
    more = removal.manifests - planned
    if not more:
        return removal
    stay = reach(more, repository.edges, {}).manifests & removal.manifests
    return msgspec.structs.replace(removal, steps=tuple(_steps(removal, stay)))


def _steps(removal: Removal, stay: set[Digest]) -> Iterator[Step]:
    for step in removal.steps:
        if step.deletes is None or step.deletes not in stay:
            yield step
            continue
        for tag in step.tags:
            if referenced_digest(tag) is None:
                yield msgspec.structs.replace(step, action=StepAction.UNTAG, tags=(tag,))
