"""One repository of a storage tree, surveyed: what in it lives, and what of it can go.

This is the part of planning that needs nothing from other repositories, so that several processes
can do it side by side (:mod:`jettison.collector.parallel`). It changes nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from jettison.collector.mark import (
    NOTHING_REMOVED,
    HeldManifest,
    RepositoryMark,
    Without,
    mark_repository,
)
from jettison.collector.mark_log import RepositoryTrace
from jettison.collector.options import Moments
from jettison.model.digest import Digest, RawDigest
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.folder import BlockedError, Folder
from jettison.storage.filesystem.reading import Problem, TreeReader, is_leftover
from jettison.storage.filesystem.repository import Links, RepositoryReader, Upload

__all__ = ["Hollow", "Leftover", "Link", "RepositorySurvey", "Surveyor", "leftovers_in"]

_SHA256_BYTES: Final = 32
_MARKS: Final = (layout.LAYERS, "_manifests", layout.UPLOADS)


class Link(msgspec.Struct, gc=False):
    """A link and when it was written (nanoseconds)."""

    digest: bytes
    mtime_ns: int


class Hollow(msgspec.Struct, gc=False):
    """A digest's folder with no link in it; ``idle``: for so long that the folder can go."""

    digest: bytes
    idle: bool


class Leftover(msgspec.Struct, frozen=True, array_like=True):
    """A file that a killed process left, relative to the root: time in nanoseconds.

    ``size`` is what the disk gets back with it, in bytes.
    """

    path: str
    size: int
    mtime_ns: int


class RepositorySurvey(msgspec.Struct):
    """What was found in one repository. Digests are raw, times in nanoseconds.

    ``reached`` are all sha256 digests in a row, ``reached_long`` those of sha512. ``held`` names
    the run that holds a digest. ``young`` are blobs whose link is younger than the grace period.
    ``layer_links``, ``revisions``, ``history``, ``uploads``, ``leftovers`` and the folders are to
    go; ``emptied`` are folders of revisions, ``hollow`` of layers. ``vacant``: nothing is left
    in the repository then.

    ``untagged`` counts manifests that are kept and that nothing holds but their link, and
    ``untagged_only`` are sha256 digests that those alone reach, in a row.
    ``linking`` are manifests that are just being linked. ``names`` and ``revision_times`` tell
    later whether anybody has written since.
    ``trace`` is there if it was asked for.
    """

    reached: bytes
    reached_long: list[bytes]
    held: list[tuple[bytes, str]]
    protected: list[bytes]
    problems: list[Problem]
    names: int
    revision_times: tuple[int, ...]
    young: list[bytes] = []
    young_links: int = 0
    layer_links: list[Link] = []
    revisions: list[Link] = []
    history: list[tuple[str, bytes]] = []
    uploads: list[Upload] = []
    leftovers: list[Leftover] = []
    emptied: list[Hollow] = []
    linking: list[bytes] = []
    hollow: list[Hollow] = []
    vacant: bool = False
    foreign: list[Problem] = []
    untagged: int = 0
    untagged_only: bytes = b""
    trace: RepositoryTrace | None = None


