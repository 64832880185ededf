"""What each product's API answers, as its documentation has it. None of them can be had here."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.model.retention.evidence import Evidence
from tests.client.scripted import Answer, Scripted

REPO = RepoName("team/app/web")
ONE, TWO, THREE = (Digest.of(text) for text in (b"one", b"two", b"three"))
ZERO = "0001-01-01T00:00:00.000Z"

Pages = Mapping[str, Any]
"""Answers by the value of the parameter that asks for a page; "" for the first."""


@dataclass
class Product:
    """An API with two pages of answers where it has pages."""

    name: str
    path: str
    pages: Pages
    key: str = "page"
    """The parameter whose value asks for a page."""
    next: Callable[[str], dict[str, str]] = lambda _: {}
    """The headers that lead from a page to the next one."""
    more: dict[str, Any] = field(default_factory=dict)
    """Answers to other paths."""
    tags: dict[str, tuple[str, str | None, str | None]] = field(default_factory=dict)
    """What is to be found: the source of the push, pushed, pulled."""
    manifests: dict[str, tuple[str, str | None, str | None]] = field(default_factory=dict)

    def serve(self, server: Scripted) -> None:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            page = request.query.get(self.key, "")
            if self.key == "page" and page == "1":
                page = ""
            return web.json_response(self.pages[page], headers=self.next(page))

        server.on("GET", self.path, answer)
        for path, body in self.more.items():
            server.on("GET", path, Answer(body=json.dumps(body)))


def links(first: str, following: str, total: int | None = None) -> Callable[[str], dict[str, str]]:
    """The `Link` from the first page to the second, as if the server had an inner name."""
    counted = {} if total is None else {"X-Total-Count": str(total)}

    def headers(page: str) -> dict[str, str]:
        if page != first:
            return counted
        return {"Link": f'<http://inner:8080{following}>; rel="next"', **counted}

    return headers


def milliseconds(text: str) -> str:
    return str(int(datetime.fromisoformat(text).timestamp() * 1000))


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def told(evidence: Evidence) -> tuple[dict[str, Any], dict[str, Any]]:
    """The evidence as `Product` writes it."""

    def texts(times: Mapping[Any, Any]) -> dict[str, Any]:
        return {
            str(key): (
                one.pushed.source if one.pushed else "",
                _text(one.pushed),
                _text(one.pulled),
            )
            for key, one in times.items()
        }

    return texts(evidence.tags), texts(evidence.manifests)


def _text(moment: Any) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(moment.seconds, UTC).isoformat().replace("+00:00", "Z")


_HARBOR = "/api/v2.0/projects/team/repositories/app%2Fweb/artifacts"
_A, _B, _C = "2024-03-01T10:00:00Z", "2025-04-02T11:30:00Z", "2026-05-03T12:45:00Z"

PRODUCTS = {
    "Harbor": Product(
        "Harbor",
        _HARBOR,
        {
            "": [
                {
                    "id": 1,
                    "digest": ONE,
                    "push_time": _A,
                    "pull_time": _C,
                    "extra_attrs": {"config": {"Env": ["A=1"]}},
                    "tags": [
                        {"name": "1", "push_time": _B, "pull_time": _C, "immutable": False},
                        {"name": "latest", "push_time": _C, "pull_time": ZERO},
                    ],
                }
            ],
            "2": [{"digest": TWO, "push_time": _B, "pull_time": ZERO, "tags": None}],
        },
        next=links("", f"{_HARBOR}?page=2&page_size=100", 2),
        tags={"1": ("Harbor push_time", _B, _C), "latest": ("Harbor push_time", _C, None)},
        manifests={ONE: ("Harbor push_time", _A, _C), TWO: ("Harbor push_time", _B, None)},
    ),
    "Quay": Product(
        "Quay",
        f"/api/v1/repository/{REPO}/tag/",
        {
            "": {
                "tags": [
                    {"name": "1", "start_ts": seconds(_A), "manifest_digest": ONE},
                    # It was moved: an older server takes no heed of onlyActiveTags.
                    {"name": "old", "start_ts": seconds(_A), "end_ts": seconds(_B)},
                ],
                "page": 1,
                "has_additional": True,
            },
            "2": {
                "tags": [
                    # It will expire, and is there.
                    {"name": "2", "start_ts": seconds(_B), "end_ts": 4_000_000_000},
                    {"name": "3", "start_ts": 0, "reversion": False},
                ],
                "page": 2,
                "has_additional": False,
            },
        },
        tags={
            "1": ("Quay start_ts", _A, None),
            "2": ("Quay start_ts", _B, None),
            "3": ("", None, None),
        },
    ),
    "GitLab with database": Product(
        "GitLab with database",
        f"/gitlab/v1/repositories/{REPO}/tags/list/",
        {
            "": [
                {"name": "1", "digest": ONE, "created_at": _A, "published_at": _A},
                {"name": "2", "created_at": _A, "updated_at": _B, "published_at": _B},
            ],
            "2": [
                {"name": "3", "created_at": _A, "updated_at": _C},
                {"name": "4", "created_at": _B},
                {"name": "5", "created_at": ZERO, "updated_at": None},
            ],
        },
        key="last",
        next=links("", f"/gitlab/v1/repositories/{REPO}/tags/list/?n=1000&last=2"),
        tags={
            "1": ("GitLab published_at", _A, None),
            "2": ("GitLab published_at", _B, None),
            "3": ("GitLab updated_at", _C, None),
            "4": ("GitLab created_at of the tag", _B, None),
            "5": ("", None, None),
        },
    ),
    "Gitea": Product(
        "Gitea",
        "/api/v1/packages/team",
        {
            "": [
                {"id": 3, "name": "app/web", "version": "two", "created_at": _C},
                {"id": 2, "name": "my-app/web", "version": "9", "created_at": _C},
            ],
            "2": [{"id": 1, "name": "app/web", "version": ONE, "created_at": _A}],
        },
        next=links("", "/api/v1/packages/team?limit=50&page=2&q=app%2Fweb&type=container", 3),
        tags={"two": ("Gitea created_at of the version", _C, None)},
        manifests={ONE: ("Gitea created_at of the version", _A, None)},
    ),
    "Google": Product(
        "Google",
        f"/v2/{REPO}/tags/list",
        {
            "": {
                "child": [],
                "manifest": {
                    ONE: {
                        "imageSizeBytes": "4",
                        "mediaType": "application/vnd.oci.image.manifest.v1+json",
                        "tag": ["1", "latest"],
                        "timeCreatedMs": "0",
                        "timeUploadedMs": milliseconds(_A),
                    },
                    # Artifact Registry writes a number.
                    TWO: {"tag": [], "timeUploadedMs": int(milliseconds(_B))},
                    THREE: {"timeUploadedMs": "0"},
                },
                "name": REPO,
                "tags": ["1", "latest"],
            }
        },
        manifests={
            ONE: ("Google timeUploadedMs", _A, None),
            TWO: ("Google timeUploadedMs", _B, None),
            THREE: ("", None, None),
        },
    ),
    "Azure Container Registry": Product(
        "Azure Container Registry",
        f"/acr/v1/{REPO}/_tags",
        {
            "": {
                "imageName": REPO,
                "tags": [
                    {"name": "1", "digest": ONE, "createdTime": _A, "lastUpdateTime": _B},
                ],
            },
            "1": {"tags": [{"name": "2", "digest": TWO, "createdTime": _A}]},
        },
        key="last",
        next=links("", f"/acr/v1/{REPO}/_tags?last=1&n=1000&orderby="),
        more={
            f"/acr/v1/{REPO}/_manifests": {
                "manifests": [
                    {"digest": ONE, "createdTime": _A, "lastUpdateTime": _A, "tags": ["1"]},
                    {"digest": TWO, "createdTime": _A, "lastUpdateTime": _C},
                    {"digest": THREE, "createdTime": ZERO},
                ]
            }
        },
        tags={"1": ("ACR lastUpdateTime", _B, None), "2": ("ACR createdTime", _A, None)},
        manifests={
            ONE: ("ACR lastUpdateTime", _A, None),
            TWO: ("ACR lastUpdateTime", _C, None),
            THREE: ("", None, None),
        },
    ),
    "zot": Product(
        "zot",
        "/v2/_zot/ext/search",
        {
            "": {
                "data": {
                    "ImageList": {
                        "Page": {"TotalCount": 3, "ItemCount": 3},
                        "Results": [
                            {"Digest": ONE, "PushTimestamp": _A, "LastPullTimestamp": _C},
                            {"Digest": TWO, "PushTimestamp": _B, "LastPullTimestamp": ZERO},
                            # An index.
                            {"Digest": THREE, "PushTimestamp": None, "LastPullTimestamp": None},
                        ],
                    }
                }
            }
        },
        manifests={
            ONE: ("zot PushTimestamp", _A, _C),
            TWO: ("zot PushTimestamp", _B, None),
            THREE: ("", None, None),
        },
    ),
}

HUB = Product(
    "Docker Hub",
    "/v2/namespaces/library/repositories/nginx/tags",
    {
        "": {
            "count": 3,
            "next": "https://hub.docker.com/v2/namespaces/library/repositories/nginx/tags?page=2",
            "results": [
                {
                    "name": "1",
                    "last_updated": _C,
                    "tag_last_pushed": _A,
                    "tag_last_pulled": _B,
                    "digest": ONE,
                },
            ],
        },
        "2": {
            "count": 3,
            "next": None,
            "results": [
                {"name": "2", "last_updated": _C, "tag_last_pushed": None, "tag_last_pulled": None},
                {"name": "3", "last_updated": ZERO},
            ],
        },
    },
    tags={
        "1": ("Docker Hub tag_last_pushed", _A, _B),
        "2": ("Docker Hub last_updated", _C, None),
        "3": ("", None, None),
    },
)
