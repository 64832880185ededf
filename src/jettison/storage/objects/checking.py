"""What is wrong in a bucket whatever its images are, for fsck."""

import hashlib
from collections.abc import Callable, Iterable, Iterator

from jettison.errors import StorageError, StorageUnavailable
from jettison.model.check_report import (
    Defect,
    DefectClass,
    Remedy,
    RepairAction,
    Severity,
    make_defect,
)
from jettison.model.digest import BinaryDigest, Digest
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.layout import MalformedLinkError, parse_link
from jettison.storage.objects.bucket import Entry
from jettison.storage.objects.left_hidden import LeftHidden
from jettison.storage.objects.repository import LONGEST_LINK, ObjectRepository, is_unread
from jettison.storage.objects.scanning import ObjectScanning
from jettison.storage.protocol import (
    BadLink,
    Blob,
    GroupCheck,
    Place,
    Problem,
    RepositoryCheck,
    Stamp,
    TopCheck,
)

__all__ = ["ObjectCheck"]

_PIECE = 1 << 20
_SIGNATURES = "signatures"
"""Distribution kept those of manifests of schema 1 beside their links, long ago."""


class ObjectCheck:
    """Checks a bucket; what was written after ``idle`` may still be being written."""

    def __init__(self, storage: ObjectScanning, idle: Stamp) -> None:
        self._storage = storage
        self._idle = idle
        self._hidden: frozenset[Place] = frozenset()

    def top(self) -> TopCheck:
        """Return the groups, and what is no part of a tree."""
        strays = self._storage.listing.strays
        defects = [*self._defects(strays), *self._look_for_hidden()]
        return TopCheck(self._storage.blob_groups(), defects)

    def _look_for_hidden(self) -> Iterator[Defect]:
        """Tell of what collections have out of sight, and note it for :meth:`hidden`."""
        try:
            left = LeftHidden(self._storage.bucket)
        except StorageUnavailable:
            raise
        except StorageError as error:
            kind, place = DefectClass.UNREADABLE, layout.SET_ASIDE
            yield make_defect(kind, Severity.DAMAGE, place, f"cannot be read: {error.message}")
            return
        blobs = {key: one for key, one in left.blobs.items() if not self._is_listed(key)}
        links = [key for key in left.links if not self._is_listed(key)]
        self._hidden = frozenset(map(Place, (*blobs, *links)))
        if self._hidden:
            size = sum(one.size for one in blobs.values())
            sentence = (
                f"names {len(blobs):,} blobs of {size:,} bytes and {len(links):,} links that a "
                "collection has hidden, which goes on or was killed; `jettison gc` brings back "
                "those of a killed one, and finishes it"
            )
            kind = DefectClass.LEFTOVER
            yield make_defect(kind, Severity.NOTICE, layout.SET_ASIDE, sentence)

    def _is_listed(self, key: str) -> bool:
        """Whether what was hidden is in its place."""
        named = self._storage.places.named(key)
        if named is None:  # of a tag's history
            return False
        if named.kind is None:
            return named.digest.binary in self._storage.listing.blobs
        pair = (named.repository, named.digest.binary)
        return self._storage.are_linked(named.kind, [pair])[0]

    def hidden(self) -> frozenset[Place]:
        """Return the keys of what a collection has out of sight, as :meth:`top` has found it."""
        return self._hidden

    def group(self, group: str) -> GroupCheck:
        """Count the blobs of a group, and tell of what else is in their places."""
        digests = self._storage.blobs_in(group)
        blobs = [blob for blob in self._storage.blobs_each(digests) if blob is not None]
        drafts = self._storage.listing.drafts
        others = [entry for digest in digests for entry in drafts.get(digest, ())]
        size = sum(blob.size for blob in blobs)
        return GroupCheck(len(blobs), size, list(self._defects(others)))

    def repository(self, name: str) -> RepositoryCheck:
        """Tell what each layer's link leads to; only links whose ETag tells nothing are read."""
        with self._storage.repository(name) as repository:
            layers: dict[BinaryDigest, BinaryDigest | BadLink] = {}
            for digest, target in repository.layer_targets():
                if target is not None:
                    layers[digest] = _judged(digest, target)
            strays = [one for one in repository.strays if _SIGNATURES not in one.key.split("/")]
            defects = [*self._defects(strays, name), *_histories(repository)]
        return RepositoryCheck(layers, defects)

    def _defects(self, entries: Iterable[Entry], repository: str | None = None) -> Iterator[Defect]:
        for entry in entries:
            kind, sentence = DefectClass.UNEXPECTED_FILE, "does not belong there"
            remedy = None
            if entry.key.endswith(".tmp"):
                if entry.stamp > self._idle:
                    continue
                kind = DefectClass.LEFTOVER
                sentence = f"is a temporary file of {entry.size:,} bytes that was never finished"
                remedy = Remedy(RepairAction.MOVE_LEFTOVER, entry.key)
            yield make_defect(
                kind,
                Severity.NOTICE,
                entry.key,
                sentence,
                repository=repository,
                remedy=remedy,
            )

    def mismatch(self, digest: BinaryDigest, told: Callable[[int], bool]) -> Blob | None:
        """Return a blob whose content has another digest."""
        blob = self._storage.blob(digest)
        if blob is None:
            return None
        content = hashlib.new(Digest.from_binary(digest).algorithm, usedforsecurity=False)
        size = 0
        for piece in self._storage.read_blob(digest, _PIECE):
            content.update(piece)
            size += len(piece)
            if not told(len(piece)):
                return None
        if size == 0 and blob.size:
            return None  # it went since it was listed
        return None if content.digest() == digest else blob

    def link(self, place: str) -> BinaryDigest | BadLink | None:
        """Return what the link in a place leads to; None if there is none."""
        try:
            raw = self._storage.bucket.get(place, LONGEST_LINK)
            return None if raw is None else parse_link(raw).binary
        except StorageUnavailable:
            raise
        except StorageError as error:
            return BadLink(f"cannot be read: {error.message}", unread=True)
        except MalformedLinkError as error:
            return BadLink(str(error))

    def defect_class(self, problem: Problem) -> DefectClass:  # noqa: ARG002 - of one kind only
        """Return what kind of defect a problem is: there are no symbolic links in a bucket."""
        return DefectClass.UNEXPECTED_FILE


def _judged(digest: BinaryDigest, target: BinaryDigest | Problem) -> BinaryDigest | BadLink:
    if isinstance(target, Problem):
        return BadLink(target.message, unread=is_unread(target))
    # Content pushed under another algorithm lies under its canonical digest.
    if target == digest or len(target) != len(digest):
        return target
    return BadLink(_elsewhere(target))


def _elsewhere(target: BinaryDigest) -> str:
    return f"it points to {Digest.from_binary(target)} instead of what its folder is named after"


def _histories(repository: ObjectRepository) -> Iterator[Defect]:
    for key, digest, target in repository.unread_history():
        if target is None or target == digest:
            continue
        bad = _judged(digest, target)
        why = bad.why if isinstance(bad, BadLink) else _elsewhere(bad)
        kind = DefectClass.MALFORMED_LINK
        remedy: Remedy | None = Remedy(RepairAction.MOVE_LINK, key)
        sentence = f"is malformed: {why}"
        if isinstance(bad, BadLink) and bad.unread:
            kind, sentence, remedy = DefectClass.UNREADABLE, why, None
        notice = Severity.NOTICE
        yield make_defect(kind, notice, key, sentence, repository=repository.name, remedy=remedy)
