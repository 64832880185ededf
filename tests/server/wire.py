"""Bytes on a connection, as no client library would send them; and a server that is watched."""

import contextlib
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jettison.demo import images
from jettison.model.digest import Digest
from tests.support.registry import JettisonRegistry

HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")
LIMITS = {
    "header_timeout": "400ms",
    "body_timeout": "400ms",
    "keepalive_timeout": "1s",
    "connections": 1200,
}


class Watched(JettisonRegistry):
    """A server with short limits, which must not be brought out of its composure."""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def memory(self, what: str = "VmRSS") -> int:
        """Its memory in MiB; ``VmHWM`` is the most it ever had."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(rf"{what}:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) // 1024

    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - as short as can be

    def connect(self, timeout: float = 10) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def send(self, raw: bytes, timeout: float = 10) -> bytes:
        """Send it on a connection of its own; return all that comes until the server closes."""
        with self.connect(timeout) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(raw)
            return received(connection)

    def outside(self) -> set[str]:
        """What lies beside the tree."""
        found = {str(path.relative_to(self.base)) for path in self.base.glob("*")}
        found |= {str(path.relative_to(self.base)) for path in self.root.glob("*")}
        found |= {path.name for path in self.base.parent.iterdir()}
        return found

    def serves(self) -> None:
        """Another client pushes and pulls."""
        image = images.image([images.layer({"f": b"well"})])
        if not self.tags("well"):
            self.push("well", "1", image)
        assert self.manifest("well", "1").body == image.manifest.raw
        raw = os.urandom(8)
        assert self.request("GET", f"/v2/well/blobs/{blob(self, 'well', raw)}").body == raw


@contextlib.contextmanager
def watched(base: Path, **limits: Any) -> Iterator[Watched]:
    extra = {"jettison": {"limits": LIMITS | limits}, "log": {"level": "info"}}
    with Watched(base / "registry", delete=True, extra=extra) as server:
        server.serves()
        yield server


@contextlib.contextmanager
def unmoved(server: Watched, more: int = 60) -> Iterator[None]:
    """Hold afterwards: nothing outside the tree, no crash, memory bounded, others served."""
    before, process, memory = server.outside(), server.pid, server.memory("VmHWM")
    yield
    assert server.running
    assert server.pid == process
    assert server.outside() == before
    assert server.memory("VmHWM") < memory + more
    server.serves()
    assert "Traceback" not in server.log.read_text(encoding="utf-8", errors="replace")


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side closes; fails where it does not."""
    found = bytearray()
    while True:
        try:
            piece = connection.recv(65536)
        except TimeoutError:
            pytest.fail(f"the server does not close: {bytes(found[:300])!r}")
        except ConnectionError:
            return bytes(found)
        if not piece:
            return bytes(found)
        found += piece


def statuses(raw: bytes) -> list[int]:
    """The statuses of the answers in what was received."""
    found = []
    while raw:
        head = HEAD.match(raw)
        assert head is not None, raw[:300]
        found.append(int(head[1]))
        length = re.search(rb"(?i)content-length: (\d+)", head[2])
        assert length is not None or head[1] in {b"204", b"304"}, raw[:300]
        raw = raw[head.end() + (int(length[1]) if length else 0) :]
    return found


def request(
    method: str, target: str, *headers: str, body: bytes = b"", version: str = "1.1"
) -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: registry.test", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def wait_until(condition: Any, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def blob(server: Watched, repo: str, raw: bytes) -> Digest:
    digest = Digest.of(raw)
    answer = server.request("POST", f"/v2/{repo}/blobs/uploads/?digest={digest}", {}, raw)
    assert answer.status == 201
    return digest
