"""Uploads in parts that were never ended, at a real store."""

import re
import time
import urllib.request

import pytest

from jettison.configuration.s3 import S3Bucket
from jettison.jobs.check_bucket import bucket_items
from jettison.storage.objects import unfinished
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.unfinished import unfinished_uploads
from jettison.storage.protocol.probing import UnfinishedUploads
from tests.contract.objects import open_bucket
from tests.support.buckets import Bucket

PART = 1000


def send(bucket: OpenBucket, method: str, key: str, query: dict[str, str], body: bytes) -> str:
    url = bucket.signed(method, key, query)
    assert url is not None
    asked = urllib.request.Request(url, data=body, method=method)  # noqa: S310 - on loopback
    with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310 - same
        text: str = answer.read().decode()
    return text


def give_up(bucket: OpenBucket, key: str, parts: int) -> None:
    """Begin an upload and send some parts of it, as a push that breaks off."""
    begun = re.search("<UploadId>(.*?)</UploadId>", send(bucket, "POST", key, {"uploads": ""}, b""))
    assert begun is not None
    for number in range(1, parts + 1):
        part = {"partNumber": str(number), "uploadId": begun[1]}
        send(bucket, "PUT", key, part, b"x" * PART)


def test_they_are_counted_below_the_root(bucket: Bucket) -> None:
    store, before = open_bucket(bucket), time.time()
    assert unfinished_uploads(store) == UnfinishedUploads()
    give_up(store, "docker/registry/v2/repositories/app/_uploads/1/data", 3)
    give_up(store, "docker/registry/v2/repositories/app/_uploads/2/data", 0)
    give_up(store, "docker/registry/v2/repositories/a b&c/_uploads/3/data", 1)
    found = unfinished_uploads(store)
    assert found is not None
    assert (found.count, found.bytes, found.all_seen) == (3, 4 * PART, True)
    assert found.since == pytest.approx(before, abs=60)
    elsewhere = open_bucket(bucket, root="other")
    assert unfinished_uploads(elsewhere) == UnfinishedUploads()


def test_of_very_many_only_some_are_looked_at(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "_MOST_SIZED", 1)
    store = open_bucket(bucket)
    give_up(store, "one", 2)
    give_up(store, "two", 2)
    found = unfinished_uploads(store)
    assert found is not None
    assert (found.count, found.bytes, found.all_seen) == (2, 2 * PART, False)


def test_where_it_cannot_be_told(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_bucket(bucket)
    monkeypatch.setattr(store, "signed", lambda *_: None)
    assert unfinished_uploads(store) is None


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "parts of uploads that were never finished are billed"),
        (UnfinishedUploads(), "there are none just now"),
        (
            UnfinishedUploads(12, 4096, 1_790_000_000.0),
            "12 begun since 2026-09-21T14:13:20Z, 4,096 bytes in parts, which are billed",
        ),
        (UnfinishedUploads(9, 5, 1_790_000_000.0, all_seen=False), "at least 9 begun since"),
    ],
)
def test_what_a_check_says_of_them(found: UnfinishedUploads | None, said: str) -> None:
    items = {one.subject: one for one in bucket_items(S3Bucket("images", "http://a"), found)}
    assert items["unfinished uploads"].message.startswith(said)
    assert "after 7 days" in items["unfinished uploads"].message
