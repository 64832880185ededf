"""Retries, redirects, limits and errors of the HTTP layer."""

import asyncio
import email.utils
import gzip
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from yarl import URL

from jettison.client import ClientOptions, Credentials, RemoteRegistry, bounds, is_loopback
from jettison.client.auth import NO_ACCESS
from jettison.client.failures import tidy
from jettison.client.transport import MANIFEST_LIMIT, origin_of, same_origin
from jettison.errors import (
    ConfigurationError,
    NotARegistry,
    RegistryError,
    RegistryFailing,
    UnexpectedResponse,
    Unreachable,
    VerificationFailed,
)
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from tests.client.conftest import Clock, Connect
from tests.client.scripted import Answer, Drop, Handler, Scripted
from tests.support.missing import need
from tests.support.registry import RegistryFactory, free_port

REPO = RepoName("team/app")
BLOB = b"layer" * 1000
DIGEST = Digest.of(BLOB)
MANIFEST = "/v2/team/app/manifests/" + DIGEST


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST:5000", True),
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("registry.localhost", True),
        ("a.b.LocalHost.:5000", True),
        ("notlocalhost", False),
        ("128.0.0.1", False),
        ("[::2]:5000", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com:5000", False),
        ("registry.example.com", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("host", "options", "scheme"),
    [
        ("localhost:5000", ClientOptions(), "http"),
        ("localhost:5000", ClientOptions(plain_http=False), "https"),
        ("localhost:5000", ClientOptions(ca_file=Path("ca.pem")), "https"),
        ("localhost:5000", ClientOptions(insecure=True), "https"),
        ("localhost:5000", ClientOptions(insecure=True, plain_http=True), "http"),
        ("example.com", ClientOptions(), "https"),
        ("example.com", ClientOptions(insecure=True), "https"),
        ("example.com", ClientOptions(plain_http=True), "http"),
    ],
)
def test_plain_http_and_insecure_are_two_things(
    host: str, options: ClientOptions, scheme: str
) -> None:
    assert origin_of(host, options).scheme == scheme


def test_docker_hub_is_spoken_to_at_another_name() -> None:
    for host in ("docker.io", "index.docker.io", "registry-1.docker.io"):
        assert str(origin_of(host, ClientOptions())) == "https://registry-1.docker.io/"


def test_a_servers_text_is_tidied() -> None:
    text = 'bad\n\x1b[31m "https://me:secret@s3/b/x?X-Amz-Signature=abc&y" and more'
    assert tidy(text) == 'bad [31m "https://s3/b/x" and more'
    assert len(tidy("x" * 1000)) == 200


async def test_requests_say_who_we_are(server: Scripted, connect: Connect) -> None:
    await connect(server.host).ping()
    assert (server.sent("User-Agent")[0] or "").startswith("jettison/")
    assert server.sent("Accept-Encoding") == ["identity"]


# -- retries -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_passing_errors_are_retried_with_growing_pauses(
    server: Scripted, connect: Connect, clock: Clock, status: int
) -> None:
    server.on("GET", "/v2/", *[Answer(status)] * 4, Answer(body="{}"))
    assert await connect(server.host).ping() == "none"
    assert clock.slept == [0.5, 1.0, 2.0, 4.0]


async def test_patience_ends(server: Scripted, connect: Connect, clock: Clock) -> None:
    server.on("GET", "/v2/", Answer(503))
    with pytest.raises(Unreachable, match="keeps answering 503"):
        await connect(server.host, ClientOptions(retries=2)).ping()
    assert len(server.seen) == 3
    assert len(clock.slept) == 2


async def test_too_many_requests_says_so(server: Scripted, connect: Connect) -> None:
    server.on("GET", "/v2/", Answer(429))
    with pytest.raises(Unreachable, match="429") as caught:
        await connect(server.host, ClientOptions(retries=0)).ping()
    assert "--jobs" in (caught.value.hint or "")


