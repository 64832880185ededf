"""One repository of a storage, scanned: what in it lives, and what of it can go.

This is the part of planning that needs nothing from other repositories, so that several processes
can do it side by side (:mod:`jettison.collector.parallel`). It changes nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from jettison.collector.mark import (
    NOTHING_REMOVED,
    AssumedRemoval,
    HeldManifest,
    RepositoryMark,
    mark_repository,
)
from jettison.collector.mark_log import RepositoryMarks
from jettison.collector.options import Cutoffs
from jettison.model.digest import BinaryDigest
from jettison.storage.protocol import (
    Leftover,
    LinkKind,
    Links,
    Problem,
    RepositoryScan,
    Scanning,
    Stamp,
    Upload,
)

__all__ = ["EmptyPlace", "Link", "RepositoryScanned", "Scanner"]

_SHA256_BYTES: Final = 32


class Link(msgspec.Struct, gc=False):
    """A link and when it was written."""

    digest: bytes
    stamp: Stamp


class EmptyPlace(msgspec.Struct, gc=False):
    """The place of a link that is gone; ``idle``: for so long that the place can go."""

    digest: bytes
    idle: bool


class RepositoryScanned(msgspec.Struct):
    """What was found in one repository. Digests are binary.

    ``reached`` are all sha256 digests in a row, ``reached_long`` those of sha512. ``held`` names
    the run that holds a digest. ``young`` are blobs whose link is younger than the grace period.
    ``layer_links``, ``revisions``, ``history``, ``uploads``, ``leftovers`` and the folders are to
    go; ``emptied`` are places of revisions, ``empty_layers`` of layers. ``empty``: nothing is left
    in the repository then.

    ``untagged`` counts manifests that are kept and that nothing holds but their link, and
    ``untagged_only`` are sha256 digests that those alone reach, in a row.
    ``linking`` are manifests that are just being linked. ``names`` and ``revision_times`` tell
    later whether anybody has written since, as do ``layer_times`` and ``unused``, the sha256
    digests among the layers that nothing needs.
    ``trace`` is there if it was asked for. So are ``unfinished``, the files and the bytes of all
    uploads; ``tags`` are how many lead to a digest.
    """

    reached: bytes
    reached_long: list[bytes]
    held: list[tuple[bytes, str]]
    protected: list[bytes]
    problems: list[Problem]
    names: int
    revision_times: tuple[int, ...]
    layer_times: tuple[int, ...] = ()
    unused: bytes = b""
    young: list[bytes] = []
    young_links: int = 0
    layer_links: list[Link] = []
    revisions: list[Link] = []
    history: list[tuple[str, bytes]] = []
    uploads: list[Upload] = []
    leftovers: list[Leftover] = []
    emptied: list[EmptyPlace] = []
    linking: list[bytes] = []
    empty_layers: list[EmptyPlace] = []
    empty: bool = False
    foreign: list[Problem] = []
    untagged: int = 0
    untagged_only: bytes = b""
    trace: RepositoryMarks | None = None
    tags: int = 0
    unfinished: tuple[int, int] = (0, 0)


class Scanner:
    """Scans repositories of a storage for one collection."""

    def __init__(
        self,
        storage: Scanning,
        cutoffs: Cutoffs,
        held: Iterable[HeldManifest] = (),
        without: AssumedRemoval = NOTHING_REMOVED,
        *,
        thorough: bool = False,
        trace: bool = False,
        count: bool = False,
    ) -> None:
        self._storage = storage
        self._cutoffs = cutoffs
        self._held: defaultdict[str, list[HeldManifest]] = defaultdict(list)
        for one in held:
            self._held[one.repository].append(one)
        self._without = without
        self._thorough = thorough
        self._trace = trace
        self._count = count

    def scan(self, name: str) -> RepositoryScanned:
        """Return what is in a repository; raises StorageError if a folder cannot be listed."""
        with self._storage.repository(name) as repository:
            # Before it is read: what is written meanwhile will be seen as changed.
            times = repository.changes(LinkKind.REVISION)
            layer_times = repository.changes(LinkKind.LAYER)
            marked = mark_repository(
                self._storage,
                repository,
                untagged_before=self._cutoffs.untagged,
                held=self._held.get(name, ()),
                without=self._without,
                trace=self._trace,
            )
            found = _begin(marked, times)
            if not any(len(digest) != _SHA256_BYTES for digest in marked.unused):
                found.layer_times, found.unused = layer_times, b"".join(marked.unused)
            self._emptied(repository, marked, found)
            if not marked.problems:
                self._links(repository, marked, found)
                self._revisions(repository, marked, found)
                self._uploads(repository, found)
                if self._thorough:
                    found.leftovers = repository.leftovers(self._cutoffs.idle)
                found.empty = self._is_empty(repository, marked, found)
            if self._count:
                uploads = repository.uploads()
                found.unfinished = (
                    sum(one.files for one in uploads),
                    sum(one.bytes for one in uploads),
                )
            if self._trace:
                found.trace = _trace(repository, marked, found)
            return found

    def _links(
        self, repository: RepositoryScan, marked: RepositoryMark, found: RepositoryScanned
    ) -> None:
        """Sort the layer links that nothing needs into those to remove and those too young."""
        if not marked.unused:
            return
        idle = self._cutoffs.idle
        since = min(idle, self._pushing_since(repository))
        with repository.links(LinkKind.LAYER) as links:
            empty_layers = []
            times = links.stamps(marked.unused)
            blobs = self._storage.blobs_each(marked.unused)  # after the links
            for digest, linked, blob in zip(marked.unused, times, blobs, strict=True):
                if linked is None:
                    empty_layers.append(digest)
                    continue
                if linked > since:
                    found.young_links += 1
                    found.young.append(digest)
                    continue
                if blob is not None and blob.stamp > idle:
                    # Touched: somebody was told that it is there, and may be about to use this.
                    found.young_links += 1
                else:
                    found.layer_links.append(Link(digest, linked))
            found.empty_layers = self._empty(links, empty_layers)

    def _pushing_since(self, repository: RepositoryScan) -> int:
        """Return when the pushes going on in a repository may have begun (nanoseconds).

        Their first layers may be linked since longer than the grace period, and no manifest uses
        them before the last layer is there.
        """
        idle, grace = self._cutoffs.idle, self._cutoffs.grace
        moving = [one for one in repository.uploads() if one.moved > idle]
        return min((one.started - grace for one in moving), default=idle)

    def _revisions(
        self, repository: RepositoryScan, marked: RepositoryMark, found: RepositoryScanned
    ) -> None:
        if not marked.unlinked:
            return
        with repository.links(LinkKind.REVISION) as links:
            for digest in marked.unlinked:
                linked = links.stamp(digest)
                # One that was put again since it was marked is young.
                if linked is not None and linked <= (self._cutoffs.untagged or 0):
                    found.revisions.append(Link(digest, linked))
        going = set(marked.unlinked)
        for tag in marked.tags:
            if not repository.had_others(tag):
                continue
            # What cannot be understood in a history stays in it.
            gone = sorted(going.intersection(repository.history(tag).digests))
            found.history += [(tag, digest) for digest in gone]

    def _emptied(
        self, repository: RepositoryScan, marked: RepositoryMark, found: RepositoryScanned
    ) -> None:
        if marked.emptied:
            with repository.links(LinkKind.REVISION) as links:
                found.emptied = self._empty(links, marked.emptied)
        for one in found.emptied:
            if not one.idle and repository.is_being_linked(BinaryDigest(one.digest)):
                found.linking.append(one.digest)

    def _empty(self, links: Links, digests: Sequence[BinaryDigest]) -> list[EmptyPlace]:
        """Tell whether folders without a link have been so for long enough to go.

        That nothing else is in them is not looked at: they go only if nothing is.
        """
        idle = self._cutoffs.idle
        times = zip(digests, links.place_stamps(digests), strict=True)
        return [EmptyPlace(digest, time is not None and time <= idle) for digest, time in times]

    def _uploads(self, repository: RepositoryScan, found: RepositoryScanned) -> None:
        before = self._cutoffs.uploads
        if before is not None:
            found.uploads = [one for one in repository.uploads() if one.moved <= before]

    def _is_empty(
        self, repository: RepositoryScan, marked: RepositoryMark, found: RepositoryScanned
    ) -> bool:
        """Whether nothing that anybody put there is left, and nobody was at it lately."""
        if marked.reached or marked.held or found.young_links:
            return False
        if not all(one.idle for one in (*found.emptied, *found.empty_layers)):
            return False
        going = {one.id for one in found.uploads}
        if any(one.id not in going for one in repository.uploads()):
            return False
        if not repository.is_idle(self._cutoffs.idle):
            return False
        return not repository.has_others({one.path for one in found.leftovers})


def _trace(
    repository: RepositoryScan, marked: RepositoryMark, found: RepositoryScanned
) -> RepositoryMarks:
    manifests = marked.traced or []
    told = {digest for manifest, targets in manifests for digest in (manifest, *targets)}
    return RepositoryMarks(
        marked=manifests,
        going=[BinaryDigest(link.digest) for link in found.revisions],
        protected=sorted(marked.protected - told),
        has_layers=repository.has_layers(),
    )


def _begin(marked: RepositoryMark, revision_times: tuple[int, ...]) -> RepositoryScanned:
    row, long_ = b"".join(marked.reached), list[bytes]()
    if len(row) != _SHA256_BYTES * len(marked.reached):
        long_ = [digest for digest in marked.reached if len(digest) != _SHA256_BYTES]
        row = b"".join(marked.reached.difference(long_))
    return RepositoryScanned(
        reached=row,
        reached_long=long_,
        held=list(marked.held.items()),
        protected=list(marked.protected),
        problems=marked.problems,
        foreign=list(marked.foreign),
        untagged=marked.untagged,
        untagged_only=b"".join(d for d in marked.untagged_only if len(d) == _SHA256_BYTES),
        names=marked.names,
        revision_times=revision_times,
        tags=len(marked.tags),
    )
