"""A million manifests in a bucket that is not there, planned for real.

Only the store is simulated: what it lists and sends is made up from numbers, in the shape of
`bench/simulation.py`, and each page and each content that it is asked for is counted. Everything
from there on is the program's own: keys into listings, links by their ETags, manifests through the
cache, the mark and the plan.

    python bench/bucket_simulation.py prepare FILE REPOSITORIES     digests of all manifests
    python bench/bucket_simulation.py list FILE REPOSITORIES        makes it all up, and no more
    python bench/bucket_simulation.py plan FILE REPOSITORIES CACHE  prints what the plan says
"""

import datetime as dt
import hashlib
import heapq
import json
import os
import re
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

# The folder above, for `bench.…`, wherever this is started from.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.simulation import (
    DELETED,
    IMAGES,
    NOW,
    OWN,
    SHARED,
    made_blob,
    made_manifest,
    own_blobs,
    write_index,
)
from jettison.collector import CollectOptions, plan_collection
from jettison.configuration.s3 import S3Bucket
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import Digest
from jettison.storage.filesystem import layout
from jettison.storage.objects import ObjectStorage
from jettison.storage.objects.bucket import Bucket

__all__ = ["PRICES", "bill", "main"]

PRICES: Final = {"LIST": 0.005 / 1000, "GET": 0.0004 / 1000}
"""US dollars a request, S3 Standard in us-east-1 (https://aws.amazon.com/s3/pricing/, 2026-11)."""

_ROW: Final = 36
_NEAR: Final = 400
_REPOSITORY: Final = re.compile(r"/team/app(\d{6})")
_GROUP: Final = re.compile(r"/sha256/([0-9a-f]{2})")
_WEEK_AGO: Final = dt.datetime.fromtimestamp(NOW, dt.UTC) - dt.timedelta(days=7)
_PAGE: Final = 1000


def bill(requests: dict[str, int]) -> float:
    """Return what AWS bills for requests, in US dollars; data within a region is free."""
    return sum(PRICES[kind] * count for kind, count in requests.items())


class _Meta(NamedTuple):
    meta: dict[str, Any]
    raw: bytes

    def bytes(self) -> bytes:
        return self.raw


class _Store:
    """Answers as obstore does for a bucket, and counts the requests that it takes to."""

    def __init__(self, index: int, repositories: int) -> None:
        self._index = index
        self._repositories = repositories
        self._offsets = [int.from_bytes(os.pread(index, 8, at * 8)) for at in range(257)]
        self._size = len(made_manifest(0, 0))
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()

    def _count(self, kind: str) -> None:
        with self._lock:
            self.requests[kind] += 1

    def listed(
        self, prefix: str, offset: str | None = None, chunk_size: int = _PAGE
    ) -> Iterator[list[dict[str, Any]]]:
        keys: Iterator[dict[str, Any]] = iter(())
        if prefix == layout.BLOBS:
            keys = self._blobs(offset or "")
        elif prefix == layout.REPOSITORIES:
            keys = self._links(offset or "")
        page = list(islice(keys, chunk_size))
        self._count("LIST")
        while page:
            yield page
            if len(page) < chunk_size:
                return
            page = list(islice(keys, chunk_size))
            self._count("LIST")

    def list_with_delimiter(self, prefix: str) -> dict[str, list[str]]:
        below = {
            layout.REPOSITORIES: ["team"],
            f"{layout.REPOSITORIES}/team": [f"app{n:06d}" for n in range(self._repositories)],
        }.get(prefix, [])
        for _ in range(0, max(1, len(below)), _PAGE):
            self._count("LIST")
        return {"common_prefixes": [f"{prefix}/{name}" for name in below]}

    def get(self, key: str) -> _Meta:
        self._count("GET")
        if not key.startswith(f"{layout.BLOBS}/"):
            raise FileNotFoundError("<Code>NoSuchKey</Code>")
        digest = bytes.fromhex(key.split("/")[-2])
        raw = made_manifest(*divmod(self._number(digest), IMAGES + DELETED))
        return _Meta({"size": len(raw)}, raw)

    list = listed  # as obstore calls it

    def _number(self, digest: bytes) -> int:
        """Find a manifest: digests are spread evenly, so it is near where it should be."""
        first, end = self._offsets[digest[0]], self._offsets[digest[0] + 1]
        rows = (end - first) // _ROW
        guess = rows * int.from_bytes(digest[1:5]) >> 32
        start = max(0, guess - _NEAR)
        near = os.pread(self._index, min(2 * _NEAR, rows - start) * _ROW, first + start * _ROW)
        at = near.index(digest)
        return int.from_bytes(near[at + 32 : at + _ROW])

    # Keys, in order.

    def _manifests(self, group: int) -> Iterator[bytes]:
        at, end = self._offsets[group], self._offsets[group + 1]
        while at < end:
            rows = os.pread(self._index, min(_PAGE * _ROW, end - at), at)
            at += len(rows)
            yield from (rows[row : row + 32] for row in range(0, len(rows), _ROW))

    def _blobs(self, after: str) -> Iterator[dict[str, Any]]:
        found = _GROUP.search(after)
        count = self._repositories * (IMAGES + DELETED) * OWN + len(SHARED)
        for group in range(0 if found is None else int(found[1], 16), 256):
            manifests = ((digest, self._size) for digest in self._manifests(group))
            others = ((bytes(made_blob(number)), 32654) for number in range(group, count, 256))
            for digest, size in heapq.merge(manifests, others):
                encoded = digest.hex()
                key = f"{layout.BLOBS}/sha256/{encoded[:2]}/{encoded}/data"
                if key > after:
                    yield _entry(key, size, encoded[:32])

    def _links(self, after: str) -> Iterator[dict[str, Any]]:
        found = _REPOSITORY.search(after)
        for number in range(0 if found is None else int(found[1]), self._repositories):
            base = f"{layout.REPOSITORIES}/team/app{number:06d}"
            for key, digest in _keys(number):
                if (full := f"{base}/{key}") > after:
                    text = f"sha256:{digest}".encode()
                    yield _entry(
                        full, len(text), hashlib.md5(text, usedforsecurity=False).hexdigest()
                    )


