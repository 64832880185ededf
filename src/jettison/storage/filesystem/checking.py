"""What is wrong in a storage tree whatever its images are, for fsck."""

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from typing import Final

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
from jettison.storage.filesystem.beneath import open_beneath
from jettison.storage.filesystem.folder import UnreadableError, UnusableError
from jettison.storage.filesystem.reading import TreeReader, arrival
from jettison.storage.filesystem.tree_shape import LONGEST_LINK, EntryKind, Owner, Walker
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

__all__ = ["TreeCheck", "has_digest"]

_PIECE: Final = 1 << 20
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK
_SHA256_BYTES: Final = 32
_PARTS: Final = {
    "_layers": EntryKind.LAYERS,
    "_manifests": EntryKind.MANIFESTS,
    "_uploads": EntryKind.UPLOADS,
}


class TreeCheck:
    """Checks a tree; what was written after ``idle`` may still be being written."""

    def __init__(self, tree: TreeReader, idle: Stamp) -> None:
        self._tree = tree
        self._idle = idle
        self._owner = Owner.of(tree)
        self._buffers = threading.local()

    def _walker(self, repository: str | None = None, *stop: EntryKind) -> Walker:
        return Walker(self._tree, self._idle, self._owner, repository, frozenset(stop))

    def top(self) -> TopCheck:
        """Look at everything above blobs and repositories, and at what is ours."""
        walker = self._walker(None, EntryKind.BLOB_PREFIX, *_PARTS.values())
        walker.walk(layout.MARKER, EntryKind.VERSION)
        blobs = f"{layout.BLOBS}/"
        groups = [path.removeprefix(blobs) for path in walker.stopped if path.startswith(blobs)]
        return TopCheck(sorted(groups), [*walker.defects, *self._left_of_ours()])

    def hidden(self) -> frozenset[Place]:
        """Return nothing: what lies aside is a file, which :meth:`top` tells of."""
        return frozenset()

    def group(self, group: str) -> GroupCheck:
        """Look at the folders and files of a group of blobs."""
        walker = self._walker()
        walker.walk(f"{layout.BLOBS}/{group}", EntryKind.BLOB_PREFIX)
        return GroupCheck(walker.blobs, walker.bytes, walker.defects)

    def repository(self, name: str) -> RepositoryCheck:
        """Look at the folders and files of a repository, and read the links of its layers."""
        walker = self._walker(name)
        for inner, kind in _PARTS.items():
            walker.walk(f"{layout.repository(name)}/{inner}", kind)
        return RepositoryCheck(walker.layers, walker.defects)

    def mismatch(self, digest: BinaryDigest, told: Callable[[int], bool]) -> Blob | None:
        """Return a blob whose content has another digest; quicker than by ``read_blob``."""
        top = self._tree.blobs_folder
        if top is None:
            return None
        try:
            descriptor = open_beneath(top.descriptor, layout.blob_file(digest), _FLAGS)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(error.strerror or str(error)) from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None  # the walk tells what it is
            if self._hashes_to(digest, descriptor, told):
                return None
            stamp = Stamp(status.st_mtime_ns)
            return Blob(digest, status.st_size, stamp, arrival(status))
        except OSError as error:
            raise StorageError(error.strerror or str(error)) from error
        finally:
            os.close(descriptor)

    def _hashes_to(
        self, digest: BinaryDigest, descriptor: int, told: Callable[[int], bool]
    ) -> bool:
        """Whether an open file has a digest; also True if the reading was ended."""
        buffer: memoryview | None = getattr(self._buffers, "buffer", None)
        if buffer is None:
            buffer = self._buffers.buffer = memoryview(bytearray(_PIECE))
        hasher = hashlib.sha256 if len(digest) == _SHA256_BYTES else hashlib.sha512
        content = hasher(usedforsecurity=False)
        while count := os.readv(descriptor, [buffer]):
            content.update(buffer[:count])
            if not told(count):
                return True
        return content.digest() == digest

    def link(self, place: str) -> BinaryDigest | BadLink | None:
        """Return the digest in a link's file."""
        above, _, name = place.rpartition("/")
        try:
            folder = self._tree.folder(above)
            if folder is None:
                return None
            with folder:
                raw = folder.read(name, LONGEST_LINK)
            return None if raw is None else layout.parse_link(raw).binary
        except UnreadableError as error:
            return BadLink(str(error), unread=True)
        except StorageError as error:
            return BadLink(f"cannot be read: {error.message}", unread=True)
        except (UnusableError, layout.MalformedLinkError) as error:
            return BadLink(str(error))

    def defect_class(self, problem: Problem) -> DefectClass:
        """Tell symbolic links from what does not belong where it is."""
        found = self._tree.root_folder.look(problem.path)
        if found is not None and stat.S_ISLNK(found.st_mode):
            return DefectClass.SYMBOLIC_LINK
        return DefectClass.UNEXPECTED_FILE

    # What killed collections and removals left in our own folder.

    def _left_of_ours(self) -> Iterator[Defect]:
        for algorithm in ALGORITHMS:
            above = f"{layout.SET_ASIDE}/{algorithm}"
            for name in self._names(above):
                yield self._left_aside(algorithm, name, f"{above}/{name}")
        for name in self._names(os.curdir):
            what = name.removeprefix(layout.QUARANTINE_PREFIX)
            if what != name:
                algorithm, _, encoded = what.partition("-")
                yield self._left_aside(algorithm, encoded, name)
        for above in (layout.DRAFTS, layout.TRASH):
            for name in self._names(above):
                path = f"{above}/{name}"
                written = self._tree.mtime(path)
                if written is not None and written <= self._idle:
                    sentence = "was left by a process that was killed; the next gc removes it"
                    yield _leftover(path, sentence)

    def _left_aside(self, algorithm: str, encoded: str, path: str) -> Defect:
        digest = binary_digest(algorithm, encoded)
        if digest is None:
            sentence = "was left by a collection that was killed; the next gc removes it"
            return _leftover(path, sentence)
        if self._tree.blob(digest) is not None:
            return _leftover(path, "was set aside by a killed collection, and pushed again since")
        remedy = Remedy(
            RepairAction.RECOVER_BLOB, path, layout.blob_data(Digest.from_binary(digest))
        )
        sentence = "is a blob that a killed collection set aside; the next gc puts it back"
        return _leftover(path, sentence, remedy)

    def _names(self, relative: str) -> list[str]:
        try:
            folder = self._tree.folder(relative)
            if folder is None:
                return []
            with folder:
                return sorted(entry.name for entry in folder.entries())
        except StorageError:
            return []


def _leftover(path: str, sentence: str, remedy: Remedy | None = None) -> Defect:
    return make_defect(DefectClass.LEFTOVER, Severity.NOTICE, path, sentence, remedy=remedy)


def has_digest(tree: TreeReader, path: str, digest: BinaryDigest) -> bool:
    """Whether the file at ``path``, relative to the root, has this digest; raises OSError."""
    hasher = "sha256" if len(digest) == _SHA256_BYTES else "sha512"
    descriptor = open_beneath(tree.root_folder.descriptor, path, _FLAGS)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        return hashlib.file_digest(file, hasher).digest() == digest
