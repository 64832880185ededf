"""Other programs that keep a part of the truth about a bucket, by what they keep in it."""

import pytest

from jettison.manifest_cache import ManifestCache
from jettison.model.plausibility import CACHE, GITLAB
from jettison.storage.objects import ObjectStorage
from tests.contract.objects import open_bucket
from tests.support.buckets import Bucket


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("docker/registry/lockfiles/database-in-use", GITLAB),
        ("scheduler-state.json", CACHE),
    ],
)
def test_an_object_tells_whose_a_bucket_is(bucket: Bucket, key: str, name: str) -> None:
    store = open_bucket(bucket, root="registry")
    storage = ObjectStorage(store, ManifestCache(None))
    open_bucket(bucket).put(key, b"")  # of another root
    assert storage.owners() == ()
    store.put(key, b"{}")
    [owner] = storage.owners()
    assert owner.name == name
    assert key in owner.clue
