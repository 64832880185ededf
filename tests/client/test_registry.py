"""What answers mean: lists, digests, refusals; against a server that says what it is told to."""

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from jettison.client import ClientOptions, RemoteRegistry
from jettison.client.answers import next_link
from jettison.errors import (
    AccessDenied,
    DeletionDisabled,
    InvalidManifest,
    JettisonError,
    NotARegistry,
    NotFoundError,
    UnexpectedResponse,
    VerificationFailed,
)
from jettison.model.digest import Digest
from jettison.model.listing_problems import ListingProblem, ProblemCode
from jettison.model.mediatypes import ACCEPT, OCI_INDEX, OCI_MANIFEST
from jettison.model.names import RepoName, Tag
from jettison.registry import RawManifest, Registry
from tests.client.conftest import Clock, Connect
from tests.client.scripted import Answer, Handler, Scripted

REPO = RepoName("team/app")
RAW = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
DIGEST = Digest.of(RAW)
OTHER = Digest.of(b"other")
BY_TAG = "/v2/team/app/manifests/1"
BY_DIGEST = f"/v2/team/app/manifests/{DIGEST}"
BLOB = f"/v2/team/app/blobs/{DIGEST}"
TAGS = "/v2/team/app/tags/list"
PAGE = Answer(200, "<html>Welcome</html>", {"Content-Type": "text/html"}, marked=False)
NO_PAGE = Answer(404, "<html>Not here</html>", {"Content-Type": "text/html"}, marked=False)


def typed(body: bytes = RAW, digest: str | None = None, media_type: str = OCI_INDEX) -> Answer:
    headers = {"Content-Type": media_type}
    if digest is not None:
        headers["Docker-Content-Digest"] = digest
    return Answer(200, body, headers)


def names(*tags: str, link: str | None = None, key: str = "tags") -> Answer:
    return Answer(200, json.dumps({key: list(tags)}), {"Link": link} if link else {})


async def all_tags(registry: RemoteRegistry) -> list[str]:
    return [str(tag) async for tag in registry.tags(REPO)]


async def all_repositories(registry: RemoteRegistry) -> list[str]:
    return [str(name) async for name in registry.repositories()]


def test_it_is_a_registry() -> None:
    registry: Registry = RemoteRegistry("example.com")
    assert registry.name == "example.com"


# -- is it one ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body="{}"),
        Answer(body="true"),
        Answer(body=""),
        Answer(body="{}", marked=False),
        Answer(body="", marked=False),
    ],
)
async def test_a_registry(server: Scripted, connect: Connect, answer: Answer) -> None:
    server.on("GET", "/v2/", answer)
    assert await connect(server.host).ping() == "none"


@pytest.mark.parametrize(
    "answer",
    [
        PAGE,
        NO_PAGE,
        Answer(200, "Hello", marked=False),
        Answer(404, '{"detail": "Not Found"}', marked=False),
        Answer(400, marked=False),
    ],
)
async def test_no_registry(server: Scripted, connect: Connect, answer: Answer) -> None:
    server.on("GET", "/v2/", answer)
    with pytest.raises(
        NotARegistry, match="is not a registry: GET /v2/ is answered with"
    ) as caught:
        await connect(server.host).ping()
    assert caught.value.exit_code == 10
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("page", [PAGE, NO_PAGE])
async def test_a_web_page_is_no_answer_to_anything(
    server: Scripted, connect: Connect, page: Answer
) -> None:
    """Above all not "is not there", or a digest of the page."""
    for method in ("GET", "HEAD"):
        for path in ("/v2/", "/v2/_catalog", TAGS, BY_TAG, BY_DIGEST):
            server.on(method, path, page)
    server.on("DELETE", BY_DIGEST, NO_PAGE)
    server.on("HEAD", BLOB, NO_PAGE)
    server.on("GET", BLOB, NO_PAGE)
    registry = connect(server.host)
    for attempt in (
        registry.ping,
        lambda: all_repositories(registry),
        lambda: all_tags(registry),
        lambda: registry.resolve(REPO, Tag("1")),
        lambda: registry.manifest(REPO, Tag("1")),
        lambda: registry.manifest(REPO, DIGEST),
        lambda: registry.delete_manifest(REPO, DIGEST),
        lambda: registry.blob_size(REPO, DIGEST),
        lambda: registry.has_blob(REPO, DIGEST),
        lambda: registry.capabilities(REPO),
    ):
        with pytest.raises(NotARegistry):
            await attempt()


