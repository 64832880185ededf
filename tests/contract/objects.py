"""A storage in a bucket, in the form in which the contract tries what can be read of it.

Nothing can be written to a bucket yet. The contract writes as everywhere: here into the folder that
the gateway keeps the bucket in, as a tree on a disk. Such objects have no ETag, so every link is
read; what ETags tell is tried with registries, in `tests/e2e/test_buckets.py`.
"""

import os
import time
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path

from jettison.configuration.s3 import S3Bucket
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.objects import ObjectStorage
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.pages import Splitting
from jettison.storage.protocol import LinkKind, TagsByManifest
from tests.contract.storages import Subject, TreePlanter
from tests.support.buckets import ACCESS_KEY, REGION, SECRET_KEY, Bucket


def open_objects(bucket: Bucket, splitting: Splitting | None = None) -> ObjectStorage:
    return ObjectStorage(open_bucket(bucket), ManifestCache(None), splitting=splitting)


def open_bucket(bucket: Bucket, root: str = "") -> OpenBucket:
    settings = S3Bucket(
        bucket.name,
        bucket.gateway.endpoint,
        region=REGION,
        root=root,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
    )
    return OpenBucket(settings, {})


class WrittenBeside(ObjectStorage):
    """A bucket that something else writes to, and that is listed anew whenever it did."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(open_bucket(bucket), ManifestCache(None))
        self.tree = StorageTree.make(bucket.folder)

    def put_blob(self, repository: RepoName, digest: Digest, chunks: Iterable[bytes]) -> None:
        self.tree.put_blob(repository, digest, chunks)
        self.look_again()

    def put_manifest(
        self, repository: RepoName, digest: Digest, raw: bytes, tags: Iterable[Tag] = ()
    ) -> None:
        self.tree.put_manifest(repository, digest, raw, tags)
        self.look_again()

    def link_layer(self, repository: RepoName, digest: Digest) -> None:
        self.tree.link_layer(repository, digest)
        self.look_again()

    def untag(self, repository: RepoName, tag: Tag, expected: Digest | None = None) -> bool:
        self.look_again()
        return self.tree.untag(repository, tag, expected)

    def delete_revision(
        self,
        repository: RepoName,
        digest: Digest,
        only: AbstractSet[Tag] | None = None,
        tagged: TagsByManifest | None = None,
    ) -> bool:
        self.look_again()
        return self.tree.delete_revision(repository, digest, only, tagged)


class ObjectPlanter(TreePlanter):
    """Writes what looks like Distribution's tree into the folder of a bucket."""

    def __init__(self, storage: WrittenBeside) -> None:
        super().__init__(storage.tree.root)
        self._storage = storage

    def _write(self, path: Path, content: bytes) -> None:
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
    storage = WrittenBeside(bucket)

    def let_pass(seconds: float) -> None:
        for above, folders, files in os.walk(bucket.folder):
            for name in (*folders, *files):
                path = Path(above) / name
                moment = path.stat().st_mtime_ns - int(seconds * 1e9)
                os.utime(path, ns=(moment, moment))
        storage.look_again()

    return Subject(
        storage, ObjectPlanter(storage), time.time, let_pass, lambda: open_objects(bucket)
    )
