"""A storage in a bucket of each store, in the form in which the contract tries it.

What no orderly writer makes is planted in the folder that versitygw keeps the bucket in. Such
objects have no ETag, so every link is read; what ETags tell is tried with registries, in
`tests/e2e/test_buckets.py`. In other stores it is put there, and made older as it is listed.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from jettison.configuration.buckets import StoreBucket
from jettison.configuration.s3 import S3Bucket
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import Digest
from jettison.storage.objects import ObjectStorage
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.bucket import Entry
from jettison.storage.objects.pages import Splitting
from jettison.storage.protocol import LinkKind, Stamp
from tests.contract.storages import Subject, TreePlanter
from tests.support.azurite import Container
from tests.support.buckets import ACCESS_KEY, REGION, SECRET_KEY, Bucket

if TYPE_CHECKING:
    from obstore import ObjectMeta


def open_objects(bucket: Bucket, splitting: Splitting | None = None) -> ObjectStorage:
    return ObjectStorage(open_bucket(bucket), ManifestCache(None), splitting=splitting)


def open_bucket(bucket: Bucket, root: str = "") -> OpenBucket:
    settings = S3Bucket(
        bucket.name,
        bucket.settings["regionendpoint"],
        region=REGION,
        root=root,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
    )
    return OpenBucket(settings, {})


def opened(bucket: Bucket) -> OpenBucket:
    """A bucket of any store, as its configuration says."""
    if isinstance(bucket, Container):
        return OpenBucket(bucket.container(), {})
    return open_bucket(bucket)


class ObjectPlanter(TreePlanter):
    """Writes what looks like Distribution's tree into the folder of a bucket."""

    def __init__(self, bucket: Bucket, storage: ObjectStorage) -> None:
        super().__init__(bucket.folder)
        self._storage = storage

    def _write(self, path: Path, content: bytes) -> None:
        path.unlink(missing_ok=True)  # with the ETag that the gateway keeps beside it
        super()._write(path, content)
        self._storage.look_again()

    def plant_tag(self, repository: str, tag: str, content: bytes | None) -> None:
        """Without a link: its history alone, for nothing but an object has a place."""
        link = self._link(LinkKind.REVISION, repository, Digest.of(b"")).parents[2]
        folder = link / "tags" / tag
        if content is not None:
            self._write(folder / "current" / "link", content)
            return
        digest = Digest.of(b"what it once was")
        self._write(folder / "index" / "sha256" / digest.hex / "link", digest.encode())

    def plant_name(self, name: str) -> None:
        self._write(self._base / "repositories" / name, b"")


def in_bucket(bucket: Bucket) -> Subject:
    storage = open_objects(bucket)

    def let_pass(seconds: float) -> None:
        for above, folders, files in os.walk(bucket.folder):
            for name in (*folders, *files):
                path = Path(above) / name
                moment = path.stat().st_mtime_ns - int(seconds * 1e9)
                os.utime(path, ns=(moment, moment))
        storage.look_again()

    plant = ObjectPlanter(bucket, storage)
    return Subject(storage, plant, time.time, let_pass, lambda: open_objects(bucket))


class PutPlanter(ObjectPlanter):
    """Puts it into a bucket that has no folder."""

    def __init__(self, storage: ObjectStorage) -> None:
        TreePlanter.__init__(self, Path())
        self._storage = storage

    def _write(self, path: Path, content: bytes) -> None:
        self._storage.bucket.put(path.as_posix(), content)
        self._storage.look_again()


class AgedBucket(OpenBucket):
    """A bucket whose objects are told to be older than they are: each by the time that passed.

    `passed` has that in nanoseconds, by key and by what tells an object from its successor.
    """

    def __init__(self, settings: StoreBucket, passed: dict[tuple[str, str], int]) -> None:
        super().__init__(settings, {})
        self._passed = passed

    def _entry(self, found: "ObjectMeta") -> Entry:
        entry = super()._entry(found)
        passed = self._passed.get((entry.key, str(entry.stamp) + entry.e_tag), 0)
        return entry._replace(stamp=Stamp(entry.stamp - passed))

    def let_pass(self, seconds: float) -> None:
        before = dict(self._passed)
        self._passed.clear()
        for page in self.pages(""):
            for entry in page:
                name = entry.key, str(entry.stamp) + entry.e_tag
                self._passed[name] = before.get(name, 0) + int(seconds * 1e9)


def in_store(settings: StoreBucket, age: Callable[[float], None] | None = None) -> Subject:
    """A storage in a bucket of a store; without ``age`` its objects are told to be older."""
    passed: dict[tuple[str, str], int] = {}

    def opened() -> ObjectStorage:
        return ObjectStorage(AgedBucket(settings, passed), ManifestCache(None))

    storage = opened()

    def let_pass(seconds: float) -> None:
        bucket = storage.bucket
        assert isinstance(bucket, AgedBucket)
        (age or bucket.let_pass)(seconds)
        storage.look_again()

    return Subject(storage, PutPlanter(storage), time.time, let_pass, opened)