# -- lists -------------------------------------------------------------------------------------


async def test_pages_are_followed(server: Scripted, connect: Connect) -> None:
    absolute = f'<http://{server.host}{TAGS}?page=3>; rel="next"'
    server.on("GET", f"{TAGS}?n=1000", names("a", "b", link=f'<{TAGS}?last=b&n=1000>; rel="next"'))
    server.on("GET", f"{TAGS}?last=b&n=1000", names("c", "a", link=absolute))
    server.on("GET", f"{TAGS}?page=3", names("d", "d"))
    assert await all_tags(connect(server.host)) == ["a", "b", "c", "d"]
    assert len(server.seen) == 3


async def test_the_catalog_is_paged_too(server: Scripted, connect: Connect) -> None:
    first = names("a", key="repositories", link='<?last=a&n=1000>; rel="next"')
    server.on("GET", "/v2/_catalog?n=1000", first)
    server.on("GET", "/v2/_catalog?last=a&n=1000", names("b/c", key="repositories"))
    assert await all_repositories(connect(server.host)) == ["a", "b/c"]


@pytest.mark.parametrize("body", ['{"tags": null}', '{"tags": []}', "{}", '{"name": "x"}'])
async def test_no_tags(server: Scripted, connect: Connect, body: str) -> None:
    server.on("GET", TAGS, Answer(body=body))
    assert await all_tags(connect(server.host)) == []


async def test_a_page_size_that_is_not_liked_is_left_out(
    server: Scripted, connect: Connect
) -> None:
    refused = Answer(400, '{"errors": [{"code": "PAGINATION_NUMBER_INVALID"}]}')
    server.on("GET", f"{TAGS}?n=1000", refused)
    server.on("GET", TAGS, names("a"))
    assert await all_tags(connect(server.host)) == ["a"]
    server.on("GET", TAGS, refused)
    with pytest.raises(UnexpectedResponse, match="PAGINATION_NUMBER_INVALID"):
        await all_tags(connect(server.host))


async def test_pages_elsewhere_are_asked_for_here(
    server: Scripted, elsewhere: Scripted, connect: Connect
) -> None:
    """Behind a proxy a registry may name its next page by its inner address."""
    link = f'<http://{elsewhere.host}{TAGS}?last=a&n=1>; rel="next"'
    server.on("GET", f"{TAGS}?n=1000", names("a", link=link))
    server.on("GET", f"{TAGS}?last=a&n=1", names("b"))
    assert await all_tags(connect(server.host)) == ["a", "b"]
    # What is not below /v2/ is no path of a registry's.
    server.on("GET", f"{TAGS}?n=1000", names("a", link="<//other.example/x?p=2>; rel=next"))
    server.on("GET", f"{TAGS}?p=2", names("c"))
    assert await all_tags(connect(server.host)) == ["a", "c"]
    assert elsewhere.seen == []


async def marked(registry: RemoteRegistry) -> tuple[list[str], list[ListingProblem]]:
    """The tags that can be named, and the problems among them."""
    found = [item async for item in registry.tags(REPO)]
    problems = [item for item in found if isinstance(item, ListingProblem)]
    return [str(item) for item in found if not isinstance(item, ListingProblem)], problems


async def test_pages_in_circles(server: Scripted, connect: Connect) -> None:
    server.on("GET", TAGS, names("a", link=f'<{TAGS}?n=1000>; rel="next"'))
    tags, [problem] = await marked(connect(server.host))
    assert (tags, problem.code) == (["a"], ProblemCode.CUT_SHORT)
    assert "in circles" in problem.message
    count = 0

    async def another(_request: web.BaseRequest) -> web.StreamResponse:
        nonlocal count
        count += 1
        return names("a", link=f'<{TAGS}?page={count}>; rel="next"').response()

    server.on("GET", TAGS, another)
    tags, [problem] = await marked(connect(server.host))
    assert (tags, problem.code) == (["a"], ProblemCode.CUT_SHORT)
    assert count < 100


