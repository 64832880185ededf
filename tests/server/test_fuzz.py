"""Requests made up at random: whatever comes, the answer is one that the specification knows."""

import contextlib
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from io import BytesIO
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jettison.demo import images
from jettison.model.digest import Digest
from jettison.model.mediatypes import ACCEPT, MANIFESTS, OCI_MANIFEST
from tests.server.wire import Watched, unmoved, watched

SOAK_SECONDS = 300.0
RAW = b"0123456789"
BLOB = Digest.of(RAW)
IMAGE = images.image([images.layer({"f": b"x"})])
INDEX = images.index([IMAGE])
UPLOAD = "11111111-1111-4111-8111-111111111111"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(tmp_path_factory.mktemp("fuzz")) as found:
        yield found


@pytest.fixture
def server(running: Watched) -> Iterator[Watched]:
    running.push("a", "1", INDEX)
    running.push_blob("a", RAW)
    # The log of a long run, and the tree, are in memory of the kernel alone.
    with unmoved(running, more=80):
        yield running


class Made(NamedTuple):
    """A request."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    chunked: bool

    @property
    def raw(self) -> bytes:
        headers = [("Host", "x"), ("Connection", "close"), *self.headers]
        body = self.body
        if self.chunked:
            headers.append(("Transfer-Encoding", "chunked"))
            cut = len(body) // 2
            pieces = [piece for piece in (body[:cut], body[cut:]) if piece]
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
            body += b"0\r\n\r\n"
        else:
            headers.append(("Content-Length", str(len(body))))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers)
        line = f"{self.method} {self.target} HTTP/1.1\r\n"
        return f"{line}{head}\r\n".encode("latin-1") + body


METHODS = st.sampled_from(
    ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"]
)
VISIBLE = st.characters(min_codepoint=33, max_codepoint=126)
PARTS = st.sampled_from(
    [
        *("v2", "a", "b", "tags", "list", "manifests", "blobs", "uploads", "referrers", "_catalog"),
        *("1", "..", ".", "", "%2e%2e", "%2F", "%00", "_layers", "A", "a" * 300, UPLOAD, "%ff"),
        *(
            BLOB,
            IMAGE.digest,
            INDEX.digest,
            Digest.of(RAW, "sha512"),
            "sha256:x",
            "sha256:" + "0" * 64,
        ),
    ]
)
NAMES = st.sampled_from(["a", "b", "a/b", "new/repo", "..", "A", "a%2F..", "a" * 256])
DIGESTS = st.sampled_from(
    [BLOB, IMAGE.digest, INDEX.digest, Digest.of(RAW, "sha512"), "sha256:x", "", "md5:aa"]
)
REFERENCES = (
    DIGESTS | st.sampled_from(["1", "2", ".x", "%00", "x" * 129]) | st.text(VISIBLE, max_size=9)
)
ENDPOINTS = st.one_of(
    st.builds("/v2/{}/manifests/{}".format, NAMES, REFERENCES),
    st.builds("/v2/{}/blobs/{}".format, NAMES, REFERENCES),
    st.builds("/v2/{}/referrers/{}".format, NAMES, REFERENCES),
    st.builds("/v2/{}/tags/list".format, NAMES),
    st.builds("/v2/{}/blobs/uploads/".format, NAMES),
    st.builds("/v2/{}/blobs/uploads/{}".format, NAMES, st.sampled_from([UPLOAD, "x", ".."])),
    st.sampled_from(["/v2/", "/v2", "/v2/_catalog", "/"]),
)
PATHS = ENDPOINTS | st.lists(PARTS, max_size=7).map(lambda parts: "/" + "/".join(parts))
PARAMETERS = st.tuples(
    st.sampled_from(
        *(
            [
                [
                    "digest",
                    "mount",
                    "from",
                    "n",
                    "last",
                    "tag",
                    "artifactType",
                    "digest-algorithm",
                    "x",
                ]
            ]
        )
    ),
    DIGESTS
    | st.sampled_from(["0", "1", "-1", "99999", "a", "sha512", "%00", "%", "a&b"])
    | st.text(VISIBLE.filter(lambda one: one not in "# "), max_size=5),
).map("=".join)
QUERIES = st.lists(PARAMETERS, max_size=3).map("&".join)
TARGETS = st.builds(lambda path, query: f"{path}?{query}" if query else path, PATHS, QUERIES)
VALUES = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20
)
RANGES = st.from_regex(r"(bytes[= ])?-?[0-9]{0,20}-?[0-9]{0,20}(/[0-9*]{1,3})?", fullmatch=True)
HEADERS = st.lists(
    st.one_of(
        st.tuples(st.just("Range"), RANGES | VALUES),
        st.tuples(st.just("Content-Range"), RANGES | VALUES),
        st.tuples(st.sampled_from(["If-None-Match", "If-Range"]), st.just(f'"{BLOB}"') | VALUES),
        st.tuples(st.just("Accept"), st.sampled_from([ACCEPT, "*/*", OCI_MANIFEST]) | VALUES),
        st.tuples(st.just("Content-Type"), st.sampled_from(sorted(MANIFESTS)) | VALUES),
        st.tuples(st.sampled_from(["X-Forwarded-Host", "X-Forwarded-Proto"]), VALUES),
        st.tuples(st.sampled_from(["Authorization", "Cookie", "Origin", "X-Any"]), VALUES),
    ),
    max_size=4,
)
DESCRIPTOR = st.fixed_dictionaries(
    {"digest": DIGESTS, "size": st.integers(-1, 2**65) | st.none()},
    optional={
        "mediaType": st.sampled_from([*sorted(MANIFESTS), "a/b", ""]),
        "urls": st.just(["x"]),
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {"schemaVersion": st.sampled_from([1, 2, "2", None])},
    optional={
        "mediaType": st.sampled_from([*sorted(MANIFESTS), "a/b", "", None]),
        "config": DESCRIPTOR | st.none(),
        "layers": st.lists(DESCRIPTOR, max_size=2),
        "manifests": st.lists(DESCRIPTOR, max_size=2),
        "subject": DESCRIPTOR,
        "artifactType": st.text(max_size=5),
        "annotations": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    },
).map(lambda document: json.dumps(document).encode())
BODIES = st.one_of(
    st.sampled_from([b"", RAW, IMAGE.manifest.raw, INDEX.manifest.raw, b"{}", b"[" * 5000]),
    DOCUMENTS,
    st.binary(max_size=100),
)
CHANGES = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=4)), max_size=4
)
REQUESTS = st.builds(Made, METHODS, TARGETS, HEADERS, BODIES, st.booleans())


class _Socket:
    """What a parser of answers reads from."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, *_: object, **__: object) -> BytesIO:
        return BytesIO(self._raw)


