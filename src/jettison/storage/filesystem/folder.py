# ruff: noqa: PTH208 (an open folder is listed by its descriptor)
"""One folder of a storage tree, held open: everything below it is reached by its name alone.

That is a third faster than by full paths, and safe: no step is ever made through a symbolic link,
nor out of the folder, so nothing outside of the tree is read, written or removed by mistake, also
where the tree's owner changes it meanwhile (docs/security.md).
"""

import errno
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from jettison.errors import StorageError, storage_error, storage_errors
from jettison.model.digest import BinaryDigest
from jettison.storage.filesystem import native
from jettison.storage.filesystem.beneath import look_beneath, open_beneath
from jettison.storage.filesystem.layout import blob_file
from jettison.storage.filesystem.native import Look
from jettison.storage.protocol import Outcome

__all__ = [
    "NO_HARD_LINKS",
    "BlockedError",
    "Folder",
    "UnreadableError",
    "UnusableError",
    "adopt",
    "storage_errors",
]

NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
"""What the system says where a file can have one name only."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY
_ABOVE: Final = os.O_PATH | os.O_DIRECTORY
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK
_OWN_LINKS: Final = 2
"""A folder is named in the one above it, and by the dot in itself."""

SETTLED_NS: Final = 2_000_000_000
"""What changed so lately may change again without its time showing it: file systems have ticks."""

_PIECE: Final = 16 * 1024
_SHA256_BYTES: Final = 32
_BLOCK: Final = 512
"""The unit of `st_blocks`, whatever the file system's own blocks are."""

ATTEMPTS: Final = 5
"""How often something is tried that others can get in the way of, who are done after a moment."""
_BEHIND: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})
"""What is said of a path that leads to nothing in the tree; what is behind a link is not in it."""
_OCCUPIED: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST})


def _go_on_where_missing(
    _function: object, _path: object, error: BaseException | tuple[object, BaseException, object]
) -> None:
    """Raise what a removal met, unless somebody else was faster with a part of it."""
    met = error[1] if isinstance(error, tuple) else error
    if not isinstance(met, FileNotFoundError):
        raise met


# Python 3.12 calls it by another name, and gives it the error itself.
_WHERE_MISSING: Final[dict[str, Any]] = {
    "onexc" if sys.version_info >= (3, 12) else "onerror": _go_on_where_missing
}


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


def adopt(descriptor: int, parent: int, *, private: bool = False) -> None:
    """Give something that was just made, and is open, to the owner of the folder ``parent``.

    The registry, and whoever collects next, may run as another user than root, or as one of the
    folder's group: where that may write it may write here. ``private``: others may not even look.
    """
    is_root = os.geteuid() == 0
    if not is_root and not private:
        return
    above, made = os.fstat(parent), os.fstat(descriptor)
    mode = stat.S_IMODE(made.st_mode)
    wanted = mode & ~stat.S_IRWXO if private else mode
    if above.st_mode & stat.S_IWGRP:
        wanted |= stat.S_IRWXG if stat.S_ISDIR(made.st_mode) else stat.S_IRGRP | stat.S_IWGRP
    owned = above.st_uid, above.st_gid
    if is_root and owned != (made.st_uid, made.st_gid):
        os.fchown(descriptor, *owned)
        mode = -1  # which may take bits of it away
    if wanted != mode:
        os.fchmod(descriptor, wanted)