async def test_a_list_without_end_is_no_list(
    server: Scripted, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jettison.client.pages._NAMES", 1000)
    count = 0

    async def fresh(_request: web.BaseRequest) -> web.StreamResponse:
        nonlocal count
        count += 1
        many = [f"t{count}-{number}" for number in range(100)]
        return names(*many, link=f'<{TAGS}?page={count}>; rel="next"').response()

    server.on("GET", TAGS, fresh)
    with pytest.raises(UnexpectedResponse, match="no end"):
        await marked(connect(server.host))
    assert count == 11
    server.on("GET", TAGS, names(*map(str, range(1002))))
    with pytest.raises(UnexpectedResponse, match="no end"):
        await marked(connect(server.host))


async def test_a_later_page_that_is_missing_is_no_end(server: Scripted, connect: Connect) -> None:
    server.on("GET", f"{TAGS}?n=1000", names("a", link=f'<{TAGS}?page=2>; rel="next"'))
    server.on("GET", f"{TAGS}?page=2", Answer(404, '{"errors": [{"code": "NAME_UNKNOWN"}]}'))
    tags, [problem] = await marked(connect(server.host))
    assert (tags, problem.code) == (["a"], ProblemCode.CUT_SHORT)
    assert "404" in problem.message
    assert problem.lacking


async def test_an_unknown_repository(server: Scripted, connect: Connect) -> None:
    with pytest.raises(NotFoundError, match="no repository team/app in"):
        await all_tags(connect(server.host))


@pytest.mark.parametrize("bad", ["", "a b", "../x", "UP", "a\n", "x" * 256])
async def test_invalid_names_are_marked(server: Scripted, connect: Connect, bad: str) -> None:
    """They hide nothing of the others, and are no reason for an exit code of their own."""
    server.on("GET", "/v2/_catalog", names("ok", bad, "also", key="repositories"))
    found = [item async for item in connect(server.host).repositories()]
    assert [str(found[0]), str(found[2])] == ["ok", "also"]
    assert isinstance(found[1], ListingProblem)
    assert found[1].code is ProblemCode.INVALID_NAME
    server.on("GET", TAGS, names("ok", "-" + bad))
    tags, [problem] = await marked(connect(server.host))
    assert (tags, problem.code) == (["ok"], ProblemCode.INVALID_NAME)
    assert problem.subject
    assert problem.subject.isprintable()
    server.on("GET", TAGS, Answer(body='{"tags": ["a", null]}'))
    assert (await marked(connect(server.host)))[0] == ["a"]
    assert not problem.lacking


@pytest.mark.parametrize("body", ["", "[]", "{", '{"tags": "a"}', '{"tags": [1]}', "\0"])
async def test_unreadable_lists(server: Scripted, connect: Connect, body: str) -> None:
    server.on("GET", TAGS, Answer(body=body))
    with pytest.raises(UnexpectedResponse, match="something unreadable"):
        await all_tags(connect(server.host))


@pytest.mark.parametrize(
    ("status", "error"),
    [(403, AccessDenied), (404, NotFoundError), (405, NotFoundError), (400, UnexpectedResponse)],
)
async def test_a_catalog_that_is_refused(
    server: Scripted, connect: Connect, status: int, error: type[JettisonError]
) -> None:
    server.on("GET", "/v2/_catalog", Answer(status, '{"errors": [{"code": "X"}]}'))
    with pytest.raises(error) as caught:
        await all_repositories(connect(server.host))
    if error is not UnexpectedResponse:
        assert caught.value.hint == f"Name a repository: {server.host}/REPO."


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        (["</a>; rel=next"], "/a"),
        (['</a>;rel="next"'], "/a"),
        (['</a>; REL="Next"'], "/a"),
        (['</a>; rel="prev next"; title="x, <y>"'], "/a"),
        (['</p>; rel="prev", </a,b>; title="t"; rel="next"'], "/a,b"),
        (['</p>; rel="prev"', '</a>; rel="next"'], "/a"),
        (['</a>; title="rel=next"'], None),
        (["</a>"], None),
        (["nonsense; rel=next"], None),
    ],
)
def test_links(values: list[str], expected: str | None) -> None:
    assert next_link(values) == expected