@pytest.mark.parametrize("status", [501, 505])
async def test_lasting_errors_are_not_retried(
    server: Scripted, connect: Connect, status: int
) -> None:
    server.on("GET", "/v2/", Answer(status))
    with pytest.raises(RegistryError, match=str(status)):
        await connect(server.host).ping()
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7.0),
        ("86400", 60.0),
        (email.utils.formatdate(1_700_000_012, usegmt=True), 12.0),
        (email.utils.formatdate(1_600_000_000, usegmt=True), 0.5),
        (email.utils.formatdate(1_800_000_000, usegmt=True), 60.0),
        ("soon", 0.5),
        ("-5", 0.5),
        ("", 0.5),
    ],
)
async def test_retry_after(
    server: Scripted, connect: Connect, clock: Clock, value: str, expected: float
) -> None:
    server.on("GET", "/v2/", Answer(429, headers={"Retry-After": value}), Answer(body="{}"))
    await connect(server.host).ping()
    assert clock.slept == [expected]


async def test_a_dropped_connection_is_retried(
    server: Scripted, connect: Connect, clock: Clock
) -> None:
    server.on("GET", "/v2/", Drop(), Drop(), Answer(body="{}"))
    assert await connect(server.host).ping() == "none"
    assert len(clock.slept) == 2


async def test_connections_that_keep_breaking(server: Scripted, connect: Connect) -> None:
    server.on("GET", "/v2/", Drop())
    with pytest.raises(Unreachable, match="broke off"):
        await connect(server.host).ping()
    assert len(server.seen) == 5


@pytest.mark.parametrize("first", [Drop(), Answer(500), Answer(502)])
async def test_a_delete_whose_answer_was_lost_counts_as_done(
    server: Scripted, connect: Connect, first: Answer | Drop
) -> None:
    server.on("DELETE", MANIFEST, first, Answer(404, '{"errors": [{"code": "X"}]}'))
    assert await connect(server.host).delete_manifest(REPO, DIGEST) is True


async def test_a_delete_that_was_put_off_does_not(server: Scripted, connect: Connect) -> None:
    server.on("DELETE", MANIFEST, Answer(429), Answer(404, '{"errors": [{"code": "X"}]}'))
    assert await connect(server.host).delete_manifest(REPO, DIGEST) is False


async def test_a_request_on_a_connection_gone_stale_is_not_repeated_unseen(
    server: Scripted, connect: Connect
) -> None:
    """aiohttp would send it again by itself, and the 404 would look like "was not there"."""
    server.on("DELETE", MANIFEST, Drop(), Answer(404, '{"errors": [{"code": "X"}]}'))
    registry = connect(server.host)
    await registry.ping()
    assert await registry.delete_manifest(REPO, DIGEST) is True


# -- how much ----------------------------------------------------------------------------------


async def test_no_more_requests_at_once_than_jobs(server: Scripted, connect: Connect) -> None:
    running = most = 0

    async def slow(_request: web.BaseRequest) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return Answer(404).response()

    tags = [Tag(f"t{number}") for number in range(20)]
    for tag in tags:
        server.on("HEAD", f"/v2/team/app/manifests/{tag}", slow)
    registry = connect(server.host, ClientOptions(jobs=3))
    await asyncio.gather(*(registry.resolve(REPO, tag) for tag in tags))
    assert most == 3


async def test_a_copy_within_one_registry_does_not_wait_for_itself(
    server: Scripted, connect: Connect
) -> None:
    server.on("GET", f"/v2/team/app/blobs/{DIGEST}", Answer(body=BLOB))
    server.on("POST", "/v2/b/blobs/uploads/", Answer(202, headers={"Location": "/up"}))
    server.on("PATCH", "/up", Answer(202, headers={"Location": "/up"}))
    server.on("PUT", "/up", Answer(201))
    registry = connect(server.host, ClientOptions(jobs=1))
    async with asyncio.timeout(10):
        await registry.put_blob(RepoName("b"), DIGEST, registry.read_blob(REPO, DIGEST))
    assert [seen.body for seen in server.seen if seen.method == "PATCH"] == [BLOB]


