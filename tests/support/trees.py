"""A storage tree written by hand, file by file, as Distribution writes it."""

import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from jettison.model import mediatypes
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem.tree import StorageTree

# Whole, so that seconds and nanoseconds are the same moment.
NOW = float(int(time.time()))
OLD = NOW - 7 * 24 * 3600.0
"""When everything was written, unless a test says otherwise."""


class Tree:
    """Writes below `root`; everything is a week old."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.base = root / "docker" / "registry" / "v2"
        (self.base / "blobs" / "sha256").mkdir(parents=True)
        (self.base / "repositories").mkdir()

    def open(self) -> StorageTree:
        return StorageTree(self.root)

    # Paths, spelled out here once more: a test must not believe its subject.

    def data(self, digest: str) -> Path:
        algorithm, encoded = digest.split(":")
        return self.base / "blobs" / algorithm / encoded[:2] / encoded / "data"

    def repository(self, name: str) -> Path:
        return self.base / "repositories" / name

    def layer_path(self, name: str, digest: str) -> Path:
        return self.repository(name).joinpath("_layers", *digest.split(":"), "link")

    def revision_path(self, name: str, digest: str) -> Path:
        return self.repository(name).joinpath("_manifests", "revisions", *digest.split(":"), "link")

    def tag_path(self, name: str, tag: str) -> Path:
        return self.repository(name) / "_manifests" / "tags" / tag / "current" / "link"

    def history_path(self, name: str, tag: str, digest: str) -> Path:
        folder = self.repository(name) / "_manifests" / "tags" / tag / "index"
        return folder.joinpath(*digest.split(":"), "link")

    # Writing.

    def write(self, path: Path, raw: bytes, when: float = OLD) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        os.utime(path, (when, when))

    def blob(self, raw: bytes, *names: str, when: float = OLD) -> Digest:
        digest = Digest.of(raw)
        self.write(self.data(digest), raw, when)
        for name in names:
            self.write(self.layer_path(name, digest), digest.encode(), when)
        return digest

    def put(
        self, name: str, document: dict[str, object], tag: str | None = None, when: float = OLD
    ) -> Digest:
        return self.put_raw(name, json.dumps(document).encode(), tag, when)

    def put_raw(self, name: str, raw: bytes, tag: str | None = None, when: float = OLD) -> Digest:
        digest = Digest.of(raw)
        self.write(self.data(digest), raw, when)
        self.write(self.revision_path(name, digest), digest.encode(), when)
        if tag is not None:
            self.tag(name, tag, digest, when)
        return digest

    def tag(self, name: str, tag: str, digest: str, when: float = OLD) -> None:
        self.write(self.history_path(name, tag, digest), digest.encode(), when)
        self.write(self.tag_path(name, tag), digest.encode(), when)

    def image(
        self,
        name: str,
        tag: str | None,
        layers: Sequence[bytes],
        *,
        subject: Digest | None = None,
        when: float = OLD,
    ) -> Digest:
        """Put an image with its config and layers."""
        config = self.blob(b"config of " + b",".join(layers), name, when=when)
        digests = [self.blob(layer, name, when=when) for layer in layers]
        return self.put(name, image_document(config, digests, subject), tag, when)

    def index(
        self, name: str, tag: str | None, children: Iterable[Digest], when: float = OLD
    ) -> Digest:
        return self.put(name, index_document(children), tag, when)

    # Looking.

    def blobs(self) -> dict[Digest, int]:
        files = (self.base / "blobs").rglob("data")
        return {
            Digest(f"{file.parents[2].name}:{file.parent.name}"): file.stat().st_size
            for file in files
        }

    def blob_bytes(self) -> int:
        files = (self.base / "blobs").rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())

    def snapshot(self) -> dict[str, bytes]:
        files = (file for file in self.root.rglob("*") if file.is_file())
        return {str(file.relative_to(self.root)): file.read_bytes() for file in files}


def image_document(
    config: Digest, layers: Sequence[Digest], subject: Digest | None = None
) -> dict[str, object]:
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config,
            "size": 1,
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": layer,
                "size": 1,
            }
            for layer in layers
        ],
    }
    if subject is not None:
        document["subject"] = {
            "mediaType": mediatypes.OCI_MANIFEST,
            "digest": subject,
            "size": 1,
        }
    return document


def index_document(children: Iterable[Digest]) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_INDEX,
        "manifests": [
            {"mediaType": mediatypes.OCI_MANIFEST, "digest": child, "size": 1} for child in children
        ],
    }


def repo(name: str) -> RepoName:
    return RepoName(name)


def tag(name: str) -> Tag:
    return Tag(name)