@given(st.lists(st.text(alphabet='<>;,="rel nxt/\\', max_size=80), max_size=3))
def test_any_link_is_read_without_failing(values: list[str]) -> None:
    next_link(values)


# -- referrers ---------------------------------------------------------------------------------

REFERRERS = f"/v2/team/app/referrers/{DIGEST}"


def index(*digests: str, link: str | None = None) -> Answer:
    entries = [{"mediaType": OCI_MANIFEST, "digest": digest, "size": 1} for digest in digests]
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    headers = {"Content-Type": OCI_INDEX, **({"Link": link} if link else {})}
    return Answer(200, body, headers)


async def test_referrers(server: Scripted, connect: Connect) -> None:
    registry = connect(server.host)
    assert await registry.referrers(REPO, DIGEST) is None
    third = Digest.of(b"third")
    server.on("GET", REFERRERS, index(OTHER, link=f'<{REFERRERS}?page=2>; rel="next"'))
    server.on("GET", f"{REFERRERS}?page=2", index(third))
    assert await registry.referrers(REPO, DIGEST) == [OTHER, third]
    server.on("GET", REFERRERS, index())
    assert await registry.referrers(REPO, DIGEST) == []
    server.on("GET", REFERRERS, index("sha256:bad"))
    with pytest.raises(UnexpectedResponse, match="referrer"):
        await registry.referrers(REPO, DIGEST)
    server.on("GET", REFERRERS, Answer(403))
    with pytest.raises(AccessDenied, match="pull from team/app"):
        await registry.referrers(REPO, DIGEST)


# -- manifests ---------------------------------------------------------------------------------


async def test_resolve_believes_head(server: Scripted, connect: Connect) -> None:
    server.on("HEAD", BY_TAG, typed(b"", DIGEST))
    assert await connect(server.host).resolve(REPO, Tag("1")) == DIGEST
    assert server.requests == [f"HEAD {BY_TAG}"]
    assert server.sent("Accept") == [ACCEPT]


@pytest.mark.parametrize("header", [None, "", "sha256:abc", "md5:00", DIGEST.upper()])
async def test_resolve_hashes_where_head_does_not_say(
    server: Scripted, connect: Connect, header: str | None
) -> None:
    server.on("HEAD", BY_TAG, typed(b"", header))
    server.on("GET", BY_TAG, typed(RAW, header))
    assert await connect(server.host).resolve(REPO, Tag("1")) == DIGEST


async def test_resolve_without_head(server: Scripted, connect: Connect) -> None:
    server.on("HEAD", BY_TAG, Answer(405))
    server.on("GET", BY_TAG, typed())
    assert await connect(server.host).resolve(REPO, Tag("1")) == DIGEST


async def test_resolve_of_nothing(server: Scripted, connect: Connect) -> None:
    assert await connect(server.host).resolve(REPO, Tag("1")) is None


async def test_resolve_denied(server: Scripted, connect: Connect) -> None:
    server.on("HEAD", BY_TAG, Answer(403))
    with pytest.raises(AccessDenied, match="does not allow it to pull from team/app"):
        await connect(server.host).resolve(REPO, Tag("1"))


async def test_a_manifest(server: Scripted, connect: Connect) -> None:
    server.on("GET", BY_TAG, typed(RAW, DIGEST, f"{OCI_INDEX}; charset=utf-8"))
    server.on("GET", BY_DIGEST, typed())
    registry = connect(server.host)
    expected = RawManifest(DIGEST, OCI_INDEX, RAW)
    assert await registry.manifest(REPO, Tag("1")) == expected
    assert await registry.manifest(REPO, DIGEST) == expected
    assert await registry.manifest(REPO, OTHER) is None
    assert set(server.sent("Accept")) == {ACCEPT}


@pytest.mark.parametrize("declared", ["", "application/json", "text/plain"])
async def test_a_manifest_says_its_type_itself(
    server: Scripted, connect: Connect, declared: str
) -> None:
    server.on("GET", BY_TAG, typed(media_type=declared))
    found = await connect(server.host).manifest(REPO, Tag("1"))
    assert found == RawManifest(DIGEST, OCI_INDEX, RAW)


