"""What a store enforces is seen where it does not: a listing that is behind, and others."""

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

import pytest

from jettison.errors import NotQuiescent, Refused, StorageError
from jettison.jobs.check import Level
from jettison.jobs.check_bucket import probe_items, weakness
from jettison.manifest_cache import ManifestCache
from jettison.storage.objects import ObjectStorage
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.bucket import Entry
from jettison.storage.objects.probing import probe_store, require_strong_listing
from jettison.storage.protocol.probing import StoreProbe
from tests.contract.objects import open_bucket, open_objects
from tests.support.buckets import Bucket

if TYPE_CHECKING:
    from obstore import HTTP_METHOD


class Behind(OpenBucket):
    """Every third of its listings is the one before."""

    def __init__(self, like: OpenBucket) -> None:
        super().__init__(like.settings, {})
        self._numbers = count()
        self._last: list[list[Entry]] = []

    def pages(self, prefix: str, after: str | None = None) -> Iterator[list[Entry]]:
        if next(self._numbers) % 3 != 2:
            self._last = list(super().pages(prefix, after))
        return iter(self._last)


class Careless(OpenBucket):
    """One that stores whatever comes, and takes signed requests at any time."""

    def put_new(self, key: str, content: bytes) -> bool:
        self.put(key, content)
        return True

    def url(self, method: "HTTP_METHOD", key: str, seconds: float) -> str:
        return super().url(method, key, seconds + 3600)


class Unsigned(OpenBucket):
    """One whose credentials have no right to sign."""

    def url(self, method: "HTTP_METHOD", key: str, seconds: float) -> str:
        raise StorageError(f"cannot sign {method} for {key} for {seconds} s: no right to")


def test_without_signed_deletes_nothing_is_collected_beside_pushes(bucket: Bucket) -> None:
    unsigned = Unsigned(open_bucket(bucket).settings, {})
    found = probe_store(unsigned)
    assert found.expires is None
    [item] = [item for item in probe_items(found) if item.subject == "signed DELETE"]
    assert item.level is Level.WARNING
    assert "cannot be made, so gc is refused beside pushes: cannot sign DELETE" in item.message
    assert "storage.redirect.disable" in (item.next or "")
    storage = ObjectStorage(unsigned, ManifestCache(None))
    with (
        pytest.raises(NotQuiescent, match="none can be signed: cannot sign DELETE"),
        storage.lease("collection"),
    ):
        pass
    with storage.lease("collection", quiescent=True):
        pass


def test_a_listing_that_is_behind_is_refused(bucket: Bucket) -> None:
    found = probe_store(Behind(open_bucket(bucket)))
    assert 0 < found.stale <= found.rounds
    error = weakness(found)
    assert error is not None
    assert error.exit_code == 4
    assert "gc would take what is needed" in error.message
    [listing] = [item for item in probe_items(found) if item.subject == "listing"]
    assert listing.level is Level.ERROR
    assert not bucket.objects()


def test_gc_and_serve_refuse_it(bucket: Bucket) -> None:
    with pytest.raises(Refused, match="does not show what was just written") as caught:
        require_strong_listing(Behind(open_bucket(bucket)))
    assert "check --probe" in (caught.value.hint or "")
    assert not bucket.objects()
    open_objects(bucket).require_strong_listing()
    assert bucket.requests()["ListObjectsV2"] >= 4
    assert not bucket.objects()


def test_what_is_not_enforced_is_said(bucket: Bucket) -> None:
    found = probe_store(Careless(open_bucket(bucket).settings, {}))
    assert (found.stale, found.creates, found.expires) == (0, False, False)
    assert weakness(found) is None
    levels = {item.subject: item.level for item in probe_items(found)}
    assert levels["create-if-absent"] is levels["signed DELETE"] is Level.WARNING
    assert not bucket.objects()


def test_a_store_that_enforces_all(bucket: Bucket) -> None:
    found = probe_store(open_bucket(bucket))
    assert found == StoreProbe(rounds=5, stale=0, creates=True, expires=True, versions=False)
    assert not bucket.objects()


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "was not tried: that writes"),
        (StoreProbe(untried="no right to write"), "not tried: no right to write"),
        (StoreProbe(untried="no right to delete", left="s3://b/x"), "s3://b/x was written"),
        (StoreProbe(rounds=5, creates=True), "could not be told"),
    ],
)
def test_what_was_not_tried_is_said(found: StoreProbe | None, said: str) -> None:
    assert said in "\n".join(item.message for item in probe_items(found))
    assert weakness(found) is None
