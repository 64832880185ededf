"""A backup of what a run removes: an OCI image layout that any client can read.

``oci-layout``, ``index.json`` and ``blobs/`` as in the OCI image specification ("Image Layout").
A folder may take the backups of many runs; blobs that are there already are not fetched again.
"""

import hashlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from jettison.errors import (
    InvalidDocument,
    InvalidManifest,
    JettisonError,
    NotFoundError,
    StorageError,
)
from jettison.model import strict_json
from jettison.model.digest import Digest
from jettison.model.manifest import Manifest, parse_manifest
from jettison.model.run import Saved
from jettison.progress import Progress
from jettison.registry import Registry

__all__ = ["Backup"]

REF_NAME: Final = "org.opencontainers.image.ref.name"
CHUNK: Final = 1 << 20


class _Listed(msgspec.Struct):
    digest: str
    annotations: dict[str, str] = {}


class _Index(msgspec.Struct):
    manifests: list[_Listed]


class Backup:
    """An OCI image layout in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: Digest) -> Path:
        """Return where a blob or manifest lies."""
        return self.folder / "blobs" / digest.algorithm / digest.hex

    def has(self, digest: Digest) -> bool:
        """Whether a blob or manifest is there; each was verified when it was written."""
        return self.path(digest).is_file()

    async def read(self, digest: Digest) -> AsyncIterator[bytes]:
        """Yield the bytes of a blob."""
        with self.path(digest).open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    async def save(self, registry: Registry, saved: Iterable[Saved], progress: Progress) -> None:
        """Fetch every blob of the manifests, verified; complete when this returns.

        A blob that the registry does not have any more raises, before anything was removed.
        """
        entries = list(saved)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write(
                self.folder / "oci-layout", msgspec.json.encode({"imageLayoutVersion": "1.0.0"})
            )
            for count, entry in enumerate(entries):
                progress("backing up", count, len(entries))
                await self._save_one(registry, entry)
            self._list(entries)
        except OSError as error:
            message = f"cannot write the backup {self.folder}: {error.strerror}"
            message += "; nothing was removed"
            raise StorageError(message, hint="Give a folder with room: --backup DIR.") from error
        progress("backing up", len(entries), len(entries))

    async def _save_one(self, registry: Registry, entry: Saved) -> None:
        manifest = parse_manifest(entry.raw, entry.media_type)
        for blob in manifest.blobs:
            if self.has(blob.digest):
                continue
            try:
                await self._fetch(registry, entry, blob.digest)
            except (NotFoundError, InvalidManifest) as error:
                if not blob.distributable:
                    continue
                message = f"the backup would be incomplete: {error.message}; nothing was removed"
                hint = "The image is broken already; leave --backup out to remove it all the same."
                raise JettisonError(message, hint=hint) from error
        self._write(self.path(entry.digest), entry.raw)

    async def _fetch(self, registry: Registry, entry: Saved, digest: Digest) -> None:
        path = self.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        hasher = hashlib.new(digest.algorithm)
        try:
            with draft.open("wb") as file:
                async for chunk in registry.read_blob(entry.repository, digest):
                    hasher.update(chunk)
                    file.write(chunk)
            if hasher.hexdigest() != digest.hex:
                message = f"{entry.repository} sent other bytes for blob {digest}"
                raise InvalidManifest(message)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def _write(self, path: Path, raw: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".part")
        draft.write_bytes(raw)
        draft.replace(path)

    def _list(self, entries: Iterable[Saved]) -> None:
        """Add what was tagged, and what nothing else in the layout leads to, to ``index.json``."""
        path = self.folder / "index.json"
        index: dict[str, Any] = {"schemaVersion": 2, "manifests": []}
        listed: list[_Listed] = []
        if path.exists():
            raw = path.read_bytes()
            try:
                listed = strict_json.decode(raw, _Index).manifests
                index = strict_json.decode(raw, dict[str, Any])
            except InvalidDocument as error:
                message = f"{path} is no index of an OCI layout: {error}; nothing was removed"
                raise StorageError(message, hint="Give an empty folder: --backup DIR.") from None
        present = {(one.digest, one.annotations.get(REF_NAME)) for one in listed}
        for entry in entries:
            names: list[str | None] = [f"{entry.repository}:{tag}" for tag in entry.tags]
            for name in names or [None]:
                if (entry.digest, name) in present:
                    continue
                manifest: Manifest = parse_manifest(entry.raw, entry.media_type)
                descriptor: dict[str, Any] = {
                    "mediaType": manifest.media_type,
                    "digest": str(entry.digest),
                    "size": len(entry.raw),
                }
                if name is not None:
                    descriptor["annotations"] = {REF_NAME: name}
                index["manifests"].append(descriptor)
        self._write(path, msgspec.json.encode(index))
