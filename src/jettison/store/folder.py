# ruff: noqa: PTH208 (an open folder is listed by its descriptor)
"""One folder of a storage tree, held open: everything in it is reached by its name alone.

That is a third faster than by full paths, and safe: nobody can put a symbolic link in the way of a
folder that is open already, so nothing outside of the tree is ever read or removed by mistake.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from jettison.errors import StorageError

__all__ = [
    "FULL",
    "NO_HARD_LINKS",
    "BlockedError",
    "Folder",
    "UnreadableError",
    "UnusableError",
    "adopt",
    "storage_errors",
]

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says where there is no room left."""

NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
"""What the system says where a file can have one name only."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OWN_LINKS: Final = 2
"""A folder is named in the one above it, and by the dot in itself."""

_PIECE: Final = 16 * 1024
_BLOCK: Final = 512
"""The unit of `st_blocks`, whatever the file system's own blocks are."""

_ABSENT: Final = (FileNotFoundError, NotADirectoryError)


class BlockedError(Exception):
    """A folder should be here, and something else is; ``path`` is relative to the root."""

    def __init__(self, path: str, *, is_link: bool) -> None:
        super().__init__(path)
        self.path = path
        self.is_link = is_link


class UnusableError(Exception):
    """A file is there and cannot be used; the text says why."""


class UnreadableError(UnusableError):
    """A file is there, and the system does not let it be read: nobody knows what is in it."""


@contextmanager
def storage_errors(action: str, path: object) -> Iterator[None]:
    """Turn an OSError into a :class:`StorageError` that names the path."""
    try:
        yield
    except OSError as error:
        raise storage_error(action, path, error) from error


def storage_error(action: str, path: object, error: OSError) -> StorageError:
    """Return what :func:`storage_errors` raises, where a ``with`` block costs too much."""
    hint = None
    if isinstance(error, PermissionError):
        hint = "Run it as the user that the registry runs as, or as root."
    elif error.errno == errno.EROFS:
        hint = "The storage is mounted read-only."
    elif error.errno == errno.EXDEV:
        hint = "The root directory has to be one file system: mount it as a whole."
    reason = error.strerror or str(error)
    return StorageError(f"cannot {action} {path}: {reason}", hint=hint)


def adopt(path: str | int, parent: str | Path) -> None:
    """Give something that root has made to the owner of the folder that it is in.

    The registry, and whoever collects next, may run as another user than root.
    """
    if os.geteuid() == 0:
        owner = Path(parent).stat()
        os.chown(path, owner.st_uid, owner.st_gid)