class Surveyor:
    """Surveys repositories of a tree for one collection."""

    def __init__(
        self,
        tree: TreeReader,
        moments: Moments,
        held: Iterable[HeldManifest] = (),
        without: Without = NOTHING_REMOVED,
        *,
        thorough: bool = False,
        trace: bool = False,
    ) -> None:
        self._tree = tree
        self._moments = moments
        self._held: defaultdict[str, list[HeldManifest]] = defaultdict(list)
        for one in held:
            self._held[one.repository].append(one)
        self._without = without
        self._thorough = thorough
        self._trace = trace

    def survey(self, name: str) -> RepositorySurvey:
        """Return what is in a repository; raises StorageError if a folder cannot be listed."""
        with RepositoryReader(self._tree, name) as repository:
            # Before it is read: what is written meanwhile will be seen as changed.
            times = repository.times(layout.REVISIONS)
            marked = mark_repository(
                self._tree,
                repository,
                untagged_before_ns=self._moments.untagged,
                held=self._held.get(name, ()),
                without=self._without,
                trace=self._trace,
            )
            found = _begin(marked, times)
            self._emptied(repository, marked, found)
            if not marked.problems:
                self._links(repository, marked, found)
                self._revisions(repository, marked, found)
                self._uploads(repository, found)
                if self._thorough:
                    self._look_everywhere(repository, found)
                found.vacant = self._vacant(repository, marked, found)
            if self._trace:
                found.trace = _trace(repository, marked, found)
            return found

    def _links(
        self, repository: RepositoryReader, marked: RepositoryMark, found: RepositorySurvey
    ) -> None:
        """Sort the layer links that nothing needs into those to remove and those too young."""
        if not marked.unused:
            return
        idle = self._moments.idle
        since = min(idle, self._pushing_since(repository))
        with repository.links(layout.LAYERS) as links:
            hollow = []
            times = links.times(marked.unused)
            blobs = self._tree.blobs_each(marked.unused)  # after the links
            for digest, linked, blob in zip(marked.unused, times, blobs, strict=True):
                if linked is None:
                    hollow.append(digest)
                    continue
                if linked > since:
                    found.young_links += 1
                    found.young.append(digest)
                    continue
                if blob is not None and blob.mtime_ns > idle:
                    # Touched: somebody was told that it is there, and may be about to use this.
                    found.young_links += 1
                else:
                    found.layer_links.append(Link(digest, linked))
            found.hollow = self._hollow(links, hollow)

    def _pushing_since(self, repository: RepositoryReader) -> int:
        """Return when the pushes going on in a repository may have begun (nanoseconds).

        Their first layers may be linked since longer than the grace period, and no manifest uses
        them before the last layer is there.
        """
        idle, grace = self._moments.idle, self._moments.grace
        moving = [one for one in repository.uploads() if one.moved_ns > idle]
        return min((one.started_ns - grace for one in moving), default=idle)

    def _revisions(
        self, repository: RepositoryReader, marked: RepositoryMark, found: RepositorySurvey
    ) -> None:
        if not marked.unlinked:
            return
        with repository.links(layout.REVISIONS) as links:
            for digest in marked.unlinked:
                linked = links.time(digest)
                # One that was put again since it was marked is young.
                if linked is not None and linked <= (self._moments.untagged or 0):
                    found.revisions.append(Link(digest, linked))
        going = set(marked.unlinked)
        for tag in marked.tags:
            if not repository.had_others(tag):
                continue
            # What cannot be understood in a history stays in it.
            gone = sorted(going.intersection(repository.history(tag).digests))
            found.history += [(tag, digest) for digest in gone]

    def _emptied(
        self, repository: RepositoryReader, marked: RepositoryMark, found: RepositorySurvey
    ) -> None:
        if marked.emptied:
            with repository.links(layout.REVISIONS) as links:
                found.emptied = self._hollow(links, marked.emptied)
        for one in found.emptied:
            if not one.idle and _is_being_linked(repository, RawDigest(one.digest)):
                found.linking.append(one.digest)

    def _hollow(self, links: Links, digests: Sequence[RawDigest]) -> list[Hollow]:
        """Tell whether folders without a link have been so for long enough to go.

        That nothing else is in them is not looked at: they go only if nothing is.
        """
        idle = self._moments.idle
        times = zip(digests, links.folder_times(digests), strict=True)
        return [Hollow(digest, time is not None and time <= idle) for digest, time in times]

    def _uploads(self, repository: RepositoryReader, found: RepositorySurvey) -> None:
        before = self._moments.uploads
        if before is not None:
            found.uploads = [one for one in repository.uploads() if one.moved_ns <= before]

    def _look_everywhere(self, repository: RepositoryReader, found: RepositorySurvey) -> None:
        """Look into every folder for temporary files, and for folders that nothing is in."""
        known = {leftover.path for leftover in found.leftovers}
        for inner in (layout.LAYERS, "_manifests"):
            folder = repository.open(inner, [])
            if folder is not None:
                with folder:
                    self._look_below(folder, inner, found, known)

    def _look_below(
        self, folder: Folder, inner: str, found: RepositorySurvey, known: set[str]
    ) -> None:
        left, _ = leftovers_in(self._tree, folder, self._moments.idle)
        found.leftovers += [one for one in left if one.path not in known]
        for name in folder.folders()[0]:
            try:
                below = folder.open(name)
            except BlockedError:
                continue
            if below is not None:
                with below:
                    self._look_below(below, f"{inner}/{name}", found, known)

    def _vacant(
        self, repository: RepositoryReader, marked: RepositoryMark, found: RepositorySurvey
    ) -> bool:
        """Whether nothing that anybody put there is left, and nobody was at it lately."""
        if marked.reached or marked.held or found.young_links:
            return False
        if not all(one.idle for one in (*found.emptied, *found.hollow)):
            return False
        going = {one.id for one in found.uploads}
        if any(one.id not in going for one in repository.uploads()):
            return False
        folders = (repository.open(inner, []) for inner in ("", *_MARKS))
        return all(_is_idle(folder, self._moments.idle) for folder in folders)


