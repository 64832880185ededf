"""What Google's store does otherwise than S3, on a stub of it: the real one was not tried."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from jettison.configuration.gcs import GoogleBucket
from jettison.errors import StorageError
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.deleting import SignedDeletes, measure_clock, uptime
from tests.support.google_stub import GoogleStub


@pytest.fixture(scope="module")
def stub() -> Iterator[GoogleStub]:
    with GoogleStub() as running:
        yield running


@pytest.fixture
def bucket(stub: GoogleStub) -> Bucket:
    stub.buckets.clear()
    return Bucket(stub.bucket("images", "ro ot"), {})


def ask(method: str, url: str) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(method, f"{parts.path}?{parts.query}")
    status = connection.getresponse().status
    connection.close()
    return status


def test_objects(bucket: Bucket, stub: GoogleStub) -> None:
    for name in ("b", "a/2", "a/1", "a-1"):
        bucket.put(name, name.encode())
    assert [one.key for page in bucket.pages("a") for one in page] == ["a/1", "a/2"]
    assert [one.key for page in bucket.pages("a", "a/1") for one in page] == ["a/2"]
    assert bucket.folders("") == ["a"]
    assert (bucket.get("b", 10), bucket.get("c", 10), bucket.part("a/1", 1, 2)) == (
        b"b",
        None,
        b"/1",
    )
    assert sorted(stub.buckets["images"]) == [f"ro ot/{one}" for one in ("a-1", "a/1", "a/2", "b")]
    bucket.copy("a/1", "c", 3)
    assert bucket.get("c", 10) == b"a/1"
    assert bucket.remove_each(["b", "absent"]) == [True, True]
    assert bucket.look("b") is None
    # Each object has a generation, which tells nothing of whether the bucket keeps versions.
    assert not bucket.tells_versions
    assert not bucket.has_version("c")


def test_a_generation_is_what_is_compared(bucket: Bucket) -> None:
    assert bucket.put_new("lease", b"mine")
    assert not bucket.put_new("lease", b"yours")
    seen = bucket.look("lease")
    assert seen is not None
    assert bucket.put_over("lease", b"mine", seen._replace())
    old = seen._replace(e_tag="another")
    assert not bucket.put_over("lease", b"yours", old)
    bucket.remove(["lease"])
    assert not bucket.put_over("lease", b"yours", seen)
    assert bucket.get("lease", 10) is None


def test_a_large_object_is_stored_in_parts(bucket: Bucket, stub: GoogleStub) -> None:
    writer = bucket.writer("large", 5 * 1024 * 1024)
    for _ in range(3):
        writer.write(b"x" * 4 * 1024 * 1024)
    writer.close()
    assert len(stub.buckets["images"]["ro ot/large"].content) == 12 * 1024 * 1024


def test_a_signed_url_is_for_one_thing_and_ends(bucket: Bucket) -> None:
    bucket.put("a/b", b"x")
    url = bucket.url("DELETE", "a/b", 60)
    assert ask("GET", url) == 403
    assert ask("DELETE", bucket.url("DELETE", "a/b", 0)) in {400, 403}
    assert bucket.get("a/b", 10) == b"x"
    assert ask("GET", bucket.url("GET", "a/b", 60)) == 200
    deletes = SignedDeletes(bucket, measure_clock(bucket))
    assert [one.outcome for one in deletes.delete(["a/b", "absent"], uptime() + 100)] == [True] * 2
    assert bucket.get("a/b", 10) is None


def test_one_line_for_what_is_wrong(stub: GoogleStub) -> None:
    settings = stub.bucket("images")
    for change, said in (
        ({"name": "nowhere"}, "there is no bucket nowhere at http://127.0.0.1"),
        ({"url": "http://127.0.0.1:1"}, "http://127.0.0.1:1 does not answer"),
    ):
        bucket = Bucket(msgspec.structs.replace(settings, **change), {})
        with pytest.raises(StorageError, match=said):
            list(bucket.pages("a"))
        with pytest.raises(StorageError, match=said):
            bucket.get("a", 10)


@pytest.mark.parametrize("name", ["absent", "external", "broken"])
def test_a_file_that_is_no_key_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "external").write_text('{"type": "external_account"}', encoding="utf-8")
    (tmp_path / "broken").write_text("s3cret", encoding="utf-8")
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / name)}
    with pytest.raises(StorageError, match="cannot open gs://images: the file with") as caught:
        Bucket(GoogleBucket("images", "https://storage.googleapis.com"), environment)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in (caught.value.hint or "")
    key = '{"type": "service_account", "client_email": "", "private_key_id": "", '
    key += '"private_key": "s3cret"}'
    with pytest.raises(StorageError, match="cannot open gs://images: the file with") as caught:
        Bucket(GoogleBucket("images", "https://storage.googleapis.com", key=key), {})
    assert "storage.gcs.keyfile" in (caught.value.hint or "")
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
