"""One large blob up and down, with a client that costs little processor time.

Uploads leave the page cache by sendfile, downloads land in memory that is there already. What came
is verified after the clock has stopped.
"""

import hashlib
import http.client
import mmap
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.programs import BenchError

__all__ = ["UPLOADS", "Client", "Source", "Upload", "download", "finish", "open_upload", "source"]

MIB: Final = 1 << 20
PIECE: Final = 16 * MIB
STREAMED: Final = 32 * 1024
TIMEOUT: Final = 300
BINARY: Final = "application/octet-stream"


class Client:
    """Small requests on one connection, which is opened again where the server closed it."""

    def __init__(self, address: str) -> None:
        self.connection = http.client.HTTPConnection(address, timeout=TIMEOUT)

    def ask(
        self,
        method: str,
        target: str,
        expected: int,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> tuple[http.client.HTTPMessage, bytes]:
        """Send one request; return headers and body.

        Raises:
            BenchError: The status is another than ``expected``.
        """
        self.connection.request(method, target, body, dict(headers or {}))
        return self.told(method, target, expected)

    def told(
        self, method: str, target: str, expected: int
    ) -> tuple[http.client.HTTPMessage, bytes]:
        """Read the answer to what was sent."""
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != expected:
            raise BenchError(f"{method} {target}: {answer.status} {body[:300]!r}")
        return answer.headers, body

    def push_blob(self, repository: str, content: bytes) -> str:
        """Upload a small blob; return its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        target = finish(open_upload(self, repository), digest)
        self.ask("PUT", target, 201, {"Content-Type": BINARY}, content)
        return digest

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


class Source:
    """A file of so many bytes, other ones each time, as every upload of a registry is new to it."""

    def __init__(self, file: BufferedRandom, size: int) -> None:
        self.file = file
        self.size = size
        self.digest = ""
        block = os.urandom(4 * MIB)
        file.writelines(block[: size - start] for start in range(0, size, len(block)))
        file.flush()

    def renew(self) -> None:
        """Change the first bytes, and say the digest anew."""
        os.pwrite(self.file.fileno(), os.urandom(32), 0)
        self.file.seek(0)
        self.digest = f"sha256:{hashlib.file_digest(self.file, 'sha256').hexdigest()}"


@contextmanager
def source(folder: Path, size: int) -> Iterator[Source]:
    """Make the file below ``folder``; it is removed afterwards."""
    path = folder / "source"
    with path.open("w+b") as file:
        try:
            yield Source(file, size)
        finally:
            path.unlink()


Upload = Callable[[Client, str, Source], None]


def open_upload(client: Client, repository: str) -> str:
    """Start an upload; return where it goes on, path and query."""
    headers, _ = client.ask("POST", f"/v2/{repository}/blobs/uploads/", 202)
    return _location(headers)


def _location(headers: http.client.HTTPMessage) -> str:
    parts = urlsplit(headers["Location"])
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def finish(location: str, digest: str) -> str:
    """Return the target that ends an upload."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def in_one(client: Client, repository: str, blob: Source) -> None:
    """POST, then PUT with the whole content."""
    target = finish(open_upload(client, repository), blob.digest)
    _send(client, "PUT", target, blob, 0, blob.size)
    client.told("PUT", target, 201)


def in_pieces(client: Client, repository: str, blob: Source) -> None:
    """POST, PATCH of 16 MiB each, PUT without content."""
    target = open_upload(client, repository)
    for start in range(0, blob.size, PIECE):
        size = min(PIECE, blob.size - start)
        _send(client, "PATCH", target, blob, start, size)
        headers, _ = client.told("PATCH", target, 202)
        target = _location(headers)
    client.ask("PUT", finish(target, blob.digest), 201, {"Content-Length": "0"})


def streamed(client: Client, repository: str, blob: Source) -> None:
    """POST, one PATCH in chunked transfer encoding, PUT: as dockerd pushes."""
    target = open_upload(client, repository)
    _head(client, "PATCH", target, {"Transfer-Encoding": "chunked"})
    stream = client.connection.sock
    with mmap.mmap(blob.file.fileno(), blob.size, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        for start in range(0, blob.size, STREAMED):
            part = view[start : start + STREAMED]
            stream.sendall(b"".join((b"%x\r\n" % len(part), part, b"\r\n")))
            part.release()
        view.release()
    stream.sendall(b"0\r\n\r\n")
    headers, _ = client.told("PATCH", target, 202)
    target = finish(_location(headers), blob.digest)
    client.ask("PUT", target, 201, {"Content-Length": "0"})


UPLOADS: Final[Mapping[str, Upload]] = {
    "POST and PUT": in_one,
    "PATCH of 16 MiB each": in_pieces,
    "one PATCH, streamed": streamed,
}


def _send(client: Client, method: str, target: str, blob: Source, start: int, size: int) -> None:
    ranged = {"Content-Range": f"{start}-{start + size - 1}"} if method == "PATCH" else {}
    _head(client, method, target, {"Content-Length": str(size), **ranged})
    sent = client.connection.sock.sendfile(blob.file, start, size)
    if sent != size:
        raise BenchError(f"{method} {target}: only {sent} bytes sent")


def _head(client: Client, method: str, target: str, headers: Mapping[str, str]) -> None:
    client.connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in {"Content-Type": BINARY, **headers}.items():
        client.connection.putheader(name, value)
    client.connection.endheaders()


def download(client: Client, repository: str, digest: str, into: bytearray) -> float:
    """GET a blob into memory of exactly its size; return the seconds that it took.

    Raises:
        BenchError: It is not the blob.
    """
    target = f"/v2/{repository}/blobs/{digest}"
    view = memoryview(into)
    began = time.perf_counter()
    client.connection.request("GET", target)
    answer = client.connection.getresponse()
    filled = 0
    while filled < len(into) and (count := answer.readinto(view[filled:])):
        filled += count
    took = time.perf_counter() - began
    rest = answer.read()
    found = f"sha256:{hashlib.sha256(into).hexdigest()}"
    if answer.status != 200 or filled != len(into) or rest or found != digest:
        raise BenchError(f"GET {target}: {answer.status}, {filled} bytes of {found}")
    return took
