"""Blobs over a real server: every status and header, whole and in parts."""

import pytest

from jettison.model.mediatypes import ACCEPT
from tests.server.asking import BLOB, LARGE, MISSING, RAW, code, image
from tests.support.registry import JettisonRegistry


def test_a_blob(server: JettisonRegistry, repo: str) -> None:
    server.push_blob(repo, RAW)
    for method in ("GET", "HEAD"):
        answer = server.request(method, f"/v2/{repo}/blobs/{BLOB}")
        assert answer.status == 200
        assert answer.headers["Docker-Content-Digest"] == BLOB
        assert answer.headers["Content-Length"] == "10"
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["ETag"] == f'"{BLOB}"'
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.headers["Cache-Control"] == "max-age=31536000"
        assert answer.body == (RAW if method == "GET" else b"")


def test_a_blob_is_not_that_of_another_repository(server: JettisonRegistry, repo: str) -> None:
    server.push_blob(f"{repo}/other", RAW)
    for method in ("GET", "HEAD", "DELETE"):
        answer = server.request(method, f"/v2/{repo}/blobs/{BLOB}")
        assert answer.status == 404
        if method != "HEAD":
            assert code(answer) == "BLOB_UNKNOWN"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_malformed_digest_of_a_blob(server: JettisonRegistry, method: str) -> None:
    answer = server.request(method, "/v2/a/blobs/sha256:x")
    assert (answer.status, code(answer)) == (400, "DIGEST_INVALID")


def test_deleting_a_blob(server: JettisonRegistry, repo: str) -> None:
    server.push_blob(repo, RAW)
    answer = server.request("DELETE", f"/v2/{repo}/blobs/{BLOB}")
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (202, BLOB)
    answer = server.request("DELETE", f"/v2/{repo}/blobs/{BLOB}")
    assert (answer.status, code(answer)) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize("raw", [RAW, LARGE], ids=["small", "large"])
def test_parts_of_a_blob(server: JettisonRegistry, repo: str, raw: bytes) -> None:
    digest = server.push_blob(repo, raw)
    where, size = f"/v2/{repo}/blobs/{digest}", len(raw)
    for span, first, last in (
        ("0-0", 0, 0),
        ("3-", 3, size - 1),
        ("-4", size - 4, size - 1),
        ("2-99999999", 2, size - 1),
        ("5-7", 5, 7),
    ):
        answer = server.request("GET", where, {"Range": f"bytes={span}"})
        assert (answer.status, answer.body) == (206, raw[first : last + 1])
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
        assert answer.headers["Docker-Content-Digest"] == digest
    for span in (f"{size}-", "7-5", "x"):
        answer = server.request("GET", where, {"Range": f"bytes={span}"})
        assert (answer.status, code(answer)) == (416, "RANGE_INVALID")
        assert answer.headers["Content-Range"] == f"bytes */{size}"
    for headers in ({"Range": "bytes=0-1,3-4"}, {"Range": "bytes=0-1", "If-Range": '"x"'}):
        answer = server.request("GET", where, headers)
        assert (answer.status, answer.body) == (200, raw)
    answer = server.request("GET", where, {"Range": "bytes=1-1", "If-Range": f'"{digest}"'})
    assert (answer.status, answer.body) == (206, raw[1:2])


@pytest.mark.parametrize("raw", [RAW, LARGE], ids=["small", "large"])
def test_head_knows_no_parts(server: JettisonRegistry, repo: str, raw: bytes) -> None:
    digest = server.push_blob(repo, raw)
    for span in ("bytes=0-0", "bytes=9999999-"):
        answer = server.request("HEAD", f"/v2/{repo}/blobs/{digest}", {"Range": span})
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(raw)))


@pytest.mark.parametrize("raw", [RAW, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_has_not_changed(server: JettisonRegistry, repo: str, raw: bytes, method: str) -> None:
    digest = server.push_blob(repo, raw)
    where = f"/v2/{repo}/blobs/{digest}"
    for value in (f'"{digest}"', f'W/"{digest}"', f'"x", "{digest}"', "*"):
        answer = server.request(method, where, {"If-None-Match": value, "Range": "bytes=0-1"})
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["ETag"] == f'"{digest}"'
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.headers["Content-Length"] is None
    answer = server.request(method, where, {"If-None-Match": f'"{MISSING}"'})
    assert answer.status == 200


def test_conditions_on_manifests(server: JettisonRegistry, repo: str) -> None:
    one = image()
    digest = server.push(repo, "1", one)
    for ref in ("1", digest):
        where = f"/v2/{repo}/manifests/{ref}"
        answer = server.request("GET", where, {"Accept": ACCEPT, "If-None-Match": f'"{digest}"'})
        assert (answer.status, answer.body) == (304, b"")
        answer = server.request("GET", where, {"Accept": ACCEPT, "Range": "bytes=1-3"})
        assert (answer.status, answer.body) == (206, one.manifest.raw[1:4])
