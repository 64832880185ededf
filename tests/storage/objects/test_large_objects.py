"""An object above 5 GB, which is a sparse file of the gateway's."""

from tests.contract.objects import open_bucket
from tests.support.buckets import Bucket


def test_an_object_above_five_gigabytes(bucket: Bucket) -> None:
    size = 6 * 1024**3
    with (bucket.folder / "large").open("wb") as file:
        file.truncate(size)
    opened = open_bucket(bucket)
    found = opened.look("large")
    assert found is not None
    assert found.size == size
    assert opened.part("large", size - 10, 10) == bytes(10)
    assert len(next(opened.stream("large", 5 * 1024**3, 1000))) >= 1000
    opened.remove(["large"])
    assert opened.look("large") is None
