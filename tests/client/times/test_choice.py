"""Which API is asked follows from the product that was found."""

import email.utils

import pytest

from jettison.client import Credentials, RemoteRegistry
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from tests.client.conftest import Connect
from tests.client.scripted import Answer, Scripted
from tests.client.times.imitated import ONE, PRODUCTS, REPO, THREE, TWO, Product, told

LOGIN = Credentials("$oauthtoken", "secret")
EXTENSIONS = "/v2/_oci/ext/discover"


def answer_as(server: Scripted, product: str) -> None:
    """Answer ``GET /v2/`` as the product does; ``HERE`` is the server."""
    challenge = {
        "Harbor": 'Bearer realm="HERE/service/token",service="harbor-registry"',
        "Quay": 'Bearer realm="HERE/v2/auth",service="quay.example"',
        "Gitea": 'Bearer realm="HERE/v2/token",service="container_registry",scope="*"',
        "Google": 'Bearer realm="HERE/v2/token",service="europe-docker.pkg.dev"',
        "Azure Container Registry": 'Bearer realm="HERE/oauth2/token",service="x.azurecr.io"',
        "zot": 'Basic realm="zot"',
    }.get(product)
    headers = {}
    if product == "GitLab with database":
        headers = {
            "Gitlab-Container-Registry-Version": "4.29.0-gitlab",
            "Gitlab-Container-Registry-Database-Enabled": "true",
        }
    welcome = Answer(body="{}", headers=headers)
    if challenge is None:
        server.on("GET", "/v2/", welcome)
        return
    here = challenge.replace("HERE", f"http://{server.host}")
    server.on("GET", "/v2/", Answer(401, headers={"WWW-Authenticate": here}), welcome)
    for path in ("/service/token", "/v2/auth", "/v2/token", "/oauth2/token"):
        server.on("GET", path, Answer(body='{"token": "good"}'))


@pytest.fixture(params=sorted(PRODUCTS))
def product(request: pytest.FixtureRequest) -> Product:
    return PRODUCTS[request.param]


async def test_each_product_is_asked_in_its_own_way(
    product: Product, server: Scripted, connect: Connect
) -> None:
    answer_as(server, product.name)
    product.serve(server)
    found = await connect(server.host, credentials=LOGIN).evidence(REPO)
    assert found is not None
    assert found.unknown == ""
    assert told(found)[0].keys() >= product.tags.keys()
    assert told(found)[1] == product.manifests


async def test_a_registry_without_such_an_api_tells_nothing(
    server: Scripted, connect: Connect
) -> None:
    registry = connect(server.host)
    assert await registry.evidence(REPO) is None
    assert await registry.evidence(REPO) is None
    assert server.requests == ["GET /v2/", f"GET {EXTENSIONS}"]
    assert await registry.revisions(REPO) is None
    assert len(server.requests) == 2


async def test_zot_without_a_login_says_what_it_is_by_its_extensions(
    server: Scripted, connect: Connect
) -> None:
    PRODUCTS["zot"].serve(server)
    server.on("GET", EXTENSIONS, Answer(body='{"extensions": [{"name": "_zot", "url": "u"}]}'))
    found = await connect(server.host).evidence(REPO)
    assert found is not None
    assert found.manifests


async def test_gitlab_without_its_database_is_as_one_without_such_an_api(
    server: Scripted, connect: Connect
) -> None:
    headers = {"Gitlab-Container-Registry-Database-Enabled": "false"}
    server.on("GET", "/v2/", Answer(body="{}", headers=headers))
    assert await connect(server.host).evidence(REPO) is None
    assert server.requests == ["GET /v2/"]


async def test_a_registry_that_is_not_there_is_said_in_the_evidence(connect: Connect) -> None:
    found = await connect("127.0.0.1:1").evidence(REPO)
    assert found is not None
    assert "127.0.0.1:1" in found.unknown


async def test_all_manifests_cost_no_question_about_the_product(
    server: Scripted, connect: Connect
) -> None:
    answer_as(server, "Google")
    PRODUCTS["Google"].serve(server)
    registry = connect(server.host, credentials=LOGIN)
    await registry.ping()
    before = len(server.seen)
    found = await registry.revisions(REPO)
    assert found is not None
    assert set(found) == {ONE, TWO, THREE}
    assert {seen.path for seen in server.seen[before:]} <= {
        f"/v2/{REPO}/tags/list",
        *(seen.path for seen in server.seen if seen.path.startswith("/v2/token")),
    }


# Artifactory's Last-Modified.

RAW = b'{"schemaVersion": 2}'
THEN = 1_690_000_000


async def modified(
    server: Scripted, registry: RemoteRegistry, reference: Tag | Digest, **headers: str
) -> None:
    sent = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    server.on("GET", f"/v2/{REPO}/manifests/{reference}", Answer(body=RAW, headers=sent))
    await registry.manifest(REPO, reference)


def date(seconds: int) -> str:
    return email.utils.formatdate(seconds, usegmt=True)


async def test_artifactory_says_when_a_tag_was_pushed_with_its_manifest(
    server: Scripted, connect: Connect
) -> None:
    server.on("GET", "/v2/", Answer(body="{}", headers={"X-JFrog-Version": "7"}))
    registry = connect(server.host)
    artifactory = {"X_JFrog_Version": "Artifactory/7.98"}
    assert await registry.evidence(REPO) is None
    await modified(server, registry, Tag("1"), Last_Modified=date(THEN), **artifactory)
    await modified(server, registry, Tag("2"), Last_Modified=date(0), **artifactory)
    await modified(server, registry, Tag("3"), Last_Modified="yesterday", **artifactory)
    await modified(server, registry, Tag("4"), **artifactory)
    await modified(server, registry, Tag("5"), Last_Modified=date(2_000_000_000), **artifactory)
    await modified(server, registry, Digest.of(RAW), Last_Modified=date(THEN), **artifactory)
    before = len(server.seen)
    found = await registry.evidence(REPO)
    assert found is not None
    assert told(found) == (
        {"1": ("Artifactory Last-Modified", "2023-07-22T04:26:40Z", None)},
        {},
    )
    assert await registry.evidence(RepoName("team/other")) is None
    assert len(server.seen) == before


async def test_the_last_modified_of_another_registry_may_be_a_blobs(
    server: Scripted, connect: Connect
) -> None:
    registry = connect(server.host)
    await modified(server, registry, Tag("1"), Last_Modified=date(THEN))
    assert await registry.evidence(REPO) is None
