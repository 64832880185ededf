"""Whoever is killed between two requests to a bucket leaves no half of a tag.

A history without its link is listed like a tag, leads nowhere, and keeps a collection from judging
the repository.
"""

from collections.abc import Callable, Iterator, Sequence

from jettison.manifest_cache import ManifestCache
from jettison.model.names import Tag
from jettison.storage.objects import ObjectStorage
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.protocol import Outcome
from tests.contract.content import APP, BLOB, ONE, image, push
from tests.contract.objects import open_bucket, open_objects
from tests.support.buckets import Bucket

NEW = Tag("new")


class KilledError(BaseException):
    """What a test throws where a process would be killed."""


class Dying(OpenBucket):
    """A bucket whose user is killed when ``left`` requests that change it have been answered."""

    left = 0

    def _change(self) -> None:
        if self.left == 0:
            raise KilledError
        self.left -= 1

    def put(self, key: str, content: bytes) -> None:
        self._change()
        super().put(key, content)

    def remove_each(self, keys: Sequence[str]) -> list[Outcome]:
        self._change()
        return super().remove_each(keys)


def deaths(bucket: Bucket, act: Callable[[ObjectStorage], object]) -> Iterator[ObjectStorage]:
    """Act, killed after each number of requests; yield the storage as others see it then."""
    for left in range(20):
        dying = Dying(open_bucket(bucket).settings, {})
        dying.left = left
        try:
            act(ObjectStorage(dying, ManifestCache(None)))
        except KilledError:
            yield open_objects(bucket)
        else:
            return
    raise AssertionError("no end of it")


def has_half_a_tag(storage: ObjectStorage) -> bool:
    found = storage.serving().tags(APP)
    names = [] if found is None else list(found.names)
    return any(storage.serving().tag(APP, Tag(name)) is None for name in names)


def test_a_tag_is_put_whole_or_without_its_history(bucket: Bucket) -> None:
    push(open_objects(bucket), ONE)
    digest, raw = image(BLOB)
    seen = 0
    for storage in deaths(bucket, lambda killed: killed.put_manifest(APP, digest, raw, [NEW])):
        seen += 1
        assert not has_half_a_tag(storage)
    assert seen == 4
    assert open_objects(bucket).serving().tag(APP, NEW) == digest


def test_a_tag_is_removed_whole(bucket: Bucket) -> None:
    push(open_objects(bucket), ONE)
    for storage in deaths(bucket, lambda killed: killed.untag(APP, ONE)):
        assert not has_half_a_tag(storage)
    assert open_objects(bucket).serving().tag(APP, ONE) is None
