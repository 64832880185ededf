"""Many small pushes: images of three blobs each, from clients that push one after another.

Each push has ten requests, as most clients send them: for each blob HEAD, POST and PUT, then PUT of
the manifest under a new tag. Every blob and every tag is new to the registry. One thread drives all
clients with requests that are made beforehand as far as possible, so that most of the processor is
the server's.
"""

import hashlib
import itertools
import json
import os
import re
import select
import socket
import time
from collections.abc import Iterator
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from bench.programs import BenchError
from bench.transfer import finish

__all__ = ["CLIENTS", "CONFIG", "LAYER", "MANIFEST", "Pushes", "push_load"]

CLIENTS: Final = 16
BLOBS: Final = 3
BLOB_SIZE: Final = 4096
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
PATIENCE: Final = 30
LOCATION: Final = re.compile(rb"\r\nlocation: ([^\r]+)", re.IGNORECASE)
LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)

_Conversation = Iterator[tuple[bytes, int]]
"""Requests, each with the status that is expected."""


class Pushes(NamedTuple):
    """What was pushed, and how fast."""

    rate: float
    """Per second."""
    images: int
    """How many."""
    last: tuple[str, str, bytes]
    """Repository, tag and manifest of one of them, to look at."""


class _Client:
    """Pushes images into a repository of its own."""

    def __init__(self, address: str, number: int) -> None:
        host, _, port = address.partition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.repository = f"bench/push-{number}"
        self.count = 0
        self.last: tuple[str, str, bytes] | None = None
        self._host = address.encode()
        self._run = os.urandom(4).hex()
        self._head = b""
        self._received = b""
        self._conversation = self._pushes()
        self._request, self._expected = next(self._conversation)

    def send(self) -> None:
        """Send what is next."""
        self.socket.sendall(self._request)

    def receive(self) -> bool:
        """Take in what came; return whether a push is done with it. The next request is sent."""
        piece = self.socket.recv(65536)
        if not piece:
            raise BenchError(f"the connection was closed after {self._request[:100]!r}")
        self._received += piece
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or (self._request[:4] != b"HEAD" and len(body) < _length(head)):
            return False
        status = int(head[9:12])
        if status != self._expected:
            raise BenchError(f"{status} {body!r} to {self._request[:100]!r}")
        self._head, self._received = head, b""
        before = self.count
        self._request, self._expected = next(self._conversation)
        self.send()
        return self.count > before

    def _pushes(self) -> _Conversation:
        top = f"/v2/{self.repository}"
        for number in itertools.count():
            blobs: list[dict[str, object]] = []
            for _ in range(BLOBS):
                raw = os.urandom(BLOB_SIZE)
                digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
                blobs.append({"digest": digest, "size": BLOB_SIZE})
                yield self._made("HEAD", f"{top}/blobs/{digest}"), 404
                yield self._made("POST", f"{top}/blobs/uploads/", b""), 202
                yield self._made("PUT", finish(self._location(), digest), raw), 201
            tag = f"{self._run}-{number}"
            manifest = _manifest(blobs)
            yield self._made("PUT", f"{top}/manifests/{tag}", manifest, MANIFEST), 201
            self.last = self.repository, tag, manifest
            self.count += 1

    def _location(self) -> str:
        found = LOCATION.search(self._head)
        if found is None:
            raise BenchError(f"no Location: {self._head!r}")
        parts = urlsplit(found[1].decode())
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    def _made(
        self, method: str, target: str, body: bytes | None = None, kind: str = "application/binary"
    ) -> bytes:
        head = b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (method.encode(), target.encode(), self._host)
        if body is None:
            return head + b"\r\n"
        fields = b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind.encode(), len(body))
        return head + fields + body


def _length(head: bytes) -> int:
    found = LENGTH.search(head)
    return int(found[1]) if found else 0


def _manifest(blobs: list[dict[str, object]]) -> bytes:
    config, *layers = blobs
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, **config},
        "layers": [{"mediaType": LAYER, **one} for one in layers],
    }
    return json.dumps(document).encode()


def push_load(address: str, seconds: float, clients: int = CLIENTS) -> Pushes:
    """Push for so many seconds at least, and each client once at least.

    Raises:
        BenchError: An answer had another status than it should.
    """
    many = [_Client(address, number) for number in range(clients)]
    poll = select.epoll()
    try:
        by_number = {one.socket.fileno(): one for one in many}
        for number in by_number:
            poll.register(number, select.EPOLLIN)
        began = now = time.perf_counter()
        for one in many:
            one.send()
        while now - began < seconds or any(one.last is None for one in many):
            ready = poll.poll(PATIENCE)
            if not ready:
                raise BenchError(f"no answer for {PATIENCE} s")
            for number, _ in ready:
                if by_number[number].receive():
                    now = time.perf_counter()
        count = sum(one.count for one in many)
        last = next(one.last for one in many if one.last is not None)
        return Pushes(count / (now - began), count, last)
    finally:
        poll.close()
        for one in many:
            one.socket.close()
