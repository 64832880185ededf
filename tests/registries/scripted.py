"""One in-memory registry that behaves as others do where they differ, each with its source.

It is for what cannot be run on a test machine. What it does beyond :class:`Ways` is what the
distribution specification says. It keeps blobs and manifests by repository and nothing else.
"""

import base64
import json
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

from jettison.model.digest import Digest
from tests.registries.beside import APIS, PASSWORD, PUSHED, UPDATED
from tests.support.registry import Remote

LOGIN: Final = ("robot", "secret")
MARK: Final = {"Docker-Distribution-Api-Version": "registry/2.0"}
INDEX: Final = "application/vnd.oci.image.index.v1+json"
_BASIC: Final = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


def error(status: int, code: str, message: str = "", **headers: str) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message or code.lower()}]})
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, body.encode(), {"Content-Type": "application/json"} | sent)


# As Go's router says it, and so most registries.
UNROUTED: Final = Answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})


def document(value: object, **headers: str) -> Answer:
    return Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"} | headers)


@dataclass(frozen=True)
class Ways:
    """Where a registry does not do as the specification says, or as Distribution does."""

    product: str
    """What the probe is to call it."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """In every answer."""
    challenge: str | None = None
    """`HERE` stands for its address; a token from there, or Basic, is needed for everything."""
    scopes: str = r"(repository|registry):\S+:\S+"
    """What its token server understands; it answers 400 to all else."""
    no_catalog: Answer | None = None
    no_delete: Answer | None = None
    """To every DELETE."""
    no_untag: Answer | None = None
    """To DELETE of a tag."""
    unknown_repository: Answer = field(default_factory=lambda: error(404, "NAME_UNKNOWN"))
    """To what is asked of a repository that it does not have."""
    referrers: bool = True
    tags_hold: bool = False
    """A manifest that has a tag cannot be deleted."""
    referrers_hold: bool = False
    """A manifest that another one names as its subject cannot be deleted."""
    blobs_go: bool = False
    """A blob is not served any more once the last manifest that lists it is gone."""
    page: int = 1000
    lists_manifests: str = ""
    """How it lists all its manifests beyond the specification: ``map`` or ``acr``."""


@dataclass
class Repository:
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def listed(self, raw: bytes) -> set[str]:
        found = json.loads(raw)
        parts = [found.get("config") or {}, *(found.get("layers") or ())]
        return {part["digest"] for part in parts if "digest" in part}

    def tags_of(self, digest: str) -> list[str]:
        return sorted(tag for tag, to in self.tags.items() if to == digest)

    def referring(self, digest: str) -> list[tuple[str, str, bytes]]:
        return [
            (name, media_type, raw)
            for name, (media_type, raw) in self.manifests.items()
            if (json.loads(raw).get("subject") or {}).get("digest") == digest
        ]


class ScriptedRegistry(Remote):
    """Serves from a thread of its own, so that a test may block; `with` starts and stops it."""

    def __init__(self, ways: Ways) -> None:
        self.ways = ways
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        self.authorization = _BASIC if ways.challenge else None
        self._lock = threading.Lock()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def answer(self) -> None:
                body = self.body()
                given = registry.answer(self.command, self.path, dict(self.headers), body)
                self.send_response(given.status)
                for name, value in (MARK | dict(ways.headers) | dict(given.headers)).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(given.body)))
                self.end_headers()
                if self.command != "HEAD":
                    with suppress(OSError):  # who only wants to see that bytes come hangs up
                        self.wfile.write(given.body)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

            def handle_one_request(self) -> None:
                with suppress(OSError):
                    super().handle_one_request()
                    return
                self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # -- answers -------------------------------------------------------------------------------

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        with self._lock:
            self.asked.append(f"{method} {target}")
            url = urlsplit(target)
            query = parse_qs(url.query)
            if url.path in {"/v2/auth", "/v2/token", "/token", "/service/token", "/jwt/auth"}:
                return self._token(headers, query)
            if self.ways.challenge and not self._may(headers):
                here = f"http://{self.host}"
                challenge = self.ways.challenge.replace("HERE", here)
                return error(401, "UNAUTHORIZED", WWW_Authenticate=challenge)
            if url.path.startswith(PASSWORD) and headers.get("Authorization") != _BASIC:
                return error(401, "UNAUTHORIZED")
            beside = APIS.get(self.ways.product)
            told = None if beside is None else beside(url.path, query, self.repositories)
            if told is not None:
                return document(told)
            return self._api(method, url.path, query, headers, body)

    def _may(self, headers: Mapping[str, str]) -> bool:
        given = headers.get("Authorization", "")
        return given in {_BASIC, "Bearer good"}

    def _token(self, headers: Mapping[str, str], query: Mapping[str, list[str]]) -> Answer:
        for scope in query.get("scope", []):
            if re.fullmatch(self.ways.scopes, scope) is None:
                message = f"Unable to decode repository and actions: {scope}"
                return error(400, "INVALID_REQUEST", message)
        if headers.get("Authorization") != _BASIC:
            return error(401, "UNAUTHORIZED")
        return document({"token": "good"})

    def _api(
        self,
        method: str,
        path: str,
        query: Mapping[str, list[str]],
        headers: Mapping[str, str],
        body: bytes,
    ) -> Answer:
        if path == "/v2/":
            return document({})
        if path == "/v2/_catalog":
            names = [name for name, found in self.repositories.items() if found.manifests]
            return self.ways.no_catalog or self._page("repositories", names, path, query)
        routes: list[tuple[str, Callable[..., Answer]]] = [
            (r"/v2/(.+)/tags/list", self._tags),
            (r"/v2/(.+)/referrers/([^/]+)", self._referrers),
            (r"/v2/(.+)/blobs/uploads/([^/]*)", self._upload),
            (r"/v2/(.+)/blobs/([^/]+)", self._blob),
            (r"/v2/(.+)/manifests/([^/]+)", self._manifest),
            (r"/acr/v1/(.+)/(_tags|_manifests)", self._metadata),
        ]
        for pattern, handle in routes:
            if found := re.fullmatch(pattern, path):
                name, *rest = found.groups()
                return handle(method, name, *rest, query=query, headers=headers, body=body)
        return UNROUTED

    def _page(
        self, key: str, names: list[str], path: str, query: Mapping[str, list[str]]
    ) -> Answer:
        number = min(int(query.get("n", ["1000"])[0]), self.ways.page)
        last = query.get("last", [""])[0]
        left = [name for name in sorted(names) if name > last]
        shown = left[:number]
        more = f'<{path}?last={shown[-1]}&n={number}>; rel="next"' if left[number:] else None
        return document({key: shown}, **({"Link": more} if more else {}))

    def _tags(self, _: str, name: str, *, query: Mapping[str, list[str]], **_rest: Any) -> Answer:
        found = self.repositories.get(name)
        if found is None:
            return self.ways.unknown_repository
        if self.ways.lists_manifests == "map":
            listed = {
                digest: {"tag": found.tags_of(digest), "timeUploadedMs": str(PUSHED * 1000)}
                for digest in found.manifests
            }
            return document({"name": name, "tags": sorted(found.tags), "manifest": listed})
        return self._page("tags", list(found.tags), f"/v2/{name}/tags/list", query)

    def _metadata(
        self, _: str, name: str, what: str, *, query: Mapping[str, list[str]], **_rest: Any
    ) -> Answer:
        if self.ways.lists_manifests != "acr":
            return UNROUTED
        found = self.repositories.get(name, Repository())
        of = found.tags if what == "_tags" else {digest: digest for digest in found.manifests}
        left = sorted(key for key in of if key > query.get("last", [""])[0])
        shown = left[:2]
        key = "name" if what == "_tags" else "digest"
        entries = [{"digest": of[one], key: one, "lastUpdateTime": UPDATED} for one in shown]
        more = f'</acr/v1/{name}/{what}?last={shown[-1]}>; rel="next"' if left[len(shown) :] else ""
        return document({what[1:]: entries}, **({"Link": more} if more else {}))

    def _referrers(self, _: str, name: str, digest: str, **_rest: Any) -> Answer:
        if not self.ways.referrers:
            return UNROUTED
        found = self.repositories.get(name, Repository()).referring(digest)
        entries = [
            {"mediaType": media_type, "digest": one, "size": len(raw)}
            for one, media_type, raw in found
        ]
        body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
        return document(body)._replace(headers={"Content-Type": INDEX})

    def _upload(
        self,
        method: str,
        name: str,
        identity: str,
        *,
        query: Mapping[str, list[str]],
        body: bytes,
        **_rest: Any,
    ) -> Answer:
        found = self.repositories.setdefault(name, Repository())
        if method == "POST":
            return Answer(202, b"", {"Location": f"/v2/{name}/blobs/uploads/{len(self.asked)}"})
        held = found.blobs.pop(identity, b"") + body
        if method == "PATCH":
            found.blobs[identity] = held
            return Answer(202, b"", {"Location": f"/v2/{name}/blobs/uploads/{identity}"})
        found.blobs[query["digest"][0]] = held
        return Answer(201)

    def _blob(self, method: str, name: str, digest: str, **_rest: Any) -> Answer:
        raw = self.repositories.get(name, Repository()).blobs.get(digest)
        if raw is None:
            return error(404, "BLOB_UNKNOWN")
        if method == "DELETE":
            return self.ways.no_delete or error(405, "UNSUPPORTED")
        return Answer(200, raw, {"Content-Type": "application/octet-stream"})

    def _manifest(
        self,
        method: str,
        name: str,
        reference: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        **_rest: Any,
    ) -> Answer:
        if method == "PUT":
            found = self.repositories.setdefault(name, Repository())
            digest = str(Digest.of(body))
            found.manifests[digest] = (headers.get("Content-Type", ""), body)
            if ":" not in reference:
                found.tags[reference] = digest
            return Answer(201, b"", {"Docker-Content-Digest": digest})
        if method == "DELETE" and self.ways.no_delete is not None:
            return self.ways.no_delete
        if method == "DELETE" and self.ways.no_untag is not None and ":" not in reference:
            return self.ways.no_untag
        here = self.repositories.get(name)
        if here is None:
            return self.ways.unknown_repository
        digest = here.tags.get(reference, reference)
        if digest not in here.manifests:
            return error(404, "MANIFEST_UNKNOWN")
        if method == "DELETE":
            return self._delete(here, reference, digest)
        media_type, raw = here.manifests[digest]
        return Answer(200, raw, {"Content-Type": media_type, "Docker-Content-Digest": digest})

    def _delete(self, here: Repository, reference: str, digest: str) -> Answer:
        if reference in here.tags:
            del here.tags[reference]
            return Answer(202)
        tags = [tag for tag, to in here.tags.items() if to == digest]
        if tags and self.ways.tags_hold:
            message = f"Manifest is still referenced by tag: {tags[0]}"
            return error(400, "GOOGLE_MANIFEST_DANGLING_TAG", message)
        if self.ways.referrers_hold and here.referring(digest):
            message = "manifest is referenced by one or more manifests"
            return error(409, "MANIFEST_REFERENCED", message)
        del here.manifests[digest]
        for tag in tags:
            del here.tags[tag]
        if self.ways.blobs_go:
            needed = {one for _, raw in here.manifests.values() for one in here.listed(raw)}
            here.blobs = {one: raw for one, raw in here.blobs.items() if one in needed}
        return Answer(202)


# -- who does what -----------------------------------------------------------------------------

_UNSUPPORTED: Final = error(405, "UNSUPPORTED", "The operation is unsupported.")

SCRIPTED: Final = {
    # quay/quay, endpoints/v2/v2auth.py: SCOPE_REGEX_TEMPLATE takes push, pull and * as actions and
    # nothing but repositories; all else is "Unable to decode repository and actions", a 400.
    "quay": Ways(
        product="Quay",
        challenge='Bearer realm="HERE/v2/auth",service="quay.example"',
        scopes=r"repository:[.a-zA-Z0-9_/-]+:(?:push|pull|\*)(?:,(?:push|pull|\*))*",
    ),
    # goharbor/harbor, src/server/registry/manifest.go, deleteManifest: "v2 doesn't support delete
    # by tag", UNSUPPORTED, which src/lib/http answers with 405; by digest it takes all tags along.
    # Robot accounts may lack the catalog: src/server/registry/catalog.go asks for system rights.
    "harbor": Ways(
        product="Harbor",
        challenge='Bearer realm="HERE/service/token",service="harbor-registry"',
        no_untag=error(405, "UNSUPPORTED", "unsupported digest"),
        no_catalog=error(403, "DENIED", "robot account may not list repositories"),
        unknown_repository=error(404, "NOT_FOUND", "repository not found"),
    ),
    # GitLab's container registry with its metadata database, tried on a fork: 500 to a DELETE in a
    # repository that it does not have, 409 while a referrer is there. The headers:
    # docs.gitlab.com, "Container registry metadata database", "Check the registry API response
    # header".
    "gitlab": Ways(
        product="GitLab with database",
        headers={
            "Gitlab-Container-Registry-Version": "4.29.0-gitlab",
            "Gitlab-Container-Registry-Database-Enabled": "true",
        },
        unknown_repository=error(500, "UNKNOWN", "unknown error"),
        referrers=False,
        referrers_hold=True,
    ),
    # go-gitea/gitea, routers/api/packages/container: ReqContainerAccess gives the challenge,
    # unknown routes are answered by Go's router. Tried on 1.26: blobs are gone at once.
    "gitea": Ways(
        product="Gitea",
        challenge='Bearer realm="HERE/v2/token",service="container_registry",scope="*"',
        referrers=False,
        blobs_go=True,
    ),
    # zot 2.1, tried: 400 NAME_UNKNOWN for a repository that it does not have.
    "zot": Ways(
        product="zot",
        challenge='Basic realm="zot"',
        unknown_repository=error(400, "NAME_UNKNOWN", "repository name not known to registry"),
    ),
    # Google's registries: cloud.google.com/artifact-registry/docs, "Deleting images": tags first;
    # the code and its text as many tools report them. The list of tags has all manifests beside:
    # google/go-containerregistry, pkg/v1/google/list.go.
    "google": Ways(
        product="Google",
        challenge='Bearer realm="HERE/v2/token",service="europe-docker.pkg.dev"',
        tags_hold=True,
        lists_manifests="map",
    ),
    # Azure/azure-rest-api-specs, data-plane/Azure.ContainerRegistry/stable/2021-07-01.
    "azure": Ways(
        product="Azure Container Registry",
        headers={"X-MS-Correlation-Request-Id": "1"},
        challenge='Bearer realm="HERE/token",service="example.azurecr.io"',
        lists_manifests="acr",
    ),
    # docs.github.com, "Deleting and restoring a package": by its own API alone.
    "github": Ways(
        product="GitHub",
        headers={"X-GitHub-Request-Id": "A1:B2"},
        challenge='Bearer realm="HERE/token",service="ghcr.io"',
        no_delete=_UNSUPPORTED,
        no_catalog=error(403, "DENIED"),
        referrers=False,
    ),
    # docs.docker.com, "Docker Hub API": deletion is there and not in the registry's.
    "hub": Ways(
        product="Docker Hub",
        challenge='Bearer realm="HERE/token",service="registry.docker.io"',
        no_delete=_UNSUPPORTED,
        no_catalog=error(401, "UNAUTHORIZED", WWW_Authenticate='Bearer realm="none"'),
    ),
    # docs.aws.amazon.com/AmazonECR, "Private registry authentication", and BatchDeleteImage; its
    # lists come in pages of at most 1,000 names.
    "ecr": Ways(
        product="Amazon ECR",
        challenge='Basic realm="HERE/",service="ecr.amazonaws.com"',
        no_delete=_UNSUPPORTED,
        page=2,
    ),
}