async def test_sha512(server: Scripted, connect: Connect) -> None:
    long = Digest.of(RAW, "sha512")
    server.on("GET", BY_TAG, typed(RAW, long))
    server.on("GET", f"/v2/team/app/manifests/{long}", typed(RAW, DIGEST))
    registry = connect(server.host)
    for reference in (Tag("1"), long):
        found = await registry.manifest(REPO, reference)
        assert found is not None
        assert found.digest == long


@pytest.mark.parametrize(
    ("path", "reference", "answer"),
    [
        (BY_DIGEST, DIGEST, typed(RAW + b" ")),
        (BY_DIGEST, DIGEST, typed(RAW + b" ", Digest.of(RAW + b" "))),
        (BY_DIGEST, DIGEST, typed(RAW, OTHER)),
        (BY_TAG, Tag("1"), typed(RAW, OTHER)),
        (BY_TAG, Tag("1"), typed(b"", DIGEST)),
    ],
)
async def test_a_digest_that_lies(
    server: Scripted, connect: Connect, path: str, reference: Tag | Digest, answer: Answer
) -> None:
    server.on("GET", path, answer)
    with pytest.raises(InvalidManifest, match=f"{server.host} sends a manifest for team/app"):
        await connect(server.host).manifest(REPO, reference)


async def test_put_manifest(server: Scripted, connect: Connect) -> None:
    registry = connect(server.host)
    manifest = RawManifest(DIGEST, OCI_INDEX, RAW)
    stored = Answer(201, headers={"Docker-Content-Digest": DIGEST})
    server.on("PUT", BY_TAG, stored)
    server.on("PUT", BY_DIGEST, Answer(201))
    await registry.put_manifest(REPO, Tag("1"), manifest)
    await registry.put_manifest(REPO, DIGEST, manifest)
    assert [seen.body for seen in server.seen] == [RAW, RAW]
    assert server.sent("Content-Type") == [OCI_INDEX, OCI_INDEX]

    server.on("PUT", BY_TAG, Answer(201, headers={"Docker-Content-Digest": OTHER}))
    with pytest.raises(VerificationFailed, match="stored"):
        await registry.put_manifest(REPO, Tag("1"), manifest)
    missing = '{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown"}]}'
    server.on("PUT", BY_TAG, Answer(400, missing))
    with pytest.raises(UnexpectedResponse, match="400, MANIFEST_BLOB_UNKNOWN: blob unknown"):
        await registry.put_manifest(REPO, Tag("1"), manifest)
    server.on("PUT", BY_TAG, Answer(405))
    with pytest.raises(AccessDenied, match="read-only"):
        await registry.put_manifest(REPO, Tag("1"), manifest)


async def test_a_wrong_digest_is_not_even_sent(server: Scripted, connect: Connect) -> None:
    registry = connect(server.host)
    with pytest.raises(InvalidManifest):
        await registry.put_manifest(REPO, Tag("1"), RawManifest(OTHER, OCI_INDEX, RAW))
    with pytest.raises(InvalidManifest):
        await registry.put_manifest(REPO, OTHER, RawManifest(DIGEST, OCI_INDEX, RAW))
    assert server.seen == []


# -- removing ----------------------------------------------------------------------------------

UNSUPPORTED = Answer(405, '{"errors": [{"code": "UNSUPPORTED"}]}')
READ_ONLY = Answer(405, "Method not allowed", {"Allow": "GET, HEAD", "Content-Type": "text/plain"})


async def test_delete(server: Scripted, connect: Connect) -> None:
    registry = connect(server.host)
    assert await registry.delete_manifest(REPO, DIGEST) is False
    assert await registry.untag(REPO, Tag("1")) is False
    server.on("DELETE", BY_DIGEST, Answer(202))
    server.on("DELETE", BY_TAG, Answer(202))
    assert await registry.delete_manifest(REPO, DIGEST) is True
    assert await registry.untag(REPO, Tag("1")) is True


