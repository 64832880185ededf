"""Holding a collection against what is plausible, before it takes anything."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from jettison.collector.plan import CollectionPlan
from jettison.collector.undo_windows import saved_manifests
from jettison.errors import InvalidManifest, Refused
from jettison.model.digest import BinaryDigest
from jettison.model.journal import SavedManifest
from jettison.model.manifest_references import references_of
from jettison.model.plausibility import (
    Amount,
    Consent,
    Facts,
    Objection,
    Owner,
    bytes_needed,
    objections,
)
from jettison.storage.protocol import Storage

if TYPE_CHECKING:
    from jettison.configuration import Configuration

__all__ = ["find_objections", "find_owners", "refuse", "removed_content", "require_own_tree"]


def find_objections(
    storage: Storage,
    configuration: "Configuration | None",
    plan: CollectionPlan,
    consent: Consent,
    meant: Collection[BinaryDigest] = (),
    *,
    total: int | None = None,
) -> list[Objection]:
    """Return what speaks against a plan. What ``meant`` names was removed on purpose.

    ``total`` are the bytes of all blobs, if they are known: none is looked at then.
    So was what the removals of the tree's journal have removed, which is looked up where the plan
    is implausible without it.
    """
    going = {blob.digest.binary: blob.size for blob in plan.blobs}
    for digest in meant:
        going.pop(digest, None)
    found = _objections(storage, configuration, plan, consent, going, total)
    if found and going:
        for digest in removed_content(saved_manifests(storage)):
            going.pop(digest, None)
        found = _objections(storage, configuration, plan, consent, going, total)
    return found


def _objections(
    storage: Storage,
    configuration: "Configuration | None",
    plan: CollectionPlan,
    consent: Consent,
    going: Mapping[BinaryDigest, int],
    total: int | None,
) -> list[Objection]:
    others = plan.kept_blobs + plan.young.count + plan.protected.count
    others += sum(held.count for held in plan.held) + len(plan.blobs) - len(going)
    size = sum(going.values())
    # Blobs that stay are not looked at elsewhere; of a large tree few have to be.
    needed = bytes_needed(Amount(len(going), size), others, consent.most)
    beside = _bytes_beside(storage, going, needed) if total is None else total - size
    facts = Facts(
        root=plan.root,
        repositories=plan.repositories,
        # Nothing is known of a repository that has no folder for any manifest.
        images=any(seen.names for seen in plan.seen.values()),
        going=Amount(len(going), size),
        staying=Amount(others, beside),
        owners=find_owners(storage, configuration),
        mounts=storage.detached(),
        bare=tuple(_bare(storage, plan)),
    )
    return list(objections(facts, consent))


def require_own_tree(
    storage: Storage, configuration: "Configuration | None", consent: Consent
) -> None:
    """Raise :class:`~jettison.errors.Refused` for a tree that is no single one, or another's.

    It needs no plan, so that it can stand before anything that moves files.
    """
    facts = Facts(
        root=storage.location,
        repositories=0,
        images=True,
        going=Amount(),
        staying=Amount(),
        owners=find_owners(storage, configuration),
        mounts=storage.detached(),
    )
    refuse(list(objections(facts, consent)))


def find_owners(storage: Storage, configuration: "Configuration | None") -> tuple[Owner, ...]:
    """Return the other programs that the tree or its configuration belongs to."""
    named = () if configuration is None else configuration.owners
    # Each once, by the first that gives it away.
    found = {one.name: one for one in reversed((*named, *storage.owners()))}
    return tuple(found.values())


def refuse(found: Sequence[Objection]) -> None:
    """Raise :class:`~jettison.errors.Refused` for these, if there are any."""
    if not found:
        return
    message = "\n".join(one.message for one in found)
    hint = " ".join(dict.fromkeys(one.advice for one in found))
    options = [one.option for one in found]
    again = () if None in options else tuple(dict.fromkeys(filter(None, options)))
    raise Refused(message, hint=hint, again=again)


def removed_content(manifests: Iterable[SavedManifest]) -> Iterator[BinaryDigest]:
    """Yield manifests that a removal has saved, and what they reference."""
    for saved in manifests:
        yield saved.digest.binary
        try:
            edges = references_of(saved.raw).edges
        except InvalidManifest:
            continue
        if edges is not None:
            yield from edges.children
            yield from edges.blobs


def _bare(storage: Storage, plan: CollectionPlan) -> Iterator[str]:
    """Yield repositories that lose layers and have not even a folder for manifests.

    Where manifests were deleted, or were collected, their folder is still there.
    """
    for name in sorted({link.repository for link in plan.layer_links}):
        seen = plan.seen.get(name)
        if seen is None or seen.names:
            continue
        with storage.repository(name) as repository:
            if not repository.has_manifests():
                yield name


def _bytes_beside(storage: Storage, going: Mapping[BinaryDigest, int], enough: float) -> int:
    """Add up the bytes of other blobs, until there are ``enough``."""
    found = 0
    for group in storage.blob_groups():
        if found >= enough:
            return found
        others = [digest for digest in storage.blobs_in(group) if digest not in going]
        found += sum(blob.size for blob in storage.blobs_each(others) if blob is not None)
    return found
