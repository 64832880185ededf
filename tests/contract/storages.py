"""Every kind of storage, in the form in which the contract tries it."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from jettison.model.digest import Digest
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.memory import MemoryStorage
from jettison.storage.protocol import LinkKind, Storage

HIDING = ("filesystem", "memory")
"""Those in which something can be hidden in one step."""
KINDS = (*HIDING, "objects", "google", pytest.param("azure", marks=pytest.mark.soak))
ON_A_DISK = pytest.mark.parametrize("subject", HIDING, indirect=True)
"""For what a bucket cannot do: hide in one step, touch, lock, and tell that something went."""
WEEK = 7 * 24 * 3600.0


class Planter(Protocol):
    """Makes what no orderly writer makes: damage, drafts of killed processes, uploads."""

    def plant_blob(self, digest: Digest, content: bytes) -> None: ...

    def plant_draft(self, digest: Digest, content: bytes) -> None: ...

    def plant_link(
        self, kind: LinkKind, repository: str, digest: Digest, content: bytes | None = None
    ) -> None: ...

    def plant_link_draft(self, kind: LinkKind, repository: str, digest: Digest) -> None: ...

    def plant_tag(self, repository: str, tag: str, content: bytes | None) -> None: ...

    def plant_upload(self, repository: str, upload: str, content: bytes) -> None: ...

    def plant_name(self, name: str) -> None: ...


@dataclass(frozen=True)
class Subject:
    """A storage, and what its interface does not offer.

    `now` is its time. `let_pass` makes everything older by some seconds. Stamps are compared only
    with those that were asked for after it. `again` opens the storage once more, as another
    process would.
    """

    storage: Storage
    plant: Planter
    now: Callable[[], float]
    let_pass: Callable[[float], None]
    again: Callable[[], Storage]


def subject_of(kind: str, folder: Path) -> Subject:
    if kind == "memory":
        return in_memory()
    tree = StorageTree.make(folder / "registry")

    def let_pass(seconds: float) -> None:
        for above, folders, files in os.walk(tree.root):
            for name in (*folders, *files):
                path = Path(above) / name
                moment = path.stat().st_mtime_ns - int(seconds * 1e9)
                os.utime(path, ns=(moment, moment))

    return Subject(
        tree, TreePlanter(tree.root), time.time, let_pass, lambda: StorageTree(tree.root)
    )


def in_memory() -> Subject:
    now = 1_800_000_000.0

    def let_pass(seconds: float) -> None:
        nonlocal now
        now += seconds

    storage = MemoryStorage(clock=lambda: now)
    return Subject(storage, storage, lambda: now, let_pass, lambda: storage)


class TreePlanter:
    """Writes into Distribution's tree; its paths are spelled out here once more."""

    def __init__(self, root: Path) -> None:
        self._base = root / "docker" / "registry" / "v2"

    def _blob(self, digest: Digest) -> Path:
        return self._base / "blobs" / digest.algorithm / digest.hex[:2] / digest.hex

    def _link(self, kind: LinkKind, repository: str, digest: Digest) -> Path:
        inner = {LinkKind.LAYER: "_layers", LinkKind.REVISION: "_manifests/revisions"}[kind]
        folder = self._base / "repositories" / repository / inner
        return folder / digest.algorithm / digest.hex

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def plant_blob(self, digest: Digest, content: bytes) -> None:
        self._write(self._blob(digest) / "data", content)

    def plant_draft(self, digest: Digest, content: bytes) -> None:
        self._write(self._blob(digest) / "data.0b3c.tmp", content)

    def plant_link(
        self, kind: LinkKind, repository: str, digest: Digest, content: bytes | None = None
    ) -> None:
        link = self._link(kind, repository, digest) / "link"
        self._write(link, digest.encode() if content is None else content)

    def plant_link_draft(self, kind: LinkKind, repository: str, digest: Digest) -> None:
        self._write(self._link(kind, repository, digest) / "link.0b3c.tmp", digest.encode())

    def plant_tag(self, repository: str, tag: str, content: bytes | None) -> None:
        folder = self._base / "repositories" / repository / "_manifests" / "tags" / tag
        (folder / "current").mkdir(parents=True, exist_ok=True)
        if content is not None:
            self._write(folder / "current" / "link", content)

    def plant_upload(self, repository: str, upload: str, content: bytes) -> None:
        folder = self._base / "repositories" / repository / "_uploads" / upload
        self._write(folder / "data", content)

    def plant_name(self, name: str) -> None:
        (self._base / "repositories" / name).mkdir(parents=True, exist_ok=True)
