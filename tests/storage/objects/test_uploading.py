"""How many requests the end of an upload takes, and what others may have done to it."""

import pytest

from jettison.errors import NotFoundError
from jettison.storage.objects.uploading import ObjectUploading
from tests.contract.content import APP, BLOB, DIGEST, INNER
from tests.contract.objects import open_objects
from tests.support.buckets import Bucket


@pytest.fixture
def uploading(bucket: Bucket) -> ObjectUploading:
    return open_objects(bucket).uploading()


@pytest.fixture
def name(uploading: ObjectUploading) -> str:
    """An upload to which this process has written all of a blob."""
    name = uploading.start(APP)
    with uploading.open(APP, name) as upload:
        upload.append([BLOB[:4]])
    with uploading.open(APP, name) as upload:
        upload.append([BLOB[4:]])
    return name


def test_what_this_process_has_written_is_not_listed(bucket: Bucket) -> None:
    storage = open_objects(bucket)
    storage.sweeps.known()
    uploading = storage.uploading()
    name = uploading.start(APP)
    with uploading.open(APP, name) as upload:
        upload.append([BLOB])
    before = bucket.requests()
    with uploading.open(APP, name, len(BLOB)) as upload:
        upload.commit(DIGEST)
    # The one list is that of the sweeps.
    found = {"CopyObject": 1, "PutObject": 1, "ListObjectsV2": 1, "DeleteObjects": 1}
    assert bucket.requests() - before == found
    assert content(bucket) == BLOB
    assert uploading.size(APP, name) is None


def test_anything_else_is_listed(bucket: Bucket, uploading: ObjectUploading, name: str) -> None:
    other = open_objects(bucket).uploading()
    ways = [(uploading, None), (uploading, len(BLOB) - 1), (other, len(BLOB))]
    for server, written in ways:
        before = bucket.requests()
        with server.open(APP, name, written) as upload:
            assert upload.size == len(BLOB)
        assert bucket.requests() - before == {"ListObjectsV2": 1}
    empty = uploading.start(APP)
    with uploading.open(APP, empty, 0) as upload, other.open(APP, empty) as same:
        same.discard()
        with pytest.raises(NotFoundError):
            upload.commit(DIGEST)
    with pytest.raises(NotFoundError):
        uploading.open(INNER, name, len(BLOB))


def test_what_another_server_has_removed_is_no_blob(
    bucket: Bucket, uploading: ObjectUploading, name: str
) -> None:
    with open_objects(bucket).uploading().open(APP, name) as upload:
        upload.discard()
    with uploading.open(APP, name, len(BLOB)) as upload, pytest.raises(NotFoundError):
        upload.commit(DIGEST)
    assert not [key for key in bucket.objects() if "/blobs/" in key or "/_layers/" in key]


def test_what_another_server_has_appended_is_no_part_of_it(
    bucket: Bucket, uploading: ObjectUploading, name: str
) -> None:
    with open_objects(bucket).uploading().open(APP, name) as upload:
        upload.append([b"more"])
    with uploading.open(APP, name, len(BLOB)) as upload:
        upload.commit(DIGEST)
    assert content(bucket) == BLOB


def content(bucket: Bucket) -> bytes:
    return b"".join(open_objects(bucket).read_blob(DIGEST.binary))
