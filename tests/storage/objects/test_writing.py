"""Whoever is killed between two requests to a bucket leaves no half of a tag.

A history without its link is listed like a tag, leads nowhere, and keeps a collection from judging
the repository.
"""

from collections.abc import Callable, Iterator, Sequence

import pytest

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
    """A bucket whose user is killed when ``left`` requests that change it have been answered.

    With ``one_by_one`` as in a store that takes one key a request, and in any order.
    """

    left = 0
    one_by_one = False

    def _change(self) -> None:
        if self.left == 0:
            raise KilledError
        self.left -= 1

    def put(self, key: str, content: bytes) -> None:
        self._change()
        super().put(key, content)

    def remove_each(self, keys: Sequence[str]) -> list[Outcome]:
        if self.one_by_one:
            for key in sorted(keys):  # of a tag's, the link of "current" is the first of all
                self._change()
                super().remove_each([key])
            return [True] * len(keys)
        self._change()
        return super().remove_each(keys)


def deaths(
    bucket: Bucket, act: Callable[[ObjectStorage], object], *, one_by_one: bool = False
) -> Iterator[ObjectStorage]:
    """Act, killed after each number of requests; yield the storage as others see it then."""
    for left in range(20):
        dying = Dying(open_bucket(bucket).settings, {})
        dying.left, dying.one_by_one = left, one_by_one
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


@pytest.mark.parametrize("one_by_one", [False, True], ids=["in bulk", "one by one"])
@pytest.mark.parametrize("whole", [False, True], ids=["untagged", "deleted"])
def test_a_tag_is_removed_whole(bucket: Bucket, one_by_one: bool, whole: bool) -> None:
    push(open_objects(bucket), ONE)
    digest, raw = image(b"another")
    open_objects(bucket).put_manifest(APP, digest, raw, [ONE])  # with a history of two

    def remove(killed: ObjectStorage) -> None:
        if whole:
            killed.delete_revision(APP, digest)
        else:
            killed.untag(APP, ONE)

    seen = 0
    for storage in deaths(bucket, remove, one_by_one=one_by_one):
        seen += 1
        assert not has_half_a_tag(storage)
        with storage.repository(APP) as repository:
            assert not repository.tags().broken
    assert seen >= 2 + whole
    assert open_objects(bucket).serving().tag(APP, ONE) is None
