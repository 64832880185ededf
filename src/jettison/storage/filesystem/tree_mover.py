"""What a repair does to a storage tree: renames that overwrite nothing, and whole small files.

What is there is taken away in one step and looked at afterwards: what a push wrote at the last
moment is seen, and put back.

Every folder is opened without following a symbolic link, and everything is done in open folders.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from jettison.errors import StorageError
from jettison.model.repair import FileFingerprint
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.draft import Draft
from jettison.storage.filesystem.folder import NO_HARD_LINKS, Folder, UnusableError, storage_errors
from jettison.storage.filesystem.removing import TreeRemover

__all__ = ["InTheWayError", "TreeMover"]

_LONGEST: Final = 4096


class InTheWayError(Exception):
    """Something is where a file is to go, or is no longer what it was; the text says which."""


class TreeMover:
    """Changes a tree, for whoever holds its lock. Paths are relative to the root."""

    def __init__(self, tree: TreeRemover) -> None:
        self._tree = tree

    # Looking.

    def look(self, path: str) -> FileFingerprint:
        """Return what is at a path, of which no part is a symbolic link."""
        with self._folder_of(path) as (folder, name):
            status = None if folder is None else folder.look(name)
        if status is None:
            return FileFingerprint(path)
        return FileFingerprint(path, status.st_ino, status.st_size, status.st_mtime_ns)

    def read(self, path: str) -> bytes | None:
        """Return a small file's bytes, or None if it is absent or no such file."""
        with self._folder_of(path) as (folder, name):
            try:
                return None if folder is None else folder.read(name, _LONGEST)
            except UnusableError:
                return None

    def missing_folders(self, path: str) -> tuple[str, ...]:
        """Return the folders that are to be made for a file, the innermost first."""
        missing = []
        above = path.rpartition("/")[0]
        while above and not self.look(above).inode:
            missing.append(above)
            above = above.rpartition("/")[0]
        return tuple(missing)

    @contextmanager
    def _folder_of(self, path: str) -> Iterator[tuple[Folder | None, str]]:
        above, _, name = path.rpartition("/")
        folder = self._tree.folder(above or ".")
        try:
            yield folder, name
        finally:
            if folder is not None:
                folder.close()

    # Changing.

    def take(self, path: str, to: str, seen: Iterable[FileFingerprint]) -> bool:
        """Rename a file or folder to a place of our own; False if it is not there.

        It is put back, and :class:`InTheWayError` raised, unless all of ``seen`` that is at or
        below ``path`` is as it was: whatever is renamed is looked at when nobody finds it there
        any more.
        """
        with self._folder_of(path) as (source, name):
            if source is None or source.look(name) is None:
                return False
            self._tree.make_folder_of(to)
            with self._folder_of(to) as (target, new), storage_errors("move", path):
                if target is None:
                    raise InTheWayError(f"{to.rpartition('/')[0]} is no folder")
                if target.look(new) is not None:
                    raise InTheWayError(f"{to} is there already")
                if not source.move(name, target, new):
                    return False
        for one in seen:
            if one.path != path and not one.path.startswith(f"{path}/"):
                continue
            here = self.look(to + one.path.removeprefix(path))
            if (here.inode, here.size, here.mtime_ns) != (one.inode, one.size, one.mtime_ns):
                self._give_back(to, path)
        return True

    def _give_back(self, taken: str, path: str) -> NoReturn:
        try:
            self.move(taken, path)
        except (InTheWayError, StorageError):
            message = f"has changed just now, and was written again; what was there is in {taken}"
            raise InTheWayError(message) from None
        raise InTheWayError("has changed just now, and is left")

    def move(self, path: str, to: str) -> bool:
        """Rename a file or folder of our own; False if it is not there.

        Raises :class:`InTheWayError` if there is something else at ``to``, which stays.
        """
        with self._folder_of(path) as (source, name):
            if source is None or source.look(name) is None:
                return False
            self._tree.make_folder_of(to)
            with self._folder_of(to) as (target, new), storage_errors("move", path):
                if target is None:
                    raise InTheWayError(f"{to.rpartition('/')[0]} is no folder")
                self._rename(source, name, target, new)
        return True

    def _rename(self, source: Folder, name: str, target: Folder, new: str) -> None:
        if not source.is_folder(name):
            try:
                # Unlike a rename, this never replaces what somebody wrote there just now.
                source.link(name, target, new)
            except FileExistsError:
                here, there = source.look(name), target.look(new)
                if here is None or there is None or not os.path.samestat(here, there):
                    raise InTheWayError(f"{new} is there already") from None
                # A process was killed between the two halves.
            except OSError as error:
                if error.errno not in NO_HARD_LINKS:
                    raise
                self._plainly(source, name, target, new)
                return
            source.unlink(name)
            return
        self._plainly(source, name, target, new)

    def _plainly(self, source: Folder, name: str, target: Folder, new: str) -> None:
        if target.look(new) is not None:
            raise InTheWayError(f"{new} is there already")
        source.move(name, target, new)

    def write(self, path: str, content: bytes, mtime_ns: int) -> None:
        """Write a file, whole and synced, with this time (nanoseconds).

        Raises :class:`InTheWayError` if something is there.
        """
        above, _, name = path.rpartition("/")
        with (
            self._tree.make_folder(layout.DRAFTS) as drafts,
            self._tree.make_folder(above) as folder,
            Draft(drafts) as draft,
        ):
            draft.write(content)
            draft.finish(folder, mtime_ns)
            with storage_errors("write", path):
                self._rename(drafts, draft.name, folder, name)
            folder.sync()

    def unlink(self, path: str) -> None:
        """Remove a file that this program wrote."""
        with self._folder_of(path) as (folder, name):
            if folder is not None:
                folder.unlink(name)

    def remove_each(self, folders: Iterable[str]) -> None:
        """Remove these folders, in their order, as long as nothing is in them."""
        for folder in folders:
            if not self._tree.remove_folder_if_empty(folder):
                return

    def remove_empty(self, path: str) -> None:
        """Remove the folders below a folder, and itself, in which nothing is."""
        folder = self._tree.folder(path)
        if folder is None:
            return
        with folder:
            for name in folder.folders()[0]:
                self.remove_empty(f"{path}/{name}")
        self._tree.remove_folder_if_empty(path)
