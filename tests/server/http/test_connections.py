"""What a client may do with a connection besides sending well-formed requests at a good pace."""

import contextlib
import hashlib
import json
import socket
import time
from pathlib import Path

import pytest

from jettison.model.mediatypes import OCI_MANIFEST
from tests.server.asking import starting


def read_head(connection: socket.socket) -> bytes:
    found = b""
    while b"\r\n\r\n" not in found:
        piece = connection.recv(4096)
        assert piece, found
        found += piece
    return found


@pytest.mark.parametrize("header", ["Upgrade: h2c", "UPGRADE: websocket"])
def test_an_upgrade_is_ignored_and_the_body_is_read(tmp_path: Path, header: str) -> None:
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST}).encode()
    head = (
        f"PUT /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n{header}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with (
        starting(tmp_path) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection,
    ):
        connection.sendall(head.encode() + body)
        answer = read_head(connection)  # the short body comes along
    assert b" 400 " in answer
    assert b"needs config" in answer  # so the body was there


def test_a_client_that_does_not_read_is_let_go(tmp_path: Path) -> None:
    limits = {"jettison": {"limits": {"body_timeout": "1s"}}}
    raw = bytes(64 * 1024 * 1024)
    digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    with starting(tmp_path, extra=limits) as server:
        assert (
            server.request("POST", f"/v2/app/blobs/uploads/?digest={digest}", body=raw).status
            == 201
        )
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(f"GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert b" 200 " in read_head(connection)
            time.sleep(3)
            received = 0
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(1 << 20):
                    received += len(piece)
            assert received < len(raw) // 2
        assert server.request("GET", "/v2/").status == 200


def test_an_upgrade_that_comes_in_two_pieces_is_refused(tmp_path: Path) -> None:
    with (
        starting(tmp_path) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection,
    ):
        connection.sendall(
            b"PUT /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpg"
        )
        time.sleep(0.2)
        connection.sendall(b"rade: h2c\r\nContent-Length: 5\r\n\r\nhello")
        assert b" 400 " in read_head(connection)
        assert connection.recv(100) == b""


def test_an_upgrade_of_a_later_request_is_ignored_too(tmp_path: Path) -> None:
    with (
        starting(tmp_path) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection,
    ):
        for _ in range(2):
            head = b"PUT /v2/app/manifests/1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
            connection.sendall(head + b"Host: x\r\nContent-Length: 5\r\n\r\nhello")
            assert b"is not JSON" in read_head(connection)
