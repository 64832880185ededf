"""Repositories as a retention policy meets them over the API: only configs tell the time.

Each image has its own tag, a config with the time of its creation, and three small layers: one of
its own, one that five images share, one that its repository shares. The times are spread over a
year; the order of the tags' names is not that of the times. All files are a week old.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import Final, NamedTuple

from bench.trees import CONFIG, LAYER, MANIFEST, TreeWriter
from jettison.collector.parallel import side_by_side
from jettison.model.times import rfc3339

__all__ = ["Year", "make_year", "newest", "repository_name"]

YEAR: Final = 365 * 24 * 3600
ALIKE: Final = 5


class Year(NamedTuple):
    """How many repositories, and how many tags in each."""

    repositories: int
    tags: int


def repository_name(number: int) -> str:
    """Return the name of a repository by its number."""
    return f"team{number % 20:02d}/app{number:05d}"


def newest(year: Year, number: int, count: int) -> set[str]:
    """Return the tags of the newest images of a repository."""
    return {f"b{image}" for image in _by_time(year, number)[-count:]}


def _by_time(year: Year, number: int) -> list[int]:
    """Return the images of a repository, the oldest first."""
    return sorted(
        range(year.tags), key=lambda image: hashlib.sha256(f"{number} {image}".encode()).digest()
    )


def make_year(root: Path, year: Year) -> None:
    """Write a tree below ``root``, which is made."""
    root.mkdir(parents=True, exist_ok=True)
    numbers = [str(number) for number in range(year.repositories)]
    for _ in side_by_side(numbers, lambda number: _repository(root, year, int(number))):
        pass


def _repository(root: Path, year: Year, number: int) -> None:
    writer = TreeWriter(root)
    name = f"repositories/{repository_name(number)}"
    begin, step = time.time() - YEAR, YEAR // year.tags
    for place, image in enumerate(_by_time(year, number)):
        created = rfc3339(begin + step * place)
        of = {"created": created, "of": [number, image]}
        config = json.dumps({"architecture": "amd64", "os": "linux", **of}).encode()
        layers = [
            f"a layer of one repository, {number}".encode(),
            f"a layer of five images, {number} {image // ALIKE}".encode(),
            f"a layer of one image, {number} {image}".encode(),
        ]
        encoded = [writer.blob(content) for content in (config, *layers)]
        for one in encoded:
            writer.link(f"{name}/_layers", one)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, encoded[0], config),
            "layers": [
                _descriptor(LAYER, one, content)
                for one, content in zip(encoded[1:], layers, strict=True)
            ],
        }
        manifest = writer.blob(json.dumps(document, indent=3).encode())
        writer.link(f"{name}/_manifests/revisions", manifest)
        tag = f"{name}/_manifests/tags/b{image}"
        writer.link(f"{tag}/index", manifest)
        writer.write(f"{tag}/current", "link", f"sha256:{manifest}".encode())


def _descriptor(media_type: str, encoded: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "size": len(content), "digest": f"sha256:{encoded}"}
