"""The API over a real server: the base, and lists in pages."""

import json
from pathlib import Path
from typing import Any

import pytest

from jettison.model.digest import Digest
from jettison.model.mediatypes import OCI_INDEX, OCI_MANIFEST
from tests.server.asking import (
    MISSING,
    RAW,
    VERSION,
    code,
    document,
    image,
    link,
    put,
    starting,
)
from tests.support.registry import JettisonRegistry


@pytest.mark.parametrize("where", ["/v2/", "/v2"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_base(server: JettisonRegistry, where: str, method: str) -> None:
    answer = server.request(method, where)
    assert answer.status == 200
    assert answer.headers[VERSION] == "registry/2.0"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Length"] == "2"
    assert answer.body == (b"{}" if method == "GET" else b"")


def test_it_is_alive(server: JettisonRegistry) -> None:
    assert server.request("GET", "/").status == 200


@pytest.mark.parametrize("where", ["/v1/", "/v2/x", "/v2/a/manifests/", "/v2//tags/list", "/x"])
def test_what_is_no_endpoint_is_404_in_plain_text(server: JettisonRegistry, where: str) -> None:
    answer = server.request("GET", where)
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.body == b"404 page not found\n"


@pytest.mark.parametrize(
    ("method", "where", "allow"),
    [
        ("POST", "/v2/", "GET, HEAD"),
        ("DELETE", "/v2/_catalog", "GET, HEAD"),
        ("PUT", "/v2/a/tags/list", "GET, HEAD"),
        ("POST", "/v2/a/manifests/1", "DELETE, GET, HEAD, PUT"),
        ("PUT", f"/v2/a/blobs/{MISSING}", "DELETE, GET, HEAD"),
        ("GET", "/v2/a/blobs/uploads/", "POST"),
        ("POST", "/v2/a/blobs/uploads/x", "DELETE, GET, HEAD, PATCH, PUT"),
        ("PATCH", f"/v2/a/referrers/{MISSING}", "GET, HEAD"),
        ("TRACE", "/v2/", "GET, HEAD"),
    ],
)
def test_another_method_is_405(
    server: JettisonRegistry, method: str, where: str, allow: str
) -> None:
    answer = server.request(method, where)
    assert answer.status == 405
    assert answer.headers["Allow"] == allow
    assert code(answer) == "UNSUPPORTED"


@pytest.mark.parametrize(
    "name", ["Upper", "a..b", "-a", "a/_b", "a%20b", "a" * 256, "a%2F..%2Fb", "%00", "a%252Fb"]
)
def test_an_invalid_name_is_400(server: JettisonRegistry, name: str) -> None:
    for method, rest in (("GET", "tags/list"), ("POST", "blobs/uploads/"), ("PUT", "manifests/1")):
        answer = server.request(method, f"/v2/{name}/{rest}")
        assert (answer.status, code(answer)) == (400, "NAME_INVALID")


def test_each_answer_has_an_id_of_its_own(server: JettisonRegistry) -> None:
    ids = {server.request("GET", "/v2/").headers["X-Request-Id"] for _ in range(3)}
    assert len(ids) == 3


def test_tags_in_pages(server: JettisonRegistry, repo: str) -> None:
    names = ["0", "B", "_x", "a", "a.1", "b"]
    for name in reversed(names):
        server.push(repo, name, image())
    where = f"/v2/{repo}/tags/list"
    answer = server.request("GET", where)
    assert answer.json == {"name": repo, "tags": names}
    assert answer.headers["Link"] is None
    answer = server.request("GET", f"{where}?n=4")
    assert answer.json["tags"] == names[:4]
    answer = server.request("GET", link(answer))
    assert answer.json["tags"] == names[4:]
    assert answer.headers["Link"] is None
    assert server.request("GET", f"{where}?last=a").json["tags"] == ["a.1", "b"]
    assert server.request("GET", f"{where}?last=Z&n=1").json["tags"] == ["_x"]
    assert server.request("GET", f"{where}?last=z").json["tags"] == []
    assert server.request("GET", f"{where}?n=6").headers["Link"] is None
    answer = server.request("GET", f"{where}?n=0")
    assert (answer.json["tags"], answer.headers["Link"]) == ([], None)
    assert server.request("HEAD", where).status == 200


@pytest.mark.parametrize("number", ["-1", "x", "1.5", "%20", "1001", "9" * 400, "%D9%A1"])
def test_a_number_that_is_none(server: JettisonRegistry, repo: str, number: str) -> None:
    server.push(repo, "1", image())
    for where in (f"/v2/{repo}/tags/list", "/v2/_catalog"):
        answer = server.request("GET", f"{where}?n={number}")
        assert (answer.status, code(answer)) == (400, "PAGINATION_NUMBER_INVALID")


def test_tags_when_all_are_gone(server: JettisonRegistry, repo: str) -> None:
    server.push(repo, "1", image())
    server.request("DELETE", f"/v2/{repo}/manifests/1")
    answer = server.request("GET", f"/v2/{repo}/tags/list")
    assert (answer.status, answer.json["tags"]) == (200, [])
    answer = server.request("GET", f"/v2/{repo}/nowhere/tags/list")
    assert (answer.status, code(answer)) == (404, "NAME_UNKNOWN")


def test_the_catalog_in_pages(tmp_path: Path) -> None:
    names = ["a", "a-b", "a/b", "b", "b/c/d"]
    with starting(tmp_path, extra={"catalog": {"maxentries": 3}}) as server:
        assert server.request("GET", "/v2/_catalog").json == {"repositories": []}
        for name in names:
            server.push(name, "1", image())
        server.push_blob("only-a-blob", RAW)
        answer = server.request("GET", "/v2/_catalog")
        assert answer.json == {"repositories": names[:3]}
        assert server.request("GET", link(answer)).json == {"repositories": names[3:]}
        answer = server.request("GET", "/v2/_catalog?n=2")
        found = answer.json["repositories"]
        while answer.headers["Link"]:
            answer = server.request("GET", link(answer))
            found += answer.json["repositories"]
        assert found == names
        assert server.request("GET", "/v2/_catalog?n=4").status == 400
        assert server.request("GET", "/v2/_catalog?last=zzz").json == {"repositories": []}


def test_referrers(server: JettisonRegistry, repo: str) -> None:
    where = f"/v2/{repo}/referrers/{MISSING}"
    answer = server.request("GET", where)
    assert (answer.status, answer.headers["Content-Type"]) == (200, OCI_INDEX)
    assert answer.json == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    subject = {"mediaType": OCI_MANIFEST, "digest": MISSING, "size": 9}
    expected = {}
    cases: list[dict[str, Any]] = [{"artifactType": "a/b"}, {"annotations": {"k": "v"}}, {}]
    for number, more in enumerate(cases):
        content = document(repo, server, subject=subject, note=number, **more)
        raw = json.dumps(content).encode()
        answer = put(server, repo, Digest.of(raw), raw)
        assert (answer.status, answer.headers["OCI-Subject"]) == (201, MISSING)
        expected[Digest.of(raw)] = {
            "mediaType": OCI_MANIFEST,
            "digest": Digest.of(raw),
            "size": len(raw),
            "artifactType": more.get("artifactType", content["config"]["mediaType"]),
        } | ({"annotations": more["annotations"]} if "annotations" in more else {})
    answer = server.request("GET", where)
    assert {one["digest"]: one for one in answer.json["manifests"]} == expected
    assert answer.headers["OCI-Filters-Applied"] is None
    answer = server.request("GET", f"{where}?artifactType=a/b")
    assert [one["artifactType"] for one in answer.json["manifests"]] == ["a/b"]
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"
    assert server.request("GET", f"{where}?artifactType=c/d").json["manifests"] == []
    gone = next(iter(expected))
    assert server.delete(repo, gone) == 202
    answer = server.request("GET", where)
    assert {one["digest"] for one in answer.json["manifests"]} == set(expected) - {gone}
    answer = server.request("GET", f"/v2/{repo}/referrers/sha256:x")
    assert (answer.status, code(answer)) == (400, "DIGEST_INVALID")
