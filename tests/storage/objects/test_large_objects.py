"""An object above 5 GB, which is a sparse file of the gateway's."""

import time
from collections.abc import Iterator

import pytest

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


def test_few_go_through_this_machine_at_a_time(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes tens of megabytes of memory meanwhile."""
    opened = open_bucket(bucket)
    monkeypatch.setattr(opened._client, "largest_copy", 3)
    whole, now, most = opened.stream, [0], [0]

    def stream(key: str, offset: int, size: int) -> Iterator[bytes]:
        now[0] += 1
        most[0] = max(most[0], now[0])
        time.sleep(0.05)
        yield from whole(key, offset, size)
        now[0] -= 1

    monkeypatch.setattr(opened, "stream", stream)
    opened.put("one", b"content")
    names = [str(number) for number in range(16)]
    list(opened.pool.map(lambda name: opened.copy("one", name, 7), names))
    assert [opened.get(name, 10) for name in names] == [b"content"] * 16
    assert 1 < most[0] <= 4
