"""Checks a whole storage, changing nothing.

Blobs come first, because images are only as whole as their blobs: all are read and hashed. Then
every repository is followed from its tags and manifests.
"""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from jettison.collector.options import ABANDONED
from jettison.collector.parallel import side_by_side
from jettison.fsck.hashing import BlobHashes, hash_blobs
from jettison.fsck.notes import damaged_blob, unreadable_blob, unsettled_blob
from jettison.fsck.repository import RepositoryChecker
from jettison.model.check_report import (
    CheckReport,
    Defect,
    DefectClass,
    merge_defects,
)
from jettison.model.digest import BinaryDigest, Digest
from jettison.progress import Progress, silent
from jettison.storage.protocol import Absence, LinkKind, Storage, stamp_at

__all__ = ["CheckOptions", "check_again", "check_tree"]

_OF_CONTENT: Final = frozenset(
    {DefectClass.DAMAGED_BLOB, DefectClass.UNSETTLED_BLOB, DefectClass.UNREADABLE}
)
_OF_ABSENCE: Final = frozenset(
    {
        DefectClass.ABSENT_MANIFEST,
        DefectClass.ABSENT_BLOB,
        DefectClass.TAG_WITHOUT_REVISION,
        DefectClass.CHILD_WITHOUT_REVISION,
        DefectClass.BLOB_WITHOUT_LINK,
        DefectClass.DANGLING_LINK,
    }
)
_HIDDEN: Final = "a collection has hidden it: `jettison gc` brings it back"
_MAY_LACK: Final = {
    Absence.NOTHING: "",
    Absence.CHILDREN: "members of indexes that are not here, as the configuration allows",
    Absence.ANYTHING: "what this cache has not fetched, or has let go of",
}


class CheckOptions(msgspec.Struct, frozen=True):
    """``grace`` in seconds: younger content may still be being written.

    ``quick``: do not read the content of blobs. ``uploads``: an upload without progress for so many
    seconds is abandoned.
    """

    grace: float = 3600.0
    quick: bool = False
    uploads: float = ABANDONED


def check_tree(
    storage: Storage,
    options: CheckOptions,
    now: float,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
) -> CheckReport:
    """Read the whole storage and return its defects; ``now`` is in seconds since the epoch.

    What cannot be read is among the defects. Raises :class:`~jettison.errors.StorageError` if its
    top cannot be listed.
    """
    return _Check(storage, options, now, progress, clock).run()


def check_again(
    storage: Storage,
    options: CheckOptions,
    now: float,
    before: CheckReport,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
) -> CheckReport:
    """Check a storage after a repair, without reading all blobs once more.

    The earlier result (``before``) holds for blobs that still exist.
    """
    return _Check(storage, options, now, progress, clock, before).run()


