# ruff: noqa: ARG002 (it answers as the real classes do, with what it makes up)
"""A million manifests and five million blobs, planned for real, of a storage that is not there.

No disk here holds five million blobs in folders of their own. So only the listing and the reading
are simulated: what a tree would answer is made up from numbers, in the same shape as the trees of
`bench/trees.py`. Marking, hashing and parsing each manifest, putting each blob into its class, and
the plan are the program's own, with all its processes. What is missing are the system calls; their
time is that of the large tree, in proportion.

    python bench/simulation.py prepare FILE REPOSITORIES     digests of all manifests, by folder
    python bench/simulation.py plan FILE REPOSITORIES        prints what the plan says, as JSON
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Self
from unittest.mock import patch

from jettison.collector import CollectOptions, plan
from jettison.collector import scan as survey
from jettison.model.digest import RawDigest
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.reading import Blob, Problem, Repositories
from jettison.storage.filesystem.repository import Layers, Revisions, Tags, Upload

__all__ = ["BLOBS_OF_IMAGE", "DELETED", "IMAGES", "main"]

IMAGES: Final = 100
DELETED: Final = 5
"""So many more were deleted in each repository; their blobs and layer links are garbage."""

OWN: Final = 4
"""The config and the layers that an image shares with none; five more are everybody's."""

BLOBS_OF_IMAGE: Final = OWN + 1
NOW: Final = float(int(time.time()))
OLD_NS: Final = int((NOW - 7 * 24 * 3600) * 1e9)
_ROW: Final = 32
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"


def _blob(number: int) -> RawDigest:
    """Return the digest of a config or layer: any will do, as long as the folders fill evenly."""
    return RawDigest(bytes([number & 255]) + number.to_bytes(8) + bytes(23))


SHARED: Final = [_blob(number) for number in range(5)]


def _own(repository: int, image: int) -> list[RawDigest]:
    first = ((repository * (IMAGES + DELETED) + image) * OWN) + len(SHARED)
    return [_blob(first + place) for place in range(OWN)]


def _manifest(repository: int, image: int) -> bytes:
    def descriptor(kind: str, digest: RawDigest) -> dict[str, Any]:
        return {"mediaType": kind, "digest": f"sha256:{digest.hex()}", "size": 32654}

    config, *layers = _own(repository, image)
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(_CONFIG, config),
        "layers": [descriptor(_LAYER, layer) for layer in (*SHARED, *layers)],
    }
    return json.dumps(document).encode()


class _Blobs:
    """What the folder of all blobs is asked for."""

    def __init__(self, tree: "_Tree") -> None:
        self._tree = tree

    def read_each(self, names: Iterable[str], size: int) -> list[bytes | None]:
        """Return the manifests."""
        found = (self._tree.manifests.get(name.split("/")[2]) for name in names)
        return [None if raw is None else raw[:size] for raw in found]


class _Tree:
    """Answers as a `TreeReader` does; holds the manifests of one repository at a time."""

    root = Path("/simulated")

    def __init__(self, index: int, repositories: int) -> None:
        self._index = index
        self._repositories = repositories
        self.manifests: dict[str, bytes] = {}
        self.blobs_folder = _Blobs(self)

    def scan_repositories(self) -> Repositories:
        names = [RepoName(f"team/app{number:06d}") for number in range(self._repositories)]
        return Repositories(names, [], [], [])

    def blob_folders(self, problems: list[Problem] | None = None) -> list[str]:
        return [f"sha256/{number:02x}" for number in range(256)]

    def blobs_in(self, folder: str, problems: list[Problem] | None = None) -> list[RawDigest]:
        first = int(folder[-2:], 16)
        ends = [int.from_bytes(os.pread(self._index, 8, at * 8)) for at in (first, first + 1)]
        raw = os.pread(self._index, ends[1] - ends[0], ends[0])
        found = [RawDigest(raw[at : at + _ROW]) for at in range(0, len(raw), _ROW)]
        count = self._repositories * (IMAGES + DELETED) * OWN + len(SHARED)
        return found + [_blob(number) for number in range(first, count, 256)]

    def blob(self, digest: RawDigest) -> Blob:
        return Blob(digest, 1000, OLD_NS, OLD_NS)

    def folder(self, relative: str) -> None:
        return None


class _Links:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def time(self, digest: RawDigest) -> int:
        return OLD_NS

    def folder_time(self, digest: RawDigest) -> int:
        return OLD_NS


class _Repository(_Links):
    """Answers as a `RepositoryReader` does."""

    def __init__(self, tree: _Tree, name: str) -> None:
        self.name = name
        self._number = int(name[-6:])
        raws = [_manifest(self._number, image) for image in range(IMAGES)]
        digests = [hashlib.sha256(raw) for raw in raws]
        tree.manifests = {d.hexdigest(): raw for d, raw in zip(digests, raws, strict=True)}
        self._digests = [RawDigest(digest.digest()) for digest in digests]

    def tags(self) -> Tags:
        return Tags(
            {Tag(f"v{n}"): d for n, d in enumerate(self._digests) if n % 10 != 1}, {}, [], [], []
        )

    def revisions(self) -> Revisions:
        return Revisions(self._digests, set(self._digests), [], set(), [], set(), [])

    def layers(self) -> Layers:
        images = range(IMAGES + DELETED)
        own = (digest for image in images for digest in _own(self._number, image))
        return Layers({*SHARED, *own}, [])

    def links(self, inner: str) -> _Links:
        return _Links()

    def uploads(self) -> list[Upload]:
        return []

    def times(self, inner: str) -> tuple[int, ...]:
        return (OLD_NS, 0)

    def open(self, inner: object, problems: object = None) -> None:
        return None


def _prepare(file: Path, repositories: int) -> None:
    """Write the digests of all manifests: 257 offsets of 8 bytes, then a row for each folder."""
    rows = [bytearray() for _ in range(256)]
    for repository in range(repositories):
        for image in range(IMAGES + DELETED):
            digest = hashlib.sha256(_manifest(repository, image)).digest()
            rows[digest[0]] += digest
    with file.open("wb") as output:
        at = 257 * 8
        for row in [*rows, b""]:
            output.write(at.to_bytes(8))
            at += len(row)
        for row in rows:
            output.write(b"".join(sorted(_cut(row))))


def _cut(row: bytearray) -> Iterator[bytes]:
    return (bytes(row[at : at + _ROW]) for at in range(0, len(row), _ROW))


def _plan(file: Path, repositories: int) -> dict[str, int]:
    with file.open("rb") as index:
        tree: Any = _Tree(index.fileno(), repositories)
        with patch.object(survey, "RepositoryReader", _Repository):
            made = plan.plan_collection(tree, CollectOptions(), NOW)
    assert not made.problems
    return {
        "repositories": made.repositories,
        "kept": made.kept_blobs,
        "garbage": len(made.blobs),
        "layer_links": len(made.layer_links),
    }


def main() -> None:
    """Do what the command line says."""
    verb, file, repositories = sys.argv[1:]
    assert layout.blob_file(SHARED[0]).startswith("sha256/00/")
    if verb == "prepare":
        _prepare(Path(file), int(repositories))
    else:
        print(json.dumps(_plan(Path(file), int(repositories))))


if __name__ == "__main__":
    main()
