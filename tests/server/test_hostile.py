"""Clients that mean no good: nothing leaves the tree, nothing crashes, others are served."""

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jwt
import pytest

from jettison.demo import images
from jettison.model.digest import Digest
from jettison.model.mediatypes import ACCEPT, OCI_INDEX, OCI_MANIFEST
from tests.server.access.signing import ISSUER, SERVICE, signer
from tests.server.wire import (
    Watched,
    blob,
    received,
    request,
    statuses,
    unmoved,
    wait_until,
    watched,
)

CLOSE = "Connection: close"
D = "a" * 64


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("hostile")) as found:
        yield found


@pytest.fixture
def server(running: Watched) -> Iterator[Watched]:
    """After each test it has to be as it was before."""
    with unmoved(running):
        yield running


# Names.

NAMES = [
    *(
        "..",
        ".",
        "../..",
        "a/..",
        "a/../../../../../outside",
        "..%2f..%2foutside",
        "%2e%2e%2foutside",
    ),
    *(
        "a%2F..%2F..%2Foutside",
        "a%252F..%252Foutside",
        "a%00b",
        "%00",
        "a\\..\\b",
        "%5c..%5c",
        "a//b",
    ),
    *("/etc/passwd", "%2Fetc%2Fpasswd", "_layers", "a/_manifests/b", "a/_uploads", "a%0d%0aX: y"),
    *(
        "%ff%fe",
        "%c0%ae%c0%ae",
        "a" * 5000,
        "a/" * 2000 + "a",
        "A",
        "a:b",
        "a@b",
        "a;b",
        "~root",
        "%",
    ),
    *("\u00e9", "%zz", "a%", "-", "a-", "jettison/../a", "a/blobs/uploads/..", "a/manifests/.."),
]


@pytest.mark.parametrize("name", NAMES)
def test_names(server: Watched, name: str) -> None:
    digest = Digest.of(b"x")
    raw = b"".join(
        request(method, f"/v2/{name}/{rest}", *headers, body=body)
        for method, rest, headers, body in (
            ("GET", "tags/list", (), b""),
            ("PUT", "manifests/1", ("Content-Length: 2",), b"{}"),
            ("POST", f"blobs/uploads/?digest={digest}", ("Content-Length: 1",), b"x"),
            ("DELETE", f"manifests/{digest}", (), b""),
            ("GET", f"blobs/{digest}", (CLOSE,), b""),
        )
    )
    found = statuses(server.send(raw))
    assert found
    # 301: two slashes are one, as in Distribution.
    slashes = {301} if "//" in unquote(f"/{name}/") else set()
    assert set(found) <= slashes | {400, 404, 405, 201}
    if ".." in name or "%" in name:
        assert 201 not in found


REFERENCES = [
    *("..", "../1", "%2e%2e", "..%2F..%2Ftags", "sha256:..", f"sha256:../{D}", "sha256:%2e%2e%2f"),
    *(f"sha256:{D}%00", f"sha256:{D}%0a", f"SHA256:{D}", f"sha256:{D.upper()}", f"sha256:{D}a"),
    *(f"sha256:{D[:-1]}", "sha256:", ":", "sha512:" + D, "md5:" + D[:32], "sha256:" + "a" * 50_000),
    *(
        "1%00",
        "%00",
        "_uploads",
        "current",
        ".hidden",
        "-1",
        "a" * 129,
        "a" * 50_000,
        "%ff",
        "a%20b",
    ),
]


@pytest.mark.parametrize("reference", REFERENCES)
def test_references(server: Watched, reference: str) -> None:
    before = server.snapshot()
    for method in ("GET", "HEAD", "DELETE", "PUT"):
        for kind in ("manifests", "blobs", "referrers", "blobs/uploads"):
            raw = request(method, f"/v2/well/{kind}/{reference}", CLOSE, "Content-Length: 0")
            [status] = statuses(_without_body(server.send(raw), method))
            slashes = {301} if unquote(reference).endswith("/") else set()
            assert status in slashes | {200, 400, 404, 405}
            assert status != 200 or kind == "referrers"
    assert server.snapshot() == before


def _without_body(raw: bytes, method: str) -> bytes:
    """An answer to HEAD has a length, and no body."""
    return (
        re.sub(rb"(?i)content-length: \d+", b"content-length: 0", raw) if method == "HEAD" else raw
    )