def _keys(number: int) -> list[tuple[str, str]]:
    """Return the keys of a repository's links, in order, and what each leads to."""
    images = range(IMAGES + DELETED)
    layers = {*SHARED, *(digest for image in images for digest in own_blobs(number, image))}
    found = [(f"_layers/sha256/{digest.hex()}/link", digest.hex()) for digest in layers]
    for image in range(IMAGES):
        digest = hashlib.sha256(made_manifest(number, image)).hexdigest()
        found.append((f"_manifests/revisions/sha256/{digest}/link", digest))
        if image % 10 != 1:
            tag = f"_manifests/tags/v{image}"
            found.append((f"{tag}/current/link", digest))
            found.append((f"{tag}/index/sha256/{digest}/link", digest))
    return sorted(found)


def _entry(key: str, size: int, e_tag: str) -> dict[str, Any]:
    return {
        "path": key,
        "size": size,
        "last_modified": _WEEK_AGO,
        "e_tag": f'"{e_tag}"',
        "version": None,
    }


def _prepare(file: Path, repositories: int) -> None:
    """Write the digests of all manifests, each with a number."""
    rows = [bytearray() for _ in range(256)]
    for number in range(repositories * (IMAGES + DELETED)):
        digest = hashlib.sha256(made_manifest(*divmod(number, IMAGES + DELETED))).digest()
        rows[digest[0]] += digest + number.to_bytes(4)
    write_index(file, rows, _ROW)


def _plan(file: Path, repositories: int, cache: Path) -> dict[str, Any]:
    began = time.perf_counter()
    with file.open("rb") as index:
        store = _Store(index.fileno(), repositories)
        bucket = Bucket(S3Bucket("simulated", "http://127.0.0.1:1", access_key="a"), {})
        opened: Any = bucket
        opened._store = store  # noqa: SLF001 - in place of the client
        with ManifestCache(cache) as kept:
            made = plan_collection(ObjectStorage(bucket, kept), CollectOptions(), NOW)
    assert not made.problems
    return {
        "kept": made.kept_blobs,
        "garbage": len(made.blobs),
        "layer_links": len(made.layer_links),
        "seconds": time.perf_counter() - began,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "requests": dict(store.requests),
    }


def _list(file: Path, repositories: int) -> dict[str, Any]:
    """Make it all up, which is the simulation's own part of the time."""
    began = time.perf_counter()
    with file.open("rb") as index:
        store = _Store(index.fileno(), repositories)
        objects = sum(
            len(page) for at in (layout.BLOBS, layout.REPOSITORIES) for page in store.listed(at)
        )
        listed = time.perf_counter() - began
        for repository in range(repositories):
            for image in range(IMAGES):
                raw = made_manifest(repository, image)
                digest = Digest.of(raw)
                store.get(f"{layout.BLOBS}/sha256/{digest.hex[:2]}/{digest.hex}/data")
    return {
        "objects": objects,
        "listing_seconds": listed,
        "reading_seconds": time.perf_counter() - began - listed,
    }


def main() -> None:
    """Do what the command line says."""
    verb, file, repositories, *more = sys.argv[1:]
    if verb == "prepare":
        _prepare(Path(file), int(repositories))
    elif verb == "list":
        print(json.dumps(_list(Path(file), int(repositories))))
    else:
        print(json.dumps(_plan(Path(file), int(repositories), Path(*more))))


if __name__ == "__main__":
    main()
