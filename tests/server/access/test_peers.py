"""The same logins and tokens, for this guard and for docker-registry: who is let in by whom."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jettison.configuration.settings import Htpasswd, Token
from jettison.model.names import RepoName
from jettison.server.access import AccessAction, Guard, Unauthorized, Wanted, make_guard
from tests.server.access.signing import (
    ISSUER,
    SERVICE,
    Signer,
    access,
    bundle,
    certificate,
    claims,
    make_key,
    signer,
    token,
    x5c,
)
from tests.server.access.test_basic import header, htpasswd
from tests.support.registry import DockerRegistry

pytestmark = pytest.mark.e2e

APP = RepoName("team/app")
REALM = 'https://tokens.test/a?b="c"'
CALLS = {
    "base": ("GET", "/v2/", [Wanted(None, ())]),
    "catalog": ("GET", "/v2/_catalog", [Wanted(None, (AccessAction.PULL,))]),
    "pull": ("GET", "/v2/team/app/tags/list", [Wanted(APP, (AccessAction.PULL,))]),
    "push": (
        "POST",
        "/v2/team/app/blobs/uploads/",
        [Wanted(APP, (AccessAction.PULL, AccessAction.PUSH))],
    ),
    "delete": (
        "DELETE",
        f"/v2/team/app/manifests/sha256:{'0' * 64}",
        [Wanted(APP, (AccessAction.DELETE,))],
    ),
}


async def compare(
    registry: DockerRegistry, guard: Guard, authorization: str | None, call: str
) -> bool:
    """Whether both let a request in; they agree, and ask for the same where they do not."""
    method, path, wanted = CALLS[call]
    sent = {} if authorization is None else {"Authorization": authorization}
    answer = registry.request(method, path, sent)
    challenge = None
    try:
        await guard.admit(authorization, wanted)
    except Unauthorized as error:
        challenge = error.challenge
    # docker-registry puts the actions of a scope in any order.
    theirs = answer.headers.get("Www-Authenticate", "").replace(":push,pull", ":pull,push")
    assert (answer.status == 401, theirs) == (challenge is not None, challenge or "")
    return challenge is None


@pytest.fixture(scope="module")
def passwords(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[DockerRegistry, Guard]]:
    folder = tmp_path_factory.mktemp("passwords")
    path = folder / "htpasswd"
    htpasswd(path, "ann", "secret")
    htpasswd(path, "long", "x" * 80)
    htpasswd(path, "md", "secret", "-m")
    lines = path.read_text().splitlines()
    hashes = dict(line.split(":", 1) for line in lines)
    other = [f"ann2:{hashes['long']}", f"ann2:{hashes['ann']}", f"  spaces:{hashes['ann']}  "]
    other += [f"# no:{hashes['ann']}", f"more:{hashes['ann']}:more", ":", f":{hashes['ann']}"]
    other += [f"{mark}:{hashes['ann'].replace('2y', mark, 1)}" for mark in ("2a", "2b")]
    path.write_text("\n".join([*lines, "", *other]))
    settings = {"htpasswd": {"realm": "test realm", "path": str(path)}}
    with DockerRegistry(folder / "registry", extra={"auth": settings}) as registry:
        yield registry, make_guard(Htpasswd("test realm", path), ())


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (None, False),
        (header("ann", "secret"), True),
        (header("ann", "secret", "bASIC"), True),
        (header("ann", "Secret"), False),
        (header("ann", ""), False),
        (header("", ""), False),
        (header("nobody", "secret"), False),
        (header("long", "x" * 80), True),
        (header("long", "x" * 72), True),
        (header("long", "x" * 72 + "other"), True),
        (header("long", "x" * 71), False),
        (header("md", "secret"), False),
        (header("ann2", "secret"), True),
        (header("ann2", "x" * 80), False),
        (header("spaces", "secret"), True),
        (header("# no", "secret"), False),
        (header("more", "secret"), True),
        (header("2a", "secret"), True),
        (header("2b", "secret"), True),
        (header("ann", "secret").rstrip("="), False),
        ("Basic !", False),
        ("Bearer x.y.z", False),
    ],
)
async def test_logins(
    passwords: tuple[DockerRegistry, Guard], authorization: str | None, expected: bool
) -> None:
    assert await compare(*passwords, authorization, "base") == expected
    assert await compare(*passwords, authorization, "catalog") == expected


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DockerRegistry, Guard]]:
    folder = tmp_path_factory.mktemp("tokens")
    path = bundle(folder / "bundle.pem", signer("rsa"), signer("p256"), signer("p384"))
    settings = {"realm": REALM, "service": SERVICE, "issuer": ISSUER}
    extra = {"auth": {"token": {**settings, "rootcertbundle": str(path)}}}
    with DockerRegistry(folder / "registry", extra=extra) as registry:
        yield registry, make_guard(Token(REALM, SERVICE, ISSUER, path), ())


def leaf(**options: Any) -> Signer:
    key, algorithm = make_key("p256")
    return Signer(key, algorithm, certificate(key, "leaf", issuer=signer("rsa"), **options))


def with_chain(by: Signer) -> str:
    return token(by, x5c=x5c(by.certificate))


def forged() -> str:
    head, _, signature = token(signer("rsa")).split(".")
    return f"{head}.{token(signer('rsa'), claims(sub='root')).split('.')[1]}.{signature}"


def claimed(**changed: Any) -> Callable[[], str]:
    return lambda: token(signer("rsa"), claims(**changed))


TOKENS: dict[str, tuple[Callable[[], str], set[str]]] = {
    "pull": (lambda: token(signer("rsa")), {"base", "pull"}),
    "p256": (lambda: token(signer("p256")), {"base", "pull"}),
    "p384": (lambda: token(signer("p384")), {"base", "pull"}),
    "rs512": (lambda: token(signer("rsa"), algorithm="RS512"), {"base", "pull"}),
    "push": (
        claimed(access=access("repository:team/app:pull,push")),
        {"base", "pull", "push"},
    ),
    "push without pull": (claimed(access=access("repository:team/app:push")), {"base"}),
    "delete": (claimed(access=access("repository:team/app:delete")), {"base", "delete"}),
    "star": (
        claimed(access=access("repository:team/app:*")),
        {"base", "pull", "push", "delete"},
    ),
    "in two": (
        claimed(access=access("repository:team/app:pull", "repository:team/app:push")),
        {"base", "pull", "push"},
    ),
    "glob": (claimed(access=access("repository:team/*:pull")), {"base"}),
    "catalog": (claimed(access=access("registry:catalog:*")), {"base", "catalog"}),
    "catalog, pull": (claimed(access=access("registry:catalog:pull")), {"base"}),
    "nothing": (claimed(access=None), {"base"}),
    "nobody": (claimed(sub=""), {"base", "pull"}),
    "jwk": (lambda: token(signer("p256"), jwk={**signer("p256").jwk}), {"base", "pull"}),
    "x5c": (lambda: with_chain(signer("rsa")), {"base", "pull"}),
    "x5c leaf": (lambda: with_chain(leaf()), {"base", "pull"}),
    "x5c old": (lambda: with_chain(leaf(starts=-3.0, days=-1.0)), set()),
    "x5c stranger": (lambda: with_chain(signer("rsa", "stranger")), set()),
    "x5c same name": (lambda: token(signer("rsa", "x"), x5c=x5c(signer("rsa").certificate)), set()),
    "jwk stranger": (
        lambda: token(signer("p256", "x"), jwk=signer("p256", "x").jwk),
        set(),
    ),
    "no kid": (lambda: token(signer("rsa"), typ="JWT"), set()),
    "stranger": (lambda: token(signer("rsa", "stranger"), kid=signer("rsa").kid), set()),
    "forged": (forged, set()),
    "late": (claimed(exp=lambda now: now - 30), {"base", "pull"}),
    "too late": (claimed(exp=lambda now: now - 90), set()),
    "no end": (claimed(exp=None), set()),
    "early": (claimed(nbf=lambda now: now + 30), {"base", "pull"}),
    "too early": (claimed(nbf=lambda now: now + 90), set()),
    "from the future": (claimed(iat=lambda now: now + 90), {"base", "pull"}),
    "issuer": (claimed(iss="x"), set()),
    "service": (claimed(aud="x"), set()),
    "garbage": (lambda: "a.b.c", set()),
}


@pytest.mark.parametrize("name", TOKENS)
async def test_tokens(tokens: tuple[DockerRegistry, Guard], name: str) -> None:
    make, expected = TOKENS[name]
    authorization = f"Bearer {make()}"
    found = {call for call in CALLS if await compare(*tokens, authorization, call)}
    assert found == expected


@pytest.mark.parametrize("call", CALLS)
async def test_without_a_token(tokens: tuple[DockerRegistry, Guard], call: str) -> None:
    assert not await compare(*tokens, None, call)
    assert not await compare(*tokens, header("ann", "secret"), call)


def test_times_are_relative() -> None:
    """The table is made when tests are collected, its tokens when they are needed."""
    assert claims(exp=lambda now: now)["exp"] == pytest.approx(time.time(), abs=2)


async def test_the_base_path_is_asked_for(tokens: tuple[DockerRegistry, Guard]) -> None:
    registry, guard = tokens
    with pytest.raises(Unauthorized) as caught:
        await guard.admit(None, CALLS["base"][2])
    assert caught.value.challenge == registry.request("GET", "/v2/").headers["Www-Authenticate"]
