"""Large storage trees with a history: what a registry looks like after a year of pushes.

Each repository was pushed to at even distances through a year, under the tags `b0`, `b1` and so on.
Every tenth push is an index of two platforms. `latest` went along with every fifth push, and every
twentieth image had no other tag, so that it has none now. An image has a config, which says that it
was created five minutes before its push, and three layers: one of its own, one that it shares with
the next four, and one that twenty repositories share. Trees of one shape and day are the same.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Final, NamedTuple

from bench.trees import CONFIG, LAYER, MANIFEST, TreeWriter
from jettison.collector.parallel import side_by_side
from jettison.model.mediatypes import DOCKER_LIST
from jettison.model.times import rfc3339

__all__ = ["History", "make_history"]

YEAR: Final = 365 * 24 * 3600
BUILD_SECONDS: Final = 300
INDEX_EVERY: Final = 10
LATEST_EVERY: Final = 5
UNTAGGED_EVERY: Final = 20
ALIKE: Final = 5
SHARED_BY: Final = 20
PLATFORMS: Final = ("amd64", "arm64")


class History(NamedTuple):
    """How many repositories, and how many tags in each; ``latest`` is one of them."""

    repositories: int
    tags: int

    @property
    def pushes(self) -> int:
        """How many images were pushed to each repository, those that lost their tag too."""
        tagged = UNTAGGED_EVERY - 1
        return ((self.tags - 1) * UNTAGGED_EVERY + tagged - 1) // tagged


def make_history(root: Path, history: History, now: float) -> None:
    """Write a tree below ``root``, whose year ends ``now`` (seconds since the epoch)."""
    writer = TreeWriter(root, now - YEAR)
    for number in range(0, history.repositories, SHARED_BY):
        writer.blob(_base(number))
    numbers = [str(number) for number in range(history.repositories)]
    for _ in side_by_side(numbers, lambda number: _repository(root, history, int(number), now)):
        pass


def _base(number: int) -> bytes:
    return f"a layer of twenty repositories, {number // SHARED_BY}".encode()


def _repository(root: Path, history: History, number: int, now: float) -> None:
    name = f"repositories/team{number % 20:02d}/app{number:05d}"
    writer = TreeWriter(root)
    step = YEAR // history.pushes
    for push in range(history.pushes):
        writer.when = now - YEAR + step * push + number
        platforms = PLATFORMS if push % INDEX_EVERY == INDEX_EVERY - 1 else PLATFORMS[:1]
        images = [_image(writer, name, number, push, platform) for platform in platforms]
        manifest = images[0][0]
        if len(images) > 1:
            manifest = _index(writer, name, images)
        only_latest = push % UNTAGGED_EVERY == 0
        if not only_latest:
            _tag(writer, name, f"b{push}", manifest)
        if only_latest or push % LATEST_EVERY == 0 or push == history.pushes - 1:
            _tag(writer, name, "latest", manifest)
    writer.age(f"{name}/_manifests/tags")


def _image(
    writer: TreeWriter, name: str, number: int, push: int, platform: str
) -> tuple[str, int, str]:
    """Write an image; return its digest, its size and its platform."""
    of = [number, push, platform]
    created = rfc3339(writer.when - BUILD_SECONDS)
    config = json.dumps({"architecture": platform, "created": created, "of": of}).encode()
    layers = [
        _base(number),
        f"a layer of five images, {number} {push // ALIKE} {platform}".encode(),
        f"a layer of one image, {of}".encode(),
    ]
    contents = [config, *layers]
    encoded = [hashlib.sha256(content).hexdigest() for content in contents]
    shared = platform == PLATFORMS[0] and push % ALIKE != 0  # those layers are there already
    for place, (content, hexed) in enumerate(zip(contents, encoded, strict=True)):
        if shared and place in {1, 2}:
            continue
        if place != 1:
            writer.blob(content)
        writer.link(f"{name}/_layers", hexed)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(CONFIG, encoded[0], len(config)),
        "layers": [
            _descriptor(LAYER, hexed, len(content))
            for hexed, content in zip(encoded[1:], layers, strict=True)
        ],
    }
    return *_manifest(writer, name, document), platform


def _index(writer: TreeWriter, name: str, images: list[tuple[str, int, str]]) -> str:
    members = [
        {
            **_descriptor(MANIFEST, encoded, size),
            "platform": {"os": "linux", "architecture": platform},
        }
        for encoded, size, platform in images
    ]
    document = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": members}
    return _manifest(writer, name, document)[0]


def _descriptor(media_type: str, encoded: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "size": size, "digest": f"sha256:{encoded}"}


def _manifest(writer: TreeWriter, name: str, document: dict[str, object]) -> tuple[str, int]:
    raw = json.dumps(document, indent=3).encode()
    encoded = writer.blob(raw)
    writer.link(f"{name}/_manifests/revisions", encoded)
    return encoded, len(raw)


def _tag(writer: TreeWriter, name: str, tag: str, manifest: str) -> None:
    folder = f"{name}/_manifests/tags/{tag}"
    writer.link(f"{folder}/index", manifest)
    writer.write(f"{folder}/current", "link", f"sha256:{manifest}".encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make a large storage tree with a history.")
    parser.add_argument("root", type=Path, help="a folder, which is made")
    parser.add_argument("repositories", type=int)
    parser.add_argument("tags", type=int, help="in each repository")
    given = parser.parse_args()
    make_history(given.root, History(given.repositories, given.tags), time.time())
