"""What goes wrong is told in one line with the next step, and is never taken for absence."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from jettison.configuration.s3 import S3Bucket
from jettison.errors import (
    ConfigurationError,
    JournalUnread,
    NotFoundError,
    StorageError,
    StorageUnavailable,
)
from jettison.manifest_cache import ManifestCache
from jettison.storage.journal import tree_journal
from jettison.storage.objects import ObjectStorage
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.checking import ObjectCheck
from jettison.storage.objects.failures import StoreFailing
from jettison.storage.protocol import BadLink, Stamp
from tests.contract.objects import open_bucket, open_objects
from tests.support.buckets import Bucket, Gateway
from tests.support.refusing import BehindRelay, RefusingStore

SETTINGS = S3Bucket("images", "", access_key="me", secret_key="s3cret")


@contextmanager
def a_store_that_answers(status: int, code: str) -> Iterator[tuple[OpenBucket, list[str]]]:
    """For what no store does at will: refusing a right, throttling."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = f"<Error><Code>{code}</Code><Message>Told secrets.</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        yield OpenBucket(msgspec.structs.replace(SETTINGS, url=url), {}), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "said", "step"),
    [
        (403, "AccessDenied", "the credentials have no right to do that", "s3:ListBucket"),
        (403, "InvalidAccessKeyId", "the store does not know the access key", "accesskey"),
        (403, "RequestTimeTooSkewed", "the clock of this machine", "Set the clock"),
        (400, "ExpiredToken", "the credentials are not valid any more", "AWS_SESSION_TOKEN"),
        (403, "QuotaExceeded", "the store has no room for it (QuotaExceeded)", "quota"),
        (301, "PermanentRedirect", "the region of bucket images is not us-east-1", "region"),
        (404, "NoSuchBucket", "there is no bucket images at http://127.0.0.1", "bucket"),
        (404, "Strange", "the store answers 404 Strange", "log"),
        (418, "", "the store answers 418", "log"),
    ],
)
def test_answers_of_stores(status: int, code: str, said: str, step: str) -> None:
    with a_store_that_answers(status, code) as (bucket, _):
        asks: list[Callable[[], object]] = [
            lambda: list(bucket.pages("a")),
            lambda: bucket.folders("a"),
            lambda: bucket.get("a", 10),
            lambda: bucket.beginning("a", 10),
            lambda: list(bucket.pieces("a", 10)),
        ]
        for ask in asks:
            with pytest.raises(StorageError) as caught:
                ask()
            assert caught.value.message.startswith(("cannot list s3://", "cannot read s3://"))
            assert said in caught.value.message
            assert step in (caught.value.hint or "")
            assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ExpiredToken"),
        (403, "InvalidAccessKeyId"),
        (403, "RequestTimeTooSkewed"),
        (403, "SignatureDoesNotMatch"),
        (404, "NoSuchBucket"),
    ],
)
def test_what_no_object_is_at_fault_for_ends_a_check(status: int, code: str) -> None:
    with a_store_that_answers(status, code) as (bucket, _):
        check = ObjectCheck(ObjectStorage(bucket, ManifestCache(None)), Stamp(0))
        with pytest.raises(StorageUnavailable):
            check.link("a")


def test_one_object_that_cannot_be_read_does_not_end_a_check() -> None:
    with a_store_that_answers(403, "AccessDenied") as (bucket, _):
        check = ObjectCheck(ObjectStorage(bucket, ManifestCache(None)), Stamp(0))
        assert all(isinstance(check.link("a"), BadLink) for _ in range(5))


def test_a_store_without_room_is_full() -> None:
    with a_store_that_answers(507, "InsufficientStorage") as (bucket, _):
        with pytest.raises(StorageError) as caught:
            bucket.get("a", 10)
        assert caught.value.is_full


