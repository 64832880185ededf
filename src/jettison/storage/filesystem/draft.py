"""The one writer of whole files: drafted under a name that nobody knows, synced, then renamed.

So a file appears whole or not at all, and is on the disk when :meth:`Draft.place` returns. After a
sync that failed the draft is thrown away, and never synced again: Linux tells of a lost write once,
and takes what it could not write for written from then on.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

from jettison.errors import NotSynced, StorageError
from jettison.storage.filesystem.folder import Folder, adopt, storage_errors

__all__ = ["Draft", "create_file", "open_record", "rename", "sync_file", "write_file"]

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PRIVATE: Final = 0o600
_SHARED: Final = 0o666
"""Less what the umask takes."""


class Draft:
    """A file being written, in a ``with`` block; thrown away unless it was placed.

    It lies in ``folder``, on the file system of its place, and its name begins with ``name``.
    ``private``: others than the owner and the group of its folder cannot read it.
    """

    def __init__(self, folder: Folder, name: str = "draft", *, private: bool = False) -> None:
        self.folder = folder
        self.name = f"{name}.{secrets.token_hex(8)}.tmp"
        self._private = private
        self._placed = False
        with storage_errors("write", self.path):
            mode = _PRIVATE if private else _SHARED
            self.descriptor = os.open(self.name, _NEW, mode, dir_fd=folder.descriptor)

    @property
    def path(self) -> str:
        """Where it lies, for messages."""
        return f"{self.folder.path}/{self.name}"

    def write(self, piece: bytes) -> None:
        """Append to it."""
        with storage_errors("write", self.path):
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]

    def finish(self, like: Folder, mtime_ns: int | None = None) -> None:
        """Let it reach the disk, with the owner of a folder and this time (nanoseconds)."""
        with storage_errors("write", self.path):
            adopt(self.descriptor, like.descriptor, private=self._private)
            if mtime_ns is not None:
                os.utime(self.descriptor, ns=(mtime_ns, mtime_ns))
        sync_file(self.descriptor, self.path)

    def place(self, folder: Folder, name: str) -> None:
        """Finish it and rename it to its place, instead of what may be there."""
        self.finish(folder)
        rename(self.folder, self.name, folder, name)
        self._placed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
        if not self._placed:
            with contextlib.suppress(StorageError):
                self.folder.unlink(self.name)


def sync_file(descriptor: int, path: str, *, times: bool = True) -> None:
    """Let a file reach the disk; after a failure nothing may count on what it holds.

    Without ``times`` its times may come later.
    Raises :class:`~jettison.errors.NotSynced`.
    """
    try:
        if times:
            os.fsync(descriptor)
        else:
            os.fdatasync(descriptor)
    except OSError as error:
        raise NotSynced(f"cannot write {path}: {error.strerror}") from error


def rename(source: Folder, name: str, target: Folder, new: str) -> None:
    """Rename a file that is synced, instead of what may be there; on the disk when it returns."""
    with storage_errors("write", f"{target.path}/{new}"):
        os.replace(name, new, src_dir_fd=source.descriptor, dst_dir_fd=target.descriptor)
    target.sync()


def create_file(folder: Folder, name: str, raw: bytes) -> None:
    """Make a file with these bytes where nothing is; not synced."""
    with storage_errors("write", f"{folder.path}/{name}"):
        descriptor = os.open(name, _NEW, _SHARED, dir_fd=folder.descriptor)
        try:
            adopt(descriptor, folder.descriptor)
            if raw:
                os.write(descriptor, raw)
        finally:
            os.close(descriptor)


def write_file(
    folder: Folder, name: str, raw: bytes, *, drafts: Folder | None = None, private: bool = False
) -> None:
    """Write a file of a folder, whole or not at all, synced, in place of the one there may be.

    ``drafts`` is where it is drafted, if not in the folder itself.
    """
    with Draft(drafts or folder, name, private=private) as draft:
        draft.write(raw)
        draft.place(folder, name)


def _open_or_make(folder: Folder, name: str, mode: int, *, again: bool) -> tuple[int, bool]:
    """Open a file, and tell whether it is new; ``again`` if one vanishes in between."""
    while True:
        try:
            return os.open(name, _NEW, mode, dir_fd=folder.descriptor), True
        except FileExistsError:
            try:
                return os.open(name, _OLD, dir_fd=folder.descriptor), False
            except FileNotFoundError:
                if not again:
                    raise


@contextmanager
def open_record(
    folder: Folder, name: str, *, private: bool = False, may_be_gone: bool = False
) -> Iterator[int]:
    """Open a file of ours that is written in place, made if it is not there: a lock, a log.

    ``may_be_gone``: another process may remove it at any time.

    Raises :class:`~jettison.errors.StorageError` for what is no file, or has another name
    somewhere: what is written here would be written there.
    """
    path = f"{folder.path}/{name}"
    with storage_errors("write", path):
        mode = _PRIVATE if private else _SHARED & ~0o022
        descriptor, is_new = _open_or_make(folder, name, mode, again=may_be_gone)
    try:
        status = os.fstat(descriptor)
        gone = may_be_gone and status.st_nlink == 0
        if not stat.S_ISREG(status.st_mode) or (status.st_nlink != 1 and not gone):
            what = "is a hard link" if stat.S_ISREG(status.st_mode) else "is no regular file"
            message = f"{path} {what}; nothing is written to it"
            raise StorageError(message, hint="Remove it: it is Jettison's own, and made again.")
        if is_new:
            adopt(descriptor, folder.descriptor, private=private)
        yield descriptor
    finally:
        os.close(descriptor)