@pytest.mark.parametrize(
    ("answer", "message", "hint"),
    [
        (UNSUPPORTED, "deletion is not enabled", "storage.delete.enabled: true"),
        (READ_ONLY, "is read-only", "storage.maintenance.readonly.enabled: false"),
        (
            Answer(405, "<h1>405</h1>", {"Content-Type": "text/html"}, marked=False),
            "in front of",
            "proxy",
        ),
    ],
)
async def test_deletion_disabled(
    server: Scripted, connect: Connect, answer: Answer, message: str, hint: str
) -> None:
    server.on("DELETE", BY_DIGEST, answer)
    server.on("DELETE", BY_TAG, answer)
    registry = connect(server.host)
    with pytest.raises(DeletionDisabled, match=message) as by_tag:
        await registry.untag(REPO, Tag("1"))
    with pytest.raises(DeletionDisabled, match=message) as by_digest:
        await registry.delete_manifest(REPO, DIGEST)
    for caught in (by_tag, by_digest):
        assert hint in (caught.value.hint or "")
        assert caught.value.exit_code == 11


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (Answer(403), AccessDenied, "does not allow it to delete from team/app"),
        (Answer(400, '{"errors": [{"code": "DENIED"}]}'), AccessDenied, "delete from team/app"),
        (
            Answer(400, '{"errors": [{"code": "X", "message": "https://u:p@h/?sig=s\\nno"}]}'),
            UnexpectedResponse,
            "400, X: https://h/ no",
        ),
        (Answer(409), UnexpectedResponse, "409"),
        (Answer(307, headers={"Location": "/x"}), UnexpectedResponse, "307"),
    ],
)
async def test_a_delete_that_fails(
    server: Scripted,
    connect: Connect,
    answer: Answer,
    error: type[JettisonError],
    message: str,
) -> None:
    server.on("DELETE", BY_DIGEST, answer)
    with pytest.raises(error, match=message) as caught:
        await connect(server.host).delete_manifest(REPO, DIGEST)
    assert "\n" not in str(caught.value)


async def test_a_registry_that_cannot_untag(server: Scripted, connect: Connect) -> None:
    server.on("DELETE", BY_TAG, Answer(400, '{"errors": [{"code": "DIGEST_INVALID"}]}'))
    with pytest.raises(UnexpectedResponse, match="cannot remove a tag by itself"):
        await connect(server.host).untag(REPO, Tag("1"))


# -- blobs -------------------------------------------------------------------------------------


def cut(size: int) -> Handler:
    """Claim the whole length, send `size` bytes and break off."""

    async def send(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(RAW))})
        await response.prepare(request)
        if size:
            await response.write(RAW[:size])
        assert request.transport is not None
        request.transport.close()
        return response

    return send


async def test_has_blob(server: Scripted, connect: Connect) -> None:
    registry = connect(server.host)
    assert await registry.has_blob(REPO, DIGEST) is False
    server.on("GET", BLOB, Answer(200, RAW))
    assert await registry.has_blob(REPO, DIGEST) is True
    server.on("GET", BLOB, Answer(200, b""))
    assert await registry.has_blob(REPO, DIGEST) is False
    empty = Digest.of(b"")
    server.on("GET", f"/v2/team/app/blobs/{empty}", Answer(200, b""))
    assert await registry.has_blob(REPO, empty) is True
    server.on("GET", BLOB, Answer(403))
    with pytest.raises(AccessDenied):
        await registry.has_blob(REPO, DIGEST)


async def test_a_body_that_breaks_off_before_its_first_byte(
    server: Scripted, connect: Connect
) -> None:
    registry = connect(server.host)
    server.on("GET", BLOB, cut(0))
    assert await registry.has_blob(REPO, DIGEST) is False
    assert len(server.seen) == 2
    server.on("GET", BLOB, cut(0), Answer(200, RAW))
    assert await registry.has_blob(REPO, DIGEST) is True


async def read(registry: RemoteRegistry) -> bytes:
    return b"".join([chunk async for chunk in registry.read_blob(REPO, DIGEST)])


async def test_read_blob(server: Scripted, connect: Connect) -> None:
    registry = connect(server.host)
    with pytest.raises(NotFoundError, match=f"no blob {DIGEST}"):
        await read(registry)
    server.on("GET", BLOB, Answer(200, RAW))
    assert await read(registry) == RAW
    server.on("GET", BLOB, Answer(200, RAW[:-1]))
    with pytest.raises(VerificationFailed, match="other bytes"):
        await read(registry)
    server.on("GET", BLOB, cut(10))
    with pytest.raises(JettisonError, match="broke off"):
        await read(registry)


