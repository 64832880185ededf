"""Logins against the real registry: its own token check, and files shared with skopeo."""

import base64
import json
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from jettison.client import Credentials, CredentialStore, RemoteRegistry
from jettison.demo import images
from jettison.errors import AccessDenied, LoginRefused
from jettison.model.names import RepoName, Tag
from jettison.registry import Deletion
from tests.client.scripted import Scripted
from tests.support.missing import need
from tests.support.registry import DockerRegistry, RegistryFactory

REPO = RepoName("team/app")
ONE = images.image([images.layer({"app": b"1"})])

# -- tokens ------------------------------------------------------------------------------------

OWNER = Credentials("owner", "ownerpw")
READER = Credentials("reader", "readerpw")
ALLOWED = {"owner": {"pull", "push", "delete", "*"}, "reader": {"pull"}}


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """Signs tokens as the distribution project's token specification wants them (RS256, x5c)."""

    def __init__(self, folder: Path) -> None:
        need("openssl")
        folder.mkdir()
        self.folder = folder
        self.certificate = folder / "issuer.crt"
        self.given: list[list[str]] = []
        self._openssl(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=issuer "
            "-keyout issuer.key -out issuer.crt"
        )
        self._chain = self._openssl("x509 -in issuer.crt -outform DER")

    def token(self, user: str, scopes: list[str]) -> str:
        self.given.append(scopes)
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            allowed = sorted(set(actions.split(",")) & ALLOWED[user])
            access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(self._chain).decode()]}
        claims = {
            "iss": "issuer",
            "aud": "registry",
            "sub": user,
            "jti": str(len(self.given)),
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "access": access,
        }
        signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
        signature = self._openssl("dgst -sha256 -sign issuer.key", signed.encode())
        return f"{signed}.{encoded(signature)}"

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        scheme, _, pair = request.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(pair).decode().partition(":")
        if scheme != "Basic" or password != f"{user}pw" or user not in ALLOWED:
            return web.Response(status=401)
        scopes = parse_qs(urlsplit(request.raw_path).query).get("scope", [])
        return web.json_response({"token": self.token(user, scopes), "expires_in": 300})

    def _openssl(self, command: str, text: bytes = b"") -> bytes:
        done = subprocess.run(
            ["openssl", *command.split()],
            cwd=self.folder,
            input=text,
            check=True,
            capture_output=True,
        )
        return done.stdout


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path / "issuer")


@pytest.fixture
async def guarded(
    issuer: Issuer, registry_factory: RegistryFactory
) -> AsyncIterator[DockerRegistry]:
    """A registry with one image that takes the issuer's tokens."""
    async with Scripted() as server:
        server.on("GET", "/token", issuer.answer)
        token = {
            "realm": f"http://{server.host}/token",
            "service": "registry",
            "issuer": "issuer",
            "rootcertbundle": str(issuer.certificate),
        }
        real = registry_factory(delete=True, extra={"auth": {"token": token}})
        pushing = issuer.token("owner", [f"repository:{REPO}:pull,push"])
        real.authorization = f"Bearer {pushing}"
        real.push(REPO, "1", ONE)
        issuer.given.clear()
        yield real


async def test_a_real_token_is_enough_for_everything(
    guarded: DockerRegistry, issuer: Issuer
) -> None:
    async with RemoteRegistry(guarded.host, None, OWNER) as registry:
        assert await registry.ping() == "bearer"
        assert [name async for name in registry.repositories()] == [REPO]
        assert [tag async for tag in registry.tags(REPO)] == [Tag("1")]
        found = await registry.capabilities(REPO)
        assert (found.login, found.deletion) == ("bearer", Deletion.ENABLED)
        assert await registry.delete_manifest(REPO, ONE.digest) is True
        assert await registry.delete_manifest(REPO, ONE.digest) is False
    scopes = [" ".join(given) for given in issuer.given]
    assert len(scopes) == len(set(scopes)), "a token was fetched twice"
    assert f"repository:{REPO}:delete,pull" in scopes


async def test_a_token_that_only_reads(guarded: DockerRegistry) -> None:
    async with RemoteRegistry(guarded.host, None, READER) as registry:
        assert await registry.resolve(REPO, Tag("1")) == ONE.digest
        assert (await registry.capabilities(REPO)).deletion is Deletion.DENIED
        with pytest.raises(AccessDenied, match="not allowed to delete from team/app") as caught:
            await registry.delete_manifest(REPO, ONE.digest)
        assert caught.value.exit_code == 10
        with pytest.raises(AccessDenied, match="does not allow this login to list"):
            _ = [name async for name in registry.repositories()]
        assert await registry.resolve(REPO, Tag("1")) == ONE.digest


async def test_no_token_without_a_login(guarded: DockerRegistry) -> None:
    async with RemoteRegistry(guarded.host) as registry:
        with pytest.raises(LoginRefused, match="needs a login"):
            await registry.ping()
    async with RemoteRegistry(guarded.host, None, Credentials("owner", "wrong")) as registry:
        with pytest.raises(LoginRefused, match=f"login to {guarded.host} refused"):
            await registry.resolve(REPO, Tag("1"))


# -- files -------------------------------------------------------------------------------------


def skopeo(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    need("skopeo")
    return subprocess.run(
        ["skopeo", *arguments],
        input=stdin,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def inspect(host: str) -> int:
    return skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{host}/{REPO}:1").returncode


@pytest.fixture
def private(registry_factory: RegistryFactory) -> DockerRegistry:
    real = registry_factory(delete=True, htpasswd=("me", "pa:ss"))
    real.push(REPO, "1", ONE)
    return real


async def resolves(host: str) -> bool:
    async with RemoteRegistry(host, None, CredentialStore.of_user()) as registry:
        try:
            return await registry.resolve(REPO, Tag("1")) == ONE.digest
        except LoginRefused:
            return False


async def test_our_login_serves_skopeo(private: DockerRegistry) -> None:
    store = CredentialStore.of_user()
    assert inspect(private.host) != 0
    assert not await resolves(private.host)
    store.save(private.host, Credentials("me", "pa:ss"))
    assert inspect(private.host) == 0
    assert await resolves(private.host)
    assert store.erase(private.host) == [str(store.default_file())]
    assert inspect(private.host) != 0
    assert not await resolves(private.host)


async def test_skopeos_login_serves_us(private: DockerRegistry) -> None:
    login = ["login", "--tls-verify=false", "-u", "me", "--password-stdin", private.host]
    assert skopeo(*login, stdin="pa:ss").returncode == 0
    assert await resolves(private.host)
    assert len(CredentialStore.of_user().erase(private.host)) == 1
    assert not await resolves(private.host)
    assert inspect(private.host) != 0


async def test_skopeos_login_for_a_namespace(private: DockerRegistry) -> None:
    login = ["login", "--tls-verify=false", "-u", "me", "--password-stdin"]
    done = skopeo(*login, f"{private.host}/team", stdin="pa:ss")
    assert done.returncode == 0, done.stderr
    store = CredentialStore.of_user()
    assert store.find(private.host) is None
    assert store.find(private.host, RepoName("other")) is None
    assert await resolves(private.host)
