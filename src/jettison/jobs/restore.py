"""Restores a run: manifests with the same bytes, and tags, as long as their blobs exist.

The present state is read first; :mod:`jettison.model.restoration` decides what comes back. Children
are written before the indexes that list them, and subjects before their referrers (decision
0017). One failure does not keep the others from being restored.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from jettison.client.answers import type_inside
from jettison.errors import JettisonError, PartlyDone, Refused
from jettison.jobs.backup import Backup
from jettison.jobs.image_lookup import (
    NOBODY_ANSWERS,
    blobs_of,
    each_alone,
    look_at_blobs,
    look_at_manifests,
)
from jettison.model.digest import Digest
from jettison.model.journal import RemovalEntry, SavedManifest, UndoEntry
from jettison.model.mediatypes import OCI_MANIFEST
from jettison.model.names import RepoName, Tag
from jettison.model.restoration import (
    NotBack,
    TagSeen,
    Undoable,
    UndoPlan,
    decide_undo,
    needs_of,
    taken_tags,
    untagged_nodes,
)
from jettison.model.snapshot import Node
from jettison.model.untag_placeholder import is_untag_placeholder, untag_placeholder
from jettison.progress import Progress, silent
from jettison.registry import RawManifest, Registry
from jettison.storage.journal import StepLog
from jettison.storage.registry import StorageRegistry

__all__ = ["Elsewhere", "plan_undo", "put_back"]

_SHOWN: Final = 5

Name = TypeVar("Name", Digest, Tag)


class Elsewhere:
    """Other sources of a manifest that the registry no longer serves.

    ``others`` returns what other runs saved: a later one may have removed a child of an index of
    this run. ``stored`` reads a blob of the storage, if that is at hand. Both are called only when
    they are needed.
    """

    def __init__(
        self,
        others: Callable[[], Iterable[SavedManifest]] = tuple,
        stored: Callable[[Digest], bytes | None] = lambda _: None,
    ) -> None:
        self._others = others
        self._stored = stored
        self._saved: dict[Node, SavedManifest] | None = None

    def find(self, node: Node, backup: Backup | None) -> SavedManifest | None:
        """Return the manifest, its bytes verified, or None."""
        if self._saved is None:
            self._saved = {(one.repository, one.digest): one for one in self._others()}
        found = self._saved.get(node)
        if found is not None and found.digest.matches(found.raw):
            return found
        sources = [self._stored] if backup is None else [backup.manifest, self._stored]
        for read in sources:
            raw = read(node[1])
            if raw is not None and node[1].matches(raw):
                return SavedManifest(*node, type_inside(raw) or OCI_MANIFEST, raw, ())
        return None


async def plan_undo(
    registry: Registry,
    run: Undoable,
    log: StepLog | None = None,
    elsewhere: Elsewhere | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
) -> UndoPlan:
    """Return what is left to restore, and what of it can be restored.

    ``log`` says which steps the run began, None if all. ``overwrite`` takes back tags that point to
    other images. Raises :class:`Refused` if nothing can be restored.
    """
    begun = None if log is None else log.begun | log.done
    backup = _backup_of(run)
    tags, failed = await _look_at_tags(registry, run, taken_tags(run, begun), progress)
    untagged = untagged_nodes(run, begun)
    sources = elsewhere or Elsewhere()
    saved = {(one.repository, one.digest): one for one in run.saved}
    looked = await look_at_manifests(
        registry,
        {*untagged, *((seen.repository, seen.digest) for seen in tags)},
        lambda node: saved.get(node) or sources.find(node, backup),
        progress,
    )
    absent = await look_at_blobs(registry, blobs_of(looked), progress)
    backed = {item for item in absent if backup is not None and backup.has_whole(item[1])}
    plan = decide_undo(
        tags, untagged, looked, absent, backed, _missing_before(run), overwrite=overwrite
    )
    strays = await _stray_throwaways(registry, run, log)
    plan = msgspec.structs.replace(
        plan,
        left=(*plan.left, *failed),
        throwaways=tuple(dict.fromkeys((*plan.throwaways, *strays))),
    )
    if plan.left and plan.empty:
        raise _nothing_possible(run, plan.left)
    return plan


def _backup_of(run: Undoable) -> Backup | None:
    folder = run.backup if isinstance(run, RemovalEntry) else None
    return None if folder is None else Backup(Path(folder))


def _missing_before(run: Undoable) -> set[Node]:
    """Return what images of this run lacked before it."""
    missing = run.plan.missing if isinstance(run, RemovalEntry) else ()
    return {(one.repository, digest) for one in missing for digest in one.absent}


async def _look_at_tags(
    registry: Registry,
    run: Undoable,
    wanted: Mapping[tuple[RepoName, Tag], Digest],
    progress: Progress,
) -> tuple[list[TagSeen], list[NotBack]]:
    tags: dict[tuple[RepoName, Tag], TagSeen] = {}
    failed: list[NotBack] = []
    given = run.gave if isinstance(run, UndoEntry) else ()
    gave = {(repository, tag): digest for repository, tag, digest in given}

    async def look(item: tuple[RepoName, Tag]) -> TagSeen:
        repository, tag = item
        now = await registry.resolve(repository, tag)
        seen = TagSeen(repository, tag, wanted[item], now, gave.get(item))
        if now is None or now == wanted[item]:
            return seen
        found = await registry.manifest(repository, now)
        if found is None:
            return seen  # it dangles; whose it was cannot be told
        saved = SavedManifest(repository, now, found.media_type, found.raw, (tag,), removed=False)
        return msgspec.structs.replace(seen, saved=saved, stand_in=is_untag_placeholder(found.raw))

    async for item, seen in each_alone(wanted, look):
        progress("looking at tags", len(tags), len(wanted))
        if isinstance(seen, JettisonError):
            failed.append(NotBack(f"{item[0]}:{item[1]}", seen.message))
        else:
            tags[item] = seen
    return [tags[item] for item in wanted if item in tags], failed


async def _stray_throwaways(registry: Registry, run: Undoable, log: StepLog | None) -> list[Node]:
    """Return placeholders left by steps that were begun and not finished."""
    if log is None or not isinstance(run, RemovalEntry):
        return []
    found = []
    for number, step in enumerate(run.plan.steps):
        if number in log.done or number not in log.begun:
            continue
        digest = Digest.of(untag_placeholder(run.id, number, step.digest))
        if await registry.manifest(step.repository, digest) is not None:
            found.append((step.repository, digest))
    return found


def _nothing_possible(run: Undoable, left: Iterable[NotBack]) -> Refused:
    items = list(left)
    taken = all(one.taken for one in items)
    message = f"run {run.id} cannot be undone; nothing was changed\n" + "\n".join(_lines(items))
    if taken:
        hint = f"To take these tags from the other images: jettison undo {run.id} --overwrite-tags"
    elif (backup := _backup_of(run)) is not None:
        hint = f"The backup {backup.folder} does not have what is missing."
    else:
        hint = "A run made with `rm --backup DIR` can be undone even when blobs are gone."
    return Refused(message, hint=hint)


def _lines(left: list[NotBack]) -> Iterator[str]:
    for one in left[:_SHOWN]:
        yield f"  {one.subject}: {one.reason}"
    if len(left) > _SHOWN:
        yield f"  and {len(left) - _SHOWN} more"


class _PuttingBack:
    """Restores the items of a plan, each by itself; ``left`` are those that failed."""

    def __init__(
        self,
        registry: Registry,
        storage: StorageRegistry | None,
        run: Undoable,
        plan: UndoPlan,
        progress: Progress,
    ) -> None:
        self.left: list[NotBack] = []
        self.done: dict[str, int] = {"blobs": 0, "manifests": 0, "tags": 0, "throwaways": 0}
        self._registry = registry
        self._storage = storage
        self._lacking = {digest for _, digest in plan.missing}
        self._plan = plan
        self._backup = _backup_of(run)
        self._saved = {(one.repository, one.digest): one for one in (*run.saved, *plan.manifests)}
        self._displaced = {
            (one.repository, tag): one.digest for one in plan.displaced for tag in one.tags
        }
        self._digests = {(repository, tag): digest for repository, tag, digest in plan.tags}
        self._tagged = {(repository, digest) for repository, _, digest in plan.tags}
        self._progress = progress
        parts = (plan.blobs, plan.manifests, plan.tags, plan.throwaways)
        self._total = sum(map(len, parts))

    async def all(self) -> None:
        plan = self._plan
        await self._each("blobs", plan.blobs, self._blob)
        for together in _by_depth(plan.manifests):
            await self._each("manifests", together, self._manifest)
        await self._each("tags", ((r, tag) for r, tag, _ in plan.tags), self._tag)
        await self._each("throwaways", plan.throwaways, self._throwaway)

    async def _each(
        self,
        what: str,
        items: Iterable[tuple[RepoName, Name]],
        work: Callable[[tuple[RepoName, Name]], Awaitable[None]],
    ) -> None:
        async for (repository, name), problem in each_alone(items, work):
            if problem is not None:
                if (repository, name) not in self._tagged:  # its tag is tried next, and named
                    joint = ":" if what == "tags" else "@"
                    self.left.append(NotBack(f"{repository}{joint}{name}", problem.message))
                continue
            self.done[what] += 1
            self._progress("putting back", sum(self.done.values()), self._total)

    async def _blob(self, item: Node) -> None:
        if self._backup is not None:
            await self._registry.put_blob(*item, self._backup.read(item[1]))

    async def _manifest(self, node: Node) -> None:
        await self._put(*node, self._saved[node])

    async def _tag(self, item: tuple[RepoName, Tag]) -> None:
        repository, tag = item
        digest = self._digests[item]
        # Looked at again: it may have been pushed since the plan.
        now = await self._registry.resolve(repository, tag)
        ours = {digest, self._displaced.get(item)}
        if now is not None and now not in ours and (repository, now) not in self._plan.throwaways:
            raise Refused(f"now points to {now}, and stays there")
        await self._put(repository, tag, self._saved[repository, digest])

    async def _put(
        self, repository: RepoName, reference: Tag | Digest, saved: SavedManifest
    ) -> None:
        """Put a manifest. Many registries refuse one that lacked something before.

        The storage, if it is at hand, then takes it as it was.
        """
        try:
            await self._registry.put_manifest(repository, reference, _raw(saved))
        except NOBODY_ANSWERS:
            raise
        except JettisonError:
            needs = needs_of(saved.raw, saved.media_type)
            lacks = not self._lacking.isdisjoint((*needs.blobs, *needs.children))
            if self._storage is None or not lacks:
                raise
            await self._storage.put_manifest(
                repository, reference, _raw(saved), lacking=self._lacking
            )

    async def _throwaway(self, node: Node) -> None:
        await self._registry.delete_manifest(*node)


def _by_depth(manifests: Iterable[SavedManifest]) -> list[list[Node]]:
    """Group manifests, each after what it needs, so that a group needs only earlier ones."""
    depths: dict[Node, int] = {}
    groups: list[list[Node]] = []
    for one in manifests:
        needs = needs_of(one.raw, one.media_type)
        below = [*needs.children, *([] if needs.subject is None else [needs.subject])]
        depth = max((depths.get((one.repository, digest), -1) for digest in below), default=-1) + 1
        depths[one.repository, one.digest] = depth
        if depth == len(groups):
            groups.append([])
        groups[depth].append((one.repository, one.digest))
    return groups


class PutBack(NamedTuple):
    """The number of tags and manifests that an undo restored, and what it did not."""

    tags: int
    manifests: int
    left: list[NotBack]


async def put_back(
    registry: Registry,
    run: Undoable,
    plan: UndoPlan,
    progress: Progress = silent,
    *,
    storage: StorageRegistry | None = None,
) -> PutBack:
    """Restore everything, and return what failed. ``storage`` is the registry's, if at hand.

    Raises :class:`Refused` if nothing could be restored, and :class:`PartlyDone` if the registry
    stops answering after some of it.
    """
    work = _PuttingBack(registry, storage, run, plan, progress)
    try:
        await work.all()
    except NOBODY_ANSWERS as error:
        done = sum(work.done.values())
        if done == 0:
            raise
        message = f"{error.message} ({done} things were put back)"
        hint = f"To put back the rest: jettison undo {run.id}"
        raise PartlyDone(message, hint=hint) from error
    if work.left and not any(work.done.values()):
        raise _nothing_possible(run, [*plan.left, *work.left])
    return PutBack(work.done["tags"], work.done["manifests"], work.left)


def _raw(entry: SavedManifest) -> RawManifest:
    return RawManifest(entry.digest, entry.media_type, entry.raw)
