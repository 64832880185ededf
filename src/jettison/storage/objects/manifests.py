"""Manifests of a bucket: each is asked for once, and kept by its digest from then on."""

import contextlib
import hashlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from jettison.errors import InvalidManifest, StorageError, StorageUnavailable
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.manifest import parse_manifest
from jettison.registry import RawManifest
from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.failures import StoreFailing

__all__ = ["LARGEST_MANIFEST", "ManifestReader"]

LARGEST_MANIFEST: Final = 64 * 1024 * 1024
"""In bytes; what is larger is no manifest."""

_USUAL: Final = 4 * 1024 * 1024
"""No registry takes a larger manifest."""
_BATCH: Final = 256
_MOST_AHEAD: Final = 4 * _BATCH
_UNKNOWN_TYPE: Final = "application/octet-stream"


class ManifestReader:
    """Reads manifests through a cache; what has another digest than asked for is never kept.

    ``size`` tells how large a blob is in the bucket (bytes), None if it is not there. A manifest in
    the cache counts only as long as the one in the bucket is there, and as large.
    """

    def __init__(
        self, bucket: Bucket, cache: ManifestCache, size: Callable[[BinaryDigest], int | None]
    ) -> None:
        self._bucket = bucket
        self._cache = cache
        self._size = size
        self._coming: Iterator[BinaryDigest] = iter(())
        self._ahead: dict[BinaryDigest, bytes] = {}
        # What it has not written yet, it writes at the end of the process, too.
        weakref.finalize(self, cache.close)

    def expect(self, digests: Iterable[BinaryDigest]) -> None:
        """Note which manifests will be asked for next, in this order: some are read ahead."""
        self._coming = iter(digests)
        self._ahead.clear()

    def each(self, digests: Sequence[BinaryDigest]) -> Iterator[tuple[BinaryDigest, bytes]]:
        """Yield manifests that are whole and of usual size, each with its digest."""
        for first in range(0, len(digests), _BATCH):
            yield from self._batch(digests[first : first + _BATCH])

    def _batch(self, digests: Sequence[BinaryDigest]) -> Iterator[tuple[BinaryDigest, bytes]]:
        sizes = {digest: self._size(digest) for digest in digests}
        found = {one: self._ahead.pop(one) for one in digests if one in self._ahead}
        found |= self._kept({one: size for one, size in sizes.items() if one not in found})
        lacking = [one for one in digests if one not in found and _is_usual(sizes[one])]
        if lacking:
            asked = set(lacking)
            more = [one for one in self._next(_BATCH - len(lacking)) if one not in asked]
            for digest, raw in self._ask([*lacking, *more]):
                (found if digest in asked else self._ahead)[digest] = raw
        yield from ((digest, found[digest]) for digest in digests if digest in found)

    def _next(self, count: int) -> list[BinaryDigest]:
        """Return the next ``count`` manifests that will be asked for and are not known."""
        found: list[BinaryDigest] = []
        if len(self._ahead) >= _MOST_AHEAD:
            return found
        while some := list(islice(self._coming, count - len(found))):
            sizes = {one: self._size(one) for one in some if one not in self._ahead}
            kept = self._kept(sizes)
            found += [one for one, size in sizes.items() if _is_usual(size) and one not in kept]
        return found

    def _kept(self, sizes: Mapping[BinaryDigest, int | None]) -> dict[BinaryDigest, bytes]:
        """Return those of these manifests that are in the cache, and in the bucket as large."""
        there = {Digest.from_binary(one): size for one, size in sizes.items() if size is not None}
        kept = self._cache.get_each(there).items()
        return {one.binary: found.raw for one, found in kept if len(found.raw) == there[one]}

    def _ask(self, digests: Sequence[BinaryDigest]) -> Iterator[tuple[BinaryDigest, bytes]]:
        keys = {f"{layout.BLOBS}/{layout.blob_file(digest)}": digest for digest in digests}
        for key, raw in self._bucket.get_each(list(keys), _USUAL):
            if isinstance(raw, StoreFailing | StorageUnavailable):
                raise raw  # it is not this manifest's fault
            digest = keys[key]
            if isinstance(raw, bytes) and _matches(raw, digest):
                self._keep(digest, raw)
                yield digest, raw

    def _keep(self, digest: BinaryDigest, raw: bytes) -> None:
        """Keep a manifest whose type can be told: the cache is for registries too."""
        long = Digest.from_binary(digest)
        with contextlib.suppress(InvalidManifest):
            media_type = parse_manifest(raw, digest=long).media_type
            if media_type and media_type != _UNKNOWN_TYPE:
                self._cache.put(RawManifest(long, media_type, raw))

    def read(self, digest: BinaryDigest) -> bytes | None:
        """Return a manifest's bytes, whatever they are, or None if there is no such blob."""
        size = self._size(digest)
        kept = self._kept({digest: size}).get(digest)
        if kept is not None or size is None:
            return kept
        if size > LARGEST_MANIFEST:
            place = f"{self._bucket.location}/{layout.BLOBS}/{layout.blob_file(digest)}"
            raise StorageError(f"{place} is too large for a manifest")
        key = f"{layout.BLOBS}/{layout.blob_file(digest)}"
        raw = self._bucket.get(key, LARGEST_MANIFEST)
        if raw is not None and len(raw) <= _USUAL and _matches(raw, digest):
            self._keep(digest, raw)
        return raw


def _is_usual(size: int | None) -> bool:
    return size is not None and 0 < size <= _USUAL


def _matches(raw: bytes, digest: BinaryDigest) -> bool:
    hasher = "sha256" if len(digest) == 32 else "sha512"  # noqa: PLR2004 - the two there are
    return hashlib.new(hasher, raw, usedforsecurity=False).digest() == digest
