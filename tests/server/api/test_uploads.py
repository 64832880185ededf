"""Uploads over a real server: in one, in chunks, in a stream, and from elsewhere."""

import http.client
import threading
from pathlib import Path

import pytest

from jettison.model.digest import Digest
from tests.server.asking import (
    BLOB,
    LARGE,
    MISSING,
    RAW,
    begin,
    chunk,
    code,
    finish,
    path,
    starting,
)
from tests.support.registry import JettisonRegistry


def test_one_in_a_single_request(server: JettisonRegistry, repo: str) -> None:
    answer = server.request("POST", f"/v2/{repo}/blobs/uploads/?digest={BLOB}", {}, RAW)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, BLOB)
    assert answer.headers["Location"] == f"http://{server.host}/v2/{repo}/blobs/{BLOB}"
    assert server.request("GET", f"/v2/{repo}/blobs/{BLOB}").body == RAW


def test_one_in_a_single_request_with_another_digest(
    tree_server: JettisonRegistry, repo: str
) -> None:
    answer = tree_server.request("POST", f"/v2/{repo}/blobs/uploads/?digest={MISSING}", {}, RAW)
    assert (answer.status, code(answer)) == (400, "DIGEST_INVALID")
    for left in (
        tree_server.tree / "repositories" / repo / "_uploads",
        tree_server.root / "jettison/drafts",
    ):
        assert not list(left.glob("*"))


