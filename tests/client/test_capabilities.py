"""The probe: what it finds out, and that it can remove nothing."""

import re
from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from jettison import __version__
from jettison.client import ClientOptions, Credentials
from jettison.demo import images
from jettison.errors import LoginRefused, NotARegistry, Unreachable
from jettison.model.names import RepoName, Tag
from jettison.registry import Capabilities, Deletion
from tests.client.conftest import Connect
from tests.client.scripted import Answer, Scripted
from tests.support.registry import Options, RegistryFactory

REPO = RepoName("team/app")
MANIFESTS = "/v2/team/app/manifests/*"
TAGS = "/v2/team/app/tags/list"
REFERRERS = "/v2/team/app/referrers/*"
UNKNOWN = Answer(404, '{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')
INVALID = Answer(400, '{"errors": [{"code": "DIGEST_INVALID"}]}')
UNSUPPORTED = Answer(405, '{"errors": [{"code": "UNSUPPORTED"}]}')
READ_ONLY = Answer(405, "no", {"Allow": "GET, HEAD", "Content-Type": "text/plain"})
UNROUTED = Answer(404, "404 page not found\n", {"Content-Type": "text/plain"})
INDEX = Answer(200, '{"schemaVersion": 2, "manifests": []}')
FORBIDDEN = Answer(403, '{"errors": [{"code": "DENIED"}]}')
NAME_UNKNOWN = Answer(400, '{"errors": [{"code": "NAME_UNKNOWN"}]}')
BEARER = 'Bearer realm="HERE'
PAGE_403 = Answer(403, "<h1>403</h1>", {"Content-Type": "text/html"}, marked=False)


@pytest.mark.parametrize(
    ("answers", "deletion", "untag"),
    [
        ([UNKNOWN, INVALID], Deletion.ENABLED, False),
        ([UNKNOWN, UNKNOWN], Deletion.ENABLED, True),
        ([UNKNOWN, UNSUPPORTED], Deletion.ENABLED, False),
        ([UNKNOWN, FORBIDDEN], Deletion.ENABLED, None),
        ([UNSUPPORTED], Deletion.DISABLED, None),
        ([Answer(501)], Deletion.DISABLED, None),
        ([READ_ONLY], Deletion.READ_ONLY, None),
        ([FORBIDDEN], Deletion.DENIED, None),
        ([Answer(401, headers={"WWW-Authenticate": "Basic"})], Deletion.NEEDS_LOGIN, None),
        ([PAGE_403], Deletion.BLOCKED, None),
        # They do not tell; whether a tag can go by itself, the next request does.
        ([Answer(202), Answer(202)], Deletion.UNKNOWN, True),
        ([Answer(500), UNKNOWN], Deletion.UNKNOWN, None),
        ([NAME_UNKNOWN, NAME_UNKNOWN], Deletion.UNKNOWN, None),
        ([INVALID, INVALID], Deletion.UNKNOWN, False),
    ],
)
async def test_deletion(
    server: Scripted,
    connect: Connect,
    answers: list[Answer],
    deletion: Deletion,
    untag: bool | None,
) -> None:
    server.on("DELETE", MANIFESTS, *answers)
    found = await connect(server.host, ClientOptions(retries=0)).capabilities(REPO)
    assert (found.deletion, found.untag) == (deletion, untag)
    assert str(answers[0].status) in found.said or deletion is Deletion.NEEDS_LOGIN
    deletes = [seen.path for seen in server.seen if seen.method == "DELETE"]
    # A tag is tried only where deletion may be enabled.
    certain = deletion not in {Deletion.ENABLED, Deletion.UNKNOWN}
    assert len(deletes) == (1 if certain or answers[0].status == 500 else 2)


async def test_it_names_only_what_cannot_exist(server: Scripted, connect: Connect) -> None:
    registry = connect(server.host)
    for _ in range(5):
        await registry.capabilities(REPO)
        await registry.capabilities()
    deletes = [seen.path for seen in server.seen if seen.method == "DELETE"]
    assert len(deletes) == len(set(deletes)) == 20
    for path in deletes:
        random = r"(sha256:[0-9a-f]{64}|jettison-probe-[0-9a-f]{64})"
        assert re.fullmatch(rf"/v2/(team/app|jettison-probe/absent)/manifests/{random}", path)
    assert {seen.method for seen in server.seen} == {"GET", "DELETE"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (INDEX, True),
        (UNROUTED, False),
        (UNKNOWN, False),
        (Answer(404, '{"errors": [{"code": "NAME_UNKNOWN"}]}'), None),
        (FORBIDDEN, None),
        (Answer(400), None),
    ],
)
async def test_referrers(
    server: Scripted, connect: Connect, answer: Answer, expected: bool | None
) -> None:
    server.on("GET", REFERRERS, answer)
    assert (await connect(server.host).capabilities(REPO)).referrers is expected


