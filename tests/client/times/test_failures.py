"""What fails is not known, with the reason; nothing ends a run, and nothing goes elsewhere."""

import json
from typing import Any

import pytest
from aiohttp import web

from jettison.client import ClientOptions, Credentials
from jettison.client.times import Patience, asking, read_revisions, read_times
from jettison.client.times.asking import moment
from jettison.model.names import RepoName
from jettison.model.retention.evidence import Evidence
from tests.client.conftest import Connect
from tests.client.scripted import Answer, Drop, Handler, Scripted
from tests.client.times.imitated import ONE, PRODUCTS, REPO, Product, told

LOGIN = Credentials("robot", "hunter2")
PASSWORDS = {"Harbor", "Gitea"}
WHOLE = {"Azure Container Registry", "Google"}
"""Of these nothing is told unless everything is."""


@pytest.fixture(params=sorted(PRODUCTS))
def product(request: pytest.FixtureRequest) -> Product:
    return PRODUCTS[request.param]


async def ask(
    product: Product, server: Scripted, connect: Connect, *answers: Answer | Drop | Handler
) -> Evidence:
    server.on("GET", product.path, *answers)
    options = ClientOptions(retries=0, timeout=5)
    found = await read_times(connect(server.host, options, LOGIN).transport, product.name, REPO)
    assert found is not None
    assert "hunter2" not in found.unknown
    return found


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_login(
    status: int, product: Product, server: Scripted, connect: Connect
) -> None:
    found = await ask(product, server, connect, Answer(status, "{}"))
    assert found.unknown
    assert told(found) == ({}, {})
    if product.name in PASSWORDS:
        assert found.unknown == f"{product.name}'s API refuses the login ({status})"
    if product.name == "Quay":
        assert "as $oauthtoken" in found.unknown


@pytest.mark.parametrize("name", sorted(PASSWORDS))
async def test_a_missing_login(name: str, server: Scripted, connect: Connect) -> None:
    server.on("GET", PRODUCTS[name].path, Answer(401))
    found = await read_times(connect(server.host).transport, name, REPO)
    assert found is not None
    assert found.unknown == f"{name}'s API wants a login (401)"


async def test_a_refused_token(server: Scripted, connect: Connect) -> None:
    """A registry whose tokens do not allow it says so as it does elsewhere."""
    realm = f'Bearer realm="http://{server.host}/token",service="x"'
    path = PRODUCTS["GitLab with database"].path
    server.on("GET", path, Answer(401, headers={"WWW-Authenticate": realm}))
    server.on("GET", "/token", Answer(403, '{"errors": [{"code": "DENIED"}]}'))
    transport = connect(server.host, credentials=LOGIN).transport
    found = await read_times(transport, "GitLab with database", REPO)
    assert found is not None
    assert "refuses this login" in found.unknown
    assert "hunter2" not in found.unknown


@pytest.mark.parametrize(
    "answer",
    [
        Answer(404),
        Answer(400, '{"errors": [{"code": "UNKNOWN", "message": "no"}]}'),
        Answer(500),
        Answer(503, "<html>", {"Content-Type": "text/html"}),
        Answer(302, headers={"Location": "/login"}),
        Answer(200, "<html>welcome", {"Content-Type": "text/html"}),
        Answer(200, ""),
        Answer(200, "{"),
        Answer(200, "null"),
        Answer(200, "7"),
        Answer(200, "[7]"),
        Answer(200, '{"tags": 7, "manifest": 7, "data": 7}'),
        Answer(200, '{"errors": [{"message": "no such field"}], "data": null}'),
        Answer(200, "[" * 5000),
        Answer(200, b"\xff\xfe"),
        Drop(),
    ],
)
async def test_an_odd_answer(
    answer: Answer | Drop, product: Product, server: Scripted, connect: Connect
) -> None:
    found = await ask(product, server, connect, answer)
    assert told(found) == ({}, {})
    empty = isinstance(answer, Answer) and product.name == "Azure Container Registry"
    # An object without tags is an empty list where a null one is.
    assert found.unknown or empty
    assert "\n" not in found.unknown
    assert await read_revisions(connect(server.host).transport, product.name, REPO) is None


@pytest.mark.parametrize("value", [None, 0, "0", "", "soon", True, -1, 1e400, 315532800])
async def test_what_is_no_time_is_not_known(value: Any) -> None:
    assert moment(value, "source") is None


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "1999-12-31T23:59:59Z",
        "2024-01-01",
        "9" * 99,
    ],
)
def test_times_of_no_push(text: str) -> None:
    assert moment(text, "source") is None


def test_times_of_any_precision() -> None:
    for text in ("2024-07-04T11:22:47.1492925Z", "2024-07-04T13:22:47.149292+02:00"):
        found = moment(text, "source")
        assert found is not None
        assert found.seconds == pytest.approx(1720092167.149292)


@pytest.mark.parametrize("digits", ["9" * 18, "9" * 40, "9" * 400, "9" * 9000])
async def test_numbers_of_any_length(digits: str, server: Scripted, connect: Connect) -> None:
    for value in (digits, f'"{digits}"', f"-{digits}", f"{digits}.5"):
        body = f'{{"tags": [{{"name": "1", "start_ts": {value}}}]}}'
        found = await ask(PRODUCTS["Quay"], server, connect, Answer(body=body))
        assert all(times.pushed is None for times in found.tags.values())