class Folder:
    """A folder, to be used in a ``with`` block; ``path`` is where it was found, for messages.

    Names may be paths below it (``<hex>/link``). No part of them is followed if it is a symbolic
    link: what is behind one is not there.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        self.descriptor = descriptor
        self.path = path

    @classmethod
    def root(cls, path: Path) -> Self:
        """Open the root of a tree, which may be behind a link."""
        with storage_errors("open", path):
            return cls(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), str(path))

    @classmethod
    def make_path(cls, path: Path) -> "Folder":
        """Open a folder that the user named, with links on the way to it; make what is not there.

        What is made is private, owned like the folder that it is in, and on the disk.
        """
        path = path.absolute()
        missing = []
        while not path.exists():
            missing.append(path.name)
            path = path.parent
        folder: Folder = cls.root(path)
        while missing:
            with folder:
                folder = folder.make(missing.pop(), private=True)
        return folder

    def open(self, relative: str) -> "Folder | None":
        """Open a folder below, following no symbolic link on the way; None if it is not there.

        Raises :class:`BlockedError` where something else than a folder stands in the way.
        """
        try:
            inner = open_beneath(self.descriptor, relative, _FOLDER)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in _BEHIND:
                raise self._blocked(relative) from None
            raise storage_error("list", f"{self.path}/{relative}", error) from error
        return Folder(inner, f"{self.path}/{relative}")

    def _blocked(self, relative: str) -> "BlockedError":
        """Return what stands in the way of a folder below: the first part that is none."""
        path = ""
        for part in relative.split("/"):
            path = f"{path}/{part}".lstrip("/")
            found = self.look(path)
            if found is None or not stat.S_ISDIR(found.st_mode):
                break
        is_link = found is not None and stat.S_ISLNK(found.st_mode)
        return BlockedError(f"{self.path}/{path}", is_link=is_link)

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
            return look_beneath(self.descriptor, name)
        except OSError as error:
            if error.errno in _BEHIND:
                return None
            raise storage_error("look at", f"{self.path}/{name}", error) from error

    def look_each(self, names: Sequence[str]) -> list[Look | None]:
        """Look at each entry itself as :meth:`look` does, at hundreds of them at a time."""
        try:
            quickly = native.look_each(self.descriptor, names, _BEHIND)
        except OSError as error:
            raise storage_error("look at", f"{self.path}/{error.filename}", error) from error
        if quickly is not None:
            return quickly
        found = map(self.look, names)
        return [None if one is None else Look.of(one) for one in found]

    def blob_sizes(
        self, digests: Sequence[BinaryDigest], *, readable: bool
    ) -> list[int | None] | None:
        """Return the size of each blob below this folder of blobs, None for one that is no file.

        With ``readable`` also None for one whose first byte cannot be read. None instead of a list
        where that cannot be told of all of them at once.
        """
        row = b"".join(digests)
        if len(row) != _SHA256_BYTES * len(digests):
            return None
        sizes = native.blob_sizes(self.descriptor, row, readable=readable)
        if sizes is None:
            return None
        if min(sizes, default=0) >= 0:
            return list(sizes)
        for digest, size in zip(digests, sizes, strict=True):
            if size < 0 and not readable and -size not in _BEHIND:
                error = OSError(-size, os.strerror(-size))
                raise storage_error("look at", f"{self.path}/{blob_file(digest)}", error)
        return [None if size < 0 else size for size in sizes]

    def is_folder(self, name: str) -> bool:
        """Whether an entry is a folder itself, and no link to one."""
        found = self.look(name)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def kept(self, name: str, found: os.stat_result | Look) -> int:
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
            descriptor = open_beneath(self.descriptor, name, _FILE)
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

    def settled_time(self) -> int:
        """Return the same, or -1 where it may change again without its time showing it."""
        changed = self.own_time()
        return changed if changed < time.time_ns() - SETTLED_NS else -1

    def read(self, name: str, limit: int, first: int = 4096) -> bytes | None:
        """Return a file's bytes, None if it is not there.

        ``first`` is a good guess of how many bytes it has. Raises :class:`UnusableError` for what
        is no regular file, cannot be read, or is longer than ``limit`` bytes.
        """
        try:
            descriptor = open_beneath(self.descriptor, name, _FILE)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                here = self.look(name) is not None
                where = "is" if here else "is behind"
                raise UnusableError(f"{where} a symbolic link, which is not followed") from None
            raise UnreadableError(f"cannot be read: {error.strerror}") from None
        try:
            first = min(first, limit + 1)
            raw = os.read(descriptor, first)
            if not raw or len(raw) == first:
                raw = _read_on(descriptor, raw, limit)
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror}") from None
        finally:
            os.close(descriptor)
        return raw

    def read_each(self, names: Sequence[str], size: int) -> list[bytes | None]:
        """Return the first ``size`` bytes of each file, None for one that is not there.

        Also None for one that cannot be read: :meth:`read` tells why. It is for hundreds of files
        at a time.
        """
        quickly = native.read_each(self.descriptor, names, size)
        if quickly is not None:
            return quickly
        found: list[bytes | None] = []
        folder, open_, read, close = self.descriptor, open_beneath, os.read, os.close
        for name in names:
            try:
                descriptor = open_(folder, name, _FILE)
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

    @contextmanager
    def _above(self, name: str) -> Iterator[tuple[int, str]]:
        """Open the folder that an entry is in; what is done with its name is done there."""
        above, _, last = name.rpartition("/")
        if last in {"", ".", ".."} or "\0" in last:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
        if not above:
            yield self.descriptor, last
            return
        descriptor = open_beneath(self.descriptor, above, _ABOVE)
        try:
            yield descriptor, last
        finally:
            os.close(descriptor)

    def unlink(self, name: str) -> bool:
        """Remove a file; False if it was not there."""
        try:
            with self._above(name) as (folder, last):
                os.unlink(last, dir_fd=folder)
        except OSError as error:
            if error.errno in _BEHIND:
                return False
            raise storage_error("remove", f"{self.path}/{name}", error) from error
        return True

    def remove_if_empty(self, name: str) -> bool:
        """Remove a folder that nothing is in; False for one that is in use or absent."""
        try:
            with self._above(name) as (folder, last):
                os.rmdir(last, dir_fd=folder)
        except OSError as error:
            if error.errno in _BEHIND | _OCCUPIED:
                return False
            raise storage_error("remove", f"{self.path}/{name}", error) from error
        return True

    def remove_all(self, name: str) -> None:
        """Remove an entry with all that is in it, which others may be doing at the same time."""
        path = f"{self.path}/{name}"
        with storage_errors("remove", path), self._above(name) as (folder, last):
            found = self.look(name)
            if found is None:
                return
            if not stat.S_ISDIR(found.st_mode):
                self.unlink(name)
                return
            shutil.rmtree(last, dir_fd=folder, **_WHERE_MISSING)

    def move(self, name: str, to: "Folder", new: str) -> bool:
        """Rename an entry into another folder; False if it was not there."""
        try:
            with self._above(name) as (folder, last), to._above(new) as (target, last_new):  # noqa: SLF001 - one class
                os.rename(last, last_new, src_dir_fd=folder, dst_dir_fd=target)
        except OSError as error:
            if error.errno in _BEHIND:
                return False
            raise
        return True

    # The same, hundreds at a time: what a call says, or the error that it raises, for each.

    def unlink_each(self, names: Sequence[str]) -> list[Outcome]:
        """Remove files as :meth:`unlink` does."""
        failed = native.unlink_each(self.descriptor, names, 0)
        if failed is None:
            return [_outcome(self.unlink, name) for name in names]
        return self._outcomes("remove", names, failed, _BEHIND)

    def remove_each_if_empty(self, names: Sequence[str]) -> list[Outcome]:
        """Remove empty folders as :meth:`remove_if_empty` does."""
        failed = native.unlink_each(self.descriptor, names, native.AT_REMOVEDIR)
        if failed is None:
            return [_outcome(self.remove_if_empty, name) for name in names]
        return self._outcomes("remove", names, failed, _BEHIND | _OCCUPIED)

    def move_each(self, names: Sequence[str], to: "Folder", news: Sequence[str]) -> list[Outcome]:
        """Rename entries as :meth:`move` does."""
        failed = native.move_each(self.descriptor, names, to.descriptor, news)
        if failed is None:
            pairs = zip(names, news, strict=True)
            return [_outcome(self.move, name, to, new) for name, new in pairs]
        return self._outcomes("move aside", names, failed, _BEHIND)

    def _outcomes(
        self, action: str, names: Sequence[str], failed: Sequence[int], absent: Container[int]
    ) -> list[Outcome]:
        found: list[Outcome] = []
        for name, number in zip(names, failed, strict=True):
            if not number:
                found.append(True)
            elif number in absent:
                found.append(False)
            else:
                error = OSError(number, os.strerror(number))
                found.append(storage_error(action, f"{self.path}/{name}", error))
        return found

    def give_back(self, name: str, to: "Folder", new: str) -> bool:
        """Rename a file to where it was; where somebody has put another meanwhile, it goes instead.

        False if it does, or was not there. Unlike a rename this never replaces what was just put.
        """
        place = f"{to.path}/{new}"
        try:
            self.link(name, to, new)
        except FileExistsError:
            self.unlink(name)
            return False
        except OSError as error:
            if error.errno in _BEHIND:
                return False
            if error.errno not in NO_HARD_LINKS:
                raise storage_error("put back", place, error) from error
            if to.look(new) is not None:
                self.unlink(name)
                return False
            with storage_errors("put back", place):
                return self.move(name, to, new)
        self.unlink(name)
        return True

    def link(self, name: str, to: "Folder", new: str) -> None:
        """Give an entry a second name, unless something has it. Raises OSError."""
        with self._above(name) as (folder, last), to._above(new) as (target, last_new):  # noqa: SLF001 - one class
            os.link(last, last_new, src_dir_fd=folder, dst_dir_fd=target, follow_symlinks=False)

    def touch(self, name: str) -> bool:
        """Give a file the time that it is now; False if it is not there."""
        try:
            with self._above(name) as (folder, last):
                os.utime(last, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno in _BEHIND:
                return False
            raise storage_error("touch", f"{self.path}/{name}", error) from error
        return True

    def sync(self) -> None:
        """Let what was made, renamed or removed in it reach the disk."""
        with storage_errors("write", self.path):
            os.fsync(self.descriptor)

    def make(
        self,
        name: str,
        *,
        private: bool = False,
        like: "Folder | None" = None,
        sync: bool = True,
    ) -> "Folder":
        """Make a folder in it, owned like it and on the disk, if it is not there; open it.

        ``private``: others than the owner and the group may not look into it; ``like``: it is
        owned like that one instead; without ``sync`` it is not on the disk yet. Raises
        :class:`~jettison.errors.StorageError` where something else is in the way.
        """
        path = f"{self.path}/{name}"
        with storage_errors("make", path):
            made = True
            try:
                os.mkdir(name, 0o700 if private else 0o777, dir_fd=self.descriptor)
            except FileExistsError:
                made = False
            try:
                inner = Folder(open_beneath(self.descriptor, name, _FOLDER), path)
            except OSError as error:
                if error.errno in {errno.ENOTDIR, errno.ELOOP}:
                    raise self.refusal(name) from None
                raise
            if made:
                try:
                    adopt(inner.descriptor, (like or self).descriptor, private=private)
                    if sync:
                        os.fsync(self.descriptor)
                except BaseException:
                    inner.close()
                    raise
        return inner

    def refusal(self, relative: str) -> StorageError:
        """Return the error that tells what is in the way of a folder below."""
        blocked = self._blocked(relative)
        if blocked.is_link:
            message = f"{blocked.path} is a symbolic link, which is not followed"
            hint = "Put what it points to in its place, or mount that there (mount --bind)."
            return StorageError(message, hint=hint)
        message = f"{blocked.path} should be a folder, and is none"
        return StorageError(message, hint="Move it away; it is no part of a registry.")


def _outcome(do: Callable[..., bool], name: str, *more: object) -> Outcome:
    try:
        return do(name, *more)
    except StorageError as error:
        return error
    except OSError as error:
        return storage_error("move aside", name, error)


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