def listing(key: str, count: int, *, link: bool = False) -> Answer:
    names = ", ".join(f'"n{number}"' for number in range(count))
    headers = {"Link": '<?last=n0&n=1>; rel="next"'} if link else {}
    return Answer(200, f'{{"{key}": [{names}]}}', headers)


PAGED_CATALOG = listing("repositories", 1, link=True)


@pytest.mark.parametrize(
    ("catalog", "tags", "expected"),
    [
        (PAGED_CATALOG, listing("tags", 1, link=True), (True, True)),
        (PAGED_CATALOG, listing("tags", 1), (True, True)),
        (PAGED_CATALOG, listing("tags", 2), (True, False)),
        (listing("repositories", 1), listing("tags", 1), (True, None)),
        (listing("repositories", 2), listing("tags", 1), (True, False)),
        (FORBIDDEN, listing("tags", 1, link=True), (False, True)),
        (Answer(404), listing("tags", 1, link=True), (False, True)),
        (Answer(400), UNKNOWN, (None, None)),
    ],
)
async def test_lists(
    server: Scripted,
    connect: Connect,
    catalog: Answer,
    tags: Answer,
    expected: tuple[bool | None, bool | None],
) -> None:
    server.on("GET", "/v2/_catalog", catalog)
    server.on("GET", TAGS, tags)
    found = await connect(server.host).capabilities(REPO)
    assert (found.catalog, found.paging) == expected


@pytest.mark.parametrize(
    ("headers", "tag", "referrers", "product"),
    [
        ({}, INVALID, UNROUTED, "Distribution 2.x"),
        ({}, UNKNOWN, UNROUTED, "Distribution 3.x"),
        ({}, FORBIDDEN, UNROUTED, "Distribution"),
        ({}, UNKNOWN, INDEX, "OCI registry"),
        ({}, INVALID, UNKNOWN, "OCI registry"),
        ({"Server": "Nexus/3.68.1-02 (OSS)"}, INVALID, UNROUTED, "Nexus/3.68.1-02 (OSS)"),
        ({"Server": "nginx/1.25"}, INVALID, UNROUTED, "Distribution 2.x"),
        ({"X-JFrog-Version": "Artifactory/7"}, INVALID, UNROUTED, "Artifactory"),
        ({"Gitlab-Container-Registry-Version": "4"}, UNKNOWN, UNROUTED, "GitLab"),
        (
            {"Gitlab-Container-Registry-Database-Enabled": "true"},
            UNKNOWN,
            UNROUTED,
            "GitLab with database",
        ),
        ({"X-Harbor-CSRF-Token": "x"}, UNKNOWN, INDEX, "Harbor"),
    ],
)
async def test_products(
    server: Scripted,
    connect: Connect,
    headers: Mapping[str, str],
    tag: Answer,
    referrers: Answer,
    product: str,
) -> None:
    server.on("GET", "/v2/", Answer(body="{}", headers=headers))
    server.on("DELETE", MANIFESTS, UNKNOWN, tag)
    server.on("GET", REFERRERS, referrers)
    assert (await connect(server.host).capabilities(REPO)).product == product