async def test_invalid_names_are_left_out(server: Scripted, connect: Connect) -> None:
    time = "2025-01-01T00:00:00Z"
    body = [
        {"digest": "sha256:../..", "push_time": time, "tags": [{"name": "a/b", "push_time": time}]},
        {"digest": 7, "push_time": time, "tags": [{"name": None, "push_time": time}]},
        {"digest": ONE, "push_time": time, "tags": [{"name": "fine", "push_time": time}]},
    ]
    harbor = PRODUCTS["Harbor"]
    found = await ask(
        harbor, server, connect, Answer(body=json.dumps(body), headers={"X-Total-Count": "3"})
    )
    assert found.tags.keys() == {"fine"}
    assert found.manifests.keys() == {ONE}


# Pages.


async def test_what_came_before_a_page_that_fails(
    product: Product, server: Scripted, connect: Connect
) -> None:
    """It is known, and the rest is not, unless the times of one list rest on another's."""
    if len(product.pages) == 1:
        pytest.skip("it has no pages")
    product.serve(server)
    (first,) = server._scripts["GET", product.path]
    assert not isinstance(first, Answer | Drop)
    found = await ask(product, server, connect, first, Answer(403))
    assert found.unknown
    if product.name in WHOLE:
        assert told(found) == ({}, {})
        return
    whole = await ask(product, server, connect, first)
    some, every = told(found), told(whole)
    assert some[0].items() <= every[0].items()
    assert some[1].items() <= every[1].items()
    assert some != every
    assert some != ({}, {})


async def test_pages_that_turn_in_circles(
    product: Product, server: Scripted, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same page for ever, or always another: it ends."""
    monkeypatch.setattr(asking, "_PAGES", 8)
    if len(product.pages) == 1 and product.name != "Google":
        pytest.skip("it has no pages")
    count = 0

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal count
        count += 1
        link = f'<{request.path}?last=x{count % 50}&page=2>; rel="next"'
        body = product.pages[""]
        if isinstance(body, dict):
            body = body | {"next": "more", "page": count}
        return web.json_response(body, headers={"Link": link})

    found = await ask(product, server, connect, answer)
    assert "no end" in found.unknown
    assert count <= 8


async def test_a_page_that_is_too_large(
    product: Product, server: Scripted, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "LIST_LIMIT", 100_000)
    found = await ask(product, server, connect, Answer(body="[" + " " * 200_000 + "]"))
    assert "more than" in found.unknown


async def test_a_page_with_too_much_in_it(
    product: Product, server: Scripted, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_PARTS", 100)
    found = await ask(product, server, connect, Answer(body="[" + "{}," * 200 + "{}]"))
    assert "something else" in found.unknown


# Logins stay where they are.


async def test_a_redirect_to_another_host_gets_no_login_and_tells_nothing(
    product: Product, server: Scripted, elsewhere: Scripted, connect: Connect
) -> None:
    product.serve(elsewhere)
    there = f"http://{elsewhere.host}{product.path}"
    found = await ask(product, server, connect, Answer(307, headers={"Location": there}))
    assert set(elsewhere.sent("Authorization")) <= {None}
    assert "leads to another host" in found.unknown
    assert told(found) == ({}, {})


async def test_a_next_page_on_another_host_is_asked_of_the_registry(
    product: Product, server: Scripted, elsewhere: Scripted, connect: Connect
) -> None:
    link = f'<http://{elsewhere.host}{product.path}?page=2&last=2>; rel="next"'
    body = product.pages[""]
    if isinstance(body, dict):
        body = body | {"next": f"http://{elsewhere.host}/"}
    pages = [Answer(body=json.dumps(body), headers={"Link": link}), Answer(404)]
    await ask(product, server, connect, *pages)
    assert elsewhere.seen == []


async def test_names_outside_of_a_project(server: Scripted, connect: Connect) -> None:
    for name in ("Harbor", "Gitea"):
        found = await read_times(connect(server.host).transport, name, RepoName("app"))
        assert found is not None
        assert found.unknown
    assert server.seen == []


async def test_an_api_that_fails_for_all_is_asked_a_few_times(
    server: Scripted, connect: Connect
) -> None:
    """Each time takes as long as all its retries, and there may be a thousand repositories."""
    harbor, patience = PRODUCTS["Harbor"], Patience()
    transport = connect(server.host, ClientOptions(retries=0)).transport

    async def ask_again(*answers: Answer) -> str:
        server.on("GET", harbor.path, *answers)
        found = await read_times(transport, "Harbor", REPO, patience)
        assert found is not None
        return found.unknown

    for _ in range(5):
        assert "502" in await ask_again(Answer(502))
        # A refusal is quick, and another repository's answer may be better.
        assert "403" in await ask_again(Answer(403))
    for _ in range(3):
        assert "502" in await ask_again(Answer(502))
    before = len(server.seen)
    assert "502" in await ask_again(Answer(200, "[]"))
    assert len(server.seen) == before
