"""Manifests over a real server: every status and header."""

import json
import os
import threading

import pytest

from jettison.demo import images
from jettison.model.digest import Digest
from jettison.model.mediatypes import ACCEPT, OCI_INDEX, OCI_MANIFEST
from tests.server.asking import (
    MISSING,
    VERSION,
    code,
    document,
    image,
    put,
)
from tests.support.registry import JettisonRegistry


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_manifest_by_tag_and_by_digest(server: JettisonRegistry, repo: str, method: str) -> None:
    one = image()
    digest = server.push(repo, "1", one)
    for ref in ("1", digest):
        answer = server.request(method, f"/v2/{repo}/manifests/{ref}", {"Accept": ACCEPT})
        assert answer.status == 200
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.headers["Content-Type"] == one.manifest.media_type
        assert answer.headers["Content-Length"] == str(len(one.manifest.raw))
        assert answer.headers["ETag"] == f'"{digest}"'
        assert answer.headers[VERSION] == "registry/2.0"
        assert answer.body == (one.manifest.raw if method == "GET" else b"")


@pytest.mark.parametrize("ref", ["missing", MISSING, ".bad", "a" * 129, "a%20b"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_manifest_that_is_not_there(
    server: JettisonRegistry, repo: str, method: str, ref: str
) -> None:
    server.push(repo, "1", image())
    for name in (repo, "nowhere"):
        answer = server.request(method, f"/v2/{name}/manifests/{ref}", {"Accept": ACCEPT})
        assert (answer.status, code(answer)) == (404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("digest", ["sha256:1", f"sha256:{'A' * 64}", "md5:aa", ":", "x:y"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_malformed_digest_is_400(server: JettisonRegistry, method: str, digest: str) -> None:
    answer = server.request(method, f"/v2/a/manifests/{digest}")
    assert answer.status == 400
    if method != "HEAD":
        assert code(answer) == "DIGEST_INVALID"


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        (None, 404),
        ("application/json", 404),
        ("application/vnd.docker.distribution.manifest.v2+json", 404),
        (OCI_MANIFEST, 200),
        (f"text/plain, {OCI_MANIFEST};q=0.5", 200),
        ("*/*", 200),
        ("application/*", 200),
    ],
)
def test_an_oci_manifest_is_for_those_who_ask(
    server: JettisonRegistry, repo: str, accept: str | None, status: int
) -> None:
    server.push(repo, "1", image())
    headers = {} if accept is None else {"Accept": accept}
    answer = server.request("GET", f"/v2/{repo}/manifests/1", headers)
    assert answer.status == status
    if status == 404:
        assert code(answer) == "MANIFEST_UNKNOWN"


def test_a_docker_manifest_is_for_all(server: JettisonRegistry, repo: str) -> None:
    server.push(repo, "1", image(flavour="docker"))
    assert server.request("GET", f"/v2/{repo}/manifests/1").status == 200


@pytest.mark.parametrize("ref", ["tag", "digest"])
def test_putting_a_manifest(server: JettisonRegistry, repo: str, ref: str) -> None:
    raw = json.dumps(document(repo, server)).encode()
    digest = Digest.of(raw)
    answer = put(server, repo, "1" if ref == "tag" else digest, raw)
    assert answer.status == 201
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.headers["Location"] == f"http://{server.host}/v2/{repo}/manifests/{digest}"
    assert answer.headers["Content-Length"] == "0"
    assert answer.headers["OCI-Subject"] is None
    assert answer.headers["OCI-Tag"] is None
    assert server.tags(repo) == (["1"] if ref == "tag" else [])


def test_several_tags_in_one(server: JettisonRegistry, repo: str) -> None:
    raw = json.dumps(document(repo, server)).encode()
    answer = put(server, repo, f"{Digest.of(raw)}?tag=a&tag=b&tag=a", raw)
    assert answer.status == 201
    assert answer.headers.get_all("OCI-Tag") == ["a", "b"]
    assert server.tags(repo) == ["a", "b"]
    answer = put(server, repo, "c?tag=d", raw)
    assert sorted(answer.headers.get_all("OCI-Tag") or []) == ["c", "d"]
    assert server.tags(repo) == ["a", "b", "c", "d"]
    many = "&".join(f"tag=t{number}" for number in range(101))
    answer = put(server, repo, f"{Digest.of(raw)}?{many}", raw)
    assert (answer.status, code(answer)) == (414, "TAG_INVALID")
    answer = put(server, repo, f"{Digest.of(raw)}?tag=.bad", raw)
    assert (answer.status, code(answer)) == (400, "TAG_INVALID")
    assert server.tags(repo) == ["a", "b", "c", "d"]


def test_a_manifest_by_sha512(server: JettisonRegistry, repo: str) -> None:
    raw = json.dumps(document(repo, server)).encode()
    digest = Digest.of(raw, "sha512")
    answer = put(server, repo, f"{digest}?tag=long", raw)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
    for ref in (digest, "long"):
        answer = server.manifest(repo, ref)
        assert (answer.body, answer.headers["Docker-Content-Digest"]) == (raw, digest)
    assert server.delete(repo, digest) == 202
    assert server.manifest(repo, "long").status == 404


def test_a_manifest_with_another_digest(server: JettisonRegistry, repo: str) -> None:
    answer = put(server, repo, MISSING, document(repo, server))
    assert (answer.status, code(answer)) == (400, "DIGEST_INVALID")
    assert answer.json["errors"][0]["detail"]["expected"] == MISSING


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", OCI_MANIFEST),
        (b"{", OCI_MANIFEST),
        (b"{}", "application/json"),
        (b"{}", "text/html"),
        (b'{"schemaVersion": 2, "config": {}, "layers": []}', OCI_MANIFEST),
        (b'{"schemaVersion": 1, "fsLayers": [], "history": []}', ""),
        (json.dumps({"mediaType": OCI_INDEX, "manifests": []}).encode(), OCI_MANIFEST),
        (json.dumps({"mediaType": "a/b", "manifests": []}).encode(), "a/b"),
        (json.dumps({"mediaType": OCI_INDEX, "manifests": [{"digest": "x"}]}).encode(), OCI_INDEX),
    ],
)
def test_what_is_no_manifest(server: JettisonRegistry, repo: str, raw: bytes, kind: str) -> None:
    answer = put(server, repo, "1", raw, kind)
    assert (answer.status, code(answer)) == (400, "MANIFEST_INVALID")
    assert server.request("GET", f"/v2/{repo}/tags/list").status == 404


def test_a_manifest_whose_blobs_are_not_there(server: JettisonRegistry, repo: str) -> None:
    one = image()
    answer = put(server, repo, "1", one.manifest.raw)
    assert answer.status == 400
    errors = answer.json["errors"]
    assert {one["code"] for one in errors} == {"MANIFEST_BLOB_UNKNOWN"}
    missing = {error["detail"]["digest"] for error in errors}
    assert missing == {blob.digest for blob in one.blobs()}


def test_an_index_whose_child_is_not_there(server: JettisonRegistry, repo: str) -> None:
    index = images.index([image()])
    answer = put(server, repo, "1", index.manifest.raw, OCI_INDEX)
    assert (answer.status, code(answer)) == (400, "MANIFEST_BLOB_UNKNOWN")


def test_urls_are_allowed_as_configured(server: JettisonRegistry, repo: str) -> None:
    for url, status in (("https://x/y", 201), ("ftp://x/y", 400)):
        content = document(repo, server)
        content["layers"][0]["urls"] = [url]
        answer = put(server, repo, "1", content)
        assert answer.status == status
    assert code(answer) == "MANIFEST_INVALID"


def test_deleting_a_manifest(server: JettisonRegistry, repo: str) -> None:
    digest = server.push(repo, "1", image())
    server.push(repo, "2", image())
    server.push(repo, "other", image("other"))
    assert server.request("DELETE", f"/v2/{repo}/manifests/1").status == 202
    assert server.tags(repo) == ["2", "other"]
    answer = server.request("DELETE", f"/v2/{repo}/manifests/1")
    assert (answer.status, code(answer)) == (404, "MANIFEST_UNKNOWN")
    answer = server.request("DELETE", f"/v2/{repo}/manifests/{digest}")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (202, b"", "0")
    assert server.tags(repo) == ["other"]
    answer = server.request("DELETE", f"/v2/{repo}/manifests/{digest}")
    assert (answer.status, code(answer)) == (404, "MANIFEST_UNKNOWN")


def test_a_layer_is_no_manifest_to_delete(server: JettisonRegistry, repo: str) -> None:
    one = image()
    server.push(repo, "1", one)
    for blob in one.blobs():
        answer = server.request("DELETE", f"/v2/{repo}/manifests/{blob.digest}")
        assert (answer.status, code(answer)) == (404, "MANIFEST_UNKNOWN")
        assert server.request("GET", f"/v2/{repo}/blobs/{blob.digest}").status == 200


def test_what_something_needs_is_not_deleted(server: JettisonRegistry, repo: str) -> None:
    child = image()
    index = images.index([child])
    server.push(repo, "many", index)
    answer = server.request("DELETE", f"/v2/{repo}/manifests/{child.digest}")
    assert (answer.status, code(answer)) == (405, "DENIED")
    assert index.digest in answer.json["errors"][0]["message"]
    assert "many" in answer.json["errors"][0]["message"]
    for blob in child.blobs():
        answer = server.request("DELETE", f"/v2/{repo}/blobs/{blob.digest}")
        assert (answer.status, code(answer)) == (405, "DENIED")
        assert child.digest in answer.json["errors"][0]["message"]
    assert server.delete(repo, index.digest) == 202
    assert server.delete(repo, child.digest) == 202
    for blob in child.blobs():
        assert server.request("DELETE", f"/v2/{repo}/blobs/{blob.digest}").status == 202


# What the client has seen.


def test_a_manifest_goes_only_with_the_tags_that_are_named(
    server: JettisonRegistry, repo: str
) -> None:
    one = image()
    for tag in ("1", "2"):
        server.push(repo, tag, one)
    where = f"/v2/{repo}/manifests/{one.digest}"
    answer = server.request("DELETE", where, {"Jettison-Only-Tags": "1"})
    assert (answer.status, code(answer)) == (412, "TAGS_CHANGED")
    assert f"{repo}:2" in answer.json["errors"][0]["message"]
    assert server.tags(repo) == ["1", "2"]
    assert server.request("DELETE", where, {"Jettison-Only-Tags": ""}).status == 412
    assert code(server.request("DELETE", where, {"Jettison-Only-Tags": ".a"})) == "TAG_INVALID"
    assert server.request("DELETE", where, {"Jettison-Only-Tags": "1,2,3"}).status == 202
    assert server.tags(repo) == []


def test_a_tag_goes_only_if_it_points_to_what_was_seen(server: JettisonRegistry, repo: str) -> None:
    one, other = image(), image("y")
    server.push(repo, "1", one)
    where = f"/v2/{repo}/manifests/1"
    answer = server.request("DELETE", where, {"If-Match": f'"{other.digest}"'})
    assert (answer.status, code(answer)) == (412, "TAGS_CHANGED")
    assert server.tags(repo) == ["1"]
    assert server.request("DELETE", where, {"If-Match": "*"}).status == 202
    server.push(repo, "1", one)
    assert server.request("DELETE", where, {"If-Match": f'"{one.digest}"'}).status == 202
    assert server.request("GET", "/v2/").headers["Jettison-Preconditions"] == "tags"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_a_link_that_another_server_rewrites_for_long_is_waited_for(
    tree_server: JettisonRegistry, repo: str, method: str
) -> None:
    one = image()
    tree_server.push(repo, "1", one)
    folder = tree_server.tree / "repositories" / repo
    for link in sorted(folder.glob("_*/**/link")):
        whole = link.read_bytes()
        link.write_bytes(b"")
        os.utime(link, (1, 1))
        writer = threading.Timer(0.2, link.write_bytes, (whole,))
        writer.start()
        if method == "PUT":
            answer = put(tree_server, repo, "1", one.manifest.raw)
        else:
            answer = tree_server.request(method, f"/v2/{repo}/manifests/1", {"Accept": ACCEPT})
        writer.join()
        assert answer.status in {200, 201}, link
