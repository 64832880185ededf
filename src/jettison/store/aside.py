"""Blobs that a sweep is about to remove: out of the registry's sight, and not gone yet.

A blob's file is renamed into ``jettison/aside/<algorithm>/``, and either renamed back or removed.
On a full disk, where not even a folder can be made, it is renamed into the root directory itself.
"""

import os
from collections.abc import Iterator
from typing import Self

from jettison.errors import StorageError
from jettison.model.digest import ALGORITHMS, Digest, RawDigest, raw_digest
from jettison.store import layout
from jettison.store.folder import BlockedError, Folder, storage_errors
from jettison.store.tree import StorageTree

__all__ = ["Aside"]


class Aside:
    """The place beside the registry, in a ``with`` block, by whoever holds the tree's lock.

    Quickest in the order of the digests: the folder of the last blob is held open.
    """

    def __init__(self, tree: StorageTree) -> None:
        self._tree = tree
        self._folders: dict[int, Folder] = {}
        self._beside: set[RawDigest] = set()
        self._near: Folder | None = None
        self._near_path = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in (self._near, *self._folders.values()):
            if folder is not None:
                folder.close()
        self._near = None
        self._folders.clear()

    def has_room(self) -> bool:
        """Whether blobs can be set aside in a folder; a full disk has no room even for that."""
        return self._folder(32) is not None

    def put(self, digest: RawDigest) -> bool:
        """Move a blob out of the registry's sight; False if it was not there."""
        near = self._blobs_near(digest)
        encoded = digest.hex()
        # Listed as a folder, and perhaps replaced since: nothing behind a link is moved.
        if near is None or not near.is_folder(encoded):
            return False
        target, name = self._folder(len(digest)), encoded
        if target is None:
            target, name = self._tree.root_folder, self._name_beside(digest)
            self._beside.add(digest)
        with storage_errors("move aside", f"{near.path}/{encoded}/data"):
            return near.move(f"{encoded}/data", target, name)

    def time(self, digest: RawDigest) -> int | None:
        """Return when a blob that lies aside was last touched (nanoseconds), None if none does."""
        folder, name = self._place(digest)
        return None if folder is None else folder.time(name)

    def remove(self, digest: RawDigest) -> bool:
        """Remove a blob that lies aside, for good, and the folder that it came from."""
        folder, name = self._place(digest)
        removed = folder is not None and folder.unlink(name)
        near = self._blobs_near(digest)
        if near is not None:
            near.remove_if_empty(digest.hex())
        return removed

    def put_back(self, digest: RawDigest) -> bool:
        """Undo :meth:`put`; False if a push has brought the blob again meanwhile."""
        folder, name = self._place(digest)
        if folder is None or folder.look(name) is None:
            return False
        long = Digest.from_raw(digest)
        path = layout.blob_data(long)
        if self._tree.blob(digest) is not None:
            folder.unlink(name)
            return False
        self._tree.make_folder_of(path)
        self._forget_near()
        with storage_errors("put back", self._tree.path(path)):
            os.rename(name, self._tree.path(path), src_dir_fd=folder.descriptor)
        return True

    def digests(self) -> Iterator[RawDigest]:
        """Yield the blobs that lie aside, of a sweep that goes on or of one that was killed."""
        for algorithm in ALGORITHMS:
            folder = self._tree.folder(f"{layout.SET_ASIDE}/{algorithm}")
            if folder is None:
                continue
            with folder:
                names = [entry.name for entry in folder.entries()]
            for name in names:
                digest = raw_digest(algorithm, name)
                if digest is not None:
                    yield digest
        for entry in self._tree.root_folder.entries():
            if entry.name.startswith(layout.BESIDE):
                algorithm, _, encoded = entry.name.removeprefix(layout.BESIDE).partition("-")
                digest = raw_digest(algorithm, encoded)
                if digest is not None:
                    self._beside.add(digest)
                    yield digest

    def _place(self, digest: RawDigest) -> tuple[Folder | None, str]:
        if digest in self._beside:
            return self._tree.root_folder, self._name_beside(digest)
        return self._folder(len(digest)), digest.hex()

    def _name_beside(self, digest: RawDigest) -> str:
        long = Digest.from_raw(digest)
        return layout.beside(f"{long.algorithm}-{long.hex}")

    def _folder(self, length: int) -> Folder | None:
        """Return the folder for digests of so many bytes, made if there is room for it."""
        if length not in self._folders:
            algorithm = {size // 2: name for name, size in ALGORITHMS.items()}[length]
            path = f"{layout.SET_ASIDE}/{algorithm}"
            if not self._tree.make_folder_if_room(path):
                return None
            folder = self._tree.folder(path)
            if folder is None:
                message = f"{self._tree.path(path)} is in the way of what is set aside"
                raise StorageError(message, hint="Remove it; it is no part of a registry.")
            self._folders[length] = folder
        return self._folders[length]

    def _blobs_near(self, digest: RawDigest) -> Folder | None:
        """Open the folder that a blob's own folder is in, or have it open already."""
        path = layout.blob_file(digest).rpartition("/")[0].rpartition("/")[0]
        if path != self._near_path:
            self._forget_near()
            top = self._tree.blobs_folder
            try:
                self._near = None if top is None else top.open(path)
            except BlockedError:
                self._near = None
            self._near_path = path
        return self._near

    def _forget_near(self) -> None:
        if self._near is not None:
            self._near.close()
        self._near, self._near_path = None, ""