@pytest.mark.parametrize("query", ["mount=..", "mount=sha256:../..", "digest=../x", "from=../.."])
def test_queries(server: Watched, query: str) -> None:
    mount = "" if "mount" in query or "digest" in query else f"mount=sha256:{D}&"
    answer = server.request("POST", f"/v2/well/blobs/uploads/?{mount}{query}")
    assert answer.status == 400


# The protocol.

PUT = ("PUT", "/v2/a/manifests/1")
CHUNKED = "Transfer-Encoding: chunked"
REFUSED = {
    "two lengths": request(*PUT, "Content-Length: 3", "Content-Length: 4", body=b"abcd"),
    "the same length twice": request(*PUT, "Content-Length: 3", "Content-Length: 3", body=b"abc"),
    "length and chunks": request(*PUT, "Content-Length: 3", CHUNKED, body=b"0\r\n\r\n"),
    "chunks and length": request(*PUT, CHUNKED, "Content-Length: 3", body=b"0\r\n\r\n"),
    "chunked twice": request(*PUT, "Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
    "another coding": request(*PUT, "Transfer-Encoding: gzip", body=b"abc"),
    "a coding in disguise": request(*PUT, "Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "negative": request(*PUT, "Content-Length: -1", body=b"abc"),
    "plus": request(*PUT, "Content-Length: +3", body=b"abc"),
    "hexadecimal": request(*PUT, "Content-Length: 0x3", body=b"abc"),
    "no number": request(*PUT, "Content-Length: abc", body=b"abc"),
    "a list of lengths": request(*PUT, "Content-Length: 3, 3", body=b"abc"),
    "more than 64 bits": request(*PUT, "Content-Length: 99999999999999999999", body=b"abc"),
    "a bad chunk": request(*PUT, CHUNKED, body=b"zz\r\nabc"),
    "a negative chunk": request(*PUT, CHUNKED, body=b"-1\r\nabc"),
    "a huge chunk": request(*PUT, CHUNKED, body=b"FFFFFFFFFFFFFFFFFF\r\nabc"),
    "a chunk that is longer than it says": request(*PUT, CHUNKED, body=b"1\r\nabc\r\n0\r\n\r\n"),
    "NUL in a header": request("GET", "/v2/", "X: a\0b"),
    "a folded header": request("GET", "/v2/", "X: a\r\n b"),
    "a space before the colon": request("GET", "/v2/", "X : a"),
    "no name": request("GET", "/v2/", ": a"),
    "no colon": request("GET", "/v2/", "abc"),
    "bare line feeds": b"GET /v2/ HTTP/1.1\nHost: x\n\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3.0": request("GET", "/v2/", version="3.0"),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "another method": request("BREW", "/v2/"),
    "bytes in the target": b"GET /v2/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "a target without a slash": request("GET", "v2/"),
    "no host": b"GET /v2/ HTTP/1.1\r\n\r\n",
    "two hosts": request("GET", "/v2/", "Host: registry.test"),
    "a host that is none": b"GET /v2/ HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a host with a path": b"GET /v2/ HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a host with a login": b"GET /v2/ HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "two hosts in one": b"GET /v2/ HTTP/1.1\r\nHost: a,b:1:2\r\n\r\n",
    "another coding before": request(*PUT, "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "two codings": request(*PUT, CHUNKED, CHUNKED, body=b"0\r\n\r\n"),
    "HTTP/1.0 with chunks": request(*PUT, CHUNKED, version="1.0", body=b"0\r\n\r\n"),
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_request_is_400_and_the_end(server: Watched, raw: bytes) -> None:
    began = time.monotonic()
    assert statuses(server.send(raw + request("GET", "/v2/"))) == [400]
    assert time.monotonic() - began < 3


ANSWERED = {
    "HTTP/1.0": (request("GET", "/v2/", version="1.0"), [200]),
    "HTTP/1.0 without a host": (b"GET /v2/ HTTP/1.0\r\n\r\n", [200]),
    "an empty host": (b"GET /v2/ HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", [200]),
    "IPv6": (b"GET /v2/ HTTP/1.1\r\nHost: [::1]:5000\r\nConnection: close\r\n\r\n", [200]),
    "behind a body in chunks": (
        request(*PUT, CHUNKED, body=b"0\r\n\r\n") + request("GET", "/v2/", CLOSE),
        [400, 200],
    ),
    "an absolute target": (request("GET", "http://elsewhere.test/v2/", CLOSE), [200]),
    "an absolute target with a login": (request("GET", "http://u:p@x.test/v2/", CLOSE), [200]),
    "an absolute target with dots": (
        request("GET", "http://x/v2/../x/manifests/1", CLOSE),
        [400],
    ),
    "OPTIONS *": (request("OPTIONS", "*", CLOSE), [404]),
    "a fragment": (request("GET", "/v2/#x", CLOSE), [200]),
    "a body on GET": (request("GET", "/v2/", "Content-Length: 3", CLOSE, body=b"abc"), [200]),
    "a body on GET, and more": (
        request("GET", "/v2/", "Content-Length: 3", body=b"abc") + request("GET", "/v2/", CLOSE),
        [200, 200],
    ),
    "a body on DELETE": (
        request("DELETE", "/v2/a/manifests/1", CHUNKED, CLOSE, body=b"3\r\nabc\r\n0\r\n\r\n"),
        [404],
    ),
    "pipelined": (request("GET", "/v2/") * 50 + request("GET", "/v2/", CLOSE), [200] * 51),
    "nothing after the end": (request("GET", "/v2/", CLOSE) + request("GET", "/v2/"), [200]),
    "an upgrade": (request("GET", "/v2/", "Connection: Upgrade", "Upgrade: websocket"), [200]),
    "empty lines first": (b"\r\n\r\n" + request("GET", "/v2/", CLOSE), [200]),
    "an empty query": (request("GET", "/v2/?&&=&%", CLOSE), [200]),
}


@pytest.mark.parametrize(("raw", "expected"), ANSWERED.values(), ids=ANSWERED.keys())
def test_what_is_unusual_is_answered(server: Watched, raw: bytes, expected: list[int]) -> None:
    assert statuses(server.send(raw)) == expected


def test_many_pipelined_requests_come_in_order(server: Watched) -> None:
    raw = b"".join(request("GET", f"/v2/well/manifests/t{n}") for n in range(2000))
    answer = server.send(raw + request("GET", "/v2/", CLOSE))
    assert re.findall(rb'"tag":"t(\d+)"', answer) == [b"%d" % n for n in range(2000)]


def test_requests_ahead_are_not_kept(server: Watched) -> None:
    """Each would take some hundred times the room of its bytes."""
    before = server.memory("VmHWM")
    raw = b"GET / HTTP/1.1\r\nHost:\r\n\r\n" * 40_000
    many = [server.connect() for _ in range(20)]
    for one in many:
        one.settimeout(0.05)
        with contextlib.suppress(OSError):
            one.sendall(raw)
    server.serves()
    assert server.memory("VmHWM") < before + 60
    for one in many:
        one.close()


def test_bodies_that_nobody_asked_for_are_not_kept(server: Watched) -> None:
    """The first ones need room to pass through, which is not given back; more need no more."""
    raw = request("GET", "/v2/", "Content-Length: 250000", body=bytes(250_000))
    with contextlib.ExitStack() as stack:
        taken = []
        for _ in range(2):
            many = [stack.enter_context(server.connect()) for _ in range(300)]
            for one in many:
                one.sendall(raw)
            for one in many:
                assert one.recv(12) == b"HTTP/1.1 200"
            taken.append(server.memory())
        assert taken[1] < taken[0] + 28


def test_requests_in_one_piece_behind_chunks_are_counted(server: Watched) -> None:
    raw = request(*PUT, CHUNKED, body=b"0\r\n\r\n") + request("GET", "/v2/") * 100
    found = statuses(server.send(raw))
    assert found[0] == 400
    assert len(found) < 50


def test_a_trailer_is_no_header(server: Watched) -> None:
    raw = request("POST", "/v2/t/blobs/uploads/", CHUNKED, CLOSE, body=b"0\r\nHost: b\r\n\r\n")
    assert statuses(server.send(raw)) == [202]


def test_answers_that_are_never_read_end(server: Watched) -> None:
    tags = server.tree / "repositories/unread/_manifests/tags"
    for number in range(20_000):
        (tags / f"{'t' * 110}{number}").mkdir(parents=True)
    wait_until(lambda: server.files() < 40)
    before = server.files()
    for headers in ((), (CLOSE,)):
        for query in ("", "?last=a"):
            many = [server.connect() for _ in range(10)]
            for one in many:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                one.sendall(request("GET", f"/v2/unread/tags/list{query}", *headers))
            wait_until(lambda: server.files() <= before)
            for one in many:
                one.close()


TOO_LARGE = {
    "one header": request("GET", "/v2/", "X: " + "a" * 5_000_000),
    "one header in one piece": request("GET", "/v2/", "X: " + "a" * 70_000),
    "200 headers": request("GET", "/v2/", *["X: a"] * 200),
    "many headers": request("GET", "/v2/", *["X: a"] * 500_000),
    "the target": request("GET", f"/v2/{'a' * 5_000_000}"),
    "the query": request("GET", f"/v2/?{'a' * 5_000_000}"),
    "the method": b"A" * 5_000_000,
    "empty lines": b"\r\n" * 2_000_000,
    "trailers": request(*PUT, CHUNKED, body=b"0\r\n" + b"X: a\r\n" * 500_000),
    "one trailer": request(*PUT, CHUNKED, body=b"0\r\nX: " + b"a" * 5_000_000),
    "a chunk's extension": request(*PUT, CHUNKED, body=b"1;" + b"a" * 5_000_000),
}


@pytest.mark.parametrize("raw", TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_headers_without_end_are_not_kept(server: Watched, raw: bytes) -> None:
    before = server.memory("VmHWM")
    assert set(statuses(server.send(raw))) <= {400, 431}  # or the connection is reset
    assert server.memory("VmHWM") < before + 25


# Time.

SLOW = {
    "nothing at all": b"",
    "half a line": b"GET /v2/",
    "half a head": b"GET /v2/ HTTP/1.1\r\nHost: x\r\n",
    "half a second head": request("GET", "/v2/") + b"GET /v2/ HT",
    "a pause": request("GET", "/v2/"),
    "no body": request("PUT", "/v2/a/manifests/1", "Content-Length: 9"),
    "half a body": request("PUT", "/v2/a/manifests/1", "Content-Length: 9", body=b"abc"),
    "half a chunk": request("PUT", "/v2/a/manifests/1", CHUNKED, body=b"9\r\nabc"),
    "half a blob": request("POST", f"/v2/a/blobs/uploads/?digest=sha256:{D}", "Content-Length: 9"),
    "a body nobody reads": request("GET", "/v2/", "Content-Length: 9", body=b"abc"),
    "an expectation": request(*PUT, "Content-Length: 9", "Expect: 100-continue"),
}


@pytest.mark.parametrize("raw", SLOW.values(), ids=SLOW.keys())
def test_who_says_no_more_is_not_waited_for(server: Watched, raw: bytes) -> None:
    began = time.monotonic()
    with server.connect() as connection:
        connection.sendall(raw)
        received(connection)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "raw",
    [b"GET /v2/ HTTP/1.1\r\nX: ", request("GET", "/v2/", "Content-Length: 100")],
    ids=["a head", "a body nobody reads"],
)
def test_who_says_little_by_little_is_not_waited_for_either(server: Watched, raw: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(raw)
        time.sleep(0.1)
        connection.sendall(b"a")
        began = time.monotonic()
        received(connection)
        assert time.monotonic() - began < 3


def test_an_unfinished_single_upload_leaves_nothing(server: Watched) -> None:
    raw = request(
        "POST", f"/v2/half/blobs/uploads/?digest=sha256:{D}", "Content-Length: 99", body=b"x"
    )
    assert statuses(server.send(raw)) == [408]
    with server.connect() as connection:
        connection.sendall(raw)
    uploads = server.tree / "repositories/half/_uploads"
    wait_until(lambda: not list(uploads.iterdir()))


def test_a_client_that_goes_in_the_middle_of_an_upload_can_come_back(server: Watched) -> None:
    answer = server.request("POST", "/v2/back/blobs/uploads/")
    where = answer.headers["Location"].partition(server.host)[2]
    with server.connect() as connection:
        connection.sendall(request("PATCH", where, "Content-Length: 10", body=b"0123"))
        time.sleep(0.2)
    wait_until(lambda: server.request("GET", where).headers["Range"] == "0-3")
    done = server.request("PATCH", where, {"Content-Range": "4-9"}, b"456789")
    assert (done.status, done.headers["Range"]) == (202, "0-9")
    digest = Digest.of(b"0123456789")
    assert server.request("PUT", f"{where}&digest={digest}").status == 201


def test_clients_that_go_in_the_middle_of_a_download_leave_nothing_open(server: Watched) -> None:
    raw = images.random_bytes("download", 8_000_000)
    digest = blob(server, "down", raw)
    wait_until(lambda: server.files() < 40)
    before = server.files()
    for _ in range(30):
        with server.connect() as connection:
            connection.sendall(request("GET", f"/v2/down/blobs/{digest}"))
            connection.recv(1000)
    wait_until(lambda: server.files() <= before)
    assert server.request("GET", f"/v2/down/blobs/{digest}").body == raw


def test_a_client_that_does_not_read_keeps_no_other_waiting(server: Watched) -> None:
    raw = images.random_bytes("slow", 8_000_000)
    digest = blob(server, "slow", raw)
    waiting = [server.connect() for _ in range(20)]
    for one in waiting:
        one.sendall(request("GET", f"/v2/slow/blobs/{digest}"))
    server.serves()
    for one in waiting:
        one.close()


# Contents.


def put(server: Watched, raw: bytes, kind: str = OCI_MANIFEST) -> Any:
    return server.request("PUT", "/v2/bad/manifests/1", {"Content-Type": kind}, raw)


DEEP = 100_000
MANIFESTS = {
    "very many numbers": b'{"a":[' + b"0," * 2_000_000 + b"0]}",
    "very many members": b"{" + b",".join(b'"%d":0' % n for n in range(250_000)) + b"}",
    "deep": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep lists": b'{"annotations":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "open": b"[" * 1_000_000,
    "twice": b'{"schemaVersion":2,"config":{},"layers":[],"layers":[]}',
    "case": b'{"schemaVersion":2,"config":{},"layers":[],"Layers":[]}',
    "NaN": b'{"schemaVersion":NaN}',
    "BOM": b"\xef\xbb\xbf{}",
    "not UTF-8": b'{"a":"\xff"}',
    "UTF-16": '{"schemaVersion":2}'.encode("utf-16"),
    "a surrogate": b'{"annotations":{"a":"\\ud800"}}',
    "numbers": b'{"a":' + b"9" * 1_000_000 + b"}",
    "exponents": b'{"config":{"size":1e999999}}',
    "NULs": b"\0" * 100_000,
    "null": b"null",
    "wrong types": b'{"schemaVersion":"2","config":[],"layers":{}}',
}


@pytest.mark.parametrize("raw", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_manifests_that_are_none(server: Watched, raw: bytes) -> None:
    for kind in (OCI_MANIFEST, OCI_INDEX, "application/json", "x/y"):
        answer = put(server, raw, kind)
        assert (answer.status, answer.json["errors"][0]["code"]) == (400, "MANIFEST_INVALID")
        assert len(answer.body) < 2000


def test_the_largest_manifest_and_one_byte_more(server: Watched) -> None:
    config = blob(server, "bad", b"{}")
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "a/b", "digest": config, "size": 2},
        "layers": [],
        "annotations": {"a": ""},
    }
    room = 4 * 1024 * 1024 - len(json.dumps(document))
    document["annotations"] = {"a": "x" * room}
    raw = json.dumps(document).encode()
    assert len(raw) == 4 * 1024 * 1024
    assert put(server, raw).status == 201
    answer = server.request("GET", "/v2/bad/manifests/1", {"Accept": ACCEPT})
    assert answer.body == raw
    for more in (b" ", b" " * 40_000_000):
        answer = put(server, raw + more)
        assert (answer.status, answer.json["errors"][0]["code"]) == (413, "SIZE_INVALID")
    assert server.delete("bad", Digest.of(raw)) == 202


def test_a_manifest_of_many_layers_is_bounded_by_its_size(server: Watched) -> None:
    layer = {"mediaType": "a/b", "digest": f"sha256:{D}", "size": 1}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": layer, "layers": [layer]}
    document["layers"] = [layer | {"digest": Digest.of(b"%d" % n)} for n in range(20_000)]
    answer = put(server, json.dumps(document).encode())
    assert answer.status == 400
    assert len(answer.json["errors"]) == 100  # what one answer names, and what is looked at


@pytest.mark.parametrize("unit", [b"{},", b"0.1,"])
def test_large_documents_at_once_are_read_one_by_one(running: Watched, unit: bytes) -> None:
    body = b'{"a":[' + unit * (4_000_000 // len(unit)) + b"0]}"
    raw = request(*PUT, CLOSE, f"Content-Length: {len(body)}", body=body)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.extend(statuses(running.send(raw, 30))))
        for _ in range(12)
    ]
    with unmoved(running, more=160):
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert len(found) == 12
    assert set(found) <= {400, 408}  # those that could not send in time, with limits so short


def test_an_index_in_the_tree_that_lists_itself(server: Watched) -> None:
    digest = Digest.of(b"itself")
    child = {"mediaType": OCI_INDEX, "digest": digest, "size": 6}
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [child], "subject": child}
    for path, raw in (
        (server.tree / f"blobs/sha256/{digest.hex[:2]}/{digest.hex}/data", json.dumps(document)),
        (server.tree / f"repositories/self/_manifests/revisions/sha256/{digest.hex}/link", digest),
        (server.tree / "repositories/self/_manifests/tags/1/current/link", digest),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(raw)
    assert server.manifest("self", "1").status == 500  # its bytes have another digest
    assert server.request("GET", f"/v2/self/referrers/{digest}").json["manifests"] == []
    assert server.delete("self", digest) == 202


def test_digests_that_are_wrong(server: Watched) -> None:
    for number in range(5):
        wrong = Digest.of(b"other%d" % number)
        answer = server.request("POST", f"/v2/wrong/blobs/uploads/?digest={wrong}", {}, b"x")
        assert answer.status == 400
        assert server.request("GET", f"/v2/wrong/blobs/{wrong}").status == 404
    assert not list((server.tree / "repositories/wrong").glob("_uploads/*"))
    assert not list((server.root / "jettison/drafts").iterdir())


@pytest.mark.parametrize("value", ["bytes=0-" + "9" * 5000, "bytes=" + "0-1," * 5000, "=" * 5000])
def test_ranges_that_lie(server: Watched, value: str) -> None:
    digest = blob(server, "range", b"0123456789")
    answer = server.request("GET", f"/v2/range/blobs/{digest}", {"Range": value})
    assert answer.status in {200, 206, 416}
    assert answer.status == 416 or answer.body == b"0123456789"
    where = server.request("POST", "/v2/range/blobs/uploads/").headers["Location"]
    where = where.partition(server.host)[2]
    assert server.request("PATCH", where, {"Content-Range": value}, b"x").status == 416
    assert server.request("DELETE", where).status == 204


def test_slow_pushers_of_manifests_keep_no_other_from_pushing(running: Watched) -> None:
    """There were slots for large manifests once, which slow clients held."""
    size = 4 * 1024 * 1024
    half = request(*PUT, f"Content-Length: {size}", body=b"{" + b" " * (size // 2))
    with unmoved(running, more=160):
        slow = [running.connect() for _ in range(40)]
        for one in slow:
            one.sendall(half)
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": "a/b", "digest": blob(running, "bad", b"{}"), "size": 2},
            "annotations": {"a": "x" * 200_000},
        }
        assert put(running, json.dumps(document).encode()).status == 201
        found = [statuses(received(one)) for one in slow]
        assert found == [[408]] * 40
        for one in slow:
            one.close()


# Numbers.


def test_idle_connections_keep_nobody_out(server: Watched) -> None:
    idle = [server.connect() for _ in range(1000)]
    try:
        server.serves()
        assert server.memory() < 150
    finally:
        for one in idle:
            one.close()
    wait_until(lambda: server.files() < 100)


def test_connections_over_the_limit_are_refused(tmp_path: Path) -> None:
    """They all have to be open at once, also where opening them takes long."""
    with watched(tmp_path, connections=200, header_timeout="15s") as server, unmoved(server):
        many = [server.connect() for _ in range(300)]
        try:
            assert statuses(received(many[-1])) == [503]
            # Those that say nothing have to go soon.
            wait_until(lambda: server.files() < 100, 60)
            server.serves()
        finally:
            for one in many:
                one.close()


class Few(Watched):
    """One that may open few files."""

    command = ("prlimit", "--nofile=200:400", *Watched.command)


def test_more_connections_than_files(tmp_path: Path) -> None:
    with Few(tmp_path / "registry", delete=True) as server:
        many = [server.connect() for _ in range(500)]
        try:
            assert statuses(received(many[-1])) == [503]
        finally:
            for one in many:
                one.close()
        wait_until(lambda: server.files() < 100)
        server.serves()
        assert "a process may open 400 files" in server.log.read_text()


# Tokens.


def test_tokens_over_http(tmp_path: Path) -> None:
    ours, other = signer("p256"), signer("p256", "other")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(ours.pem)
    auth = {"realm": "https://x.test/", "service": SERVICE, "issuer": ISSUER}
    extra = {"auth": {"token": auth | {"rootcertbundle": str(bundle)}}}

    def token(key: Any = ours.key, algorithm: str = "ES256", **changes: Any) -> str:
        now = int(time.time())
        access = [{"type": "repository", "name": "a", "actions": ["pull", "push"]}]
        claims = {"iss": ISSUER, "aud": SERVICE, "sub": "u", "exp": now + 60, "access": access}
        return jwt.encode(claims | changes, key, algorithm, {"kid": ours.kid})

    class Guarded(Watched):
        def _answers(self) -> bool:
            try:
                return self.request("GET", "/v2/").status in {200, 401}
            except OSError:
                return False

    with Guarded(tmp_path / "registry", delete=True, extra=extra) as server:

        def status(given: str) -> int:
            answer = server.request("GET", "/v2/a/tags/list", {"Authorization": given})
            if answer.status == 401:
                assert answer.json["errors"][0]["code"] == "UNAUTHORIZED"
                assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
            return answer.status

        assert status(f"Bearer {token()}") == 404
        bad = [
            *(
                "",
                "Bearer",
                "Bearer ",
                "Bearer x",
                "Bearer a.b.c",
                f"Basic {token()}",
                "x" * 60_000,
            ),
            f"Bearer {token(exp=int(time.time()) - 3600)}",
            f"Bearer {token(nbf=int(time.time()) + 3600)}",
            f"Bearer {token(aud='another')}",
            f"Bearer {token(iss='another')}",
            f"Bearer {token(key=other.key)}",
            f"Bearer {token(key=None, algorithm='none')}",
            f"Bearer {token(key='s' * 32, algorithm='HS256')}",
            f"Bearer {token(access=[])}",
            f"Bearer {token()[:-4]}AAAA",
            f"Bearer {token()}, Bearer {token()}",
        ]
        assert {status(one) for one in bad} == {401}
        before = server.outside()
        for rest in ("b/tags/list", "a/../b/tags/list", "_catalog", "UPPER/tags/list"):
            answer = server.request("GET", f"/v2/{rest}", {"Authorization": f"Bearer {token()}"})
            assert answer.status == 401
        assert server.outside() == before
        assert server.running


def test_nothing_is_told_to_those_who_may_not_come_in(tmp_path: Path) -> None:
    with Watched(tmp_path / "registry", htpasswd=("user", "pass word")) as server:
        server.push("secret", "1", images.image([images.layer({"f": b"x"})]))
        login, server.authorization = server.authorization, None
        bodies = set()
        for rest in ("secret/tags/list", "nothing/tags/list", "UPPER/tags/list", "_catalog"):
            answer = server.request("GET", f"/v2/{rest}")
            assert answer.status == 401
            bodies.add(answer.body)
        assert len(bodies) == 1
        server.authorization = login
        assert server.tags("secret") == ["1"]


def test_who_does_not_read_does_not_keep_the_server_from_stopping(tmp_path: Path) -> None:
    extra = {"http": {"draintimeout": "1s"}}
    with Watched(tmp_path / "registry", delete=True, extra=extra) as server:
        digest = blob(server, "a", images.random_bytes("drain", 8_000_000))
        kept = [server.connect() for _ in range(4)]
        kept[0].sendall(request("GET", f"/v2/a/blobs/{digest}"))
        kept[1].sendall(request("PUT", "/v2/a/manifests/1", "Content-Length: 9", body=b"abc"))
        kept[2].sendall(b"GET /v2/ HT")
        time.sleep(0.2)
        process = server._process
        assert process is not None
        began = time.monotonic()
        process.terminate()
        assert process.wait(10) == 0
        assert time.monotonic() - began < 5
        for one in kept:
            one.close()
        assert "Traceback" not in server.log.read_text(encoding="utf-8")