def test_an_entry_that_cannot_be_read_may_be_the_latest(bucket: Bucket) -> None:
    journal = tree_journal(open_objects(bucket))
    folder = bucket.folder / "jettison" / "runs"
    folder.mkdir(parents=True)
    (folder / "20260101-000000-aaaaa.json").write_bytes(b"damaged")
    with pytest.raises(NotFoundError, match="nothing was removed yet"):
        journal.find_undoable("last")
    with RefusingStore(bucket.gateway) as store:
        store.refuse = lambda asked: None if asked.lists else (403, "AccessDenied")
        journal = tree_journal(open_objects(BehindRelay(bucket, store)))
        with pytest.raises(JournalUnread, match="have no right"):
            journal.find_undoable("last")


def test_only_an_absent_object_is_absent() -> None:
    with a_store_that_answers(404, "NoSuchKey") as (bucket, _):
        assert bucket.get("a", 10) is None
        assert bucket.beginning("a", 10) is None
        assert list(bucket.pieces("a", 10)) == []


def test_a_store_that_throttles_is_asked_again_and_then_left_alone() -> None:
    with a_store_that_answers(503, "SlowDown") as (bucket, asked):
        for _ in range(3):  # one alone may be the fault of that object
            before = len(asked)
            with pytest.raises(StoreFailing, match=r"asks for fewer requests \(SlowDown\)"):
                bucket.get("a", 10)
            assert len(asked) > before + 2
        before = len(asked)
        check = ObjectCheck(ObjectStorage(bucket, ManifestCache(None)), Stamp(0))
        with pytest.raises(StorageUnavailable, match=r"asks for fewer requests \(SlowDown\)"):
            check.link("b")
        assert len(asked) == before


def test_a_store_that_goes_away_in_the_middle(bucket: Bucket, tmp_path_factory: object) -> None:
    (bucket.folder / "a").write_bytes(b"content")
    other = Gateway(bucket.folder.parents[1] / f"other-{bucket.name}")
    with other:
        there = other.bucket("images")
        (there.folder / "a").write_bytes(b"content")
        opened = open_bucket(there)
        assert opened.get("a", 10) == b"content"
    with pytest.raises(StoreFailing, match="does not answer"):
        opened.get("a", 10)
    [(key, told)] = opened.get_each(["b"], 10)
    assert key == "b"
    assert isinstance(told, StoreFailing)


def test_an_object_that_is_too_large_is_not_read(bucket: Bucket) -> None:
    (bucket.folder / "a").write_bytes(b"content")
    opened = open_bucket(bucket)
    assert opened.get("a", 7) == b"content"
    with pytest.raises(StorageError, match="has more than 6 bytes"):
        opened.get("a", 6)
    assert opened.beginning("a", 3) == b"con"
    assert list(opened.pieces("a", 3)) == [b"con", b"ten", b"t"]
    assert (opened.exists("a"), opened.exists("b")) == (True, False)


def test_credentials_of_the_environment(bucket: Bucket) -> None:
    (bucket.folder / "a").write_bytes(b"content")
    known = open_bucket(bucket).settings
    assert isinstance(known, S3Bucket)
    settings = msgspec.structs.replace(known, access_key=None, secret_key=None)
    environment = {
        "AWS_ACCESS_KEY_ID": known.access_key or "",
        "AWS_SECRET_ACCESS_KEY": known.secret_key or "",
    }
    assert OpenBucket(settings, environment).get("a", 10) == b"content"
    nowhere = {"AWS_METADATA_ENDPOINT": "http://127.0.0.1:1/latest/meta-data"}
    with pytest.raises(StorageError, match="there are no credentials") as caught:
        OpenBucket(settings, nowhere).get("a", 10)
    assert "AWS_ACCESS_KEY_ID" in (caught.value.hint or "")


def test_variables_do_not_lead_elsewhere(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    (bucket.folder / "a").write_bytes(b"content")
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_REGION", "mars-1")
    monkeypatch.setenv("AWS_BUCKET", "others")
    assert open_bucket(bucket).get("a", 10) == b"content"


def test_without_obstore_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(ConfigurationError, match="a storage in a bucket needs obstore") as caught:
        OpenBucket(SETTINGS, {})
    assert "jettison[objects]" in (caught.value.hint or "")
