"""Requests about versions: how they are signed, and when a DELETE can be undone."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from jettison.configuration.s3 import S3Bucket
from jettison.errors import StorageError
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.deleting import SignedDeletes, measure_clock
from jettison.storage.objects.signing import Credentials, credentials_of, sign
from jettison.storage.objects.versions import Versions
from tests.contract.objects import open_bucket
from tests.support.buckets import Bucket, Gateway

KEYS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


@pytest.fixture(scope="module")
def versioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with Gateway(tmp_path_factory.mktemp("versioned"), versions=True) as running:
        yield running.bucket("images")


def deletes(bucket: OpenBucket) -> SignedDeletes:
    return SignedDeletes(bucket, measure_clock(bucket))


def test_a_signature_is_that_of_the_example() -> None:
    """Of Amazon's documentation of version 4 in a query."""
    settings = S3Bucket("examplebucket", "https://examplebucket.s3.amazonaws.com", by_host=True)
    moment = datetime(2013, 5, 24, tzinfo=UTC)
    url = sign(settings, KEYS, "GET", "test.txt", {}, now=moment, seconds=86400)
    expected = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    assert url.startswith("https://examplebucket.s3.amazonaws.com/test.txt?")
    assert url.endswith(f"&X-Amz-Signature={expected}")
    assert KEYS.secret_key not in f"{url} {KEYS!r}"


def test_credentials_are_those_of_the_file_or_the_environment() -> None:
    both = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
    without = S3Bucket("images", "http://store")
    with_keys = S3Bucket("images", "http://store", access_key="own", secret_key="key")
    assert credentials_of(without, {}) is None
    assert credentials_of(without, {"AWS_ACCESS_KEY_ID": "a"}) is None
    assert credentials_of(without, both) == ("a", "s", None)
    assert credentials_of(without, both | {"AWS_SESSION_TOKEN": "t"}) == ("a", "s", "t")
    assert credentials_of(with_keys, both) == ("own", "key", None)


def test_a_delete_is_undone_where_versions_are_kept(versioned: Bucket, bucket: Bucket) -> None:
    for one, expected in ((versioned, True), (bucket, False)):
        opened = open_bucket(one)
        assert Versions(opened).can_undo(deletes(opened)) is expected
        left = {entry.key for page in opened.pages("jettison") for entry in page}
        assert left <= {"jettison/clock"}


def test_without_the_right_or_a_signature_it_is_not(
    versioned: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_bucket(versioned)

    def refuse(self: Versions, key: str, version: str) -> None:
        raise StorageError("no right to remove a version")

    with monkeypatch.context() as patch:
        patch.setattr(Versions, "remove", refuse)
        assert not Versions(opened).can_undo(deletes(opened))
    with monkeypatch.context() as patch:
        patch.setattr(OpenBucket, "signed", lambda *_: None)
        assert not Versions(opened).can_undo(deletes(opened))
        with pytest.raises(StorageError, match="cannot be signed"):
            Versions(opened).marker("any")
    # Versions are "null" where they are kept no more, and a DELETE is final then.
    with monkeypatch.context() as patch:
        patch.setattr(OpenBucket, "version", lambda *_: "null")
        assert not Versions(opened).can_undo(deletes(opened))


def test_what_lies_below_a_marker_is_read(versioned: Bucket) -> None:
    opened = open_bucket(versioned, root="a & b")
    versions = Versions(opened)
    opened.put("docker/one", b"content")
    assert versions.marker("docker/one") is None
    opened.remove(["docker/one"])
    below = versions.below("docker/one")
    assert below is not None
    assert versions.read("docker/one", below, 100) == b"content"
    assert versions.read("docker/one", below, 3) is None
    marker = versions.marker("docker/one")
    assert marker is not None
    versions.remove("docker/one", marker)
    assert opened.get("docker/one", 100) == b"content"
    assert versions.below("docker/absent") is None
