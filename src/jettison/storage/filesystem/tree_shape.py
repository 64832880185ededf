"""What a storage tree looks like: which name may stand where, as a table, and a walk along it.

The walk looks at every folder and file once. What does not belong, symbolic links, temporary
files, owners and modes are seen on the way, and the links of layers and of histories are read,
since nothing else opens them.
"""

import enum
import os
import re
import stat
import time
from typing import Final, NamedTuple

from jettison.errors import StorageError
from jettison.model.check_report import (
    Defect,
    DefectClass,
    Remedy,
    RepairAction,
    Severity,
    make_defect,
)
from jettison.model.digest import ALGORITHMS, BinaryDigest, Digest, binary_digest
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.folder import BlockedError, Folder, UnreadableError, UnusableError
from jettison.storage.filesystem.reading import TreeReader, is_leftover
from jettison.storage.protocol import BadLink, Stamp

__all__ = ["LONGEST_LINK", "EntryKind", "Owner", "Walker"]

_REREADS: Final = 3
_REREAD_SECONDS: Final = 0.01
LONGEST_LINK: Final = 4096


class EntryKind(enum.Enum):
    """The kinds of folders, and of the files in them, in a storage tree."""

    VERSION = enum.auto()
    BLOBS = enum.auto()
    BLOB_ALGORITHM = enum.auto()
    BLOB_PREFIX = enum.auto()
    BLOB = enum.auto()
    NAMESPACE = enum.auto()
    LAYERS = enum.auto()
    LAYER_ALGORITHM = enum.auto()
    LAYER = enum.auto()
    MANIFESTS = enum.auto()
    REVISIONS = enum.auto()
    REVISION_ALGORITHM = enum.auto()
    REVISION = enum.auto()
    TAGS = enum.auto()
    TAG = enum.auto()
    CURRENT = enum.auto()
    HISTORY = enum.auto()
    HISTORY_ALGORITHM = enum.auto()
    HISTORY_ENTRY = enum.auto()
    UPLOADS = enum.auto()
    ANYTHING = enum.auto()
    """A folder that is not looked into."""

    DATA = enum.auto()
    LAYER_LINK = enum.auto()
    HISTORY_LINK = enum.auto()
    OTHER_LINK = enum.auto()
    """A link that :class:`~jettison.storage.filesystem.repository.RepositoryReader` reads."""

    ASIDE_LINK = enum.auto()
    """A link that a collection has taken (:mod:`jettison.storage.filesystem.quarantine`)."""


_FILES: Final = frozenset(
    {
        EntryKind.DATA,
        EntryKind.LAYER_LINK,
        EntryKind.HISTORY_LINK,
        EntryKind.OTHER_LINK,
        EntryKind.ASIDE_LINK,
    }
)

