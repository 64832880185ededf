"""The plan of a collection: what is garbage and idle, what is not, and why, to the byte.

It is one frozen object: a dry run prints it, and ``collect`` executes it. How it is made is in
:mod:`jettison.collector.planning`.
"""

from typing import Final

import msgspec

from jettison.collector.options import CollectOptions, Cutoffs
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.protocol import STAMP_KEY, Leftover, Place, Problem, Stamp

__all__ = [
    "AbandonedUpload",
    "CollectOptions",
    "CollectionPlan",
    "HeldBack",
    "HistoryEntry",
    "Leftover",
    "LinkedDigest",
    "RepositoryFingerprint",
    "SweptBlob",
    "Tally",
]

PLAN_SCHEMA: Final = 2


class Tally(msgspec.Struct, frozen=True):
    """How many files, and their exact bytes."""

    count: int = 0
    bytes: int = 0


class SweptBlob(msgspec.Struct, frozen=True, gc=False, rename=STAMP_KEY):
    """A blob to remove: its size in bytes, and its time (nanoseconds) when it was looked at.

    ``kept`` are the bytes of it that the disk does not get back: hard links, holes.
    """

    digest: Digest
    size: int
    stamp: Stamp
    kept: int = 0

    @property
    def freed(self) -> int:
        """What the disk gets back with it, in bytes."""
        return self.size - self.kept


class LinkedDigest(msgspec.Struct, frozen=True, gc=False, rename=STAMP_KEY):
    """A link to remove, of a layer or a revision, and its time (nanoseconds) when looked at."""

    repository: RepoName
    digest: Digest
    stamp: Stamp


class HistoryEntry(msgspec.Struct, frozen=True, gc=False):
    """An entry to remove from what a tag once pointed to."""

    repository: RepoName
    tag: Tag
    digest: Digest


class AbandonedUpload(msgspec.Struct, frozen=True, gc=False, rename=STAMP_KEY):
    """An upload to remove, which ``moved`` last then, and what it takes."""

    repository: RepoName
    id: str
    files: int
    bytes: int
    moved: Stamp


class HeldBack(msgspec.Struct, frozen=True):
    """What the undo window of one run keeps until ``until`` (seconds since the epoch)."""

    run: str
    until: float
    count: int
    bytes: int


class RepositoryFingerprint(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a repository looked like, to tell later whether anybody has written to it.

    ``names`` is the sum of its revisions' folders, the times (nanoseconds) are those of the
    folders that hold them, ``emptied`` are folders of revisions without a link. ``unused`` are the
    sha256 digests among its layers that nothing needs, in a row; ``layer_times`` are none where
    there may be others.
    """

    names: int
    revision_times: tuple[int, ...]
    emptied: tuple[Digest, ...]
    layer_times: tuple[int, ...] = ()
    unused: bytes = b""


class CollectionPlan(msgspec.Struct, frozen=True):
    """What a collection of the tree at ``root`` removes, and what it leaves and why.

    ``bytes`` is exactly what the disk gets back with ``blobs``: the sum of their sizes, but for
    those of which it gets nothing back, or less (``kept``). Blobs that nothing reaches and that
    stay are in exactly one of ``young``, ``held`` and ``protected``. ``folders`` are empty ones, by
    the folder that they are in; ``vacant`` are repositories that nothing is left in. ``seen``
    tells, by repository, whether a tag or manifest was written since, and ``blob_names`` and
    ``blob_times``, by folder, whether a blob was; ``unfinished`` are blobs that are being written.
    ``untagged`` counts the manifests that stay and that nothing holds but their link, and at most
    so many bytes that those alone need. ``foreign`` is what no registry has made, or what cannot
    be looked for: it is told, and nothing is kept on its account. A ``hypothetical`` plan is about
    the tree as it would be after a removal, and cannot be executed. ``aside``: so many blobs a
    killed collection has left aside, and the plan takes for being in their places. ``started`` is
    in seconds since the epoch.
    """

    root: str
    started: float
    options: CollectOptions
    blobs: tuple[SweptBlob, ...]
    layer_links: tuple[LinkedDigest, ...]
    revisions: tuple[LinkedDigest, ...]
    history: tuple[HistoryEntry, ...]
    uploads: tuple[AbandonedUpload, ...]
    leftovers: tuple[Leftover, ...]
    folders: dict[Place, tuple[str, ...]]
    vacant: tuple[RepoName, ...]
    bytes: int
    young: Tally
    young_links: int
    held: tuple[HeldBack, ...]
    protected: Tally
    kept_blobs: int
    repositories: int
    problems: tuple[Problem, ...]
    seen: dict[str, RepositoryFingerprint]
    blob_names: dict[str, int]
    blob_times: dict[str, int]
    unfinished: tuple[Digest, ...]
    untagged: Tally = Tally()
    foreign: tuple[Problem, ...] = ()
    hypothetical: bool = False
    aside: int = 0
    schema_version: int = PLAN_SCHEMA

    @property
    def cutoffs(self) -> Cutoffs:
        """What was written before them is idle, untagged for long, or given up."""
        return Cutoffs.of(self.options, self.started)

    @property
    def kept(self) -> Tally:
        """The blobs that are to go and of which the disk gets less back than their sizes."""
        kept = [blob.kept for blob in self.blobs if blob.kept]
        return Tally(len(kept), sum(kept))

    @property
    def empty_folders(self) -> int:
        """How many folders are to go because nothing is in them."""
        return sum(map(len, self.folders.values()))

    @property
    def classes(self) -> dict[str, Tally]:
        """What is to go, class by class."""
        links = {
            name: Tally(len(found), sum(len(one.digest) for one in found))
            for name, found in (
                ("layer_links", self.layer_links),
                ("revisions", self.revisions),
                ("history", self.history),
            )
        }
        return {
            "blobs": Tally(len(self.blobs), self.bytes),
            **links,
            "uploads": Tally(
                sum(one.files for one in self.uploads), sum(one.bytes for one in self.uploads)
            ),
            "leftovers": Tally(len(self.leftovers), sum(one.size for one in self.leftovers)),
            "folders": Tally(self.empty_folders),
            "repositories": Tally(len(self.vacant)),
        }

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not any(tally.count for tally in self.classes.values()) and not self.uploads
