"""What images lack before a removal, and an undo therefore does not restore.

Indexes may lawfully list children that the repository does not have (sparse indexes). A blob that
is missing, or has another size than its manifest gives, is damage.
"""

from typing import Final

import msgspec

from jettison.jobs.image_lookup import look_at_blobs
from jettison.jobs.verify_collection import sample
from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.manifest import ManifestKind
from jettison.model.plan import Broken, Plan
from jettison.model.snapshot import Node, RepositorySnapshot, Snapshot
from jettison.progress import Progress, silent
from jettison.registry import Registry

__all__ = ["MOST_ASKED", "note_missing"]

MOST_ASKED: Final = 100
"""The most blobs that are requested over the API, from all parts of the plan."""


async def note_missing(
    registry: Registry, plan: Plan, snapshot: Snapshot, progress: Progress = silent
) -> Plan:
    """Return the plan with what its images lack, and a warning for each damaged one."""
    going = {(s.repository, s.digest) for s in plan.steps if s.digest is not None}
    staying = {(kept.repository, kept.digest) for kept in plan.kept} - going
    lacking: dict[Node, list[Digest]] = {}
    blobs: dict[Node, dict[Digest, int | None]] = {}
    for node in sorted(going | staying):
        repository = snapshot.repositories[node[0]]
        below = reach([node[1]], repository.lists, {})
        known = repository.manifests.keys() | repository.unreadable
        lacking[node] = sorted(below.lost - known)
        if node in going:
            blobs[node] = _blobs(repository, below.manifests)
    asked = {(node[0], blob): size for node, all_ in blobs.items() for blob, size in all_.items()}
    damaged = await _damaged(registry, asked, progress, all_of_them=snapshot.stored)
    names: dict[Node, str] = {
        (step.repository, step.digest): f"{step.repository}:{tag}"
        for step in plan.steps
        if step.digest is not None
        for tag in step.tags
    }
    warnings = []
    for node, needed in blobs.items():
        found = [blob for blob in needed if (node[0], blob) in damaged]
        if found:
            lacking[node] += found
            name = names.get(node, f"{node[0]}@{node[1].short}")
            warnings.append(
                f"{name} is broken already: its blob {found[0]} {damaged[node[0], found[0]]}; "
                "an undo does not mend it"
            )
    missing = tuple(
        Broken(
            *node,
            tuple(digests),
            damaged=not {(node[0], one) for one in digests}.isdisjoint(damaged),
            obsolete=_is_obsolete(snapshot.repositories[node[0]], node[1]),
        )
        for node, digests in lacking.items()
        if digests or _is_obsolete(snapshot.repositories[node[0]], node[1])
    )
    return msgspec.structs.replace(plan, missing=missing, warnings=(*plan.warnings, *warnings))


def _is_obsolete(repository: RepositorySnapshot, digest: Digest) -> bool:
    found = repository.manifests.get(digest)
    return found is not None and found.kind is ManifestKind.SCHEMA1


def _blobs(repository: RepositorySnapshot, manifests: set[Digest]) -> dict[Digest, int | None]:
    return {
        blob.digest: blob.size
        for digest in manifests
        if digest in repository.manifests
        for blob in repository.manifests[digest].blobs
        if blob.distributable
    }


async def _damaged(
    registry: Registry,
    blobs: dict[Node, int | None],
    progress: Progress,
    *,
    all_of_them: bool,
) -> dict[Node, str]:
    asked = sorted(blobs)
    if not all_of_them:
        asked = sample(asked, MOST_ASKED)
    return await look_at_blobs(registry, {item: blobs[item] for item in asked}, progress)