@pytest.mark.parametrize(
    ("challenge", "product"),
    [
        ('Basic realm="zot"', "zot"),
        ('Basic realm="Sonatype Nexus Repository Manager"', "Nexus"),
        (
            'Basic realm="https://1.example.com/",service="ecr.amazonaws.com"',
            "Amazon ECR",
        ),
        ('Basic realm="other"', "OCI registry"),
        (f'Basic realm="x", {BEARER}/v2/auth",service="quay.example"', "Quay"),
        (f'{BEARER}/v2/token",service="container_registry",scope="*"', "Gitea"),
        (f'{BEARER}/v2/token"', "Gitea"),
        (f'{BEARER}/v2/token",service="europe-docker.pkg.dev"', "Google"),
        (f'{BEARER}/jwt/auth",service="container_registry"', "GitLab"),
        (f'{BEARER}/service/token",service="harbor-registry"', "Harbor"),
        (f'{BEARER}/token",service="registry.docker.io"', "Docker Hub"),
        (f'{BEARER}/token",service="ghcr.io"', "GitHub"),
    ],
)
async def test_products_by_their_login(
    server: Scripted, connect: Connect, challenge: str, product: str
) -> None:
    """Gitea answers unknown routes as Distribution does, and is none."""
    challenge = challenge.replace("HERE", f"http://{server.host}")
    first = Answer(401, headers={"WWW-Authenticate": challenge})
    server.on("GET", "/v2/", first, Answer(body="{}"))
    server.on("GET", REFERRERS, UNROUTED)
    for path in ("/v2/auth", "/v2/token", "/jwt/auth", "/service/token", "/token"):
        server.on("GET", path, Answer(body='{"token": "t"}'))
    found = await connect(server.host, None, Credentials("me", "pw")).capabilities(REPO)
    kind = "bearer" if "Bearer" in challenge else "basic"
    expected = (product if product != "OCI registry" else "Distribution 3.x", kind, True)
    assert (found.product, found.login, found.logged_in) == expected


async def test_what_cannot_be_probed_raises(server: Scripted, connect: Connect) -> None:
    server.on("GET", "/v2/", Answer(401, headers={"WWW-Authenticate": "Basic"}))
    with pytest.raises(LoginRefused):
        await connect(server.host).capabilities()
    server.on("GET", "/v2/", Answer(503))
    with pytest.raises(Unreachable):
        await connect(server.host).capabilities()
    server.on("GET", "/v2/", Answer(200, "hello", marked=False))
    with pytest.raises(NotARegistry):
        await connect(server.host).capabilities()


@pytest.mark.distribution
@pytest.mark.parametrize(
    ("options", "deletion", "untag", "product"),
    [
        ({"delete": True}, Deletion.ENABLED, False, "Distribution 2.x"),
        ({"delete": False}, Deletion.DISABLED, None, "Distribution"),
        ({"delete": None}, Deletion.DISABLED, None, "Distribution"),
        ({"delete": True, "readonly": True}, Deletion.READ_ONLY, None, "Distribution"),
    ],
)
async def test_the_real_registry(
    registry_factory: RegistryFactory,
    connect: Connect,
    options: Options,
    deletion: Deletion,
    untag: bool | None,
    product: str,
) -> None:
    real = registry_factory()
    for tag in ("1", "2"):
        real.push("team/app", tag, images.image([images.layer({"f": tag.encode()})]))
    real.reconfigure(**options)
    before = real.snapshot()
    registry = connect(real.host)
    expected = Capabilities(
        deletion=deletion,
        product=product,
        login="none",
        untag=untag,
        referrers=False,
        paging=False,  # the catalog pages, tags do not
        catalog=True,
    )
    assert replace(await registry.capabilities(REPO), said="") == expected
    assert (await registry.capabilities()).deletion is deletion
    assert real.snapshot() == before
    assert await registry.resolve(REPO, Tag("1")) is not None


@pytest.mark.parametrize(
    ("options", "deletion"),
    [
        ({"delete": True}, Deletion.ENABLED),
        ({"delete": None}, Deletion.DISABLED),
        ({"delete": True, "readonly": True}, Deletion.READ_ONLY),
    ],
)
@pytest.mark.parametrize("program", ["jettison"])
async def test_our_own_registry(
    registry_factory: RegistryFactory, connect: Connect, options: Options, deletion: Deletion
) -> None:
    real = registry_factory()
    for tag in ("1", "2"):
        real.push("team/app", tag, images.image([images.layer({"f": tag.encode()})]))
    real.reconfigure(**options)
    before = real.snapshot()
    found = await connect(real.host).capabilities(REPO)
    untag = True if deletion is Deletion.ENABLED else None
    assert replace(found, said="") == Capabilities(
        deletion=deletion,
        product=f"Jettison/{__version__}",
        login="none",
        untag=untag,
        referrers=True,
        paging=True,
        catalog=True,
        conditional=True,
    )
    assert real.snapshot() == before
