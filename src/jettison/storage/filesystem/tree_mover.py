"""What a repair does to a storage tree: renames that overwrite nothing, and whole small files.

What is there is taken away in one step and looked at afterwards: what a push wrote at the last
moment is seen, and put back.

Every folder is opened without following a symbolic link, and everything is done in open folders.
"""

import os
from collections.abc import Iterable
from typing import NoReturn

import msgspec

from jettison.errors import StorageError
from jettison.model.digest import BinaryDigest
from jettison.model.repair import FileFingerprint
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.checking import has_digest
from jettison.storage.filesystem.draft import Draft
from jettison.storage.filesystem.folder import NO_HARD_LINKS, UnusableError, storage_errors
from jettison.storage.filesystem.removing import TreeRemover
from jettison.storage.filesystem.tree_shape import LONGEST_LINK
from jettison.storage.protocol import InTheWayError, Stamp

__all__ = ["TreeMover"]


class TreeMover:
    """Changes a tree, for whoever holds its lock. Paths are relative to the root."""

    def __init__(self, tree: TreeRemover) -> None:
        self._tree = tree
        self._top = tree.root_folder

    # Looking.

    def fingerprint(self, place: str) -> FileFingerprint:
        """Return what is at a path, of which no part is a symbolic link."""
        status = self._top.look(place)
        if status is None:
            return FileFingerprint(place)
        return FileFingerprint(place, status.st_ino, status.st_size, status.st_mtime_ns)

    def read(self, place: str) -> bytes | None:
        """Return a small file's bytes, or None if it is absent or no such file."""
        try:
            return self._top.read(place, LONGEST_LINK)
        except UnusableError:
            return None

    def has_digest(self, place: str, digest: BinaryDigest) -> bool:
        """Whether a file can be read and has a digest."""
        try:
            return has_digest(self._tree, place, digest)
        except OSError:
            return False

    def missing(self, place: str) -> tuple[str, ...]:
        """Return the folders that are to be made for a file, the innermost first."""
        missing = []
        above = place.rpartition("/")[0]
        while above and self._top.look(above) is None:
            missing.append(above)
            above = above.rpartition("/")[0]
        return tuple(missing)

    # Changing.

    def take(self, place: str, to: str, seen: Iterable[FileFingerprint]) -> bool:
        """Rename a file or folder to a place of our own; False if it is not there.

        It is looked at when nobody finds it there any more, and put back if it has changed.
        """
        top = self._top
        if top.look(place) is None:
            return False
        self._tree.make_folder_of(to)
        with storage_errors("move", place):
            if top.look(to) is not None:
                raise InTheWayError(f"{to} is there already")
            if not top.move(place, top, to):
                return False
        for one in seen:
            if one.path == place or one.path.startswith(f"{place}/"):
                here = self.fingerprint(to + one.path.removeprefix(place))
                if msgspec.structs.replace(here, path=one.path) != one:
                    self._give_back(to, place)
        return True

    def _give_back(self, taken: str, place: str) -> NoReturn:
        try:
            self.move(taken, place)
        except (InTheWayError, StorageError):
            message = f"has changed just now, and was written again; what was there is in {taken}"
            raise InTheWayError(message) from None
        raise InTheWayError("has changed just now, and is left")

    def move(self, place: str, to: str) -> bool:
        """Rename a file or folder to where nothing is; False if it is not there."""
        if self._top.look(place) is None:
            return False
        self._tree.make_folder_of(to)
        with storage_errors("move", place):
            self._rename(place, to)
        return True

    def _rename(self, place: str, to: str) -> None:
        top = self._top
        if not top.is_folder(place):
            try:
                # Unlike a rename, this never replaces what somebody wrote there just now.
                top.link(place, top, to)
            except FileExistsError:
                here, there = top.look(place), top.look(to)
                if here is None or there is None or not os.path.samestat(here, there):
                    raise InTheWayError(f"{to} is there already") from None
                # A process was killed between the two halves.
            except OSError as error:
                if error.errno not in NO_HARD_LINKS:
                    raise
                self._plainly(place, to)
                return
            top.unlink(place)
            return
        self._plainly(place, to)

    def _plainly(self, place: str, to: str) -> None:
        if self._top.look(to) is not None:
            raise InTheWayError(f"{to} is there already")
        self._top.move(place, self._top, to)

    def write(self, place: str, content: bytes, stamp: Stamp) -> None:
        """Write a file, whole and synced, with this time."""
        with (
            self._tree.make_folder(layout.DRAFTS) as drafts,
            self._tree.make_folder(place.rpartition("/")[0]) as folder,
            Draft(drafts) as draft,
        ):
            draft.write(content)
            draft.finish(folder, stamp)
            with storage_errors("write", place):
                self._rename(f"{layout.DRAFTS}/{draft.name}", place)
            folder.sync()

    def remove(self, place: str) -> None:
        """Remove a file that this program wrote."""
        self._top.unlink(place)

    def remove_empty(self, place: str) -> bool:
        """Remove a folder that nothing is in, of ours with all empty ones in it."""
        folder = self._tree.folder(place) if place.startswith(f"{layout.OURS}/") else None
        if folder is not None:
            with folder:
                for name in folder.folders()[0]:
                    self.remove_empty(f"{place}/{name}")
        return self._tree.remove_folder_if_empty(place)
