"""What each product tells, by an imitation of its API."""

import base64
from urllib.parse import parse_qs, urlsplit

import pytest

from jettison.client import Credentials
from jettison.client.times import hub, read_revisions, read_times
from jettison.model.names import RepoName
from tests.client.conftest import Clock, Connect
from tests.client.scripted import Answer, Scripted
from tests.client.times.imitated import HUB, ONE, PRODUCTS, REPO, THREE, TWO, Product, told

LOGIN = Credentials("robot", "secret")
BASIC = "Basic " + base64.b64encode(b"robot:secret").decode()


@pytest.fixture(autouse=True)
def now(clock: Clock) -> None:
    clock.now = 1_790_000_000.0


@pytest.fixture(params=sorted(PRODUCTS))
def product(request: pytest.FixtureRequest) -> Product:
    return PRODUCTS[request.param]


async def test_times_are_read_from_all_pages(
    product: Product, server: Scripted, connect: Connect
) -> None:
    product.serve(server)
    found = await read_times(connect(server.host).transport, product.name, REPO)
    assert found is not None
    assert found.unknown == ""
    assert told(found) == (product.tags, product.manifests)
    assert found.watching_since is None
    pulls = product.name in {"Harbor", "zot"}
    assert ("does not say since when" in found.unwatched) is pulls
    assert len(server.seen) == len(product.pages) + len(product.more)


@pytest.mark.parametrize("name", ["Harbor", "Gitea"])
async def test_the_password_goes_to_the_registrys_own_api(
    name: str, server: Scripted, connect: Connect
) -> None:
    product = PRODUCTS[name]
    product.serve(server)
    await read_times(connect(server.host, credentials=LOGIN).transport, name, REPO)
    assert set(server.sent("Authorization")) == {BASIC}


@pytest.mark.parametrize(("user", "sent"), [("$oauthtoken", "Bearer secret"), ("team+robot", None)])
async def test_quay_takes_a_token_and_no_password(
    user: str, sent: str | None, server: Scripted, connect: Connect
) -> None:
    PRODUCTS["Quay"].serve(server)
    registry = connect(server.host, credentials=Credentials(user, "secret"))
    await read_times(registry.transport, "Quay", REPO)
    assert set(server.sent("Authorization")) == {sent}


async def test_slashes_in_harbors_names_are_encoded_twice(
    server: Scripted, connect: Connect
) -> None:
    PRODUCTS["Harbor"].serve(server)
    await read_times(connect(server.host).transport, "Harbor", REPO)
    raw = "/api/v2.0/projects/team/repositories/app%252Fweb/artifacts"
    assert {urlsplit(seen.path).path for seen in server.seen} == {raw}


async def test_zots_query_names_the_repository(server: Scripted, connect: Connect) -> None:
    PRODUCTS["zot"].serve(server)
    await read_times(connect(server.host).transport, "zot", REPO)
    query = parse_qs(urlsplit(server.seen[0].path).query)["query"][0]
    assert query.startswith('{ImageList(repo:"team/app/web"){')


async def test_azure_is_asked_with_a_token_for_metadata(server: Scripted, connect: Connect) -> None:
    PRODUCTS["Azure Container Registry"].serve(server)
    realm = f'Bearer realm="http://{server.host}/oauth2/token",service="x.azurecr.io"'
    server.on("GET", "/v2/", Answer(401, headers={"WWW-Authenticate": realm}), Answer(body="{}"))
    server.on("GET", "/oauth2/token", Answer(body='{"access_token": "good"}'))
    registry = connect(server.host, credentials=LOGIN)
    found = await registry.evidence(REPO)
    assert found is not None
    assert found.tags
    scopes = [parse_qs(urlsplit(seen.path).query).get("scope") for seen in server.seen]
    assert [f"repository:{REPO}:metadata_read"] in scopes


