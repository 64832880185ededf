"""What ``check`` says of a registry: what is known, what is not, and whom to ask."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from jettison.client import ClientOptions, Credentials, RemoteRegistry
from jettison.errors import DeletionDisabled, JettisonError, LoginRefused, UnexpectedResponse
from jettison.jobs.check import Item, Level, check_registry
from jettison.jobs.deletion import deletion_problem
from jettison.model.names import RepoName
from jettison.registry import Capabilities, Deletion
from tests.client.scripted import Answer, Scripted

APP = RepoName("app")
UNROUTED = Answer(404, "404 page not found\n", {"Content-Type": "text/plain"})
PAGE = Answer(403, "<h1>403</h1>", {"Content-Type": "text/html"}, marked=False)
LOGIN = Answer(401, "<h1>401</h1>", {"WWW-Authenticate": 'Basic realm="r"'}, marked=False)


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with Scripted() as scripted:
        scripted.on("GET", "/v2/_catalog", Answer(body='{"repositories": ["app"]}'))
        scripted.on("GET", "/v2/app/tags/list", Answer(body='{"tags": ["1"]}'))
        scripted.on("GET", "/v2/app/referrers/*", UNROUTED)
        yield scripted


async def checked(
    server: Scripted, repository: RepoName | None = APP, login: Credentials | None = None
) -> tuple[dict[str, Item], JettisonError | None]:
    async with RemoteRegistry(server.host, ClientOptions(retries=0), login) as registry:
        found, items = await check_registry(registry, repository)
    problem = deletion_problem(server.host, found, repository)
    return {item.subject: item for item in items}, problem


def unsupported(text: str = "The operation is unsupported.") -> Answer:
    return Answer(405, f'{{"errors": [{{"code": "UNSUPPORTED", "message": "{text}"}}]}}')


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (unsupported(), DeletionDisabled, "disabled: the registry answers 405, UNSUPPORTED"),
        (PAGE, DeletionDisabled, "something in front of the registry refuses it: 403"),
        (LOGIN, LoginRefused, "needs a login, and none was given"),
    ],
)
async def test_what_stands_in_the_way(
    server: Scripted, answer: Answer, error: type[JettisonError], words: str
) -> None:
    server.on("DELETE", "/v2/app/manifests/*", answer)
    items, problem = await checked(server)
    assert isinstance(problem, error)
    assert items["deletion"].level is Level.ERROR
    assert words in items["deletion"].message
    assert items["login"].message == "not needed to read"


async def test_advice_on_configuration_goes_to_distribution(server: Scripted) -> None:
    server.on("DELETE", "/v2/app/manifests/*", unsupported())
    items, problem = await checked(server)
    assert "storage.delete.enabled" in (items["deletion"].next or "")
    assert problem is not None
    assert "storage.delete.enabled" in (problem.hint or "")
    server.on("GET", "/v2/", Answer(body="{}", headers={"X-GitHub-Request-Id": "1"}))
    items, problem = await checked(server)
    assert "GitHub" in items["registry"].message
    assert problem is not None
    for text in (items["deletion"].next, problem.hint):
        assert "by its own API" in (text or "")
        assert "storage" not in (text or "")


@pytest.mark.parametrize("status", [202, 400, 500])
async def test_a_probe_that_does_not_tell(server: Scripted, status: int) -> None:
    """Without a repository to ask about nothing is wrong yet; in one, the tag's answer counts."""
    said = Answer(status, '{"errors": [{"code": "NAME_UNKNOWN", "message": "not known"}]}')
    for name in ("app", "jettison-probe/absent"):
        server.on("DELETE", f"/v2/{name}/manifests/*", said)
    server.on("GET", "/v2/_catalog", Answer(body='{"repositories": null}'))
    items, problem = await checked(server, None)
    assert problem is None
    assert items["deletion"].level is Level.INFO
    assert str(status) in items["deletion"].message
    assert "HOST" not in (items["deletion"].next or "")
    items, problem = await checked(server)
    assert (problem is None) == (status == 202)
    if problem is not None:
        assert isinstance(problem, UnexpectedResponse)
        assert problem.exit_code == 1
        assert "NAME_UNKNOWN: not known" in problem.message
        assert "it answers" not in problem.message, "a sentence of its own may stand there"
        assert problem.hint
        assert "jettison check" not in problem.hint, "that is what was run"


async def test_a_login_is_accepted_only_if_one_was_given(server: Scripted) -> None:
    ask = Answer(401, headers={"WWW-Authenticate": f'Bearer realm="http://{server.host}/token"'})
    server.on("GET", "/token", Answer(body='{"token": "t"}'))
    server.on("GET", "/v2/", ask, Answer(body="{}"))
    items, _ = await checked(server)
    assert "none given" in items["login"].message
    assert "accepted" not in items["login"].message
    server.on("GET", "/v2/", ask, Answer(body="{}"))
    items, _ = await checked(server, login=Credentials("me", "pw"))
    assert items["login"].message == "needed (Bearer token) and accepted"


async def test_repositories_that_cannot_be_listed(server: Scripted) -> None:
    for answer in (Answer(403), Answer(404), Answer(504, "<html>"), Answer(200, "<html>")):
        server.on("GET", "/v2/_catalog", answer)
        items, problem = await checked(server)
        assert items["catalog"].level is Level.WARNING
        assert problem is None


async def test_why_repositories_cannot_be_listed(server: Scripted) -> None:
    server.on(
        "GET", "/v2/_catalog", Answer(500, '{"errors": [{"code": "UNKNOWN", "message": "x"}]}')
    )
    item = (await checked(server))[0]["catalog"]
    assert "500, UNKNOWN: x" in item.message
    assert "Log in" not in (item.next or ""), "no login mends that"
    server.on(
        "GET", "/v2/_catalog", Answer(403, '{"errors": [{"code": "DENIED", "message": "y"}]}')
    )
    item = (await checked(server))[0]["catalog"]
    assert "y" in item.message
    assert "Log in" in (item.next or "")


def test_every_state_has_its_words() -> None:
    for deletion in Deletion:
        found = Capabilities(deletion=deletion, product="zot", login="none", said="405, NO")
        problem = deletion_problem("h:5000", found, APP)
        assert (problem is None) == (deletion is Deletion.ENABLED)
        if problem is not None:
            assert problem.hint
            assert "nothing was changed" in problem.message


async def test_check_fails_with_what_it_marks(server: Scripted, tmp_path: Path) -> None:
    """Also where no repository was named, and one of the catalog was asked about."""
    said = Answer(400, '{"errors": [{"code": "DENIED", "message": "locked"}]}')
    server.on("DELETE", "/v2/app/manifests/*", said)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jettison", "check", server.host),
        env={**os.environ, "HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    assert b"FAIL  deletion" in out
    assert b"locked" in error
    assert process.returncode == 1
