"""What the tests of the API share: small contents, and requests as clients make them."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jettison.demo import images
from jettison.model.digest import Digest
from jettison.model.mediatypes import OCI_MANIFEST
from tests.support.registry import JettisonRegistry, Response

MISSING = Digest.of(b"not there")
RAW = b"0123456789"
BLOB = Digest.of(RAW)
LARGE = images.random_bytes("large", 700_001)
VERSION = "Docker-Distribution-Api-Version"


def starting(tmp_path: Path, **options: Any) -> JettisonRegistry:
    return JettisonRegistry(tmp_path / "registry", **({"delete": True} | options))


def image(text: str = "x", **more: Any) -> images.Image:
    return images.image([images.layer({"file": text.encode()})], **more)


def document(repo: str, server: JettisonRegistry, **more: Any) -> dict[str, Any]:
    """An image manifest whose blobs are there."""
    config = server.push_blob(repo, b"{}")
    layer = server.push_blob(repo, RAW)
    kind = "application/vnd.oci.image.config.v1+json"
    layered = "application/vnd.oci.image.layer.v1.tar"
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": kind, "digest": config, "size": 2},
        "layers": [{"mediaType": layered, "digest": layer, "size": len(RAW)}],
    } | more


def put(
    server: JettisonRegistry, repo: str, ref: str, content: Any, kind: str = OCI_MANIFEST
) -> Response:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return server.request("PUT", f"/v2/{repo}/manifests/{ref}", {"Content-Type": kind}, raw)


def code(answer: Response) -> str:
    """The code of an error, whose body has the specification's form."""
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers[VERSION] == "registry/2.0"
    [error] = answer.json["errors"]
    assert set(error) <= {"code", "message", "detail"}
    assert error["message"]
    found: str = error["code"]
    return found


def path(location: str) -> str:
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def begin(server: JettisonRegistry, repo: str, query: str = "") -> str:
    """Begin an upload, and return where it goes on."""
    answer = server.request("POST", f"/v2/{repo}/blobs/uploads/{query}")
    assert answer.status == 202
    assert answer.headers["Range"] == "0-0"
    assert answer.headers["Content-Length"] == "0"
    assert answer.headers["Docker-Upload-UUID"]
    return path(answer.headers["Location"])


def chunk(server: JettisonRegistry, where: str, raw: bytes, span: str | None = None) -> Response:
    headers = {"Content-Type": "application/octet-stream"}
    if span is not None:
        headers["Content-Range"] = span
    return server.request("PATCH", where, headers, raw)


def finish(server: JettisonRegistry, where: str, digest: str, raw: bytes = b"") -> Response:
    return server.request("PUT", f"{where}&digest={digest}", {}, raw)


def link(answer: Response) -> str:
    where, relation = answer.headers["Link"].split("; ")
    assert relation == 'rel="next"'
    return str(where[1:-1])