async def test_an_unfinished_read_gives_its_place_back(server: Scripted, connect: Connect) -> None:
    server.on("GET", f"/v2/team/app/blobs/{DIGEST}", Answer(body=BLOB))
    registry = connect(server.host, ClientOptions(jobs=1))
    async with asyncio.timeout(10):
        for _ in range(3):
            assert await registry.has_blob(REPO, DIGEST)


async def test_a_manifest_without_end_is_refused(server: Scripted, connect: Connect) -> None:
    server.on("GET", MANIFEST, Answer(body=b"x" * (MANIFEST_LIMIT + 1)))
    with pytest.raises(UnexpectedResponse, match="more than 4096 KiB"):
        await connect(server.host).manifest(REPO, DIGEST)


async def test_a_packed_answer_has_the_same_limit(server: Scripted, connect: Connect) -> None:
    """Nobody asked for it packed; a proxy may do so all the same."""
    headers = {"Content-Encoding": "gzip"}
    server.on("GET", MANIFEST, Answer(200, gzip.compress(b" " * (64 << 20)), headers))
    with pytest.raises(UnexpectedResponse, match="more than 4096 KiB"):
        await connect(server.host).manifest(REPO, DIGEST)
    server.on("GET", MANIFEST, Answer(200, gzip.compress(BLOB), headers))
    found = await connect(server.host).manifest(REPO, DIGEST)
    assert found is not None
    assert found.raw == BLOB


async def test_a_list_may_be_longer(server: Scripted, connect: Connect) -> None:
    names = ", ".join(f'"tag-number-{number:06}"' for number in range(250_000))
    assert len(names) > MANIFEST_LIMIT
    server.on("GET", "/v2/team/app/tags/list", Answer(body=f'{{"tags": [{names}]}}'))
    assert len([tag async for tag in connect(server.host).tags(REPO)]) == 250_000


async def test_a_long_error_page_is_cut(server: Scripted, connect: Connect) -> None:
    page = Answer(404, b"<p>" * 1_000_000, {"Content-Type": "text/html"}, marked=False)
    server.on("GET", "/v2/", page)
    with pytest.raises(NotARegistry, match="404 and a web page"):
        await connect(server.host).ping()


def dripping(seconds: float) -> Handler:
    """Answer a byte at a time, for ever."""

    async def drip(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b" ")
                await asyncio.sleep(seconds)
        return response

    return drip


async def test_an_answer_that_drips_is_not_waited_for(server: Scripted, connect: Connect) -> None:
    """Each byte comes in time, and the whole never."""
    server.on("GET", MANIFEST, dripping(0.02))
    server.on("GET", f"/v2/team/app/blobs/{DIGEST}", dripping(0.02))
    registry = connect(server.host, ClientOptions(timeout=0.3, retries=0))
    await registry.ping()
    async with asyncio.timeout(20):
        with pytest.raises(RegistryFailing, match="no answer in time"):
            await registry.manifest(REPO, DIGEST)
        with pytest.raises(Unreachable, match="no answer in time"):
            _ = [chunk async for chunk in registry.read_blob(REPO, DIGEST)]


@asynccontextmanager
async def repeating(first: bytes, piece: bytes) -> AsyncIterator[str]:
    """Run a server that begins each answer so, and goes on for ever; yield its address."""

    tasks = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.CancelledError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(first)
            while True:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.transport.abort()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        yield "{}:{}".format(*server.sockets[0].getsockname())
        for task in tasks:
            if task is not None:
                task.cancel()


