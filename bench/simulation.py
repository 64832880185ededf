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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

from jettison.collector import CollectOptions, plan_collection
from jettison.model.digest import BinaryDigest
from jettison.model.manifest_references import References
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.places import TreePlaces
from jettison.storage.filesystem.reading import references_of_each
from jettison.storage.protocol import (
    Absence,
    Blob,
    Features,
    Layers,
    LinkKind,
    Problem,
    Repositories,
    Revisions,
    Stamp,
    Tags,
    Upload,
    stamp_at,
)

__all__ = [
    "BLOBS_OF_IMAGE",
    "DELETED",
    "IMAGES",
    "SHARED",
    "made_blob",
    "made_manifest",
    "main",
    "own_blobs",
    "write_index",
]

IMAGES: Final = 100
DELETED: Final = 5
"""So many more were deleted in each repository; their blobs and layer links are garbage."""

OWN: Final = 4
"""The config and the layers that an image shares with none; five more are everybody's."""

BLOBS_OF_IMAGE: Final = OWN + 1
NOW: Final = float(int(time.time()))
OLD: Final = stamp_at(NOW - 7 * 24 * 3600)
_ROW: Final = 32
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"


def made_blob(number: int) -> BinaryDigest:
    """Return the digest of a config or layer: any will do, as long as the folders fill evenly."""
    return BinaryDigest(bytes([number & 255]) + number.to_bytes(8) + bytes(23))


SHARED: Final = [made_blob(number) for number in range(5)]


def own_blobs(repository: int, image: int) -> list[BinaryDigest]:
    """Return the config and the layers that no other image has."""
    first = ((repository * (IMAGES + DELETED) + image) * OWN) + len(SHARED)
    return [made_blob(first + place) for place in range(OWN)]


def made_manifest(repository: int, image: int) -> bytes:
    """Return the bytes of an image's manifest."""

    def descriptor(kind: str, digest: BinaryDigest) -> dict[str, Any]:
        return {"mediaType": kind, "digest": f"sha256:{digest.hex()}", "size": 32654}

    config, *layers = own_blobs(repository, image)
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor(_CONFIG, config),
        "layers": [descriptor(_LAYER, layer) for layer in (*SHARED, *layers)],
    }
    return json.dumps(document).encode()


class _Storage:
    """Answers as a storage does; holds the manifests of one repository at a time."""

    location = "/simulated"
    places = TreePlaces()
    absence = Absence.NOTHING
    features = Features()

    def __init__(self, index: int, repositories: int) -> None:
        self._index = index
        self._repositories = repositories
        self.raws: dict[BinaryDigest, bytes] = {}

    def scan_repositories(self) -> Repositories:
        names = [RepoName(f"team/app{number:06d}") for number in range(self._repositories)]
        return Repositories(names, [], [], [])

    def unseen_uploads(self) -> None:
        return None

    def repository(self, name: str) -> "_Repository":
        return _Repository(self, name)

    def manifests(
        self, digests: Sequence[BinaryDigest]
    ) -> Iterator[tuple[BinaryDigest, References]]:
        return references_of_each([(digest, self.raws[digest]) for digest in digests])

    def blob_groups(self, problems: list[Problem] | None = None) -> list[str]:
        return [f"sha256/{number:02x}" for number in range(256)]

    def blobs_in(self, group: str, problems: list[Problem] | None = None) -> list[BinaryDigest]:
        first = int(group[-2:], 16)
        ends = [int.from_bytes(os.pread(self._index, 8, at * 8)) for at in (first, first + 1)]
        raw = os.pread(self._index, ends[1] - ends[0], ends[0])
        found = [BinaryDigest(raw[at : at + _ROW]) for at in range(0, len(raw), _ROW)]
        count = self._repositories * (IMAGES + DELETED) * OWN + len(SHARED)
        return found + [made_blob(number) for number in range(first, count, 256)]

    def group_change(self, group: str) -> int:
        return 0

    def blob(self, digest: BinaryDigest) -> Blob:
        return Blob(digest, 1000, OLD, OLD)

    def blobs_each(self, digests: Sequence[BinaryDigest]) -> list[Blob]:
        return list(map(self.blob, digests))


class _Links:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def stamp(self, digest: BinaryDigest) -> Stamp:
        return OLD

    def stamps(self, digests: Sequence[BinaryDigest]) -> list[Stamp]:
        return [OLD] * len(digests)

    place_stamps = stamps


class _Repository(_Links):
    """Answers as a repository does."""

    def __init__(self, storage: _Storage, name: str) -> None:
        self.name = name
        self._number = int(name[-6:])
        raws = [made_manifest(self._number, image) for image in range(IMAGES)]
        digests = [hashlib.sha256(raw) for raw in raws]
        storage.raws = {BinaryDigest(d.digest()): raw for d, raw in zip(digests, raws, strict=True)}
        self._digests = [BinaryDigest(digest.digest()) for digest in digests]

    def tags(self) -> Tags:
        return Tags(
            {Tag(f"v{n}"): d for n, d in enumerate(self._digests) if n % 10 != 1}, {}, [], [], []
        )

    def revisions(self) -> Revisions:
        return Revisions(self._digests, set(self._digests), [], set(), [], set(), [])

    def layers(self) -> Layers:
        images = range(IMAGES + DELETED)
        own = (digest for image in images for digest in own_blobs(self._number, image))
        return Layers({*SHARED, *own}, [])

    def links(self, kind: LinkKind) -> _Links:
        return _Links()

    def uploads(self) -> list[Upload]:
        return []

    def changes(self, kind: LinkKind) -> tuple[Stamp, ...]:
        return (OLD, Stamp(0))

    def is_idle(self, before: Stamp) -> bool:
        return True


def _prepare(file: Path, repositories: int) -> None:
    """Write the digests of all manifests."""
    rows = [bytearray() for _ in range(256)]
    for repository in range(repositories):
        for image in range(IMAGES + DELETED):
            digest = hashlib.sha256(made_manifest(repository, image)).digest()
            rows[digest[0]] += digest
    write_index(file, rows, _ROW)


def write_index(file: Path, rows: Sequence[bytearray], length: int) -> None:
    """Write 257 offsets of 8 bytes, then the rows, each of pieces of this length, sorted."""
    with file.open("wb") as output:
        at = 257 * 8
        for row in [*rows, b""]:
            output.write(at.to_bytes(8))
            at += len(row)
        for row in rows:
            cut = (bytes(row[at : at + length]) for at in range(0, len(row), length))
            output.write(b"".join(sorted(cut)))


def _plan(file: Path, repositories: int) -> dict[str, int]:
    with file.open("rb") as index:
        storage: Any = _Storage(index.fileno(), repositories)
        made = plan_collection(storage, CollectOptions(), NOW)
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
