"""Challenges, Basic, and Bearer tokens."""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from jettison.client import Credentials, FixedCredentials
from jettison.client.auth import Access, Authenticator, Challenge, Reply, parse_challenges
from jettison.errors import AccessDenied, JettisonError, LoginRefused, UnexpectedResponse
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from tests.client.conftest import Clock, Connect
from tests.client.scripted import Answer, Scripted

REPO = RepoName("team/app")
DIGEST = Digest.of(b"absent")
ME = Credentials("me", "s3cret")
BASIC = "Basic " + base64.b64encode(b"me:s3cret").decode()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([""], []),
        (["Basic"], [("basic", {})]),
        (['BASIC Realm="a, b"'], [("basic", {"realm": "a, b"})]),
        (["Basic realm=plain"], [("basic", {"realm": "plain"})]),
        ([r'Basic realm="say \"hi\" \\"'], [("basic", {"realm": 'say "hi" \\'})]),
        (
            ['Bearer realm="https://a/t",service="r",scope="repository:a/b:pull,push"'],
            [
                (
                    "bearer",
                    {"realm": "https://a/t", "service": "r", "scope": "repository:a/b:pull,push"},
                )
            ],
        ),
        (
            ['Basic realm="x", Bearer realm="y" , service = "z"'],
            [("basic", {"realm": "x"}), ("bearer", {"realm": "y", "service": "z"})],
        ),
        (
            ["Negotiate abc+/==, Basic realm=x", "Bearer realm=y"],
            [("negotiate", {}), ("basic", {"realm": "x"}), ("bearer", {"realm": "y"})],
        ),
        (["Negotiate, NTLM"], [("negotiate", {}), ("ntlm", {})]),
        (['Basic realm="never closed'], [("basic", {})]),
    ],
)
def test_challenges(values: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(values) == [Challenge(*each) for each in expected]


class TokenServer:
    """Gives tokens that name what they allow, on a server of its own or the registry's."""

    def __init__(self, server: Scripted, **body: Any) -> None:
        self.asked: list[Mapping[str, list[str]]] = []
        self.logins: list[str | None] = []
        self.body = {"expires_in": 300, **body}
        self.refuse = False
        self.realm = f"http://{server.host}/token?fixed=1"
        server.on("GET", "/token", self.give)
        server.on("POST", "/token", self.give)

    async def give(self, request: web.BaseRequest) -> web.StreamResponse:
        query = parse_qs(urlsplit(request.raw_path).query)
        if request.method == "POST":
            query = parse_qs((await request.read()).decode())
        self.asked.append(query)
        self.logins.append(request.headers.get("Authorization"))
        if self.refuse:
            return web.Response(status=401)
        name = "token" if request.method == "GET" else "access_token"
        token = f"{len(self.asked)}:{' '.join(query.get('scope', []))}"
        return web.json_response({name: token, **self.body})

    def challenge(self, scope: str = "", **more: str) -> Answer:
        fields = {"realm": self.realm, "service": "registry", "scope": scope, **more}
        text = ",".join(f'{key}="{value}"' for key, value in fields.items() if value)
        return Answer(401, headers={"WWW-Authenticate": f"Bearer {text}"})

    def guard(self, server: Scripted, method: str, path: str, scope: str, answer: Answer) -> None:
        """Let a request through whose token allows `scope`."""

        async def check(request: web.BaseRequest) -> web.StreamResponse:
            allowed = request.headers.get("Authorization", "").partition(":")[2].split()
            ok = scope in allowed or (not scope and bool(request.headers.get("Authorization")))
            return (answer if ok else self.challenge(scope)).response()

        server.on(method, path, check)


PULL = "repository:team/app:pull"
DELETE = "repository:team/app:delete,pull"
ABSENT = Answer(404, '{"errors": [{"code": "MANIFEST_UNKNOWN"}]}')


@pytest.fixture
def tokens(server: Scripted) -> TokenServer:
    given = TokenServer(server)
    given.guard(server, "GET", "/v2/", "", Answer(body="{}"))
    for number in range(10):
        given.guard(server, "HEAD", f"/v2/team/app/manifests/{number}", PULL, ABSENT)
    given.guard(server, "DELETE", f"/v2/team/app/manifests/{DIGEST}", DELETE, ABSENT)
    return given


async def test_a_token_is_asked_for_with_scope_and_login(
    server: Scripted, connect: Connect, tokens: TokenServer
) -> None:
    registry = connect(server.host, None, ME)
    assert await registry.resolve(REPO, Tag("1")) is None
    assert tokens.asked == [{"fixed": ["1"], "service": ["registry"], "scope": [PULL]}]
    assert tokens.logins == [BASIC]
    assert registry.transport.auth.kind == "bearer"


async def test_a_token_is_kept_for_its_scope(
    server: Scripted, connect: Connect, tokens: TokenServer
) -> None:
    registry = connect(server.host, None, ME)
    for number in range(5):
        await registry.resolve(REPO, Tag(str(number)))
    assert await registry.delete_manifest(REPO, DIGEST) is False
    await registry.resolve(REPO, Tag("5"))
    assert [asked["scope"] for asked in tokens.asked] == [[PULL], [DELETE]]
    # The password goes to the token server only.
    sent = [seen.headers.get("Authorization") for seen in server.seen if "/v2/" in seen.path]
    assert BASIC not in sent


async def test_requests_at_once_fetch_one_token(
    server: Scripted, connect: Connect, tokens: TokenServer
) -> None:
    registry = connect(server.host, None, ME)
    await asyncio.gather(*(registry.resolve(REPO, Tag(str(number))) for number in range(10)))
    assert len(tokens.asked) == 1


@pytest.mark.parametrize(("life", "good_for"), [(300, 269), (None, 47), (10, 7)])
async def test_a_token_is_renewed_before_it_ends(
    server: Scripted, connect: Connect, clock: Clock, life: int | None, good_for: int
) -> None:
    tokens = TokenServer(server)
    tokens.body = {} if life is None else {"expires_in": life}
    tokens.guard(server, "HEAD", "/v2/team/app/manifests/1", PULL, ABSENT)
    registry = connect(server.host, None, ME)
    await registry.resolve(REPO, Tag("1"))
    clock.now += good_for
    await registry.resolve(REPO, Tag("1"))
    assert len(tokens.asked) == 1
    clock.now += 2
    await registry.resolve(REPO, Tag("1"))
    assert len(tokens.asked) == 2


async def test_a_token_that_is_refused_early_is_replaced(
    server: Scripted, connect: Connect, tokens: TokenServer
) -> None:
    registry = connect(server.host, None, ME)
    await registry.resolve(REPO, Tag("1"))
    path = "/v2/team/app/manifests/2"
    server.on("HEAD", path, tokens.challenge(PULL), ABSENT)
    assert await registry.resolve(REPO, Tag("2")) is None
    assert len(tokens.asked) == 2


async def test_the_scope_is_what_we_want_and_what_the_registry_asks_for(
    server: Scripted, connect: Connect, tokens: TokenServer
) -> None:
    wider = "repository:other:pull"
    tokens.guard(server, "HEAD", "/v2/team/app/manifests/x", wider, ABSENT)
    registry = connect(server.host, None, ME)
    await registry.resolve(REPO, Tag("1"))
    await registry.resolve(REPO, Tag("x"))
    assert tokens.asked[-1]["scope"] == [wider, PULL]


async def test_an_identity_token_is_exchanged(
    server: Scripted, connect: Connect, tokens: TokenServer
) -> None:
    registry = connect(server.host, None, Credentials("", identity_token="id3ntity"))
    await registry.resolve(REPO, Tag("1"))
    assert tokens.asked == [
        {
            "grant_type": ["refresh_token"],
            "service": ["registry"],
            "client_id": ["jettison"],
            "refresh_token": ["id3ntity"],
            "scope": [PULL],
        }
    ]
    assert tokens.logins == [None]


async def test_without_a_login_an_anonymous_token_is_tried(
    server: Scripted, connect: Connect, tokens: TokenServer
) -> None:
    assert await connect(server.host).resolve(REPO, Tag("1")) is None
    assert tokens.logins == [None]
    tokens.refuse = True
    with pytest.raises(LoginRefused) as caught:
        await connect(server.host).resolve(REPO, Tag("1"))
    assert str(caught.value) == f"{server.host} needs a login"
    assert caught.value.hint == f"Run: jettison login {server.host}"
    assert caught.value.exit_code == 10


async def test_a_token_server_that_refuses(
    server: Scripted, connect: Connect, tokens: TokenServer
) -> None:
    tokens.refuse = True
    with pytest.raises(LoginRefused, match="refused: the user name or password is wrong"):
        await connect(server.host, None, ME).ping()


async def test_a_token_that_does_not_allow_enough(
    server: Scripted, connect: Connect, tokens: TokenServer
) -> None:
    path = f"/v2/team/app/manifests/{DIGEST}"
    server.on("DELETE", path, tokens.challenge(DELETE, error="insufficient_scope"))
    with pytest.raises(AccessDenied) as caught:
        await connect(server.host, None, ME).delete_manifest(REPO, DIGEST)
    assert str(caught.value).startswith(f"the login to {server.host} is not allowed to")
    assert str(caught.value).endswith("delete from team/app")
    assert len([seen for seen in server.seen if seen.method == "DELETE"]) == 2
    with pytest.raises(LoginRefused, match="needs a login"):
        await connect(server.host).delete_manifest(REPO, DIGEST)


async def test_a_token_server_that_knows_no_delete(
    server: Scripted, connect: Connect, tokens: TokenServer
) -> None:
    """Quay takes pull, push and *, and answers 400 to any other action, and to the catalog."""
    words = "Unable to decode repository and actions"
    refused = Answer(400, json.dumps({"errors": [{"code": "INVALID_REQUEST", "message": words}]}))
    everything = "repository:team/app:*,pull,push"

    async def give(request: web.BaseRequest) -> web.StreamResponse:
        scopes = parse_qs(urlsplit(request.raw_path).query).get("scope", [])
        if any("delete" in scope or "catalog" in scope for scope in scopes):
            tokens.asked.append({"refused": scopes})
            return refused.response()
        return await tokens.give(request)

    server.on("GET", "/token", give)
    path = f"/v2/team/app/manifests/{DIGEST}"
    tokens.guard(server, "DELETE", path, everything, ABSENT)
    registry = connect(server.host, None, ME)
    await registry.ping()
    for _ in range(2):
        assert await registry.delete_manifest(REPO, DIGEST) is False
    scopes = [asked.get("scope", asked.get("refused")) for asked in tokens.asked]
    assert scopes == [None, [DELETE], [everything]]
    # The catalog is not the login's fault, and the server's words say so.
    server.on("GET", "/v2/_catalog", tokens.challenge("registry:catalog:*"))
    with pytest.raises(UnexpectedResponse, match=f"token server of .* answers 400, .*{words}"):
        _ = [name async for name in registry.repositories()]
    # It is not asked again for what it does not know, and other requests go on.
    assert await registry.resolve(REPO, Tag("1")) is None


async def test_a_good_login_that_may_not(
    server: Scripted, connect: Connect, tokens: TokenServer
) -> None:
    """401 or 403 for one scope, after a token for another: the password is not wrong."""
    for status in (401, 403):
        registry = connect(server.host, None, ME)
        server.on("GET", "/token", tokens.give)
        await registry.ping()
        server.on("GET", "/token", Answer(status, '{"details": "no such right"}'))
        server.on("GET", "/v2/_catalog", tokens.challenge("registry:catalog:*"))
        with pytest.raises(AccessDenied, match="no such right"):
            _ = [name async for name in registry.repositories()]


async def test_a_challenge_that_leads_nowhere_spoils_no_other_request(
    server: Scripted, connect: Connect, tokens: TokenServer
) -> None:
    registry = connect(server.host, None, ME)
    await registry.ping()
    nowhere = Answer(401, headers={"WWW-Authenticate": 'Bearer realm="nowhere"'})
    server.on("GET", "/v2/_catalog", nowhere)
    with pytest.raises(UnexpectedResponse, match="with a malformed address"):
        _ = [name async for name in registry.repositories()]
    assert await registry.resolve(REPO, Tag("1")) is None


async def test_a_registry_that_always_wants_more_is_given_up(
    server: Scripted, connect: Connect, tokens: TokenServer
) -> None:
    asked = [tokens.challenge(f"repository:r{number}:pull") for number in range(20)]
    server.on("HEAD", "/v2/team/app/manifests/1", *asked)
    with pytest.raises(AccessDenied):
        await connect(server.host, None, ME).resolve(REPO, Tag("1"))
    assert len(tokens.asked) <= 4


@pytest.mark.parametrize(
    "body", ["", "[]", "{}", '{"token": 1}', '{"token": "a\\r\\nX: y"}', '{"token": "é"}']
)
async def test_a_token_server_that_makes_no_sense(
    server: Scripted, connect: Connect, tokens: TokenServer, body: str
) -> None:
    server.on("GET", "/token", Answer(body=body))
    with pytest.raises(UnexpectedResponse, match="does not answer with a token"):
        await connect(server.host, None, ME).ping()
    server.on("GET", "/token", Answer(404))
    with pytest.raises(UnexpectedResponse, match="answers 404"):
        await connect(server.host, None, ME).ping()


# -- Basic -------------------------------------------------------------------------------------


async def test_basic(server: Scripted, connect: Connect) -> None:
    server.on(
        "GET",
        "/v2/",
        Answer(401, headers={"WWW-Authenticate": 'basic realm="r"'}),
        Answer(body="{}"),
    )
    server.on("HEAD", "/v2/team/app/manifests/1", ABSENT)
    registry = connect(server.host, None, ME)
    assert await registry.ping() == "basic"
    await registry.resolve(REPO, Tag("1"))
    assert server.sent("Authorization") == [None, BASIC, BASIC]


async def test_basic_refused(server: Scripted, connect: Connect) -> None:
    server.on("GET", "/v2/", Answer(401, headers={"WWW-Authenticate": 'Basic realm="r"'}))
    with pytest.raises(LoginRefused, match=r"^login to .* refused"):
        await connect(server.host, None, ME).ping()
    with pytest.raises(LoginRefused, match="needs a login"):
        await connect(server.host).ping()
    # An identity token is nothing that Basic could send.
    with pytest.raises(LoginRefused, match="refused"):
        await connect(server.host, None, Credentials("", identity_token="t")).ping()


async def test_a_401_after_the_login_was_good_is_about_rights(
    server: Scripted, connect: Connect
) -> None:
    refused = Answer(401, headers={"WWW-Authenticate": "Basic"})
    server.on("GET", "/v2/", refused, Answer(body="{}"))
    server.on("GET", "/v2/_catalog", refused)
    registry = connect(server.host, None, ME)
    await registry.ping()
    with pytest.raises(AccessDenied, match="does not allow this login to list"):
        _ = [name async for name in registry.repositories()]


async def test_a_login_nobody_knows(server: Scripted, connect: Connect) -> None:
    server.on("GET", "/v2/", Answer(401, headers={"WWW-Authenticate": "Negotiate"}))
    with pytest.raises(LoginRefused, match="not supported: negotiate"):
        await connect(server.host, None, ME).ping()
    server.on("GET", "/v2/", Answer(401))
    with pytest.raises(LoginRefused, match="does not say which login"):
        await connect(server.host, None, ME).ping()


# -- secrets -----------------------------------------------------------------------------------


def authenticator(*, plain: bool, asked: list[str]) -> Authenticator:
    async def fetch(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        asked.append(f"{method} {url} {dict(headers)} {body!r}")
        return Reply(200, json.dumps({"token": "t"}).encode())

    return Authenticator("h.example", FixedCredentials(ME), fetch, plain=plain, clock=lambda: 0.0)


async def test_no_login_goes_to_a_token_server_without_tls() -> None:
    asked: list[str] = []
    challenge = ['Bearer realm="http://tokens.example/t"']
    with pytest.raises(LoginRefused, match="without TLS"):
        await authenticator(plain=False, asked=asked).answer(challenge, Access(REPO), None, 0)
    assert asked == []
    # A registry that is itself without TLS has nothing to lose.
    header = await authenticator(plain=True, asked=asked).answer(challenge, Access(REPO), None, 0)
    assert header == "Bearer t"
    assert len(asked) == 1


async def test_a_realm_that_is_no_address() -> None:
    asked: list[str] = []
    for realm in ("file:///etc/passwd", "tokens", "https://"):
        auth = authenticator(plain=True, asked=asked)
        with pytest.raises(JettisonError):
            await auth.answer([f'Bearer realm="{realm}"'], Access(REPO), None, 0)
    assert asked == []


async def test_nothing_secret_is_shown(server: Scripted, connect: Connect) -> None:
    tokens = TokenServer(server)
    server.on("GET", "/v2/", tokens.challenge())
    registry = connect(server.host, None, ME)
    with pytest.raises(LoginRefused) as caught:
        await registry.ping()
    shown = [repr(registry), repr(registry.transport.auth), repr(ME), str(ME)]
    shown += [repr(FixedCredentials(ME)), str(caught.value), str(caught.value.hint)]
    for text in shown:
        assert "s3cret" not in text
        assert BASIC[6:] not in text
        assert "token?" not in text
