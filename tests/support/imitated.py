"""A registry in memory that deletes as others do, where they differ from Distribution.

Each behaviour has its source where it is named below, or in tests/registries/scripted.py.
"""

import json
import re
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from jettison.demo.images import Image
from jettison.model.digest import Digest

MANIFEST = re.compile(r"/v2/(.+)/manifests/([^/]+)")
TAGS = re.compile(r"/v2/(.+)/tags/list")
REFERRERS = re.compile(r"/v2/(.+)/referrers/([^/]+)")
BLOB = re.compile(r"/v2/(.+)/blobs/(sha256:[0-9a-f]+)")


class Reply(NamedTuple):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})


def refusal(status: int, code: str, message: str) -> Reply:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Reply(status, body, {"Content-Type": "application/json"})


class Repository:
    def __init__(self) -> None:
        self.manifests: dict[str, tuple[bytes, str]] = {}
        self.tags: dict[str, str] = {}


class Imitated:
    """Set what is special about it, push, use it in a ``with`` block.

    ``before`` is called with method and path before each request and may answer it.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.before: Callable[[str, str], Reply | None] = lambda _method, _path: None
        self.can_untag = True
        self.tags_first = False
        """Google: 400 to the DELETE of a digest while a tag is on it."""
        self.referrers_first = False
        """GitLab with its database: 409 while a referrer with that `subject` is there."""
        self.tags_outlive = False
        """go-containerregistry: tags are entries of their own, and stay."""
        self.outlived: dict[str, tuple[bytes, str]] = {}
        self.locked: dict[str, Reply] = {}
        """Digests and tags that are not deleted, and what is answered instead."""
        self._lock = threading.RLock()
        self._server: ThreadingHTTPServer | None = None

    # Set-up.

    def push(self, repository: str, tag: str, image: Image) -> Digest:
        with self._lock:
            self.blobs |= {str(blob.digest): blob.raw for blob in image.blobs()}
            digest = str(image.digest)
            self.put(repository, digest, image.manifest.raw, image.manifest.media_type)
            self.put(repository, tag, image.manifest.raw, image.manifest.media_type)
            return image.digest

    def put(self, repository: str, reference: str, raw: bytes, kind: str) -> Digest:
        with self._lock:
            here = self.repositories.setdefault(repository, Repository())
            digest = Digest.of(raw)
            here.manifests[digest] = (raw, kind)
            if ":" not in reference:
                here.tags[reference] = digest
            return digest

    def tags(self, repository: str) -> list[str]:
        return sorted(self.repositories[repository].tags)

    @property
    def host(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _go(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.partition("?")[0]
                outer.requests.append(f"{self.command} {path}")
                reply = outer.before(self.command, path)
                if reply is None:
                    with outer._lock:
                        kind = self.headers.get("Content-Type") or ""
                        reply = outer._answer(self.command, path, body, kind)
                self.send_response(reply.status)
                self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)

        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            setattr(Handler, f"do_{method}", Handler._go)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    # Answers.

    def _answer(self, method: str, path: str, body: bytes, kind: str) -> Reply:
        if path == "/v2/":
            return _json({})
        if path == "/v2/_catalog":
            return _json({"repositories": sorted(self.repositories)})
        if found := TAGS.fullmatch(path):
            here = self.repositories.get(found[1])
            if here is None:
                return refusal(404, "NAME_UNKNOWN", "repository name not known to registry")
            return _json({"name": found[1], "tags": sorted(here.tags)})
        if (found := BLOB.fullmatch(path)) and found[2] in self.blobs:
            return Reply(200, self.blobs[found[2]], {"Content-Type": "application/octet-stream"})
        if (found := REFERRERS.fullmatch(path)) and self.referrers_first:
            return self._referrers(found[1], found[2])
        if found := MANIFEST.fullmatch(path):
            return self._manifest(method, found[1], found[2], body, kind)
        return Reply(404, b"404 page not found\n", {"Content-Type": "text/plain"})

    def _about(self, repository: str, subject: str) -> list[str]:
        manifests = self.repositories.get(repository, Repository()).manifests
        return [
            digest
            for digest, (raw, _) in manifests.items()
            if json.loads(raw).get("subject", {}).get("digest") == subject
        ]

    def _referrers(self, repository: str, subject: str) -> Reply:
        kind = "application/vnd.oci.image.manifest.v1+json"
        found = [
            {"mediaType": kind, "digest": digest, "size": 1}
            for digest in self._about(repository, subject)
        ]
        index = "application/vnd.oci.image.index.v1+json"
        reply = _json({"schemaVersion": 2, "mediaType": index, "manifests": found})
        return reply._replace(headers={"Content-Type": index})

    def _manifest(self, method: str, name: str, reference: str, body: bytes, kind: str) -> Reply:
        if method == "PUT":
            digest = self.put(name, reference, body, kind)
            return Reply(201, b"", {"Docker-Content-Digest": digest})
        here = self.repositories.get(name, Repository())
        if method == "DELETE":
            return self._delete(name, here, reference)
        found = here.manifests.get(here.tags.get(reference, reference))
        if found is None and self.tags_outlive and reference in here.tags:
            found = self.outlived[here.tags[reference]]
        if found is None:
            return refusal(404, "MANIFEST_UNKNOWN", "manifest unknown")
        headers = {"Content-Type": found[1], "Docker-Content-Digest": Digest.of(found[0])}
        return Reply(200, found[0], headers)

    def _delete(self, name: str, here: Repository, reference: str) -> Reply:
        if reference in self.locked:
            return self.locked[reference]
        if ":" not in reference:
            if not self.can_untag:
                return refusal(400, "DIGEST_INVALID", "provided digest did not match")
            if here.tags.pop(reference, None) is None:
                return refusal(404, "MANIFEST_UNKNOWN", "manifest unknown")
            return Reply(202)
        if reference not in here.manifests:
            return refusal(404, "MANIFEST_UNKNOWN", "manifest unknown")
        on_it = [tag for tag, digest in here.tags.items() if digest == reference]
        if self.tags_first and on_it:
            message = f"Manifest is still referenced by tag: {on_it[0]}"
            return refusal(400, "GOOGLE_MANIFEST_DANGLING_TAG", message)
        if self.referrers_first and self._about(name, reference):
            message = "manifest referenced by at least one other manifest"
            return refusal(409, "MANIFEST_REFERENCED", message)
        self.outlived[reference] = here.manifests.pop(reference)
        for tag in [] if self.tags_outlive else on_it:
            del here.tags[tag]
        return Reply(202)


def _json(content: Any) -> Reply:
    return Reply(200, json.dumps(content).encode(), {"Content-Type": "application/json"})