@pytest.mark.parametrize(
    ("first", "piece"),
    [(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), (b"", b"")],
)
async def test_a_head_that_drips_is_not_waited_for(
    connect: Connect, first: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is who does not take what is sent, or takes it and has no answer."""
    monkeypatch.setattr(bounds, "STREAM_SLOWEST", 1 << 30)

    async def pieces(number: int) -> AsyncIterator[bytes]:
        for _ in range(number):
            yield bytes(1 << 20)

    async with asyncio.timeout(20), repeating(first, piece) as host:
        registry = connect(host, ClientOptions(timeout=0.1, retries=0))
        for asked in (
            registry.manifest(REPO, DIGEST),
            registry.transport.upload("PATCH", "/up", NO_ACCESS, pieces(0)),
            registry.transport.upload("PATCH", "/up", NO_ACCESS, pieces(100)),
        ):
            with pytest.raises(RegistryError, match="no answer in time"):
                await asked


async def test_who_still_takes_a_piece_when_the_time_is_over() -> None:
    """The pieces are sent by a task of its own, which may come between the end and its word."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async def send(body: AsyncIterator[bytes]) -> int:
        count = 0
        async for _ in body:
            count += 1
            time.sleep(0.05)  # noqa: ASYNC251 - so the end is due in the next turn, or after it
            for _ in range(count):
                await asyncio.sleep(0)
        return count

    sending: list[asyncio.Task[int]] = []

    async def upload() -> None:
        async with bounds.paced(pieces(), 0.01) as body:
            sending.append(asyncio.create_task(send(body)))
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await upload()
    assert await sending[0] == 2


async def test_a_blob_without_end_is_not_read_on(server: Scripted, connect: Connect) -> None:
    server.on("GET", f"/v2/team/app/blobs/{DIGEST}", dripping(0))
    registry = connect(server.host)
    chunks = registry.read_blob(REPO, DIGEST, size=1000)
    async with asyncio.timeout(20):
        with pytest.raises(VerificationFailed, match="more than the 1,000 bytes"):
            _ = [chunk async for chunk in chunks]


async def test_one_request_that_fails_is_not_a_registry_that_is_away(
    server: Scripted, connect: Connect
) -> None:
    """What a registry that serves other things answers with 500 is asked about three times."""
    registry = connect(server.host)
    server.on("GET", MANIFEST, Answer(500, '{"errors": [{"code": "UNKNOWN", "message": "oh"}]}'))
    await registry.ping()
    with pytest.raises(RegistryFailing, match="500, UNKNOWN: oh") as caught:
        await registry.manifest(REPO, DIGEST)
    assert (caught.value.exit_code, caught.value.status) == (1, 500)
    assert len(server.seen) == 1 + 3
    server.on("GET", MANIFEST, Drop())
    with pytest.raises(RegistryFailing, match="broke off"):
        await registry.manifest(REPO, DIGEST)
    server.on("GET", MANIFEST, Answer(200, headers={"X-Long": "x" * 100_000}))
    with pytest.raises(RegistryFailing, match="does not answer in HTTP"):
        await registry.manifest(REPO, DIGEST)


async def test_pauses_have_an_end(server: Scripted, connect: Connect, clock: Clock) -> None:
    """However long the registry asks to wait."""
    server.on("GET", "/v2/", Answer(429, headers={"Retry-After": "1000000000"}))
    with pytest.raises(Unreachable, match="429"):
        await connect(server.host).ping()
    assert sum(clock.slept) <= 120


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (307, "Location: http://h\u00e9.example/x"),
        (307, "Location: /v2/\udc9b"),
        (307, "Location: http://\udc9b/"),
        (401, 'WWW-Authenticate: Bearer realm="http://127.0.0.1/t",service="\udcff"'),
        (401, 'WWW-Authenticate: Bearer realm="http://127.0.0.1/\udcff"'),
    ],
)
async def test_a_header_that_is_no_text_is_an_error_of_the_registry(
    connect: Connect, status: int, headers: str
) -> None:
    answer = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{headers}\r\n\r\n"
    async with repeating(answer.encode("utf-8", "surrogateescape"), b"") as host:
        with pytest.raises(RegistryError):
            await connect(host).manifest(REPO, DIGEST)