class _Check:
    def __init__(
        self,
        storage: Storage,
        options: CheckOptions,
        now: float,
        progress: Progress,
        clock: Callable[[], float],
        before: CheckReport | None = None,
    ) -> None:
        self._before = before
        self._storage = storage
        self._processes = None if storage.features.forks else 1
        self._options = options
        self._idle = stamp_at(now - options.grace)
        self._abandoned = stamp_at(now - max(options.uploads, options.grace))
        self._checking = storage.checking(self._idle)
        self._progress = progress
        self._clock = clock
        self._defects: list[Defect]
        self._blobs = self._bytes = 0
        self._content = BlobHashes({}, {}, {})

    def run(self) -> CheckReport:
        started = self._clock()
        groups, self._defects = self._checking.top()
        self._look_at_blobs(groups)
        hashed = not self._options.quick
        if self._before is not None:
            hashed = self._before.hashed
            self._remember(self._before)
        elif hashed:
            self._hash()
        repositories = self._check_repositories()
        return CheckReport(
            root=self._storage.location,
            hashed=hashed,
            repositories=repositories,
            blobs=self._blobs,
            bytes=self._bytes,
            seconds=self._clock() - started,
            defects=merge_defects(self._told_of_hidden(_each_once(self._defects))),
            may_lack=_MAY_LACK[self._storage.absence],
        )

    # Blobs.

    def _look_at_blobs(self, groups: list[str]) -> None:
        self._progress("looking at blobs", 0, len(groups))
        looks = side_by_side(groups, self._checking.group, self._processes)
        for count, (_, found) in enumerate(looks, start=1):
            self._blobs += found.blobs
            self._bytes += found.bytes
            self._defects += found.defects
            self._progress("looking at blobs", count, len(groups))

    def _hash(self) -> None:
        places = self._storage.places
        self._content = found = hash_blobs(
            self._storage, self._checking, self._idle, self._bytes, self._progress
        )
        for digest, size in found.damaged.items():
            self._defects.append(damaged_blob(places, digest, f"{size:,} bytes"))
        for digest, size in found.unsettled.items():
            self._defects.append(unsettled_blob(places, digest, f"{size:,} bytes"))
        for digest, sentence in found.unreadable.items():
            self._defects.append(unreadable_blob(places, digest, sentence))

    def _remember(self, before: CheckReport) -> None:
        for defect in before.defects:
            if defect.kind not in _OF_CONTENT:
                continue
            named = self._storage.places.named(defect.path)
            if named is None or named.kind is not None:
                continue
            blob = self._storage.blob(named.digest.binary)
            if blob is None:
                continue
            self._defects.append(msgspec.structs.replace(defect, tags=()))
            if defect.kind is DefectClass.DAMAGED_BLOB:
                self._content.damaged[blob.digest] = blob.size
            elif defect.kind is DefectClass.UNREADABLE:
                self._content.unreadable[blob.digest] = defect.sentence

    # What a collection keeps out of sight.

    def _told_of_hidden(self, defects: list[Defect]) -> list[Defect]:
        """Say of what is absent whether it is only hidden; a repair waits until nothing is."""
        if not self._checking.hidden():
            return defects
        return [self._told(one) if one.kind in _OF_ABSENCE else one for one in defects]

    def _told(self, defect: Defect) -> Defect:
        if self._hidden_of(defect):
            sentence = f"{defect.sentence}; {_HIDDEN}"
            return msgspec.structs.replace(defect, sentence=sentence, remedy=None)
        return msgspec.structs.replace(defect, remedy=None)

    def _hidden_of(self, defect: Defect) -> bool:
        """Whether what is in a place, or what that leads to, is hidden."""
        places, hidden = self._storage.places, self._checking.hidden()
        if defect.path in hidden:
            return True
        named = places.named(defect.path)
        target = self._checking.link(defect.path) if named is None else named.digest.binary
        if not isinstance(target, bytes):
            return False
        digest = Digest.from_binary(BinaryDigest(target))
        links = (places.link(kind, defect.repository or "", digest) for kind in LinkKind)
        return not hidden.isdisjoint((places.blob(digest), *links))

    # Repositories.

    def _check_repositories(self) -> int:
        scan = self._storage.scan_repositories()
        names = [*scan.names, *scan.misnamed]
        checker = RepositoryChecker(
            self._storage,
            self._checking,
            self._idle,
            self._abandoned,
            self._content,
        )
        self._progress("checking repositories", 0, len(names))
        defects = {}
        checks = side_by_side(names, checker.check, self._processes)
        for count, (name, found) in enumerate(checks, start=1):
            defects[name] = found
            self._progress("checking repositories", count, len(names))
        self._defects += [defect for name in names for defect in defects[name]]
        return len(names)


def _each_once(defects: list[Defect]) -> list[Defect]:
    """Leave out wrong modes of files that are already reported as unreadable."""
    unread = {defect.path for defect in defects if defect.kind is DefectClass.UNREADABLE}
    return [
        defect
        for defect in defects
        if defect.kind is not DefectClass.PERMISSIONS or defect.path not in unread
    ]