def test_chunks(server: JettisonRegistry, repo: str) -> None:
    where = begin(server, repo)
    answer = chunk(server, where, RAW[:4], "0-3")
    assert (answer.status, answer.headers["Range"]) == (202, "0-3")
    answer = chunk(server, path(answer.headers["Location"]), RAW[4:9], "4-8")
    assert (answer.status, answer.headers["Range"]) == (202, "0-8")
    where = path(answer.headers["Location"])
    answer = server.request("GET", where)
    assert (answer.status, answer.headers["Range"]) == (204, "0-8")
    assert answer.headers["Docker-Upload-UUID"]
    assert server.request("HEAD", where).status == 204
    answer = finish(server, where, BLOB, RAW[9:])
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, BLOB)
    assert server.request("GET", path(answer.headers["Location"])).body == RAW
    answer = server.request("GET", where)
    assert (answer.status, code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_a_stream_without_a_length(server: JettisonRegistry, repo: str) -> None:
    where = begin(server, repo)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    pieces = iter([RAW[:3], RAW[3:], LARGE])
    connection.request(
        "PATCH", where, pieces, {"Transfer-Encoding": "chunked"}, encode_chunked=True
    )
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Range"]) == (202, f"0-{len(RAW + LARGE) - 1}")
    connection.close()
    assert finish(server, where, Digest.of(RAW + LARGE)).status == 201


@pytest.mark.parametrize("span", ["5-9", "0-3", "3-7", "x", "9-5", "4", "-", f"4-{'9' * 20}"])
def test_a_chunk_out_of_order(server: JettisonRegistry, repo: str, span: str) -> None:
    where = begin(server, repo)
    assert chunk(server, where, RAW[:4], "0-3").status == 202
    for answer in (
        chunk(server, where, RAW[:5], span),
        server.request("PUT", f"{where}&digest={BLOB}", {"Content-Range": span}, RAW[:5]),
    ):
        assert (answer.status, code(answer)) == (416, "RANGE_INVALID")
        assert answer.headers["Range"] == "0-3"
        assert path(answer.headers["Location"]) == where
    assert chunk(server, where, RAW[4:], "4-9").status == 202
    assert finish(server, where, BLOB).status == 201


def test_lengths_that_contradict_each_other(server: JettisonRegistry, repo: str) -> None:
    where = begin(server, repo)
    answer = chunk(server, where, RAW[:4], "0-4")
    assert (answer.status, code(answer)) == (400, "SIZE_INVALID")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {"Transfer-Encoding": "chunked", "Content-Range": "0-4"}
    connection.request("PATCH", where, iter([RAW[:4]]), headers, encode_chunked=True)
    assert connection.getresponse().status == 400
    connection.close()
    assert server.request("GET", where).headers["Range"] == "0-0"
    assert chunk(server, where, RAW, "bytes 0-9/10").status == 202
    assert finish(server, where, BLOB).status == 201


def test_a_cancelled_one_is_gone(tree_server: JettisonRegistry, repo: str) -> None:
    where = begin(tree_server, repo)
    chunk(tree_server, where, RAW)
    answer = tree_server.request("DELETE", where)
    assert (answer.status, answer.body) == (204, b"")
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        answer = tree_server.request(method, f"{where}&digest={BLOB}")
        assert (answer.status, code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert not list((tree_server.tree / "repositories" / repo / "_uploads").iterdir())


@pytest.mark.parametrize("query", ["", "&digest=", "&digest=x", f"&digest={BLOB}&digest={BLOB}"])
def test_it_is_finished_with_one_digest(server: JettisonRegistry, repo: str, query: str) -> None:
    where = begin(server, repo)
    answer = server.request("PUT", f"{where}{query}", {}, RAW)
    assert (answer.status, code(answer)) == (400, "DIGEST_INVALID")
    assert finish(server, where, BLOB, RAW).status == 201


def test_a_wrong_digest_ends_it(server: JettisonRegistry, repo: str) -> None:
    where = begin(server, repo)
    answer = finish(server, where, MISSING, RAW)
    assert (answer.status, code(answer)) == (400, "DIGEST_INVALID")
    assert answer.json["errors"][0]["detail"] == {"expected": MISSING, "found": BLOB}
    assert server.request("GET", where).status == 404
    assert server.request("HEAD", f"/v2/{repo}/blobs/{MISSING}").status == 404
    assert server.request("HEAD", f"/v2/{repo}/blobs/{BLOB}").status == 404


def test_the_upload_of_another_repository(server: JettisonRegistry, repo: str) -> None:
    where = begin(server, repo)
    other = where.replace(repo, f"{repo}/other")
    answer = chunk(server, other, RAW)
    assert (answer.status, code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert server.request("GET", where).status == 204


@pytest.mark.parametrize("query", ["?digest-algorithm=sha512", ""])
def test_sha512(server: JettisonRegistry, repo: str, query: str) -> None:
    digest = Digest.of(RAW, "sha512")
    where = begin(server, repo, query)
    assert chunk(server, where, RAW).status == 202
    answer = finish(server, where, digest)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
    answer = server.request("GET", f"/v2/{repo}/blobs/{digest}")
    assert (answer.body, answer.headers["Docker-Content-Digest"]) == (RAW, digest)


def test_an_unknown_algorithm(server: JettisonRegistry, repo: str) -> None:
    answer = server.request("POST", f"/v2/{repo}/blobs/uploads/?digest-algorithm=md5")
    assert (answer.status, code(answer)) == (400, "UNSUPPORTED")


def test_two_at_once_come_one_after_the_other(tree_server: JettisonRegistry, repo: str) -> None:
    where = begin(tree_server, repo)
    statuses: list[tuple[int, str]] = []

    def send(letter: bytes) -> None:
        answer = chunk(tree_server, where, letter * 300_000)
        statuses.append((answer.status, answer.headers["Range"]))

    threads = [threading.Thread(target=send, args=(letter,)) for letter in (b"a", b"b")]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(statuses) == [(202, "0-299999"), (202, "0-599999")]
    either = [Digest.of(x * 300_000 + y * 300_000) for x, y in ((b"a", b"b"), (b"b", b"a"))]
    name = where.rpartition("/")[2].partition("?")[0]
    raw = (tree_server.tree / "repositories" / repo / "_uploads" / name / "data").read_bytes()
    assert Digest.of(raw) in either
    assert finish(tree_server, where, Digest.of(raw)).status == 201


def test_two_that_say_where_they_go(server: JettisonRegistry, repo: str) -> None:
    where = begin(server, repo)
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(chunk(server, where, RAW, "0-9").status))
        for _ in range(2)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(statuses) == [202, 416]
    assert finish(server, where, BLOB).status == 201


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    with starting(tmp_path) as server:
        where = begin(server, "a")
        assert chunk(server, where, RAW[:4], "0-3").status == 202
        server.restart()
        answer = server.request("GET", where)
        assert (answer.status, answer.headers["Range"]) == (204, "0-3")
        assert chunk(server, where, RAW[4:], "4-9").status == 202
        server.restart()
        assert finish(server, where, BLOB).status == 201
        assert server.request("GET", f"/v2/a/blobs/{BLOB}").body == RAW


def test_mounting(server: JettisonRegistry, repo: str) -> None:
    server.push_blob(f"{repo}/source", b"of the source" + repo.encode())
    digest = Digest.of(b"of the source" + repo.encode())
    for number, query in enumerate((f"&from={repo}/source", "")):
        to = f"{repo}/to{number}"
        answer = server.request("POST", f"/v2/{to}/blobs/uploads/?mount={digest}{query}")
        assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
        assert answer.headers["Location"] == f"http://{server.host}/v2/{to}/blobs/{digest}"
        assert server.request("HEAD", f"/v2/{to}/blobs/{digest}").status == 200


def test_what_cannot_be_mounted_is_uploaded(server: JettisonRegistry, repo: str) -> None:
    server.push_blob(f"{repo}/source", RAW)
    for query in (
        f"mount={BLOB}&from={repo}/elsewhere",
        f"mount={MISSING}",
        f"mount={MISSING}&from={repo}/source",
    ):
        answer = server.request("POST", f"/v2/{repo}/to/blobs/uploads/?{query}")
        assert answer.status == 202
        assert finish(server, path(answer.headers["Location"]), BLOB, RAW).status == 201
        assert server.request("DELETE", f"/v2/{repo}/to/blobs/{BLOB}").status == 202
    answer = server.request("POST", f"/v2/{repo}/to/blobs/uploads/?mount=x&from={repo}/source")
    assert (answer.status, code(answer)) == (400, "DIGEST_INVALID")
    answer = server.request("POST", f"/v2/{repo}/to/blobs/uploads/?mount={BLOB}&from=Bad..Name")
    assert (answer.status, code(answer)) == (400, "NAME_INVALID")
