"""Content that the contract puts into storages."""

import json
from collections.abc import Sequence

from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.protocol import Storage
from tests.support.trees import image_document, index_document

APP = RepoName("app")
INNER = RepoName("app/inner")
ONE, TWO = Tag("1"), Tag("2")
BLOB = b"a layer"
DIGEST = Digest.of(BLOB)
ABSENT = Digest.of(b"never put")


def image(*layers: bytes) -> tuple[Digest, bytes]:
    """A manifest of layers that need not be there, and its digest."""
    digests = [Digest.of(layer) for layer in layers or (BLOB,)]
    raw = json.dumps(image_document(Digest.of(b"config"), digests)).encode()
    return Digest.of(raw), raw


def index(*children: Digest) -> tuple[Digest, bytes]:
    raw = json.dumps(index_document(children)).encode()
    return Digest.of(raw), raw


def push(
    storage: Storage, *tags: Tag, layers: Sequence[bytes] = (BLOB,), repository: RepoName = APP
) -> Digest:
    """Put an image as a client does, and return its digest."""
    for content in (b"config", *layers):
        storage.put_blob(repository, Digest.of(content), [content])
    digest, raw = image(*layers)
    storage.put_manifest(repository, digest, raw, tags)
    return digest


def group_name(digest: Digest) -> str:
    """The group that a blob is in."""
    return f"{digest.algorithm}/{digest.hex[:2]}"
