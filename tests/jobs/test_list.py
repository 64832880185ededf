"""What a listing costs, and what it tells of items that are bad."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import UNSET

from jettison.client import ClientOptions, RemoteRegistry
from jettison.errors import NotFoundError
from jettison.jobs.list import (
    Figures,
    Row,
    arranged,
    list_names,
    list_tags,
    tag_counts,
)
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from tests.client.scripted import Answer, Scripted

OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
APP = RepoName("app")
BROKEN = Answer(500, '{"errors": [{"code": "UNKNOWN", "message": "unknown error"}]}')


def config(seed: int) -> bytes:
    return f'{{"created": "202{seed}-01-01T00:00:00Z", "os": "linux"}}'.encode()


def manifest(seed: int) -> bytes:
    digest = Digest.of(config(seed))
    size = len(config(seed))
    return (
        f'{{"schemaVersion": 2, "mediaType": "{OCI}", "config": {{"mediaType": '
        f'"application/vnd.oci.image.config.v1+json", "digest": "{digest}", "size": {size}}}, '
        f'"layers": []}}'
    ).encode()


def index(*children: bytes) -> bytes:
    listed = ", ".join(
        f'{{"mediaType": "{OCI}", "digest": "{Digest.of(child)}", "size": {len(child)}}}'
        for child in children
    )
    return f'{{"schemaVersion": 2, "mediaType": "{INDEX}", "manifests": [{listed}]}}'.encode()


def served(raw: bytes, media_type: str = OCI) -> Answer:
    headers = {"Content-Type": media_type, "Docker-Content-Digest": str(Digest.of(raw))}
    return Answer(200, raw, headers)


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    """Five tags of four images, and of an index of two of them."""
    async with Scripted() as scripted:
        scripted.on("GET", "/v2/_catalog", Answer(body='{"repositories": ["app", "other"]}'))
        scripted.on("GET", "/v2/app/tags/list", Answer(body='{"tags": ["4", "a", "1", "2", "3"]}'))
        for tag, raw in {"1": 1, "2": 2, "3": 3, "4": 3}.items():
            scripted.on("GET", f"/v2/app/manifests/{tag}", served(manifest(raw)))
        scripted.on("GET", "/v2/app/manifests/a", served(index(manifest(1), manifest(5)), INDEX))
        for seed in range(1, 6):
            digest = Digest.of(manifest(seed))
            scripted.on("GET", f"/v2/app/manifests/{digest}", served(manifest(seed)))
            scripted.on(
                "GET", f"/v2/app/blobs/{Digest.of(config(seed))}", Answer(200, config(seed))
            )
        yield scripted


@pytest.fixture
async def registry(server: Scripted) -> AsyncIterator[RemoteRegistry]:
    async with RemoteRegistry(server.host, ClientOptions(retries=0)) as opened:
        yield opened


@pytest.fixture
def cache(tmp_path: Path) -> ManifestCache:
    return ManifestCache(tmp_path)


def asked(server: Scripted) -> list[str]:
    found = [str(one).partition("?")[0] for one in server.seen if one.path != "/v2/"]
    server.seen.clear()
    return found


TAGS = [Tag(name) for name in ("1", "2", "3", "4", "a")]


async def test_names_cost_a_request_a_page(server: Scripted, registry: RemoteRegistry) -> None:
    assert [name async for name in list_names(registry)] == ["app", "other"]
    assert [name async for name in list_names(registry, APP)] == ["4", "a", "1", "2", "3"]
    assert asked(server) == ["GET /v2/_catalog", "GET /v2/app/tags/list"]


async def test_digests_and_sizes_cost_a_request_a_tag(
    server: Scripted, registry: RemoteRegistry, cache: ManifestCache
) -> None:
    listing = await list_tags(registry, APP, TAGS, Figures(), cache=cache)
    rows = {row.tag: row for row in listing.rows}
    assert list(rows) == TAGS
    assert rows[Tag("3")].digest == Digest.of(manifest(3))
    assert rows[Tag("3")].siblings == ("4",)
    assert rows[Tag("1")].size == len(manifest(1)) + len(config(1))
    both = [*map(len, (manifest(1), manifest(5), config(1), config(5)))]
    assert rows[Tag("a")].size == len(index(manifest(1), manifest(5))) + sum(both)
    assert (rows[Tag("1")].exclusive_size, rows[Tag("1")].created) == (UNSET, UNSET)
    of_tags = [f"GET /v2/app/manifests/{tag}" for tag in TAGS]
    # One child of the index has no tag.
    assert sorted(asked(server)) == sorted(
        [*of_tags, f"GET /v2/app/manifests/{Digest.of(manifest(5))}"]
    )
    await list_tags(registry, APP, TAGS, Figures(), cache=cache)
    assert sorted(asked(server)) == of_tags
    await list_tags(registry, APP, TAGS[:2], Figures(), cache=cache)
    assert sorted(asked(server)) == of_tags[:2]


async def test_when_images_were_made_costs_one_more_once(
    server: Scripted, registry: RemoteRegistry, cache: ManifestCache
) -> None:
    listing = await list_tags(registry, APP, TAGS, Figures(created=True), cache=cache)
    assert [row.created for row in listing.rows] == [
        f"202{year}-01-01T00:00:00Z" for year in (1, 2, 3, 3, 1)
    ]
    assert len([one for one in asked(server) if "/blobs/" in one]) == 3
    await list_tags(registry, APP, TAGS, Figures(created=True), cache=cache)
    assert [one for one in asked(server) if "/blobs/" in one] == []


async def test_bad_tags_are_marked_and_the_others_listed(
    server: Scripted, registry: RemoteRegistry
) -> None:
    server.on("GET", "/v2/app/manifests/2", BROKEN)
    server.on(
        "GET", "/v2/app/manifests/3", Answer(404, '{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
    )
    listing = await list_tags(registry, APP, TAGS, Figures())
    told = {row.tag: row.what for row in listing.rows}
    assert told == {
        "1": "image",
        "2": "could not be read",
        "3": "broken: no manifest",
        "4": "image",
        "a": "index of 2",
    }
    [problem] = listing.problems
    assert problem.subject == "2"
    assert "unknown error" in problem.message


async def test_a_repository_that_cannot_be_counted(
    server: Scripted, registry: RemoteRegistry
) -> None:
    server.on("GET", "/v2/other/tags/list", BROKEN)
    found = await tag_counts(registry, [APP, RepoName("other")])
    assert found.tags == {"app": 5}
    assert [problem.subject for problem in found.problems] == ["other"]


async def test_the_nearest_repositories(registry: RemoteRegistry) -> None:
    with pytest.raises(NotFoundError, match="no repository othr") as caught:
        _ = [name async for name in list_names(registry, RepoName("othr"))]
    assert "other" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("sort", "wanted"),
    [
        ("name", ["a", "b", "c", "d"]),
        ("created", ["d", "b", "a", "c"]),
        ("size", ["a", "b", "d", "c"]),
        ("exclusive", ["c", "a", "b", "d"]),
    ],
)
def test_orders(sort: str, wanted: list[str]) -> None:
    figures: dict[str, tuple[int | None, int | None, str | None]] = {
        "d": (1, None, "2026-01-01T00:30:00+00:00"),
        "c": (None, 9, None),
        "b": (5, 1, "2026-01-01T01:00:00+01:00"),
        "a": (5, 3, "2025-12-31T23:00:00.123456789Z"),
    }
    rows = [
        Row(Tag(name), size=size, exclusive_size=exclusive, created=created)
        for name, (size, exclusive, created) in figures.items()
    ]
    assert [row.tag for row in arranged(rows, sort)] == wanted
    assert [row.tag for row in arranged(rows, sort, limit=2)] == wanted[:2]