async def test_a_type_that_is_no_text_is_none(connect: Connect) -> None:
    """It can be kept neither in the cache nor in the journal."""
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BLOB)}\r\nContent-Type: application/"
    async with repeating(answer.encode() + b"\x9bm\r\n\r\n" + BLOB, b"") as host:
        found = await connect(host).manifest(REPO, Digest.of(BLOB))
        assert found is not None
        assert found.media_type.isascii()


# -- redirects ---------------------------------------------------------------------------------


async def test_authorization_does_not_follow_to_another_origin(
    server: Scripted, elsewhere: Scripted, connect: Connect
) -> None:
    challenge = Answer(401, headers={"WWW-Authenticate": 'Basic realm="r"'})
    there = f"http://{elsewhere.host}/bucket/blob?X-Amz-Signature=s%2Fs%3D"
    path = f"/v2/team/app/blobs/{DIGEST}"
    server.on("GET", path, challenge, Answer(307, headers={"Location": there}))
    elsewhere.on("GET", "/bucket/blob", Answer(body=BLOB))
    registry = connect(server.host, None, Credentials("me", "secret"))
    assert b"".join([chunk async for chunk in registry.read_blob(REPO, DIGEST)]) == BLOB
    assert server.sent("Authorization") == [None, "Basic bWU6c2VjcmV0"]
    assert elsewhere.sent("Authorization") == [None]
    assert elsewhere.requests == ["GET /bucket/blob?X-Amz-Signature=s%2Fs%3D"]


async def test_nor_does_it_come_back_from_there(
    server: Scripted, elsewhere: Scripted, connect: Connect
) -> None:
    path = f"/v2/team/app/blobs/{DIGEST}"
    server.on("GET", "/v2/", Answer(401, headers={"WWW-Authenticate": "Basic"}), Answer(body="{}"))
    server.on("GET", path, Answer(302, headers={"Location": f"http://{elsewhere.host}/x"}))
    elsewhere.on("GET", "/x", Answer(302, headers={"Location": f"http://{server.host}/y"}))
    server.on("GET", "/y", Answer(body=BLOB))
    registry = connect(server.host, None, Credentials("me", "secret"))
    await registry.ping()
    assert await registry.has_blob(REPO, DIGEST)
    assert [seen.headers.get("Authorization") for seen in server.seen if seen.path == "/y"] == [
        None
    ]


async def test_a_401_from_elsewhere_is_not_the_registrys(
    server: Scripted, elsewhere: Scripted, connect: Connect
) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{elsewhere.host}/token"'}
    path = f"/v2/team/app/blobs/{DIGEST}"
    server.on("GET", path, Answer(302, headers={"Location": f"http://{elsewhere.host}/x"}))
    elsewhere.on("GET", "/x", Answer(401, headers=challenge))
    registry = connect(server.host, None, Credentials("me", "secret"))
    with pytest.raises(RegistryError):
        await registry.has_blob(REPO, DIGEST)
    assert elsewhere.requests == ["GET /x"]


async def test_a_redirect_within_the_registry_keeps_the_login(
    server: Scripted, connect: Connect
) -> None:
    path = f"/v2/team/app/blobs/{DIGEST}"
    server.on("GET", "/v2/", Answer(401, headers={"WWW-Authenticate": "Basic"}), Answer(body="{}"))
    server.on("GET", path, Answer(302, headers={"Location": "/data/x"}))
    server.on("GET", "/data/x", Answer(body=BLOB))
    registry = connect(server.host, None, Credentials("me", "secret"))
    await registry.ping()
    assert await registry.has_blob(REPO, DIGEST)
    assert server.sent("Authorization")[-1] == "Basic bWU6c2VjcmV0"


async def test_redirects_in_circles_end(server: Scripted, connect: Connect) -> None:
    server.on("GET", "/v2/", Answer(302, headers={"Location": "/v2/"}))
    with pytest.raises(UnexpectedResponse, match="in circles"):
        await connect(server.host).ping()


