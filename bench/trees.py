# ruff: noqa: PTH102, PTH103 (paths are text: a large tree has a million of them)
"""Large storage trees, as Distribution leaves them after years of pushing and deleting.

Each image has a manifest, a config and eight layers: two of its own and six that other images
share. Every eleventh was deleted by digest, so its blobs and layer links are garbage; of the others
every tenth lost its tag. Everything is a week old. All content is made from numbers alone, so two
trees of one shape are the same to the byte.
"""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from jettison.collector.parallel import side_by_side

__all__ = ["Shape", "TreeWriter", "make_tree"]

LAYERS: Final = 8
OWN_LAYERS: Final = 2
WEEK: Final = 7 * 24 * 3600
MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG: Final = "application/vnd.docker.container.image.v1+json"
LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Shape(NamedTuple):
    """How many repositories, and how many images in each that were not deleted.

    ``deleted``: one image more for so many was deleted. ``untagged``: one of so many has no tag.
    0: none.
    """

    repositories: int
    images: int
    deleted: int = 10
    untagged: int = 10

    @property
    def manifests(self) -> int:
        """How many manifests are linked."""
        return self.repositories * self.images


class TreeWriter:
    """Writes files and their folders; remembers the folders that it has made.

    ``when`` is the time that files get, in seconds since the epoch.
    """

    def __init__(self, root: Path, when: float | None = None) -> None:
        self._base = f"{root}/docker/registry/v2"
        self.when = int(time.time()) - WEEK if when is None else when
        self._made: set[str] = set()

    def folder(self, path: str) -> None:
        """Make a folder, once."""
        if path not in self._made:
            os.makedirs(path, exist_ok=True)
            self._made.add(path)

    def write(self, parent: str, inner: str, content: bytes) -> None:
        """Write ``parent/inner``; ``parent`` is made once, what is between them each time."""
        self.folder(f"{self._base}/{parent}")
        path = f"{self._base}/{parent}/{inner}"
        if "/" in inner:
            os.makedirs(path.rpartition("/")[0], exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(descriptor, content)
        os.utime(descriptor, (self.when, self.when))
        os.close(descriptor)

    def blob(self, content: bytes) -> str:
        """Write a blob; return the hex of its digest."""
        encoded = hashlib.sha256(content).hexdigest()
        self.write(f"blobs/sha256/{encoded[:2]}", f"{encoded}/data", content)
        return encoded

    def link(self, folder: str, encoded: str) -> None:
        """Write a link to a digest."""
        self.write(f"{folder}/sha256", f"{encoded}/link", f"sha256:{encoded}".encode())

    def age(self, path: str) -> None:
        """Give a folder the time that files get."""
        os.utime(f"{self._base}/{path}", (self.when, self.when))

    def empty(self, folder: str, encoded: str) -> None:
        """Make the folder of a link, and no link."""
        self.folder(f"{self._base}/{folder}/sha256")
        path = f"{self._base}/{folder}/sha256/{encoded}"
        os.mkdir(path)
        os.utime(path, (self.when, self.when))


def make_tree(root: Path, shape: Shape) -> None:
    """Write a tree below ``root``, which is made."""
    shared = _shared(shape)
    writer = TreeWriter(root)
    for content in shared:
        writer.blob(content)
    numbers = [str(number) for number in range(shape.repositories)]
    for _ in side_by_side(numbers, lambda number: _repository(root, shape, int(number))):
        pass


def _shared(shape: Shape) -> list[bytes]:
    count = min(200, max(LAYERS - OWN_LAYERS, shape.repositories))
    return [f"a layer of many images, {number}".encode() for number in range(count)]


def _repository(root: Path, shape: Shape, number: int) -> None:
    writer = TreeWriter(root)
    name = f"repositories/team{number % 20:02d}/app{number:05d}"
    contents = _shared(shape)
    count = LAYERS - OWN_LAYERS
    base = [contents[(number + place) % len(contents)] for place in range(count)]
    common = [hashlib.sha256(content).hexdigest() for content in base]
    for encoded in common:
        writer.link(f"{name}/_layers", encoded)
    extra = shape.images // shape.deleted if shape.deleted else 0
    for image in range(shape.images + extra):
        configuration = json.dumps({"architecture": "amd64", "of": [number, image]}).encode()
        config = writer.blob(configuration)
        layers = [f"layer {number} {image} {n}".encode() for n in range(OWN_LAYERS)]
        own = [writer.blob(content) for content in layers]
        for encoded in (config, *own):
            writer.link(f"{name}/_layers", encoded)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": CONFIG,
                "size": len(configuration),
                "digest": f"sha256:{config}",
            },
            "layers": [
                {"mediaType": LAYER, "size": len(content), "digest": f"sha256:{encoded}"}
                for content, encoded in zip([*base, *layers], [*common, *own], strict=True)
            ],
        }
        manifest = writer.blob(json.dumps(document, indent=3).encode())
        revisions = f"{name}/_manifests/revisions"
        if image >= shape.images:
            writer.empty(revisions, manifest)  # as a DELETE leaves it
            continue
        writer.link(revisions, manifest)
        if shape.untagged and image % shape.untagged == 1:
            continue
        tag = f"{name}/_manifests/tags/v{image}"
        writer.link(f"{tag}/index", manifest)
        writer.write(f"{tag}/current", "link", f"sha256:{manifest}".encode())


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Make a large storage tree.")
    parser.add_argument("root", type=Path, help="a folder, which is made")
    parser.add_argument("repositories", type=int)
    parser.add_argument("images", type=int, help="in each repository")
    given = parser.parse_args()
    make_tree(given.root, Shape(given.repositories, given.images))
