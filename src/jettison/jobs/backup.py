"""A backup of what a run removes: an OCI image layout that any client can read.

``oci-layout``, ``index.json`` and ``blobs/`` as in the OCI image specification ("Image Layout").
A folder may take the backups of many runs, even at once. Existing blobs are not fetched again once
their bytes were read and compared with their digest. Everything is on the disk when
:meth:`Backup.save` returns; only then may the originals go.
"""

import errno
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from jettison.errors import (
    InvalidDocument,
    InvalidManifest,
    JettisonError,
    NotFoundError,
    StorageError,
    VerificationFailed,
)
from jettison.model import strict_json
from jettison.model.digest import Digest
from jettison.model.journal import SavedManifest
from jettison.model.manifest import Descriptor, parse_manifest
from jettison.model.names import RepoName
from jettison.progress import Progress
from jettison.registry import Registry
from jettison.storage.filesystem.draft import Draft, sync_file, write_file
from jettison.storage.filesystem.folder import BlockedError, Folder, UnusableError, storage_errors

__all__ = ["Backup"]

REF_NAME: Final = "org.opencontainers.image.ref.name"
CHUNK: Final = 1 << 20
_LARGEST: Final = 64 << 20
"""Bytes of a manifest, and of an index.json."""
_UNREADABLE: Final = (OSError, BlockedError, StorageError)
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _Listed(msgspec.Struct):
    digest: str
    annotations: dict[str, str] = {}


class _Index(msgspec.Struct):
    manifests: list[_Listed]


