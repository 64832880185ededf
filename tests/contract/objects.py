"""A storage in a bucket, in the form in which the contract tries it.

What no orderly writer makes is planted in the folder that the gateway keeps the bucket in. Such
objects have no ETag, so every link is read; what ETags tell is tried with registries, in
`tests/e2e/test_buckets.py`.
"""

import os
import time
from pathlib import Path

from jettison.configuration.s3 import S3Bucket
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import Digest
from jettison.storage.objects import ObjectStorage
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.pages import Splitting
from jettison.storage.protocol import LinkKind
from tests.contract.storages import Subject, TreePlanter
from tests.support.buckets import ACCESS_KEY, REGION, SECRET_KEY, Bucket


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
