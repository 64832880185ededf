"""A stub of Google Cloud Storage, in memory: it answers what obstore asks, and proves nothing more.

It is not Google's store, and was written from what Google documents of its XML interface and from
what obstore sends; no emulator understands that. What it shows is that our side asks for the right
things: that a generation is compared, a URL's end looked at, what is absent told from a bucket that
is.

    with GoogleStub() as stub:
        bucket = stub.bucket("images")
"""

import base64
import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from jettison.configuration.gcs import GoogleBucket

MARK: Final = "x-stub"
"""A header of each of its answers, so that it is taken for nothing else."""
PAGE: Final = 1000
HOST: Final = "storage.googleapis.com"


class Refused(Exception):
    """What is answered in place of what was asked for."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass
class Stored:
    content: bytes
    generation: int
    written: float
    metadata: dict[str, str]

    @property
    def e_tag(self) -> str:
        return f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class GoogleStub:
    """The store, one process with the test; nothing is kept."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.requests: list[str] = []
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._generation = 1_000
        self._lock = threading.RLock()
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _go(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    with outer._lock:
                        answer = outer._answer(self, body)
                except Refused as refused:
                    text = f"<?xml version='1.0'?><Error><Code>{refused.code}</Code></Error>"
                    answer = Answer(refused.status, text.encode())
                self.send_response(answer.status)
                self.send_header(MARK, "no store")
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in answer.headers:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            setattr(Handler, f"do_{method}", Handler._go)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def key(self) -> dict[str, Any]:
        """A service account's key, as Google gives it out, that leads here."""
        private = self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {
            "type": "service_account",
            "client_email": "stub@stub.example",
            "private_key": private.decode(),
            "private_key_id": "1",
            "gcs_base_url": self.endpoint,
        }

    def bucket(self, name: str, root: str = "") -> GoogleBucket:
        self.buckets.setdefault(name, {})
        return GoogleBucket(name, self.endpoint, root=root, key=json.dumps(self.key))

    def age(self, name: str, seconds: float) -> None:
        """Make all objects of a bucket older."""
        for one in self.buckets[name].values():
            one.written -= seconds

    # Answers.

    def _answer(self, asked: BaseHTTPRequestHandler, body: bytes) -> Answer:
        parts = urlsplit(asked.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.requests.append(f"{asked.command} {parts.path}")
        if "X-Goog-Signature" in query:
            self._check_signature(asked, parts.path, query)
        name, _, key = unquote(parts.path[1:]).partition("/")
        if name not in self.buckets:
            raise Refused(404, "NoSuchBucket")
        objects = self.buckets[name]
        if not key:
            return _listed(name, objects, query)
        if "uploads" in query or "uploadId" in query:
            return self._multipart(asked, objects, key, query, body)
        match asked.command:
            case "GET" | "HEAD":
                return self._read(asked, objects, key)
            case "PUT":
                return self._write(asked, objects, key, body)
            case "DELETE":
                if objects.pop(key, None) is None:
                    raise Refused(404, "NoSuchKey")
                return Answer(204)
        raise Refused(405, "MethodNotAllowed")

    def _check_signature(
        self, asked: BaseHTTPRequestHandler, path: str, query: dict[str, str]
    ) -> None:
        signature = bytes.fromhex(query.pop("X-Goog-Signature"))
        named = sorted(query["X-Goog-SignedHeaders"].split(";"))
        # obstore signs for Google's own host, wherever it sends requests.
        sent = {name.lower(): value for name, value in asked.headers.items()} | {"host": HOST}
        headers = "".join(f"{name}:{sent[name]}\n" for name in named)
        fields = "&".join(
            f"{quote(name, safe='')}={quote(value, safe='')}"
            for name, value in sorted(query.items())
        )
        request = [asked.command, path, fields, headers, ";".join(named), "UNSIGNED-PAYLOAD"]
        digest = hashlib.sha256("\n".join(request).encode()).hexdigest()
        scope = query["X-Goog-Credential"].partition("/")[2]
        text = "\n".join([query["X-Goog-Algorithm"], query["X-Goog-Date"], scope, digest])
        try:
            self._private.public_key().verify(
                signature, text.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            raise Refused(403, "SignatureDoesNotMatch") from None
        began = datetime.strptime(query["X-Goog-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if time.time() > began.timestamp() + int(query["X-Goog-Expires"]):
            raise Refused(400, "ExpiredToken")

    def _read(self, asked: BaseHTTPRequestHandler, objects: dict[str, Stored], key: str) -> Answer:
        found = objects.get(key)
        if found is None:
            raise Refused(404, "NoSuchKey")
        headers = {
            "ETag": found.e_tag,
            "Last-Modified": formatdate(found.written, usegmt=True),
            "x-goog-generation": str(found.generation),
            "Content-Length": str(len(found.content)),
            "Content-Type": "application/octet-stream",
            **found.metadata,
        }
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("Range") or "")
        if wanted is None:
            return Answer(200, found.content, headers)
        first = int(wanted[1])
        end = min(int(wanted[2]) + 1 if wanted[2] else len(found.content), len(found.content))
        if first >= len(found.content):
            raise Refused(416, "InvalidRange")
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(found.content)}"
        headers["Content-Length"] = str(end - first)
        return Answer(206, found.content[first:end], headers)

    def _write(
        self, asked: BaseHTTPRequestHandler, objects: dict[str, Stored], key: str, body: bytes
    ) -> Answer:
        wanted = asked.headers.get("x-goog-if-generation-match")
        there = objects.get(key)
        if wanted is not None and int(wanted) != (0 if there is None else there.generation):
            raise Refused(412, "PreconditionFailed")
        source = asked.headers.get("x-goog-copy-source")
        if source is not None:
            name, _, other = unquote(source).lstrip("/").partition("/")
            if other not in self.buckets.get(name, {}):
                raise Refused(404, "NoSuchKey")
            copied = self.buckets[name][other]
            return self._store(objects, key, copied.content, copied.metadata)
        sent = {one.lower(): value for one, value in asked.headers.items()}
        metadata = {one: sent[one] for one in sent if one.startswith("x-goog-meta-")}
        return self._store(objects, key, body, metadata)

    def _store(
        self, objects: dict[str, Stored], key: str, content: bytes, metadata: dict[str, str]
    ) -> Answer:
        self._generation += 1
        objects[key] = Stored(content, self._generation, time.time(), metadata)
        headers = {"ETag": objects[key].e_tag, "x-goog-generation": str(self._generation)}
        return Answer(200, b"", headers)

    def _multipart(
        self,
        asked: BaseHTTPRequestHandler,
        objects: dict[str, Stored],
        key: str,
        query: dict[str, str],
        body: bytes,
    ) -> Answer:
        if "uploads" in query:
            upload = str(len(self._uploads) + 1)
            self._uploads[upload] = {}
            text = (
                "<?xml version='1.0'?><InitiateMultipartUploadResult><Bucket>b</Bucket>"
                f"<Key>{escape(key)}</Key><UploadId>{upload}</UploadId>"
                "</InitiateMultipartUploadResult>"
            )
            return Answer(200, text.encode())
        parts = self._uploads[query["uploadId"]]
        if asked.command == "PUT":
            parts[int(query["partNumber"])] = body
            return Answer(
                200, b"", {"ETag": f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'}
            )
        if asked.command == "DELETE":
            return Answer(204)
        stored = self._store(objects, key, b"".join(parts[one] for one in sorted(parts)), {})
        text = (
            "<?xml version='1.0'?><CompleteMultipartUploadResult>"
            f"<ETag>{escape(stored.headers['ETag'])}</ETag></CompleteMultipartUploadResult>"
        )
        return Answer(200, text.encode(), stored.headers)


def _listed(name: str, objects: dict[str, Stored], query: dict[str, str]) -> Answer:
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    token = query.get("continuation-token")
    after = base64.b64decode(token).decode() if token else query.get("start-after", "")
    found: list[str] = []
    above: dict[str, None] = {}
    for key in sorted(objects):
        if not key.startswith(prefix) or key <= after:
            continue
        folder, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
        if cut:
            above[f"{prefix}{folder}{delimiter}"] = None
        else:
            found.append(key)
        if len(found) == PAGE:
            break
    text = f"<?xml version='1.0'?><ListBucketResult><Name>{name}</Name>"
    for key in found:
        one = objects[key]
        moment = datetime.fromtimestamp(one.written, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        text += (
            f"<Contents><Key>{escape(key)}</Key><Size>{len(one.content)}</Size>"
            f"<Generation>{one.generation}</Generation><LastModified>{moment}Z</LastModified>"
            f"<ETag>{escape(one.e_tag)}</ETag></Contents>"
        )
    text += "".join(
        f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in above
    )
    if len(found) == PAGE:
        token = base64.b64encode(found[-1].encode()).decode()
        text += f"<NextContinuationToken>{token}</NextContinuationToken>"
    return Answer(200, f"{text}</ListBucketResult>".encode(), {"Content-Type": "application/xml"})