class Backup:
    """An OCI image layout in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._whole: set[Digest] = set()

    # Reading.

    def has_whole(self, digest: Digest) -> bool:
        """Whether the folder has the blob with the bytes of its digest; it is read once."""
        if digest in self._whole:
            return True
        computed = hashlib.new(digest.algorithm)
        try:
            with self._open(digest) as file:
                while chunk := file.read(CHUNK):
                    computed.update(chunk)
        except _UNREADABLE:
            return False
        if computed.hexdigest() == digest.hex:
            self._whole.add(digest)
        return digest in self._whole

    def manifest(self, digest: Digest) -> bytes | None:
        """Return the bytes of a manifest, or None if they are missing or differ."""
        try:
            with self._open(digest) as file:
                raw = file.read(_LARGEST)
        except _UNREADABLE:
            return None
        return raw if digest.matches(raw) else None

    async def read(self, digest: Digest) -> AsyncIterator[bytes]:
        """Yield the bytes of a blob."""
        try:
            with self._open(digest) as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except (OSError, BlockedError) as error:
            message = f"cannot read {digest} in the backup {self.folder}: {error}"
            raise StorageError(message) from error

    def _open(self, digest: Digest) -> BinaryIO:
        with Folder.root(self.folder) as root:
            folder = root.open(f"blobs/{digest.algorithm}")
            if folder is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            with folder:
                return os.fdopen(_open_file(folder, digest), "rb")

    # Writing.

    async def save(
        self, registry: Registry, saved: Iterable[SavedManifest], progress: Progress
    ) -> None:
        """Fetch and verify everything that the manifests reference; complete and synced on return.

        A blob that the registry no longer has raises, before anything is removed.
        """
        entries = list(saved)
        try:
            with Folder.make_path(self.folder) as root:
                layout = msgspec.json.encode({"imageLayoutVersion": "1.0.0"})
                write_file(root, "oci-layout", layout, private=True)
                await _Saving(self, root, registry).all(entries, progress)
                with _locked(root):
                    self._list(root, entries)
        except StorageError as error:
            message = f"cannot write the backup {self.folder}: {error.message}"
            message += "; nothing was removed"
            raise StorageError(message, hint="Give a folder with room: --backup DIR.") from error

    def _list(self, root: Folder, entries: Iterable[SavedManifest]) -> None:
        """Add tagged manifests, and those that no other in the layout lists, to ``index.json``."""
        index: dict[str, Any] = {"schemaVersion": 2, "manifests": []}
        listed: list[_Listed] = []
        try:
            raw = root.read("index.json", _LARGEST)
            if raw is not None:
                listed = strict_json.decode(raw, _Index).manifests
                index = strict_json.decode(raw, dict[str, Any])
        except (InvalidDocument, UnusableError) as error:
            message = f"its index.json is not that of an OCI layout: {error}"
            raise StorageError(message) from None
        present = {(one.digest, one.annotations.get(REF_NAME)) for one in listed}
        for entry in entries:
            names: list[str | None] = [f"{entry.repository}:{tag}" for tag in entry.tags]
            for name in names or [None]:
                if (entry.digest, name) in present:
                    continue
                descriptor: dict[str, Any] = {
                    "mediaType": entry.media_type,
                    "digest": str(entry.digest),
                    "size": len(entry.raw),
                }
                if name is not None:
                    descriptor["annotations"] = {REF_NAME: name}
                index["manifests"].append(descriptor)
        write_file(root, "index.json", msgspec.json.encode(index), private=True)


class _Saving:
    """Writes manifests, their children, and all their blobs below the open folder ``root``."""

    def __init__(self, backup: Backup, root: Folder, registry: Registry) -> None:
        self._backup = backup
        self._root = root
        self._registry = registry
        self._synced: set[Digest] = set()

    async def all(self, entries: list[SavedManifest], progress: Progress) -> None:
        todo = list(reversed(entries))
        seen = {(entry.repository, entry.digest) for entry in entries}
        done = 0
        while todo:
            progress("backing up", done, done + len(todo))
            entry = todo.pop()
            # What an index lists and this run keeps may be gone when the run is to be undone.
            for child in await self._one(entry):
                if (entry.repository, child) not in seen:
                    seen.add((entry.repository, child))
                    found = await self._registry.manifest(entry.repository, child)
                    if found is not None:  # a sparse index is lawful
                        todo.append(
                            SavedManifest(entry.repository, child, found.media_type, found.raw, ())
                        )
            done += 1
        progress("backing up", done, done)

    async def _one(self, entry: SavedManifest) -> list[Digest]:
        """Save a manifest and its blobs; return its children."""
        try:
            manifest = parse_manifest(entry.raw, entry.media_type)
        except InvalidManifest as error:
            message = f"the backup would be incomplete: {error.message}; nothing was removed"
            hint = "What it needs cannot be told; leave --backup out to remove it all the same."
            raise JettisonError(message, hint=hint) from error
        for blob in manifest.blobs:
            try:
                await self._blob(entry.repository, blob)
            except (NotFoundError, VerificationFailed) as error:
                if not blob.distributable:
                    continue
                message = f"the backup would be incomplete: {error.message}; nothing was removed"
                hint = "The image is broken already; leave --backup out to remove it all the same."
                raise JettisonError(message, hint=hint) from error
        if not self._is_there(entry.digest):
            with self._folder(entry.digest) as folder:
                write_file(folder, entry.digest.hex, entry.raw, private=True)
            self._synced.add(entry.digest)
        return [child.digest for child in manifest.children]

    async def _blob(self, repository: RepoName, blob: Descriptor) -> None:
        """Save a blob: at most the announced number of bytes, and only with the right digest.

        A hostile registry that sends bytes without end, or announces more than there is room for,
        does not fill the disk.
        """
        digest = blob.digest
        if self._is_there(digest):
            return
        size = blob.size
        if size is None:  # schema 1
            size = await self._registry.blob_size(repository, digest)
        if size is None:
            message = f"{repository} does not say how many bytes blob {digest} has"
            raise NotFoundError(message)
        hasher = hashlib.new(digest.algorithm)
        with self._folder(digest) as folder:
            _expect_room(folder, digest, size)
            chunks = self._registry.read_blob(repository, digest, size=size)
            async with aclosing(chunks):  # type: ignore[type-var]
                with Draft(folder, private=True) as draft:
                    async for chunk in chunks:
                        hasher.update(chunk)
                        draft.write(chunk)
                    if hasher.hexdigest() != digest.hex:
                        message = f"{repository} sent other bytes for blob {digest}"
                        raise VerificationFailed(message)
                    draft.place(folder, digest.hex)
        self._synced.add(digest)

    def _is_there(self, digest: Digest) -> bool:
        """Whether another run or this one has saved it whole, and so on the disk."""
        if digest in self._synced:
            return True
        if not self._backup.has_whole(digest):
            return False
        with self._folder(digest) as folder, storage_errors("open", folder.path):
            descriptor = _open_file(folder, digest)
            try:
                sync_file(descriptor, folder.path)
            finally:
                os.close(descriptor)
            folder.sync()
        self._synced.add(digest)
        return True

    @contextmanager
    def _folder(self, digest: Digest) -> Iterator[Folder]:
        with (
            self._root.make("blobs", private=True) as blobs,
            blobs.make(digest.algorithm, private=True) as folder,
        ):
            yield folder


def _expect_room(folder: Folder, digest: Digest, size: int) -> None:
    """Raise StorageError if the disk of ``folder`` has no room for so many bytes."""
    with storage_errors("write", folder.path):
        found = os.fstatvfs(folder.descriptor)
    room = found.f_bavail * found.f_frsize
    if size > room:
        message = f"blob {digest} has {size:,} bytes, and there is room for {room:,}"
        raise StorageError(message)


def _open_file(folder: Folder, digest: Digest) -> int:
    return os.open(digest.hex, _FILE, dir_fd=folder.descriptor)


@contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    """Keep other runs from writing the same ``index.json`` meanwhile."""
    fcntl.flock(folder.descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(folder.descriptor, fcntl.LOCK_UN)
