"""Take a run back: manifests (the very bytes) and tags, as long as the blobs are there.

Children are written before the indexes that list them, and subjects before their referrers
(design.md, rule 3). Everything is looked at first; what cannot be whole is not begun.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from jettison.errors import JettisonError, PartlyDone, Refused
from jettison.lifecycle.backup import Backup
from jettison.lifecycle.concurrency import each
from jettison.model.digest import Digest
from jettison.model.manifest import parse_manifest
from jettison.model.reference import RepoName, Tag
from jettison.model.run import Run, Saved
from jettison.model.throwaway import is_throwaway
from jettison.model.traversal import postorder
from jettison.progress import Progress, silent
from jettison.registry import RawManifest, Registry

__all__ = ["UndoPlan", "plan_undo", "undo"]

_SHOWN = 5


class UndoPlan(msgspec.Struct, frozen=True):
    """What an undo puts back: blobs from a backup, manifests in order, tags.

    ``throwaways`` are tags that an interrupted run left on a throw-away manifest.
    """

    blobs: tuple[tuple[RepoName, Digest], ...]
    manifests: tuple[Saved, ...]
    tags: tuple[tuple[RepoName, Tag, Digest], ...]
    throwaways: tuple[tuple[RepoName, Digest], ...] = ()

    @property
    def empty(self) -> bool:
        """Whether everything is as it was."""
        return not (self.blobs or self.manifests or self.tags)


async def plan_undo(
    registry: Registry, run: Run, *, overwrite: bool = False, progress: Progress = silent
) -> UndoPlan:
    """Look at what is left to put back, and whether it can be.

    Raises :class:`Refused`, with nothing changed, if blobs are gone and no backup has them, or if
    a tag was given to another image meanwhile (unless ``overwrite``).
    """
    ordered = _in_order(run.saved)
    missing_manifests: list[Saved] = []
    async for entry, found in each(
        ordered, lambda entry: registry.manifest(entry.repository, entry.digest)
    ):
        progress("looking at manifests", len(missing_manifests))
        if found is None:
            missing_manifests.append(entry)
    tags, throwaways = await _missing_tags(registry, ordered, overwrite=overwrite)
    coming_back = {(entry.repository, entry.digest) for entry in missing_manifests}
    needed = {
        (entry.repository, blob.digest): blob.distributable
        for entry in missing_manifests
        for blob in parse_manifest(entry.raw, entry.media_type).blobs
        if (entry.repository, blob.digest) not in coming_back
    }
    absent = []
    done = 0
    async for item, found_blob in each(needed, lambda item: registry.has_blob(*item)):
        done += 1
        progress("looking at blobs", done, len(needed))
        if not found_blob and needed[item]:
            absent.append(item)
    backup = Backup(Path(run.backup)) if run.backup is not None else None
    lost = sorted(item for item in absent if backup is None or not backup.has(item[1]))
    if lost:
        raise _gone(run, lost)
    order = {(entry.repository, entry.digest): place for place, entry in enumerate(ordered)}
    missing_manifests.sort(key=lambda entry: order[entry.repository, entry.digest])
    return UndoPlan(tuple(sorted(absent)), tuple(missing_manifests), tuple(tags), tuple(throwaways))


def _gone(run: Run, lost: list[tuple[RepoName, Digest]]) -> Refused:
    shown = [f"{repository}@{digest}" for repository, digest in lost[:_SHOWN]]
    more = [f"and {len(lost) - _SHOWN} more"] if len(lost) > _SHOWN else []
    message = (
        f"run {run.id} cannot be undone: {len(lost)} "
        f"{'blobs are' if len(lost) > 1 else 'blob is'} gone from {run.registry}; "
        "nothing was changed\n" + "\n".join(f"  {line}" for line in shown + more)
    )
    hint = (
        f"The backup {run.backup} does not have them."
        if run.backup
        else "They were collected. A run made with `rm --backup DIR` can be undone even then."
    )
    return Refused(message, hint=hint)


async def _missing_tags(
    registry: Registry, entries: Iterable[Saved], *, overwrite: bool
) -> tuple[list[tuple[RepoName, Tag, Digest]], list[tuple[RepoName, Digest]]]:
    tags: list[tuple[RepoName, Tag, Digest]] = []
    throwaways: list[tuple[RepoName, Digest]] = []
    taken: list[str] = []
    for entry in entries:
        for tag in entry.tags:
            now = await registry.resolve(entry.repository, tag)
            if now == entry.digest:
                continue
            if now is not None:
                current = await registry.manifest(entry.repository, tag)
                if current is not None and is_throwaway(current.raw):
                    throwaways.append((entry.repository, current.digest))
                elif not overwrite:
                    taken.append(f"{entry.repository}:{tag} is now {now.short}")
            tags.append((entry.repository, tag, entry.digest))
    if taken:
        message = "these tags were given to other images meanwhile; nothing was changed\n"
        message += "\n".join(f"  {line}" for line in taken)
        raise Refused(message, hint="To give them back to the old images: --overwrite-tags.")
    return tags, throwaways


async def undo(registry: Registry, run: Run, plan: UndoPlan, progress: Progress = silent) -> None:
    """Put everything back; an error part of the way raises :class:`PartlyDone`."""
    saved = {(entry.repository, entry.digest): entry for entry in run.saved}
    total = len(plan.blobs) + len(plan.manifests) + len(plan.tags)
    done = 0
    try:
        backup = Backup(Path(run.backup)) if run.backup is not None else None
        for repository, digest in plan.blobs:
            if backup is not None:
                await registry.put_blob(repository, digest, backup.read(digest))
            done += 1
            progress("putting back", done, total)
        for entry in plan.manifests:
            await registry.put_manifest(entry.repository, entry.digest, _raw(entry))
            done += 1
            progress("putting back", done, total)
        for repository, tag, digest in plan.tags:
            await registry.put_manifest(repository, tag, _raw(saved[repository, digest]))
            done += 1
            progress("putting back", done, total)
        for repository, digest in plan.throwaways:
            await registry.delete_manifest(repository, digest)
    except JettisonError as error:
        if done == 0:
            raise
        message = f"{error.message} ({done} of {total} things were put back)"
        hint = f"Run `jettison undo {run.id}` again to put back the rest."
        raise PartlyDone(message, hint=hint) from error


def _raw(entry: Saved) -> RawManifest:
    return RawManifest(entry.digest, entry.media_type, entry.raw)


def _in_order(saved: Iterable[Saved]) -> list[Saved]:
    """Sort so that what is referenced comes before what references it."""
    entries = {(entry.repository, entry.digest): entry for entry in saved}

    def below(node: tuple[RepoName, Digest]) -> list[tuple[RepoName, Digest]]:
        entry = entries[node]
        manifest = parse_manifest(entry.raw, entry.media_type)
        digests = [child.digest for child in manifest.children]
        if manifest.subject is not None:
            digests.append(manifest.subject)
        return [other for d in digests if (other := (entry.repository, d)) in entries]

    return [entries[node] for node in postorder(entries, below)]