async def test_blob_size(server: Scripted, connect: Connect) -> None:
    registry = connect(server.host)
    assert await registry.blob_size(REPO, DIGEST) is None
    server.on("HEAD", BLOB, Answer(200, RAW))
    assert await registry.blob_size(REPO, DIGEST) == len(RAW)


async def chunks(raw: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(raw), 10):
        yield raw[start : start + 10]


UPLOADS = "/v2/team/app/blobs/uploads/"


@pytest.mark.parametrize(
    ("location", "finish"),
    [
        ("/up/1", "/up/1?digest={}"),
        ("1", UPLOADS + "1?digest={}"),
        ("http://{host}/up/1?_state=a%2Fb%3D%3D", "/up/1?_state=a%2Fb%3D%3D&digest={}"),
    ],
)
async def test_put_blob(server: Scripted, connect: Connect, location: str, finish: str) -> None:
    where = location.format(host=server.host)
    server.on("POST", UPLOADS, Answer(202, headers={"Location": where}))
    for path in ("/up/1", UPLOADS + "1"):
        server.on("PATCH", path, Answer(202, headers={"Location": where}))
        server.on("PUT", path, Answer(201))
    await connect(server.host).put_blob(REPO, DIGEST, chunks(RAW))
    assert server.requests[-1] == "PUT " + finish.format(DIGEST.replace(":", "%3A"))
    assert [seen.body for seen in server.seen] == [b"", RAW, b""]


async def test_a_blob_with_another_digest_is_abandoned(server: Scripted, connect: Connect) -> None:
    up = {"Location": "/up/1"}
    server.on("POST", UPLOADS, Answer(202, headers=up))
    server.on("PATCH", "/up/1", Answer(202, headers=up))
    server.on("DELETE", "/up/1", Answer(204))
    with pytest.raises(VerificationFailed, match="have the digest"):
        await connect(server.host).put_blob(REPO, DIGEST, chunks(RAW + b"x"))
    assert server.requests[-1] == "DELETE /up/1"


async def test_an_error_of_the_source_stays_what_it_is(server: Scripted, connect: Connect) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        message = "the source is gone"
        raise NotFoundError(message)

    server.on("POST", UPLOADS, Answer(202, headers={"Location": "/up/1"}))
    server.on("DELETE", "/up/1", Answer(204))
    with pytest.raises(NotFoundError, match="the source is gone"):
        await connect(server.host).put_blob(REPO, DIGEST, broken())
    assert "DELETE /up/1" in server.requests


async def test_an_upload_whose_last_answer_was_lost(server: Scripted, connect: Connect) -> None:
    up = {"Location": "/up/1"}
    server.on("POST", UPLOADS, Answer(202, headers=up))
    server.on("PATCH", "/up/1", Answer(202, headers=up))
    server.on("PUT", "/up/1", Answer(502), Answer(404, '{"errors": [{"code": "X"}]}'))
    registry = connect(server.host)
    with pytest.raises(UnexpectedResponse):
        await registry.put_blob(REPO, DIGEST, chunks(RAW))
    server.on("PUT", "/up/1", Answer(502), Answer(404, '{"errors": [{"code": "X"}]}'))
    server.on("HEAD", BLOB, Answer(200, RAW))
    await registry.put_blob(REPO, DIGEST, chunks(RAW))


async def test_an_upload_that_cannot_go_on(server: Scripted, connect: Connect) -> None:
    registry = connect(server.host)
    server.on("POST", UPLOADS, Answer(202))
    with pytest.raises(UnexpectedResponse, match="where to continue an upload"):
        await registry.put_blob(REPO, DIGEST, chunks(RAW))
    server.on("POST", UPLOADS, Answer(403))
    with pytest.raises(AccessDenied, match="push to team/app"):
        await registry.put_blob(REPO, DIGEST, chunks(RAW))
    server.on("POST", UPLOADS, READ_ONLY)
    with pytest.raises(AccessDenied, match="read-only"):
        await registry.put_blob(REPO, DIGEST, chunks(RAW))


async def test_what_no_api_can_tell(connect: Connect, clock: Clock) -> None:
    registry = connect("127.0.0.1:1", ClientOptions())
    assert await registry.revisions(REPO) is None
    assert await registry.blob_sizes() is None
    assert clock.slept == []
