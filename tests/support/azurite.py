"""Azurite, Microsoft's own emulator of Azure Blob Storage, for tests.

    with Azurite(tmp_path) as azurite:
        container = azurite.bucket("images")
        with S3Distribution3(tmp_path, container) as registry:
            registry.push("app", "1", images.image([...]))

It keeps what the store promises of names, conditions and signatures. It does not refuse to put a
block blob over an append blob, as the store does: `StrictAzure` stands before it for that.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import ssl
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self
from urllib.parse import parse_qsl, urlsplit

import pytest

from jettison.configuration.azure import AzureContainer
from tests.support.buckets import AskedBucket
from tests.support.registry import PEERS, STOP_SECONDS, free_port

if TYPE_CHECKING:
    from obstore.store import AzureStore

START_SECONDS: Final = 120.0
ACCOUNT: Final = "devstoreaccount1"
ACCOUNT_KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""What Azurite publishes."""
_VERSION: Final = "2021-12-02"
_DATABASE: Final = "__azurite_db_blob__.json"
_HOPS: Final = frozenset(
    {"host", "connection", "content-length", "keep-alive", "authorization", "transfer-encoding"}
)
_SIGNED: Final = (
    *("content-encoding", "content-language", "content-length", "content-md5", "content-type"),
    *("date", "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"),
)
_TIMES: Final = ("creationTime", "lastModified")


class Azurite:
    """One process; everything of it is below `base`. `make soak` installs it where npm is."""

    program = PEERS / "azurite" / "node_modules" / ".bin" / "azurite-blob"

    def __init__(self, base: Path) -> None:
        if not os.access(self.program, os.X_OK):
            pytest.skip("Azurite not found; `make soak` installs it where there is npm")
        self._folder = base / "azurite"
        self._folder.mkdir(parents=True)
        self._output = base / "azurite.log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    scheme: ClassVar[str] = "http"

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self._port}/{ACCOUNT}"

    def _options(self) -> list[str | Path]:
        return []

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)

    def bucket(self, name: str) -> "Container":
        status, _ = self.ask("PUT", f"/{name}?restype=container")
        assert status == 201
        return Container(self, name)  # type: ignore[arg-type] # it has what is needed of a gateway

    def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Make a request with the account's key; what is below the account is the path."""
        status, _, content = self.send(method, f"/{ACCOUNT}{path}", body, {})
        return status, content

    def send(
        self, method: str, path: str, body: bytes, headers: dict[str, str], *, signed: bool = False
    ) -> tuple[int, dict[str, str], bytes]:
        """Make a request; unless its path is `signed`, with the account's key."""
        sent = dict(headers)
        if not signed:
            sent["x-ms-date"] = format_datetime(datetime.now(UTC), usegmt=True)
            sent.setdefault("x-ms-version", _VERSION)
            sent.pop("date", None)
            sent["authorization"] = _signature(method, path, len(body), sent)
        connection = self._connect()
        try:
            connection.request(method, path, body or None, sent)
            answer = connection.getresponse()
            content = answer.read()
            told = {name.lower(): value for name, value in answer.headers.items()}
            skipped = _HOPS if method != "HEAD" else _HOPS - {"content-length"}
            kept = {name: value for name, value in told.items() if name not in skipped}
            return answer.status, kept, content
        finally:
            connection.close()

    def age(self, container: str, seconds: float) -> None:
        """Make all blobs of a container older; it is stopped for that, and started again."""
        self.stop()
        file = self._folder / _DATABASE
        database = json.loads(file.read_text(encoding="utf-8"))
        [blobs] = [one for one in database["collections"] if one["name"] == "$BLOBS_COLLECTION$"]
        for one in blobs["data"]:
            if one["containerName"] == container:
                for name in _TIMES:
                    one["properties"][name] = _earlier(one["properties"][name], seconds)
        file.write_text(json.dumps(database), encoding="utf-8")
        self.start()

    def start(self) -> Self:
        self._port = self._port or free_port()
        at = ["--blobHost", "127.0.0.1", "--blobPort", str(self._port)]
        kept = ["--location", str(self._folder), "--silent"]
        more = ["--skipApiVersionCheck", "--disableTelemetry", *self._options()]
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [self.program, *at, *kept, *more],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                self._process = None
                said = self._output.read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"Azurite ended:\n{said}")
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("Azurite does not answer")
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "/?comp=list")[0] == 200
        return False

    def stop(self) -> None:
        """End its process, and no other; it writes down what it knows first."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class TokenAzurite(Azurite):
    """The same, which takes tokens too, and so speaks HTTPS with a certificate of its own."""

    scheme: ClassVar[str] = "https"

    def _options(self) -> list[str | Path]:
        key, certificate = self._folder / "key", self._folder / "certificate"
        if not key.exists():
            make = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -keyout {key}"
            command = ["openssl", *make.split(), "-out", str(certificate)]
            subprocess.run(command, check=True, capture_output=True)
        return ["--oauth", "basic", "--cert", certificate, "--key", key]

    def _connect(self) -> http.client.HTTPConnection:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self._port, timeout=30, context=context)


def _signature(method: str, path: str, length: int, headers: dict[str, str]) -> str:
    place, _, query = path.partition("?")
    named = "".join(f"{one}:{headers[one]}\n" for one in sorted(headers) if one[:5] == "x-ms-")
    asked = [(name.lower(), value) for name, value in parse_qsl(query, keep_blank_values=True)]
    told = "".join(f"\n{name}:{value}" for name, value in sorted(asked))
    fields = [headers.get(name, "") for name in _SIGNED]
    fields[2] = str(length) if length else ""
    text = "\n".join([method, *fields]) + f"\n{named}/{ACCOUNT}{place}{told}"
    digest = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
    return f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"


def _earlier(moment: str, seconds: float) -> str:
    found = datetime.fromisoformat(moment) - timedelta(seconds=seconds)
    return found.strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass(frozen=True)
class Container(AskedBucket):
    """A container of Azurite."""

    driver: ClassVar[str] = "azure"

    @property
    def settings(self) -> dict[str, Any]:
        """The keys of Distribution's azure driver."""
        return {
            "accountname": ACCOUNT,
            "accountkey": ACCOUNT_KEY,
            "container": self.name,
            "serviceurl": self.gateway.endpoint,
            "credentials": {"type": "shared_key"},
        }

    @property
    def place(self) -> str:
        return f"azure://{ACCOUNT}/{self.name}"

    @property
    def folder(self) -> Path:
        raise AttributeError("a container has no folder")

    def container(self, root: str = "", url: str = "") -> AzureContainer:
        """The same, as the configuration is read."""
        place = url or self.gateway.endpoint
        return AzureContainer(
            self.name,
            place,
            root=root,
            verify=place.startswith("http:"),
            account=ACCOUNT,
            account_key=ACCOUNT_KEY,
        )

    def age(self, seconds: float) -> None:
        azurite: Any = self.gateway
        azurite.age(self.name, seconds)

    @cached_property
    def store(self) -> "AzureStore":
        from obstore.store import AzureStore

        return AzureStore(
            self.name,
            account_name=ACCOUNT,
            account_key=ACCOUNT_KEY,
            endpoint=self.gateway.endpoint,
            client_options={"allow_http": True},
        )

    def requests(self) -> Counter[str]:
        """None: it does not count them."""
        return Counter()


