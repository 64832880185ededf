"""One bad item does not end a look at a registry: it is said, and bytes become upper bounds."""

from collections.abc import AsyncIterator

import pytest

from jettison.client import ClientOptions, RemoteRegistry
from jettison.errors import RegistryError
from jettison.jobs.discover import NEAR, Extent, discover, resolve_tags
from jettison.model.digest import Digest
from jettison.model.listing_problems import ProblemCode
from jettison.model.names import RepoName, Tag
from tests.client.scripted import Answer, Scripted

OCI = "application/vnd.oci.image.manifest.v1+json"
EMPTY = Digest.of(b"{}")
MANIFEST = (
    f'{{"schemaVersion": 2, "mediaType": "{OCI}", "config": {{"mediaType": "x/config", '
    f'"digest": "{EMPTY}", "size": 2}}, "layers": []}}'
).encode()
DIGEST = Digest.of(MANIFEST)
GOOD = Answer(200, MANIFEST, {"Content-Type": OCI, "Docker-Content-Digest": str(DIGEST)})
BROKEN = Answer(500, '{"errors": [{"code": "UNKNOWN", "message": "unknown error"}]}')
APP, OTHER = RepoName("app"), RepoName("other")


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with Scripted() as scripted:
        scripted.on("GET", "/v2/_catalog", Answer(body='{"repositories": ["app", "other"]}'))
        for name in ("app", "other"):
            scripted.on("GET", f"/v2/{name}/tags/list", Answer(body='{"tags": ["1", "2"]}'))
            for reference in ("1", "2", str(DIGEST)):
                scripted.on("GET", f"/v2/{name}/manifests/{reference}", GOOD)
                scripted.on("HEAD", f"/v2/{name}/manifests/{reference}", GOOD)
        yield scripted


@pytest.fixture
async def registry(server: Scripted) -> AsyncIterator[RemoteRegistry]:
    async with RemoteRegistry(server.host, ClientOptions(retries=0)) as opened:
        yield opened


def broken(server: Scripted, repository: str, reference: str, answer: Answer = BROKEN) -> None:
    for method in ("GET", "HEAD"):
        server.on(method, f"/v2/{repository}/manifests/{reference}", answer)


async def test_a_tag_that_answers_500(server: Scripted, registry: RemoteRegistry) -> None:
    broken(server, "app", "2")
    found = await resolve_tags(registry, APP)
    assert found.tags == {Tag("1"): DIGEST}
    [problem] = found.problems
    assert (problem.code, problem.subject) == (ProblemCode.FAILING, "2")
    assert "unknown error" in problem.message  # the registry's own words
    snapshot = await discover(registry, wanted=[APP])
    assert snapshot.repositories[APP].problems == tuple(found.problems)
    assert any(sentence.startswith("app: 1 tag could not be read") for sentence in snapshot.unknown)


@pytest.mark.parametrize(
    ("path", "answer", "sentence"),
    [
        (
            "/v2/_catalog",
            Answer(504, "<html>", {"Content-Type": "text/html"}),
            "could not be listed",
        ),
        ("/v2/_catalog", Answer(401, "", {"WWW-Authenticate": 'Basic realm="r"'}), "be listed"),
        ("/v2/_catalog", Answer(400, '{"errors": [{"code": "X"}]}'), "could not be listed"),
        ("/v2/_catalog", Answer(200, '{"repositories": ["app", "Team/App"]}'), "Team/App"),
        ("/v2/other/tags/list", Answer(403), "other: "),
        ("/v2/other/tags/list", BROKEN, "other: "),
        ("/v2/other/tags/list", Answer(200, "<html>"), "other: "),
        ("/v2/other/tags/list", Answer(200, "<p>", {"Content-Type": "text/html"}), "other: "),
        ("/v2/_catalog", Answer(200, "<p>", {"Content-Type": "text/html"}), "be listed"),
        ("/v2/_catalog", Answer(404, "<p>", {"Content-Type": "text/html"}), "be listed"),
        ("/v2/other/tags/list", Answer(200, '{"tags": ["1", "-x"]}'), "-x"),
    ],
)
async def test_elsewhere_something_is_wrong(
    server: Scripted, registry: RemoteRegistry, path: str, answer: Answer, sentence: str
) -> None:
    server.on("GET", path, answer)
    snapshot = await discover(registry, wanted=[APP])
    assert snapshot.repositories[APP].tags == {Tag("1"): DIGEST, Tag("2"): DIGEST}
    assert not snapshot.exact
    assert any(sentence in one for one in snapshot.unknown)


@pytest.mark.parametrize("answer", [Answer(403), BROKEN, Answer(200, "<html>")])
async def test_what_was_asked_for_must_be_listed(
    server: Scripted, registry: RemoteRegistry, answer: Answer
) -> None:
    server.on("GET", "/v2/app/tags/list", answer)
    with pytest.raises(RegistryError):
        await discover(registry, wanted=[APP])


