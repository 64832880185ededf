"""The listing that a storage keeps, beside what its own process writes."""

from typing import Any

import pytest

from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.storage.objects.pages import list_tree
from tests.contract.objects import open_objects
from tests.support.buckets import Bucket

APP = RepoName("app")
FIRST, SECOND = b"first", b"second"


def test_a_listing_that_began_before_something_was_written_is_not_kept(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_objects(bucket)
    storage.put_blob(APP, Digest.of(FIRST), [FIRST])
    wrote = False

    def while_another_writes(*given: Any) -> Any:
        nonlocal wrote
        yield from list_tree(*given)
        if not wrote:
            wrote = True
            storage.put_blob(APP, Digest.of(SECOND), [SECOND])

    monkeypatch.setattr("jettison.storage.objects.scanning.list_tree", while_another_writes)
    assert [blob.digest for blob in storage.blobs()] == [Digest.of(FIRST).binary]
    assert wrote
    found = {blob.digest for blob in storage.blobs()}
    assert found == {Digest.of(FIRST).binary, Digest.of(SECOND).binary}