class Folder:
    """A folder, to be used in a ``with`` block; ``path`` is where it was found, for messages.

    Names may be paths below it (``<hex>/link``); only their last part is never followed.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        self.descriptor = descriptor
        self.path = path

    @classmethod
    def root(cls, path: Path) -> Self:
        """Open the root of a tree, which may be behind a link."""
        with storage_errors("open", path):
            return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), str(path))

    def open(self, relative: str) -> "Folder | None":
        """Open a folder below, following no symbolic link on the way; None if it is not there.

        Raises :class:`BlockedError` where something else than a folder stands in the way.
        """
        descriptor, path = self.descriptor, self.path
        for part in relative.split("/"):
            path = f"{path}/{part}"
            try:
                inner = os.open(part, _FOLDER, dir_fd=descriptor)
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                    raise BlockedError(path, is_link=os.path.islink(path)) from None  # noqa: PTH114
                raise storage_error("list", path, error) from error
            finally:
                if descriptor != self.descriptor:
                    os.close(descriptor)
            descriptor = inner
        return Folder(descriptor, path)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Looking.

    def entries(self) -> list[os.DirEntry[str]]:
        """List it. The kinds of the entries are known without looking at each."""
        try:
            with os.scandir(self.descriptor) as found:
                return list(found)
        except OSError as error:
            raise storage_error("list", self.path, error) from error

    def folders(self) -> tuple[list[str], list[os.DirEntry[str]]]:
        """Return the names of the folders in it, and the entries that are none."""
        try:
            # Most file systems count a folder's folders. Where that is all there is, the names
            # are enough, which is three times as fast.
            count = os.fstat(self.descriptor).st_nlink - _OWN_LINKS
            names = os.listdir(self.descriptor)
        except OSError as error:
            raise storage_error("list", self.path, error) from error
        if len(names) == count:
            return names, []
        names, others = [], []
        for entry in self.entries():
            if entry.is_dir(follow_symlinks=False):
                names.append(entry.name)
            else:
                others.append(entry)
        return names, others

    def look(self, name: str) -> os.stat_result | None:
        """Look at an entry itself, not at what it points to; None if it is not there."""
        try:
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except _ABSENT:
            return None
        except OSError as error:
            raise storage_error("look at", f"{self.path}/{name}", error) from error

    def is_folder(self, name: str) -> bool:
        """Whether an entry is a folder itself, and no link to one."""
        found = self.look(name)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def kept(self, name: str, found: os.stat_result) -> int:
        """Return how many of a file's bytes the disk does not get back with it.

        Those that a hard link shows elsewhere too, as in a backup by ``cp -al``, and those that
        take no room: holes, or what the file system has compressed away.
        """
        size, taken = found.st_size, found.st_blocks * _BLOCK
        if found.st_nlink > 1:
            return size
        if taken >= size:
            return 0
        if taken or self._has_data(name):  # some file systems never say how much they take
            return size - taken if taken else 0
        return size

    def _has_data(self, name: str) -> bool:
        try:
            descriptor = os.open(name, _FILE, dir_fd=self.descriptor)
        except OSError:
            return True
        try:
            os.lseek(descriptor, 0, os.SEEK_DATA)
        except OSError as error:
            return error.errno != errno.ENXIO
        finally:
            os.close(descriptor)
        return True

    def time(self, name: str) -> int | None:
        """Return when an entry was last written (nanoseconds), or None if it is not there."""
        found = self.look(name)
        return None if found is None else found.st_mtime_ns

    def own_time(self) -> int:
        """Return when an entry was last made or removed in it (nanoseconds)."""
        return os.fstat(self.descriptor).st_mtime_ns

    def read(self, name: str, limit: int, first: int = 4096) -> bytes | None:
        """Return a file's bytes, None if it is not there.

        ``first`` is a good guess of how many bytes it has. Raises :class:`UnusableError` for what
        is no regular file, cannot be read, or is longer than ``limit`` bytes.
        """
        try:
            descriptor = os.open(name, _FILE, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise UnusableError("is a symbolic link, which is not followed") from None
            raise UnreadableError(f"cannot be read: {error.strerror}") from None
        try:
            raw = os.read(descriptor, first)
            if not raw or len(raw) == first:
                raw = _read_on(descriptor, raw, limit)
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}") from None
        finally:
            os.close(descriptor)
        return raw

    def read_each(self, names: Iterable[str], size: int) -> list[bytes | None]:
        """Return the first ``size`` bytes of each file, None for one that is not there.

        Also None for one that cannot be read: :meth:`read` tells why.
        """
        found: list[bytes | None] = []
        folder, open_, read, close = self.descriptor, os.open, os.read, os.close
        for name in names:
            try:
                descriptor = open_(name, _FILE, dir_fd=folder)
            except OSError:
                found.append(None)
                continue
            try:
                found.append(read(descriptor, size))
            except OSError:
                found.append(None)
            finally:
                close(descriptor)
        return found

    # Changing.

    def unlink(self, name: str) -> bool:
        """Remove a file; False if it was not there."""
        try:
            os.unlink(name, dir_fd=self.descriptor)
        except _ABSENT:
            return False
        except OSError as error:
            raise storage_error("remove", f"{self.path}/{name}", error) from error
        return True

    def remove_if_empty(self, name: str) -> bool:
        """Remove a folder that nothing is in; False for one that is in use or absent."""
        try:
            os.rmdir(name, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR}:
                return False
            raise storage_error("remove", f"{self.path}/{name}", error) from error
        return True

    def move(self, name: str, to: "Folder", new: str) -> bool:
        """Rename an entry into another folder; False if it was not there."""
        try:
            os.rename(name, new, src_dir_fd=self.descriptor, dst_dir_fd=to.descriptor)
        except _ABSENT:
            return False
        return True

    def give_back(self, name: str, to: "Folder", new: str) -> bool:
        """Rename a file to where it was; where somebody has put another meanwhile, it goes instead.

        False if it does, or was not there. Unlike a rename this never replaces what was just put.
        """
        place = f"{to.path}/{new}"
        try:
            os.link(name, new, src_dir_fd=self.descriptor, dst_dir_fd=to.descriptor)
        except FileNotFoundError:
            return False
        except FileExistsError:
            self.unlink(name)
            return False
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise storage_error("put back", place, error) from error
            if to.look(new) is not None:
                self.unlink(name)
                return False
            with storage_errors("put back", place):
                return self.move(name, to, new)
        self.unlink(name)
        return True


def _read_on(descriptor: int, raw: bytes, limit: int) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise UnusableError("should be a file, and is none")
    if status.st_size > limit:
        raise UnusableError(f"is {status.st_size} bytes long, too much for what it is")
    pieces = [raw]
    while piece := os.read(descriptor, max(_PIECE, status.st_size)):
        pieces.append(piece)
    return b"".join(pieces)
