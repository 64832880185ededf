"""A small tree in which Distribution deletes what tagged images need.

`app` has a tagged index with two children, a tagged image with an untagged signature about it, an
untagged image of its own, and a blob that nothing needs. Everything is a week old.
"""

import os
import time
from pathlib import Path

from bench.trees import WEEK
from jettison.demo.images import (
    Content,
    Image,
    Index,
    Layer,
    image,
    index,
    layer,
    random_bytes,
    referrer,
)

__all__ = ["make_families"]

REPOSITORY = "app"
SIGNATURE = "application/vnd.example.signature.v1"


def make_families(root: Path) -> None:
    """Write the tree below ``root``, which is made."""
    base = _layer("base")
    children = [
        image([base, _layer(name)], architecture=name, os="linux") for name in ("amd64", "arm64")
    ]
    signed = image([base, _layer("signed")])
    signature = referrer(signed, SIGNATURE, b"a made-up signature")
    _put(root, index(children), "multi")
    _put(root, signed, "signed")
    _put(root, signature, None)
    _put(root, image([base, _layer("untagged")]), None)
    given_up = Content("application/octet-stream", b"of a push that was given up")
    _write_blob(root, given_up)
    _link(root, f"repositories/{REPOSITORY}/_layers", given_up)


def _layer(name: str) -> Layer:
    return layer({name: random_bytes(name, 1000)})


def _put(root: Path, content: Image | Index, tag: str | None) -> None:
    """Write an image or index as a push does, and its tag."""
    folder = f"repositories/{REPOSITORY}"
    for blob in content.blobs():
        _write_blob(root, blob)
        _link(root, f"{folder}/_layers", blob)
    for manifest in content.manifests():
        _write_blob(root, manifest)
        _link(root, f"{folder}/_manifests/revisions", manifest)
    if tag is not None:
        _link(root, f"{folder}/_manifests/tags/{tag}/index", content.manifest)
        current = f"{folder}/_manifests/tags/{tag}/current/link"
        _write(root, current, content.digest.encode())


def _write_blob(root: Path, blob: Content) -> None:
    encoded = blob.digest.hex
    _write(root, f"blobs/sha256/{encoded[:2]}/{encoded}/data", blob.raw)


def _link(root: Path, folder: str, content: Content) -> None:
    _write(root, f"{folder}/sha256/{content.digest.hex}/link", content.digest.encode())


def _write(root: Path, path: str, raw: bytes) -> None:
    file = root / "docker" / "registry" / "v2" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(raw)
    when = time.time() - WEEK
    os.utime(file, (when, when))