async def test_no_tags_at_all(server: Scripted, registry: RemoteRegistry) -> None:
    server.on("GET", "/v2/_catalog", Answer(body='{"repositories": null}'))
    server.on("GET", "/v2/app/tags/list", Answer(body='{"name": "app", "tags": null}'))
    snapshot = await discover(registry, wanted=[APP])
    assert snapshot.repositories[APP].tags == {}


async def test_a_manifest_that_cannot_be_had_is_unreadable(
    server: Scripted, registry: RemoteRegistry
) -> None:
    """Its digest is known all the same: from HEAD."""
    damaged = Answer(200, b"{}", {"Docker-Content-Digest": str(DIGEST)})
    for reference in ("1", "2", str(DIGEST)):
        server.on("GET", f"/v2/other/manifests/{reference}", damaged)
    snapshot = await discover(registry, wanted=[APP])
    assert snapshot.repositories[APP].manifests.keys() == {DIGEST}
    assert snapshot.repositories[OTHER].unreadable == {DIGEST}
    assert snapshot.repositories[OTHER].tags.keys() == {"1", "2"}


async def test_what_is_wrong_is_counted_not_repeated(
    server: Scripted, registry: RemoteRegistry
) -> None:
    many = [f"r{number}" for number in range(100)]
    names = ", ".join(f'"{name}"' for name in many)
    server.on("GET", "/v2/_catalog", Answer(body=f'{{"repositories": [{names}]}}'))
    for name in many:
        server.on("GET", f"/v2/{name}/tags/list", Answer(body='{"tags": ["-"]}'))
    snapshot = await discover(registry, wanted=[APP])
    assert len(snapshot.unknown) == 21
    assert "more" in snapshot.unknown[-1]


@pytest.mark.parametrize(("tags", "far"), [(NEAR - 1, False), (NEAR, True)])
async def test_a_registry_is_looked_at_unasked_only_if_it_is_small(
    server: Scripted, registry: RemoteRegistry, tags: int, far: bool
) -> None:
    listed = ", ".join(f'"{number}"' for number in range(tags))
    server.on("GET", "/v2/other/tags/list", Answer(body=f'{{"tags": [{listed}]}}'))
    server.on("GET", "/v2/other/manifests/*", GOOD)
    near = await discover(registry, wanted=[APP], extent=Extent.NEAR)
    asked = [str(one) for one in server.seen if "/other/" in one.path]
    assert (near.repositories.keys() == {APP}) is far
    assert any("--exact" in sentence for sentence in near.unknown) is far
    lists = [one for one in asked if "/tags/list" in one]
    assert len(lists) == 1
    assert (asked == lists) is far
    whole = await discover(registry, wanted=[APP], extent=Extent.ALL)
    assert whole.repositories.keys() == {APP, "other"}


async def test_only_the_repositories_named(server: Scripted, registry: RemoteRegistry) -> None:
    found = await discover(registry, wanted=[APP], extent=Extent.NAMED)
    assert found.repositories.keys() == {APP}
    assert not [one for one in server.seen if "_catalog" in one.path or "/other/" in one.path]


async def test_a_catalog_of_many_is_not_gone_through(
    server: Scripted, registry: RemoteRegistry
) -> None:
    names = ", ".join(f'"r{number}"' for number in range(NEAR + 2))
    server.on("GET", "/v2/_catalog", Answer(body=f'{{"repositories": [{names}]}}'))
    near = await discover(registry, wanted=[APP], extent=Extent.NEAR)
    assert near.repositories.keys() == {APP}
    assert not [one for one in server.seen if one.path.startswith("/v2/r")]


async def test_an_api_that_lists_all_manifests_is_still_not_gone_through_unasked(
    server: Scripted, registry: RemoteRegistry
) -> None:
    """Google's lists untagged ones too; each costs a request all the same."""
    loose = MANIFEST + b"\n"
    digest = Digest.of(loose)
    realm = f'Bearer realm="http://{server.host}/v2/token",service="europe-docker.pkg.dev"'
    listed = f'"manifest": {{"{DIGEST}": {{"tag": ["1", "2"]}}, "{digest}": {{"tag": []}}}}'
    server.on("GET", "/v2/token", Answer(body='{"token": "good"}'))
    server.on(
        "GET",
        "/v2/app/tags/list",
        Answer(401, headers={"WWW-Authenticate": realm}),
        Answer(body=f'{{"tags": ["1", "2"], {listed}}}'),
    )
    server.on("GET", f"/v2/app/manifests/{digest}", Answer(200, loose, {"Content-Type": OCI}))
    tags = ", ".join(f'"{number}"' for number in range(NEAR))
    server.on("GET", "/v2/other/tags/list", Answer(body=f'{{"tags": [{tags}]}}'))
    near = await discover(registry, wanted=[APP], extent=Extent.NEAR)
    assert near.repositories[APP].complete
    assert near.repositories[APP].manifests.keys() == {DIGEST, digest}
    assert near.repositories.keys() == {APP}
    assert not [one for one in server.seen if one.path.startswith("/v2/other/manifests")]