class StrictAzure:
    """A relay before Azurite that refuses what the store refuses: a blob over one of another type.

    What the account's key has signed is signed anew, for it names the address.
    """

    def __init__(self, azurite: Azurite) -> None:
        self._azurite = azurite
        self.refused: list[str] = []

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _go(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, content = outer._answer(self, body)
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            setattr(Handler, f"do_{method}", Handler._go)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}/{ACCOUNT}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(
        self, asked: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        headers = {name.lower(): value for name, value in asked.headers.items()}
        source, kind = headers.get("x-ms-copy-source"), headers.get("x-ms-blob-type")
        if source is not None:
            headers["x-ms-copy-source"] = source.replace(self.endpoint, self._azurite.endpoint)
            kind = self._type_of(urlsplit(source).path)
        there = self._type_of(asked.path.partition("?")[0]) if kind else None
        if asked.command == "PUT" and there not in {None, kind}:
            self.refused.append(asked.path)
            code = b"<?xml version='1.0'?><Error><Code>InvalidBlobType</Code></Error>"
            return 409, {"x-ms-error-code": "InvalidBlobType"}, code
        kept = {name: value for name, value in headers.items() if name not in _HOPS}
        signed = "authorization" not in headers
        return self._azurite.send(asked.command, asked.path, body, kept, signed=signed)

    def _type_of(self, path: str) -> str | None:
        status, headers, _ = self._azurite.send("HEAD", path, b"", {})
        return headers.get("x-ms-blob-type") if status == 200 else None