_NAMES: Final[dict[EntryKind, dict[str, EntryKind]]] = {
    EntryKind.VERSION: {"blobs": EntryKind.BLOBS, "repositories": EntryKind.NAMESPACE},
    EntryKind.BLOBS: dict.fromkeys(ALGORITHMS, EntryKind.BLOB_ALGORITHM),
    EntryKind.BLOB: {"data": EntryKind.DATA},
    EntryKind.NAMESPACE: {
        "_layers": EntryKind.LAYERS,
        "_manifests": EntryKind.MANIFESTS,
        "_uploads": EntryKind.UPLOADS,
    },
    EntryKind.LAYERS: dict.fromkeys(ALGORITHMS, EntryKind.LAYER_ALGORITHM),
    EntryKind.LAYER: {"link": EntryKind.LAYER_LINK, "link.aside": EntryKind.ASIDE_LINK},
    EntryKind.MANIFESTS: {"revisions": EntryKind.REVISIONS, "tags": EntryKind.TAGS},
    EntryKind.REVISIONS: dict.fromkeys(ALGORITHMS, EntryKind.REVISION_ALGORITHM),
    # Distribution kept the signatures of schema 1 manifests there, long ago.
    EntryKind.REVISION: {
        "link": EntryKind.OTHER_LINK,
        "link.aside": EntryKind.ASIDE_LINK,
        "signatures": EntryKind.ANYTHING,
    },
    EntryKind.TAG: {"current": EntryKind.CURRENT, "index": EntryKind.HISTORY},
    EntryKind.CURRENT: {"link": EntryKind.OTHER_LINK},
    EntryKind.HISTORY: dict.fromkeys(ALGORITHMS, EntryKind.HISTORY_ALGORITHM),
    EntryKind.HISTORY_ENTRY: {"link": EntryKind.HISTORY_LINK, "link.aside": EntryKind.ASIDE_LINK},
}
_DIGEST: Final = re.compile(r"[0-9a-f]{64}(?:[0-9a-f]{64})?")
_PATTERNS: Final = {
    EntryKind.BLOB_ALGORITHM: (re.compile(r"[0-9a-f]{2}"), EntryKind.BLOB_PREFIX),
    EntryKind.BLOB_PREFIX: (_DIGEST, EntryKind.BLOB),
    EntryKind.NAMESPACE: (re.compile(r"[^_].*", re.DOTALL), EntryKind.NAMESPACE),
    EntryKind.LAYER_ALGORITHM: (_DIGEST, EntryKind.LAYER),
    EntryKind.REVISION_ALGORITHM: (_DIGEST, EntryKind.REVISION),
    EntryKind.TAGS: (re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"), EntryKind.TAG),
    EntryKind.HISTORY_ALGORITHM: (_DIGEST, EntryKind.HISTORY_ENTRY),
    EntryKind.UPLOADS: (re.compile(r".+", re.DOTALL), EntryKind.ANYTHING),
}
_DIGESTS: Final = frozenset(
    {
        EntryKind.BLOB_PREFIX,
        EntryKind.LAYER_ALGORITHM,
        EntryKind.REVISION_ALGORITHM,
        EntryKind.HISTORY_ALGORITHM,
    }
)


def _kind_below(kind: EntryKind, name: str, relative: str) -> EntryKind | None:
    """Return what an entry of a folder is by its name, or None for a name that is none there."""
    exact = _NAMES.get(kind, {}).get(name)
    if exact is not None:
        return exact
    pattern, below = _PATTERNS.get(kind, (None, None))
    if pattern is None or pattern.fullmatch(name) is None:
        return None
    if kind in _DIGESTS:
        parts = relative.split("/")
        algorithm = parts[-2] if kind is EntryKind.BLOB_PREFIX else parts[-1]
        if ALGORITHMS[algorithm] != len(name):
            return None
        if kind is EntryKind.BLOB_PREFIX and not name.startswith(parts[-1]):
            return None
    return below


class Owner(NamedTuple):
    """Whom the storage belongs to, by the folder that all of it is in."""

    uid: int
    gid: int

    @classmethod
    def of(cls, tree: TreeReader) -> "Owner":
        """Return the owner of a tree."""
        status = tree.root_folder.look(layout.MARKER)
        return cls(0, 0) if status is None else cls(status.st_uid, status.st_gid)

    def _bits(self, status: os.stat_result) -> int:
        if self.uid == 0:
            return 7  # root may do everything
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return status.st_mode >> shift & 7

    def complaint(self, status: os.stat_result, above: int) -> tuple[Severity, str] | None:
        """Say what is wrong with an entry's owner or mode; ``above`` owns the folder it is in."""
        bits = self._bits(status)
        is_folder = stat.S_ISDIR(status.st_mode)
        mode = f"mode {stat.S_IMODE(status.st_mode):04o}, user {status.st_uid}"
        if not bits & 4 or (is_folder and not bits & 1):
            return Severity.DAMAGE, f"cannot be read by user {self.uid}, the storage's ({mode})"
        if status.st_uid != self.uid:
            if status.st_uid == above:
                return None  # told of the folder that all of it is in
            sentence = f"belongs to user {status.st_uid}, and the storage to user {self.uid}"
            return Severity.NOTICE, sentence
        if not bits & 2:
            sentence = f"cannot be written by user {self.uid}, the storage's ({mode})"
            return Severity.NOTICE, sentence
        return None


class Walker:
    """Walks down the tree and notes what it sees.

    Temporary files that were written after ``idle`` may be in use. Folders of the kinds in
    ``stop`` are not entered; their paths are in ``stopped``. ``layers`` has what each layer link
    leads to. ``blobs`` and ``bytes`` count the files of blobs.
    """

    def __init__(
        self,
        tree: TreeReader,
        idle: Stamp,
        owner: Owner,
        repository: str | None = None,
        stop: frozenset[EntryKind] = frozenset(),
    ) -> None:
        self._tree = tree
        self._idle = idle
        self._owner = owner
        self._repository = repository
        self._stop = stop
        self.defects: list[Defect] = []
        self.stopped: list[str] = []
        self.layers: dict[BinaryDigest, BinaryDigest | BadLink] = {}
        self.blobs = 0
        self.bytes = 0

    def walk(self, relative: str, kind: EntryKind) -> None:
        """Look at all that is below a folder, which may be absent."""
        try:
            folder = self._tree.root_folder.open(relative)
        except BlockedError:
            return  # seen, and noted, in the folder above
        except StorageError as error:
            self._unreadable(relative, error)
            return
        if folder is not None:
            with folder:
                above = os.fstat(folder.descriptor).st_uid
                self._inside(folder, relative, kind, above)

    def _inside(self, folder: Folder, relative: str, kind: EntryKind, above: int) -> None:
        try:
            entries = folder.entries()
        except StorageError as error:
            self._unreadable(relative, error)
            return
        for entry in entries:
            path = f"{relative}/{entry.name}"
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(status.st_mode):
                self._note(
                    DefectClass.SYMBOLIC_LINK, path, "is a symbolic link, which is not followed"
                )
            elif is_leftover(entry):
                self._leftover(path, status)
            else:
                self._entry(folder, path, _kind_below(kind, entry.name, relative), status, above)

    def _entry(
        self, folder: Folder, path: str, kind: EntryKind | None, status: os.stat_result, above: int
    ) -> None:
        is_folder = stat.S_ISDIR(status.st_mode)
        if kind is None:
            self._note(DefectClass.UNEXPECTED_FILE, path, "does not belong there")
            return
        if is_folder == (kind in _FILES) or not (is_folder or stat.S_ISREG(status.st_mode)):
            wanted = "file" if kind in _FILES else "folder"
            self._note(DefectClass.UNEXPECTED_FILE, path, f"should be a {wanted}, and is none")
            return
        complaint = self._owner.complaint(status, above)
        if complaint is not None:
            self._note(DefectClass.PERMISSIONS, path, complaint[1], complaint[0])
        if kind in self._stop:
            self.stopped.append(path)
        elif kind is EntryKind.DATA:
            self.blobs += 1
            self.bytes += status.st_size
        elif kind is EntryKind.LAYER_LINK:
            self._layer_link(folder, path)
        elif kind is EntryKind.HISTORY_LINK:
            self._history_link(folder, path)
        elif kind is EntryKind.ASIDE_LINK:
            sentence = "is a link that a collection has set aside; the next gc puts it back"
            self._note(DefectClass.LEFTOVER, path, sentence)
        elif is_folder and kind is not EntryKind.ANYTHING:
            self._below(folder, path, kind, status.st_uid)

    def _below(self, folder: Folder, path: str, kind: EntryKind, above: int) -> None:
        try:
            inner = folder.open(path.rpartition("/")[2])
        except BlockedError:
            return  # replaced since it was listed
        except StorageError as error:
            self._unreadable(path, error)
            return
        if inner is not None:
            with inner:
                self._inside(inner, path, kind, above)

    # Links.

    def _layer_link(self, folder: Folder, path: str) -> None:
        _, algorithm, encoded, _ = path.rsplit("/", 3)
        digest = binary_digest(algorithm, encoded)
        if digest is None:
            return
        target = self._read_link(folder, digest)
        if isinstance(target, BadLink) or target == digest:
            self.layers[digest] = target
        elif target is not None and len(target) != len(digest):
            # Content pushed under another algorithm lies under its canonical digest.
            self.layers[digest] = target
        elif target is not None:
            self.layers[digest] = BadLink(_points_elsewhere(target))

    def _history_link(self, folder: Folder, path: str) -> None:
        _, algorithm, encoded, _ = path.rsplit("/", 3)
        digest = binary_digest(algorithm, encoded)
        if digest is None:
            return
        target = self._read_link(folder, digest)
        if target is None or target == digest:
            return
        if not isinstance(target, BadLink):
            target = BadLink(_points_elsewhere(target))
        if target.unread:
            self._note(DefectClass.UNREADABLE, path, target.why)
            return
        remedy = Remedy(RepairAction.MOVE_LINK, path)
        self._note(DefectClass.MALFORMED_LINK, path, f"is malformed: {target.why}", remedy=remedy)

    def _read_link(self, folder: Folder, expected: BinaryDigest) -> BinaryDigest | BadLink | None:
        """Return a link's digest, what is wrong with it, or None if it is gone.

        A malformed one is read again: Distribution 2.x rewrites links in place.
        """
        wanted = Digest.from_binary(expected).encode()
        bad: BadLink | None = None
        for attempt in range(_REREADS):
            if attempt:
                time.sleep(_REREAD_SECONDS)
            try:
                raw = folder.read(layout.LINK, LONGEST_LINK)
                if raw is None:
                    return None
                if raw == wanted:
                    return expected
                return layout.parse_link(raw).binary
            except UnreadableError as error:
                bad = BadLink(str(error), unread=True)
            except (UnusableError, layout.MalformedLinkError) as error:
                bad = BadLink(str(error))
        return bad

    # Notes.

    def _leftover(self, path: str, status: os.stat_result) -> None:
        if status.st_mtime_ns <= self._idle:
            sentence = f"is a temporary file of {status.st_size:,} bytes that was never finished"
            remedy = Remedy(RepairAction.MOVE_LEFTOVER, path)
            self._note(DefectClass.LEFTOVER, path, sentence, remedy=remedy)

    def _unreadable(self, path: str, error: StorageError) -> None:
        self._note(
            DefectClass.UNREADABLE, path, f"cannot be read here: {error.message}", Severity.DAMAGE
        )

    def _note(
        self,
        kind: DefectClass,
        path: str,
        sentence: str,
        severity: Severity = Severity.NOTICE,
        *,
        remedy: Remedy | None = None,
    ) -> None:
        defect = make_defect(
            kind, severity, path, sentence, repository=self._repository, remedy=remedy
        )
        self.defects.append(defect)


def _points_elsewhere(target: BinaryDigest) -> str:
    return f"it points to {Digest.from_binary(target)} instead of what its folder is named after"