async def test_a_host_that_only_redirects(
    server: Scripted, elsewhere: Scripted, connect: Connect
) -> None:
    there = f"http://{elsewhere.host}/v2/"
    server.on("GET", "/v2/", Answer(301, headers={"Location": there}, marked=False))
    with pytest.raises(Unreachable, match="only redirects to") as caught:
        await connect(server.host).ping()
    assert elsewhere.host in (caught.value.hint or "")


# -- no connection -----------------------------------------------------------------------------


async def test_where_a_redirect_leads_is_what_is_blamed(
    server: Scripted, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.on("GET", "/v2/", Answer(302, headers={"Location": "http://sign-in.invalid/start"}))
    real = socket.getaddrinfo

    def known(host: str, *args: Any, **kwargs: Any) -> Any:
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    with pytest.raises(Unreachable) as caught:
        await connect(server.host).ping()
    assert caught.value.message.startswith("cannot reach sign-in.invalid: ")
    assert f"{server.host} leads there" in caught.value.message


async def test_a_page_in_the_registrys_place_is_somebody_elses(
    server: Scripted, connect: Connect
) -> None:
    """The login has nothing to do with it."""
    page = Answer(403, "<h1>403</h1>", {"Content-Type": "text/html"}, marked=False)
    server.on("GET", MANIFEST, page)
    with pytest.raises(UnexpectedResponse, match="something in front of") as caught:
        await connect(server.host).manifest(REPO, DIGEST)
    assert "login" not in caught.value.message + (caught.value.hint or "")
    server.on("GET", "/v2/", page)
    with pytest.raises(Unreachable, match="something in front of") as away:
        await connect(server.host).ping()
    assert "login" not in away.value.message + (away.value.hint or "")


async def test_connection_refused(connect: Connect, clock: Clock) -> None:
    port = free_port()
    with pytest.raises(Unreachable) as caught:
        await connect(f"127.0.0.1:{port}").ping()
    assert str(caught.value) == f"cannot reach 127.0.0.1:{port}: connection refused"
    assert caught.value.exit_code == 10
    assert clock.slept == []


async def test_refused_on_both_addresses_of_localhost(connect: Connect) -> None:
    port = free_port()
    with pytest.raises(Unreachable) as caught:
        await connect(f"localhost:{port}").ping()
    assert "\n" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


async def test_a_registry_that_restarts_is_waited_for(connect: Connect, clock: Clock) -> None:
    first = Scripted()
    async with first:
        registry = connect(first.host)
        await registry.ping()
    with pytest.raises(Unreachable, match="refused"):
        await registry.resolve(REPO, Tag("1"))
    assert len(clock.slept) == 4


async def test_a_name_that_does_not_resolve(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Unreachable) as caught:
        await connect("registry.invalid").ping()
    assert str(caught.value) == "cannot reach registry.invalid: the name cannot be resolved"


async def test_no_answer_in_time(server: Scripted, connect: Connect) -> None:
    async def stuck(_request: web.BaseRequest) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    server.on("GET", "/v2/", stuck)
    with pytest.raises(Unreachable, match="no answer in time"):
        await connect(server.host, ClientOptions(timeout=0.05, retries=1)).ping()


async def test_something_that_is_not_http(connect: Connect) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        await reader.read(100)
        writer.close()
        await writer.wait_closed()

    listener = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(NotARegistry, match="does not answer in HTTP"):
            await connect(f"127.0.0.1:{port}").ping()


# -- TLS ---------------------------------------------------------------------------------------


@pytest.mark.distribution  # only Go tells a client without TLS what it has done
async def test_tls_options_against_a_real_registry(
    registry_factory: RegistryFactory, connect: Connect
) -> None:
    real = registry_factory(tls=True)
    assert await connect(real.host, ClientOptions(ca_file=real.ca)).ping() == "none"
    assert await connect(real.host, ClientOptions(insecure=True)).ping() == "none"

    with pytest.raises(Unreachable, match=r"certificate of .* cannot be verified") as caught:
        await connect(real.host, ClientOptions(plain_http=False)).ping()
    assert "--ca-file" in (caught.value.hint or "")
    assert "--insecure" in (caught.value.hint or "")

    with pytest.raises(Unreachable, match="speaks TLS, and the request had none") as caught:
        await connect(real.host, ClientOptions(plain_http=True)).ping()
    assert "--tls" in (caught.value.hint or "")
    # HEAD has no body that would say so.
    with pytest.raises(Unreachable, match="speaks TLS, and the request had none"):
        await connect(real.host).resolve(REPO, Tag("1"))


async def test_the_text_of_other_servers_on_their_tls_port(
    server: Scripted, connect: Connect
) -> None:
    said = "<center>The plain HTTP request was sent to HTTPS port</center>"
    server.on("GET", "/v2/", Answer(400, said, {"Content-Type": "text/html"}, marked=False))
    with pytest.raises(Unreachable, match="speaks TLS, and the request had none"):
        await connect(server.host).ping()


async def test_tls_against_a_plain_port(server: Scripted, connect: Connect) -> None:
    with pytest.raises(Unreachable, match="does not speak TLS") as caught:
        await connect(server.host, ClientOptions(plain_http=False)).ping()
    assert "--plain-http" in (caught.value.hint or "")


async def test_tls_against_a_plain_real_registry(
    registry_factory: RegistryFactory, connect: Connect
) -> None:
    real = registry_factory()
    with pytest.raises(Unreachable, match="does not speak TLS"):
        await connect(real.host, ClientOptions(plain_http=False)).ping()


@pytest.fixture
def client_certificate(tmp_path: Path) -> ClientOptions:
    need("openssl")
    key = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=me"
    command = f"{key} -keyout me.key -out me.crt -addext extendedKeyUsage=clientAuth"
    subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    return ClientOptions(cert=tmp_path / "me.crt", key=tmp_path / "me.key")


async def test_a_client_certificate(
    registry_factory: RegistryFactory, connect: Connect, client_certificate: ClientOptions
) -> None:
    authority = registry_factory(tls=True).ca
    # The harness has no certificate to show, so a registry that asks for one is made up here.
    context = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=str(client_certificate.cert)
    )
    context.load_cert_chain(authority.parent / "server.crt", authority.parent / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with listener:
        host = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        good = msgspec.structs.replace(client_certificate, ca_file=authority)
        assert await connect(host, good).ping() == "none"
        with pytest.raises(Unreachable) as caught:
            await connect(host, ClientOptions(ca_file=authority)).ping()
        assert "--cert" in (caught.value.hint or "")


@pytest.fixture
def bad_pem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No PEM, in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = Path("bad.pem")
    path.write_text("no certificate", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ClientOptions(ca_file=Path("absent.pem")), "no such file"),
        (ClientOptions(ca_file=Path("bad.pem")), "bad.pem"),
        (ClientOptions(cert=Path("bad.pem")), "cannot use the client certificate bad.pem"),
        (ClientOptions(key=Path("bad.pem")), "--key is given without --cert"),
    ],
)
async def test_bad_tls_files(
    bad_pem: Path, connect: Connect, options: ClientOptions, message: str
) -> None:
    assert bad_pem.name == "bad.pem"
    with pytest.raises(ConfigurationError, match=message):
        await connect("localhost:1", options).ping()


def test_making_one_opens_nothing() -> None:
    """No loop, no files: a program may make one for each host it is given."""
    assert repr(RemoteRegistry("example.com", ClientOptions(ca_file=Path("absent")))) == (
        "RemoteRegistry('example.com')"
    )


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("https://a.example/x", "https://a.example:443/y", True),
        ("http://a.example/", "http://a.example:80/", True),
        ("http://a.example/", "https://a.example/", False),
        ("https://a.example/", "https://a.example:8443/", False),
        ("https://a.example/", "https://b.example/", False),
    ],
)
def test_origins(one: str, other: str, expected: bool) -> None:
    assert same_origin(URL(one), URL(other)) is expected
