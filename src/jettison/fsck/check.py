"""Checking a whole storage tree, and changing nothing.

Blobs first, since a repository's images are only as whole as the blobs are: all are looked at, and
their content is hashed; then every repository is followed from its tags and manifests.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec

from jettison.collector.options import ABANDONED
from jettison.collector.parallel import side_by_side
from jettison.errors import StorageError
from jettison.fsck.hashing import hash_blobs
from jettison.fsck.repository import RepositoryChecker, damaged_blob, unreadable_blob
from jettison.model.check_report import (
    CheckReport,
    Defect,
    DefectClass,
    Remedy,
    RepairAction,
    Severity,
    merge_defects,
)
from jettison.model.digest import ALGORITHMS, Digest, RawDigest, raw_digest
from jettison.progress import Progress, silent
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.reading import TreeReader
from jettison.storage.filesystem.tree_shape import EntryKind, Owner, Walker, make_defect
from jettison.storage.protocol import Absence

__all__ = ["CheckOptions", "check_again", "check_tree"]

_OF_CONTENT: Final = frozenset(
    {DefectClass.DAMAGED_BLOB, DefectClass.UNSETTLED_BLOB, DefectClass.UNREADABLE}
)
_MAY_LACK: Final = {
    Absence.NOTHING: "",
    Absence.CHILDREN: "members of indexes that are not here, as the configuration allows",
    Absence.ANYTHING: "what this cache has not fetched, or has let go of",
}
_PARTS: Final = frozenset({EntryKind.LAYERS, EntryKind.MANIFESTS, EntryKind.UPLOADS})


class CheckOptions(msgspec.Struct, frozen=True):
    """``grace`` in seconds: what is younger may still be being written.

    ``quick``: do not read the content of blobs. ``uploads``: an upload that has not moved for so
    many seconds was given up.
    """

    grace: float = 3600.0
    quick: bool = False
    uploads: float = ABANDONED


class _Folder(NamedTuple):
    blobs: int
    bytes: int
    defects: list[Defect]


def check_tree(
    tree: TreeReader,
    options: CheckOptions,
    now: float,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
) -> CheckReport:
    """Read the whole tree and say what is wrong with it; ``now`` is in seconds since the epoch.

    What cannot be read is among the defects. Raises :class:`~jettison.errors.StorageError` where
    the top folders cannot be listed.
    """
    return _Check(tree, options, now, progress, clock).run()


def check_again(
    tree: TreeReader,
    options: CheckOptions,
    now: float,
    before: CheckReport,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
) -> CheckReport:
    """Check a tree after a repair, without reading all blobs once more.

    What was learnt of their content before (``before``) holds for those that still are there.
    """
    return _Check(tree, options, now, progress, clock, before).run()


class _Check:
    def __init__(
        self,
        tree: TreeReader,
        options: CheckOptions,
        now: float,
        progress: Progress,
        clock: Callable[[], float],
        before: CheckReport | None = None,
    ) -> None:
        self._before = before
        self._tree = tree
        self._options = options
        self._idle_ns = int((now - options.grace) * 1e9)
        self._uploads_ns = int((now - max(options.uploads, options.grace)) * 1e9)
        self._progress = progress
        self._clock = clock
        self._owner = Owner.of(tree)
        self._defects: list[Defect] = []
        self._blobs = self._bytes = 0
        self._damaged: dict[RawDigest, int] = {}
        self._unreadable: dict[RawDigest, str] = {}

    def run(self) -> CheckReport:
        started = self._clock()
        folders = self._top()
        self._look_at_blobs(folders)
        hashed = not self._options.quick
        if self._before is not None:
            hashed = self._before.hashed
            self._remember(self._before)
        elif hashed:
            self._hash()
        repositories = self._check_repositories()
        self._defects += _ours(self._tree, self._idle_ns)
        return CheckReport(
            root=str(self._tree.root),
            hashed=hashed,
            repositories=repositories,
            blobs=self._blobs,
            bytes=self._bytes,
            seconds=self._clock() - started,
            defects=merge_defects(_each_once(self._defects)),
            may_lack=_MAY_LACK[self._tree.absence],
        )

    def _top(self) -> list[str]:
        """Look at everything above blobs and repositories; return the folders of blobs."""
        stop = frozenset({EntryKind.BLOB_PREFIX, *_PARTS})
        walker = self._walker(stop)
        walker.walk(layout.MARKER, EntryKind.VERSION)
        self._defects += walker.defects
        return sorted(path for path in walker.stopped if path.startswith(f"{layout.BLOBS}/"))

    def _walker(self, stop: frozenset[EntryKind] = frozenset()) -> Walker:
        return Walker(self._tree, self._idle_ns, self._owner, stop=stop)

    # Blobs.

    def _look_at_blobs(self, folders: list[str]) -> None:
        self._progress("looking at blobs", 0, len(folders))
        looks = side_by_side(folders, self._look_into)
        for count, (_, found) in enumerate(looks, start=1):
            self._blobs += found.blobs
            self._bytes += found.bytes
            self._defects += found.defects
            self._progress("looking at blobs", count, len(folders))

    def _look_into(self, path: str) -> _Folder:
        walker = self._walker()
        walker.walk(path, EntryKind.BLOB_PREFIX)
        return _Folder(walker.blobs, walker.bytes, walker.defects)

    def _hash(self) -> None:
        found = hash_blobs(self._tree, self._idle_ns, self._bytes, self._progress)
        self._damaged = found.damaged
        self._defects += [
            damaged_blob(digest, f"{size:,} bytes") for digest, size in found.damaged.items()
        ]
        for digest, size in found.unsettled.items():
            path = layout.blob_data(Digest.from_raw(digest))
            sentence = f"({size:,} bytes) does not hash to its name; still being written?"
            self._defects.append(
                make_defect(DefectClass.UNSETTLED_BLOB, Severity.NOTICE, path, sentence)
            )
        for digest, reason in found.unreadable.items():
            self._unreadable[digest] = sentence = f"cannot be read here: {reason}"
            self._defects.append(unreadable_blob(digest, sentence))

    def _remember(self, before: CheckReport) -> None:
        for defect in before.defects:
            if defect.kind not in _OF_CONTENT or not defect.path.endswith("/data"):
                continue
            _, algorithm, _, encoded, _ = defect.path.rsplit("/", 4)
            digest = raw_digest(algorithm, encoded)
            blob = None if digest is None else self._tree.blob(digest)
            if blob is None:
                continue
            self._defects.append(msgspec.structs.replace(defect, tags=()))
            if defect.kind is DefectClass.DAMAGED_BLOB:
                self._damaged[blob.digest] = blob.size
            elif defect.kind is DefectClass.UNREADABLE:
                self._unreadable[blob.digest] = defect.sentence

    # Repositories.

    def _check_repositories(self) -> int:
        scan = self._tree.scan_repositories()
        names = [*scan.names, *scan.misnamed]
        checker = RepositoryChecker(
            self._tree,
            self._idle_ns,
            self._uploads_ns,
            self._owner,
            self._damaged,
            self._unreadable,
        )
        self._progress("checking repositories", 0, len(names))
        defects = {}
        for count, (name, found) in enumerate(side_by_side(names, checker.check), start=1):
            defects[name] = found
            self._progress("checking repositories", count, len(names))
        self._defects += [defect for name in names for defect in defects[name]]
        return len(names)


def _each_once(defects: list[Defect]) -> list[Defect]:
    """Leave out what is wrong with the mode of that which, for that reason, cannot be read."""
    unread = {defect.path for defect in defects if defect.kind is DefectClass.UNREADABLE}
    return [
        defect
        for defect in defects
        if defect.kind is not DefectClass.PERMISSIONS or defect.path not in unread
    ]


def _ours(tree: TreeReader, idle_ns: int) -> Iterator[Defect]:
    """Look for what killed collections and removals left in our own folder."""

    def leftover(path: str, sentence: str, remedy: Remedy | None = None) -> Defect:
        kind, severity = DefectClass.LEFTOVER, Severity.NOTICE
        return make_defect(kind, severity, path, sentence, remedy=remedy)

    for algorithm in ALGORITHMS:
        above = f"{layout.SET_ASIDE}/{algorithm}"
        for name in _names(tree, above):
            yield _set_aside(tree, algorithm, name, f"{above}/{name}", leftover)
    for name in _names(tree, ""):
        what = name.removeprefix(layout.BESIDE)
        if what == name:
            continue
        algorithm, _, encoded = what.partition("-")
        yield _set_aside(tree, algorithm, encoded, name, leftover)
    for above in (layout.DRAFTS, layout.LEAVING):
        for name in _names(tree, above):
            path = f"{above}/{name}"
            time_ns = tree.mtime(path)
            if time_ns is not None and time_ns <= idle_ns:
                yield leftover(
                    path, "was left by a process that was killed; the next gc removes it"
                )


def _set_aside(
    tree: TreeReader, algorithm: str, encoded: str, path: str, leftover: Callable[..., Defect]
) -> Defect:
    digest = raw_digest(algorithm, encoded)
    if digest is None:
        return leftover(path, "was left by a collection that was killed; the next gc removes it")
    if tree.blob(digest) is not None:
        return leftover(path, "was set aside by a killed collection, and pushed again since")
    target = layout.blob_data(Digest.from_raw(digest))
    remedy = Remedy(RepairAction.RECOVER_BLOB, path, target)
    sentence = "is a blob that a killed collection set aside; the next gc puts it back"
    return leftover(path, sentence, remedy)


def _names(tree: TreeReader, relative: str) -> list[str]:
    try:
        folder = tree.folder(relative or os.curdir)
        if folder is None:
            return []
        with folder:
            return sorted(entry.name for entry in folder.entries())
    except StorageError:
        return []