def leftovers_in(
    tree: TreeReader, folder: Folder, idle_ns: int
) -> tuple[list[Leftover], list[str]]:
    """Return the temporary files in a folder that were not touched lately, and what else is in."""
    left: list[Leftover] = []
    others: list[str] = []
    for entry in folder.entries():
        status = folder.look(entry.name) if is_leftover(entry) else None
        if status is None or status.st_mtime_ns > idle_ns:
            others.append(entry.name)
        else:
            path = tree.relative(f"{folder.path}/{entry.name}")
            freed = status.st_size - folder.kept(entry.name, status)
            left.append(Leftover(path, freed, status.st_mtime_ns))
    return left, others


def _is_being_linked(repository: RepositoryReader, digest: RawDigest) -> bool:
    """Whether Distribution 3.x is just writing the link, which it does beside its place."""
    algorithm = Digest.from_raw(digest).algorithm
    folder = repository.open(f"{layout.REVISIONS}/{algorithm}/{digest.hex()}", [])
    if folder is None:
        return False
    with folder:
        return any(is_leftover(entry) for entry in folder.entries())


def _is_idle(folder: Folder | None, idle_ns: int) -> bool:
    if folder is None:
        return True
    with folder:
        return folder.own_time() <= idle_ns


def _trace(
    repository: RepositoryReader, marked: RepositoryMark, found: RepositorySurvey
) -> RepositoryTrace:
    manifests = marked.traced or []
    told = {digest for manifest, targets in manifests for digest in (manifest, *targets)}
    layers = repository.open(layout.LAYERS, [])
    if layers is not None:
        layers.close()
    return RepositoryTrace(
        marked=manifests,
        going=[RawDigest(link.digest) for link in found.revisions],
        protected=sorted(marked.protected - told),
        has_layers=layers is not None,
    )


def _begin(marked: RepositoryMark, revision_times: tuple[int, ...]) -> RepositorySurvey:
    short = [digest for digest in marked.reached if len(digest) == _SHA256_BYTES]
    return RepositorySurvey(
        reached=b"".join(short),
        reached_long=[digest for digest in marked.reached if len(digest) != _SHA256_BYTES],
        held=list(marked.held.items()),
        protected=list(marked.protected),
        problems=marked.problems,
        foreign=list(marked.foreign),
        untagged=marked.untagged,
        untagged_only=b"".join(d for d in marked.untagged_only if len(d) == _SHA256_BYTES),
        names=marked.names,
        revision_times=revision_times,
    )
