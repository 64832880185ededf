"""Documents in a folder: one of a user's own, or one of ours in a storage tree."""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from jettison.errors import StorageError
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.draft import Draft, open_record, write_file
from jettison.storage.filesystem.folder import (
    BlockedError,
    Folder,
    UnusableError,
    storage_errors,
)

__all__ = ["FolderDocuments"]

_LEASE: Final = ".lease"
_PAUSE: Final = 0.01


class FolderDocuments:
    """Documents in a folder, private to its owner (:class:`~jettison.storage.protocol.Documents`).

    :meth:`at` is for a folder that its user answers for, with links on the way to it;
    :meth:`in_tree` for one below the root of a tree, where no link is followed.
    """

    def __init__(self, folder: Path, *, root: Path | None = None) -> None:
        self._folder = folder
        self._root = root

    @classmethod
    def at(cls, folder: Path) -> Self:
        """Return the documents in a folder of a user's own; it need not be there yet."""
        return cls(folder)

    @classmethod
    def in_tree(cls, root: Path, collection: str) -> Self:
        """Return a collection of documents of the tree below ``root``."""
        return cls(root / layout.OURS / collection, root=root)

    @property
    def location(self) -> str:
        """The path of the folder."""
        return str(self._folder)

    @contextmanager
    def _opened(self, *, make: bool = False) -> Iterator[Folder | None]:
        folder = self._make_folder() if make else self._open_folder()
        try:
            yield folder
        finally:
            if folder is not None:
                folder.close()

    def _open_folder(self) -> Folder | None:
        if self._root is None:
            return Folder.root(self._folder) if self._folder.exists() else None
        relative = str(self._folder.relative_to(self._root))
        with Folder.root(self._root) as top:
            try:
                return top.open(relative)
            except BlockedError:
                raise top.refusal(relative) from None

    def _make_folder(self) -> Folder:
        if self._root is None:
            return Folder.make_path(self._folder)
        ours, *inner = self._folder.relative_to(self._root).parts
        with Folder.root(self._root) as top:
            folder = top.make(ours)
            for name in inner:
                with folder:
                    folder = folder.make(name, private=True)
            return folder

    def names(self) -> list[str]:
        """Return the names of all documents."""
        with self._opened() as folder:
            found = [] if folder is None else [entry.name for entry in folder.entries()]
        return [name for name in found if not name.endswith(_LEASE)]

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a document of at most ``limit`` bytes, None if there is none."""
        with self._opened() as folder:
            try:
                return None if folder is None else folder.read(name, limit)
            except UnusableError as error:
                raise StorageError(f"{self._folder / name} {error}") from error

    def beginning(self, name: str, size: int) -> bytes | None:
        """Return the first ``size`` bytes of a document, None if there is none."""
        with self._opened() as folder:
            [found] = [None] if folder is None else folder.read_each([name], size)
            return found

    def write(self, name: str, content: bytes) -> None:
        """Store a document, whole and synced, in place of the one that may be there."""
        with self._opened(make=True) as folder:
            if folder is not None:
                write_file(folder, name, content, private=True)

    def append(self, name: str, lines: Iterable[bytes]) -> None:
        """Add lines to a document, synced once. A line cut short by a crash ends where one begins.

        Raises where the folder is not there: a document of the same name belongs to it.
        """
        path = self._folder / name
        with self._opened() as folder, storage_errors("write", path):
            if folder is None:
                raise FileNotFoundError(2, os.strerror(2))
            with open_record(folder, name, private=True) as descriptor:
                os.lseek(descriptor, 0, os.SEEK_END)
                os.write(descriptor, b"".join(b"\n" + line + b"\n" for line in lines))
                os.fsync(descriptor)

    def remove(self, name: str) -> bool:
        """Remove a document; False if it was not there."""
        with self._opened() as folder:
            return folder is not None and folder.unlink(name)

    def has_room(self, size: int) -> bool:
        """Whether a document of so many bytes could be stored; False on a disk that is full."""
        try:
            with self._opened(make=True) as folder:
                if folder is not None:
                    with Draft(folder, "trial", private=True) as draft:
                        draft.write(bytes(size))
        except StorageError as error:
            if error.is_full:
                return False
            raise
        return True

    @contextmanager
    def lease(self, name: str, patience: float = 0.0) -> Iterator[bool]:
        """Hold what only one process may do at a time; False: another does.

        It is the kernel's lock on a file, which its holder removes at the end.
        """
        path = self._folder / f"{name}{_LEASE}"
        with self._opened(make=True) as folder, ExitStack() as held:
            if folder is None:
                raise StorageError(f"cannot lock {path}")
            yield _take(folder, path, time.monotonic() + patience, held)


def _take(folder: Folder, path: Path, end: float, held: ExitStack) -> bool:
    """Make and lock a file, until ``held`` closes and removes it; False if another has it."""
    while True:
        with ExitStack() as opened:
            record = open_record(folder, path.name, private=True, may_be_gone=True)
            descriptor = opened.enter_context(record)
            locked = _lock(descriptor, path)
            if locked and _is_at(folder, path.name, descriptor):
                held.push(opened.pop_all())
                held.callback(_remove, folder, path.name)
                return True
        # One that is locked and not there is that of a holder who has just removed it.
        if not locked:
            if time.monotonic() >= end:
                return False
            time.sleep(_PAUSE)


def _remove(folder: Folder, name: str) -> None:
    with suppress(StorageError):  # it is of use again
        folder.unlink(name)


def _is_at(folder: Folder, name: str, descriptor: int) -> bool:
    """Whether the open file is the one of that name."""
    found = folder.look(name)
    return found is not None and os.path.samestat(found, os.fstat(descriptor))


def _lock(descriptor: int, path: Path) -> bool:
    """Lock an open file, until it is closed; False if another process has it."""
    with storage_errors("lock", path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
