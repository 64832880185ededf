"""Checks which manifests, children and blobs of images a registry really has.

HEAD never counts: a registry with a descriptor cache answers 200 for blobs that a collection has
removed, and then sends no bytes (tests/e2e/test_defects.py, 8). So manifests are fetched, and
the first bytes of blobs are read. One failure does not keep the others from being checked.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Mapping
from contextlib import suppress
from typing import Final, TypeVar

from jettison.errors import (
    JettisonError,
    LoginRefused,
    NotARegistry,
    NotFoundError,
    StorageError,
    Unreachable,
)
from jettison.jobs.concurrency import each
from jettison.model.digest import Digest
from jettison.model.journal import SavedManifest
from jettison.model.names import RepoName
from jettison.model.restoration import Looked, needs_of
from jettison.model.snapshot import Node
from jettison.progress import Progress, silent
from jettison.registry import RawManifest, Registry

__all__ = [
    "NOBODY_ANSWERS",
    "RESTART",
    "blobs_of",
    "each_alone",
    "look_at_blobs",
    "look_at_manifests",
    "what_is_wrong",
]

NOBODY_ANSWERS: Final = (Unreachable, NotARegistry, LoginRefused)
"""Errors that concern every further request too."""

RESTART: Final = "its descriptor cache is stale: restart the registry, or empty its Redis database"

Item = TypeVar("Item")
Result = TypeVar("Result")


async def each_alone(
    items: Iterable[Item], work: Callable[[Item], Awaitable[Result]]
) -> AsyncIterator[tuple[Item, Result | JettisonError]]:
    """Like :func:`each`, but an error of one item is its result, and does not end the others.

    Only errors of the registry as a whole are raised.
    """

    async def guarded(item: Item) -> Result | JettisonError:
        try:
            return await work(item)
        except NOBODY_ANSWERS:
            raise
        except JettisonError as error:
            return error

    async for item, result in each(items, guarded):
        yield item, result


async def look_at_manifests(
    registry: Registry,
    starts: Iterable[Node],
    find: Callable[[Node], SavedManifest | None] = lambda _: None,
    progress: Progress = silent,
) -> dict[Node, Looked]:
    """Fetch manifests and their children, to any depth.

    Manifests that the registry does not send come from ``find``, or are left out.
    """
    looked: dict[Node, Looked] = {}
    todo = set(starts)
    asked: set[Node] = set()
    while todo:
        asked |= todo
        below: set[Node] = set()
        async for node, found in each_alone(sorted(todo), lambda node: registry.manifest(*node)):
            progress("looking at manifests", len(looked), len(asked))
            present = isinstance(found, RawManifest)
            if isinstance(found, RawManifest):
                one: SavedManifest | None = SavedManifest(*node, found.media_type, found.raw, ())
            else:
                one = find(node)
            if one is None or not one.digest.matches(one.raw):
                continue
            needs = needs_of(one.raw, one.media_type)
            looked[node] = Looked(one, present, needs)
            below.update((node[0], child) for child in needs.children)
        todo = below - asked
    return looked


async def look_at_blobs(
    registry: Registry,
    needed: Mapping[Node, int | None],
    progress: Progress = silent,
    *,
    read_data: bool = False,
) -> dict[Node, str]:
    """Return the missing or damaged blobs, each with what is wrong.

    The first bytes of each are read, and its length compared with the size in its manifest; with
    ``read_data`` all bytes are read, and their digest computed. HEAD is sent only if that fails,
    because Jettison's server takes it for the wish of a push.
    """
    wrong: dict[Node, str] = {}

    async def look(item: Node) -> str | None:
        if read_data:
            return await _read(registry, item, needed[item])
        size = needed[item]
        if await registry.has_blob(*item, size=size):
            return None
        claimed = await registry.blob_size(*item)
        if claimed is None:
            return "is not there"
        if size not in {None, claimed}:
            return f"has {claimed:,} bytes, and should have {size:,}"
        return f"cannot be read; HEAD still answers 200, {RESTART}"

    rest = set(needed) if read_data else await _without_sound(registry, needed)
    done = len(needed) - len(rest)
    async for item, problem in each_alone(sorted(rest), look):
        done += 1
        progress("reading blobs" if read_data else "looking at blobs", done, len(needed))
        if isinstance(problem, JettisonError):
            wrong[item] = f"cannot be read: {problem.message}"
        elif problem is not None:
            wrong[item] = problem
    return wrong


async def _without_sound(registry: Registry, needed: Mapping[Node, int | None]) -> set[Node]:
    """Return the blobs that are to be looked at one by one."""
    sizes = defaultdict[RepoName, dict[Digest, int | None]](dict)
    for (repository, digest), size in needed.items():
        sizes[repository][digest] = size
    rest = set(needed)
    for repository, some in sizes.items():
        with suppress(StorageError):  # which each of them is told then
            sound = await registry.sound_blobs(repository, some)
            rest -= {(repository, digest) for digest in sound}
    return rest


async def _read(registry: Registry, item: Node, size: int | None) -> str | None:
    try:
        async for _ in registry.read_blob(*item, size=size):
            pass  # its digest is computed on the way
    except NotFoundError:
        return "is not there"
    return None


def blobs_of(looked: Mapping[Node, Looked]) -> dict[Node, int | None]:
    """Return the blobs that manifests need, with the sizes (in bytes) that these give."""
    return {
        (node[0], blob): size
        for node, found in looked.items()
        for blob, size in found.needs.blobs.items()
    }


def what_is_wrong(
    node: Node,
    looked: Mapping[Node, Looked],
    blobs: Mapping[Node, str],
    missing: Container[Node] = frozenset(),
) -> str | None:
    """Return the first defect of an image, or None.

    ``blobs`` are the missing or damaged ones; children in ``missing`` may be absent.
    """
    todo, seen = [node], {node}
    while todo:
        one = todo.pop()
        repository, digest = one
        found = looked.get(one)
        if found is None and one == node:
            return "its manifest cannot be fetched"
        if found is None:
            return f"its child {digest} cannot be fetched"
        for blob in found.needs.blobs:
            if (repository, blob) in blobs:
                return f"its blob {blob} {blobs[repository, blob]}"
        below = {(repository, child) for child in found.needs.children} - seen
        below = {other for other in below if other in looked or other not in missing}
        seen |= below
        todo.extend(sorted(below))
    return None
