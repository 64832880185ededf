"""Certificates: what is refused, and what is loaded again."""

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from jettison.configuration.settings import Tls
from jettison.errors import ConfigurationError
from jettison.model.digest import Digest
from jettison.server.http import tls as module
from jettison.server.http.tls import keep_certificate_fresh, make_context
from tests.server.access.signing import Signer, certificate, make_key
from tests.server.wire import Watched, received, request, statuses, wait_until


def written(folder: Path, name: str, encryption: KeySerializationEncryption | None = None) -> Tls:
    key, algorithm = make_key("p256")
    signer = Signer(key, algorithm, certificate(key, name, authority=True))
    folder.mkdir(exist_ok=True)
    (folder / "server.crt").write_bytes(signer.pem)
    raw = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    (folder / "server.key").write_bytes(raw)
    return Tls(folder / "server.crt", folder / "server.key")


def shown_by(context: ssl.SSLContext, **client: ssl.TLSVersion) -> bytes:
    """The certificate that a client is shown."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.verify_mode = ssl.CERT_NONE
    asking.set_alpn_protocols(["h2", "http/1.1"])
    for name, value in client.items():
        setattr(asking, name, value)
    ours, theirs = socket.socketpair()

    def answer() -> None:
        with contextlib.suppress(OSError), context.wrap_socket(ours, server_side=True) as one:
            one.recv(1)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with asking.wrap_socket(theirs) as one:
            assert one.selected_alpn_protocol() == "http/1.1"
            return one.getpeercert(binary_form=True) or b""
    finally:
        ours.close()
        theirs.close()
        thread.join()


def test_a_client_is_shown_the_certificate(tmp_path: Path) -> None:
    tls = written(tmp_path, "first")
    pem = ssl.DER_cert_to_PEM_cert(shown_by(make_context(tls)))
    assert pem.encode() == tls.certificate.read_bytes()


def test_an_old_version_is_refused(tmp_path: Path) -> None:
    tls = written(tmp_path, "first")
    strict = Tls(tls.certificate, tls.key, minimum_version="tls1.3")
    with pytest.raises(ssl.SSLError):
        shown_by(make_context(strict), maximum_version=ssl.TLSVersion.TLSv1_2)
    assert shown_by(make_context(tls), maximum_version=ssl.TLSVersion.TLSv1_2)


def encrypted(folder: Path) -> Tls:
    return written(folder, "x", BestAvailableEncryption(b"secret"))


def without_key(folder: Path) -> Tls:
    tls = written(folder, "x")
    tls.key.unlink()
    return tls


def with_another_key(folder: Path) -> Tls:
    tls = written(folder, "x")
    return Tls(tls.certificate, written(folder / "other", "y").key)


def with_garbage(folder: Path) -> Tls:
    tls = written(folder, "x")
    tls.certificate.write_text("no certificate")
    return tls


def with_garbage_of_an_authority(folder: Path) -> Tls:
    tls = written(folder, "x")
    (folder / "ca.crt").write_text("none")
    return Tls(tls.certificate, tls.key, client_cas=(folder / "ca.crt",))


@pytest.mark.parametrize(
    "make",
    [encrypted, without_key, with_another_key, with_garbage, with_garbage_of_an_authority],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, make: Callable[[Path], Tls]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_context(make(tmp_path))
    assert caught.value.message.startswith("http.tls: ")
    assert str(tmp_path) in caught.value.message
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"


def test_an_encrypted_key_asks_nobody(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the key is encrypted"):
        make_context(encrypted(tmp_path))


@contextlib.asynccontextmanager
async def fresh(context: ssl.SSLContext, tls: Tls):  # type: ignore[no-untyped-def]  # noqa: ANN201
    task = asyncio.create_task(keep_certificate_fresh(context, tls))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


def is_other(context: ssl.SSLContext, before: bytes) -> bool:
    """Whether another certificate is shown; unlike a server, this asks in a thread of its own."""
    try:
        return shown_by(context) != before
    except ssl.SSLError:
        return False  # just between the certificate and its key


async def test_a_new_certificate_is_loaded_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.02)
    tls = written(tmp_path, "first")
    context = make_context(tls)
    before = await asyncio.to_thread(shown_by, context)
    async with fresh(context, tls):
        good = tls.certificate.read_bytes()
        tls.certificate.write_text("no certificate")
        await until(lambda: "stays in use" in caplog.text)
        assert await asyncio.to_thread(shown_by, context) == before
        tls.key.unlink()
        await asyncio.sleep(0.1)
        assert await asyncio.to_thread(shown_by, context) == before
        # The key of another certificate: taken only once both are there.
        new = written(tmp_path / "new", "second")
        os.replace(new.key, tls.key)  # noqa: PTH105 - in one step, as tools for this do
        tls.certificate.write_bytes(good)
        await asyncio.sleep(0.1)
        assert await asyncio.to_thread(shown_by, context) == before
        wanted = new.certificate.read_bytes()
        os.replace(new.certificate, tls.certificate)  # noqa: PTH105 - same
        await until(lambda: is_other(context, before))
    pem = ssl.DER_cert_to_PEM_cert(await asyncio.to_thread(shown_by, context))
    assert pem.encode() == wanted


# Over a real server.


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def asked(port: int, raw: bytes, source: str = "127.0.0.1") -> bytes:
    connection = socket.create_connection(("127.0.0.1", port), 10, (source, 0))
    with trusting().wrap_socket(connection) as secure:
        secure.sendall(raw)
        return received(secure)


def secure(base: Path, **limits: object) -> Watched:
    return Watched(base, delete=True, tls=True, extra={"jettison": {"limits": limits}})


def test_bodies_and_answers_over_tls(tmp_path: Path) -> None:
    raw = os.urandom(3_000_000)
    digest = Digest.of(raw)
    put = request(
        *("POST", f"/v2/a/blobs/uploads/?digest={digest}", f"Content-Length: {len(raw)}"), body=raw
    )
    get = request("GET", f"/v2/a/blobs/{digest}", "Connection: close")
    with secure(tmp_path) as server:
        found = asked(server.port, put + request("GET", "/v2/") * 20 + get)
        assert statuses(found) == [201, *[200] * 21]
        assert found.endswith(raw)


def is_open(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


def test_handshakes_count_as_connections(tmp_path: Path) -> None:
    with secure(tmp_path, connections=5, header_timeout="1m") as server:
        wait_until(lambda: server.files() < 40)
        before = server.files()
        silent = [server.connect() for _ in range(12)]
        assert 1 <= [is_open(one) for one in silent].count(True) <= 5
        # Whoever has none yet gets one of theirs.
        get = request("GET", "/v2/", "Connection: close")
        assert statuses(asked(server.port, get, "127.0.0.2")) == [200]
        for one in silent:
            one.close()
        wait_until(lambda: server.files() <= before)
        wait_until(lambda: answered(server))


def answered(server: Watched) -> bool:
    """Whether there is room for one more; that one is gone is known a moment after its end."""
    with contextlib.suppress(OSError):
        return statuses(asked(server.port, request("GET", "/v2/", "Connection: close"))) == [200]
    return False


def test_a_handshake_that_comes_to_nothing_is_forgotten(tmp_path: Path) -> None:
    with secure(tmp_path, connections=5, header_timeout="500ms") as server:
        for raw in (b"", b"GET /v2/ HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00"):
            many = [server.connect() for _ in range(5)]
            for one in many:
                with contextlib.suppress(ConnectionError):
                    one.sendall(raw)
            for one in many:
                received(one)
                one.close()
            wait_until(lambda: answered(server))