async def test_the_hub_is_asked_without_a_login(
    server: Scripted, elsewhere: Scripted, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    HUB.serve(elsewhere)
    monkeypatch.setattr(hub, "_API", f"http://{elsewhere.host}")
    monkeypatch.setattr(hub, "HUB", {server.host})
    transport = connect(server.host, credentials=LOGIN).transport
    found = await read_times(transport, "Docker Hub", RepoName("nginx"))
    assert found is not None
    assert told(found) == (HUB.tags, {})
    assert found.unknown == ""
    assert elsewhere.sent("Authorization") == [None, None]
    assert server.seen == []


async def test_the_hub_is_not_asked_about_another_registry(
    server: Scripted, elsewhere: Scripted, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_API", f"http://{elsewhere.host}")
    assert await read_times(connect(server.host).transport, "Docker Hub", REPO) is None
    assert elsewhere.seen == []


async def test_of_two_times_for_one_tag_the_later_counts(
    server: Scripted, connect: Connect
) -> None:
    """Pages shift while something is pushed, and then show an item twice."""
    path = "/api/v1/packages/team"
    body = [
        {"name": "app/web", "version": "1", "created_at": created}
        for created in ("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2024-01-01T00:00:00Z")
    ]
    product = Product("Gitea", path, {"": body}, next=lambda _: {"X-Total-Count": "3"})
    product.serve(server)
    found = await read_times(connect(server.host).transport, "Gitea", REPO)
    assert found is not None
    assert told(found)[0] == {
        "1": ("Gitea created_at of the version", "2026-01-01T00:00:00Z", None)
    }


# All manifests.


@pytest.mark.parametrize("name", ["Google", "Azure Container Registry"])
async def test_lists_all_manifests(name: str, server: Scripted, connect: Connect) -> None:
    PRODUCTS[name].serve(server)
    found = await read_revisions(connect(server.host).transport, name, REPO)
    assert found is not None
    assert set(found) == {ONE, TWO, THREE}


@pytest.mark.parametrize("name", sorted(PRODUCTS.keys() - {"Google", "Azure Container Registry"}))
async def test_says_that_it_cannot_list_all_manifests(
    name: str, server: Scripted, connect: Connect
) -> None:
    PRODUCTS[name].serve(server)
    assert await read_revisions(connect(server.host).transport, name, REPO) is None
    assert server.seen == []


@pytest.mark.parametrize(
    "body",
    [
        # A tag whose manifest is not listed: perhaps an index, whose children are.
        {"manifest": {ONE: {"tag": ["1"]}}, "tags": ["1", "2"]},
        {"manifest": {ONE: {"tag": ["1", "2"]}}, "tags": ["1"]},
        {"manifest": {"sha256:short": {"tag": []}}, "tags": []},
        {"manifest": None, "tags": []},
        {"tags": []},
        {"manifest": [ONE], "tags": []},
    ],
)
async def test_a_list_of_manifests_that_may_lack_some_is_none(
    body: object, server: Scripted, connect: Connect
) -> None:
    Product("Google", f"/v2/{REPO}/tags/list", {"": body}).serve(server)
    assert await read_revisions(connect(server.host).transport, "Google", REPO) is None


async def test_googles_list_in_pieces_is_none(server: Scripted, connect: Connect) -> None:
    path = f"/v2/{REPO}/tags/list"
    body = {"manifest": {ONE: {"tag": ["1"]}}, "tags": ["1"]}
    again = {"manifest": {TWO: {"tag": ["2"]}}, "tags": ["2"]}
    link = {"Link": f'<{path}?last=1>; rel="next"'}
    product = Product("Google", path, {"": body, "1": again}, "last", lambda p: {} if p else link)
    product.serve(server)
    assert await read_revisions(connect(server.host).transport, "Google", REPO) is None


async def test_a_tag_without_its_manifest_makes_azures_list_none(
    server: Scripted, connect: Connect
) -> None:
    PRODUCTS["Azure Container Registry"].serve(server)
    short = f'{{"manifests": [{{"digest": "{ONE}"}}]}}'
    server.on("GET", f"/acr/v1/{REPO}/_manifests", Answer(body=short))
    transport = connect(server.host).transport
    assert await read_revisions(transport, "Azure Container Registry", REPO) is None