def exchange(server: Watched, raw: bytes, patience: float = 5) -> bytes:
    """Send it, and return what comes until the server closes; a connection that hangs fails.

    After ``patience`` seconds the server is told that no more comes.
    """
    with server.connect(patience) as connection:
        found = bytearray()
        with contextlib.suppress(ConnectionError):
            connection.sendall(raw)
            try:
                found += connection.recv(65536)
            except TimeoutError:
                if patience == 5:
                    raise
            connection.settimeout(5)
            if patience < 5:
                connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                found += piece
    return bytes(found)


def check(made: Made, raw: bytes) -> None:
    answer = http.client.HTTPResponse(_Socket(raw), method=made.method)  # type: ignore[arg-type]
    answer.begin()
    body = answer.read()
    assert answer.isclosed()
    assert 200 <= answer.status < 500, (answer.status, body)
    length = answer.headers["Content-Length"]
    if made.method != "HEAD" and length is not None:
        assert int(length) == len(body)
    kind = answer.headers["Content-Type"]
    if answer.status < 400:
        return
    if answer.headers["Docker-Distribution-Api-Version"] is None:
        assert answer.status == 400  # it was no request
    elif made.method == "HEAD":
        assert body == b""
    elif kind == "application/json":
        errors = json.loads(body)["errors"]
        assert errors
        for error in errors:
            assert set(error) <= {"code", "message", "detail"}
            assert re.fullmatch(r"[A-Z0-9_]+", error["code"])
            assert error["message"]
            assert error["message"].isprintable() or "\n" in error["message"]
    else:
        assert (answer.status, body) == (404, b"404 page not found\n")


def settled(count: int, *, long: bool) -> settings:
    """Of a long run each part is another one, in CI too."""
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    chosen = settings(max_examples=count, suppress_health_check=quiet, database=None)
    return settings(chosen, derandomize=False) if long else chosen


def try_requests(server: Watched, count: int, *, long: bool = False) -> None:
    @settled(count, long=long)
    @given(REQUESTS)
    @example(Made("GET", "/v2/a/manifests/1", [("Accept", "\xff")], b"", chunked=False))
    @example(Made("PUT", "/v2/a/manifests/1", [], INDEX.manifest.raw, chunked=True))
    def one(made: Made) -> None:
        check(made, exchange(server, made.raw))

    one()


def try_bytes(server: Watched, count: int, *, long: bool = False) -> None:
    """Requests with bytes changed, cut, and put in."""

    @settled(count, long=long)
    @given(REQUESTS, CHANGES)
    def one(made: Made, changes: list[tuple[int, int, bytes]]) -> None:
        raw = bytearray(made.raw)
        for place, cut, put in changes:
            raw[place : place + cut] = put
        found = exchange(server, bytes(raw), 0.05)
        assert not re.match(rb"HTTP/1.1 5", found), found[:300]
        assert not found or found.startswith(b"HTTP/1.1 ")

    one()


def test_made_up_requests(server: Watched) -> None:
    try_requests(server, 400)


def test_broken_requests(server: Watched) -> None:
    try_bytes(server, 200)


@pytest.mark.soak
def test_made_up_requests_for_minutes(server: Watched) -> None:
    end = time.monotonic() + SOAK_SECONDS
    while time.monotonic() < end:
        try_requests(server, 1000, long=True)
        try_bytes(server, 500, long=True)
