"""What is large, damaged, or in the making, over the API."""

import json
from pathlib import Path

from jettison.model.digest import Digest
from jettison.model.mediatypes import OCI_INDEX, OCI_MANIFEST
from tests.server.asking import (
    BLOB,
    begin,
    chunk,
    code,
    document,
    finish,
    link,
    path,
    put,
    starting,
)
from tests.support.registry import JettisonRegistry

ACCEPT = {"Accept": f"{OCI_MANIFEST}, {OCI_INDEX}"}


def blob_file(server: JettisonRegistry, digest: str) -> Path:
    encoded = digest.partition(":")[2]
    return server.tree / "blobs/sha256" / encoded[:2] / encoded / "data"


def test_referrers_come_in_pages(server: JettisonRegistry, repo: str) -> None:
    subject = {"mediaType": OCI_MANIFEST, "digest": f"sha256:{'5' * 64}", "size": 5}
    pushed = set()
    for number in range(5):
        notes = {"number": str(number), "filling": "x" * 400_000}
        one = document(repo, server, subject=subject, annotations=notes, artifactType="text/x")
        answer = put(server, repo, Digest.of(json.dumps(one).encode()), one)
        assert answer.status == 201
        pushed.add(answer.headers["Docker-Content-Digest"])
    where: str | None = f"/v2/{repo}/referrers/{subject['digest']}?artifactType=text%2Fx"
    pages = []
    while where is not None:
        answer = server.request("GET", where)
        assert len(answer.body) < 2_000_000
        pages.append([one["digest"] for one in answer.json["manifests"]])
        where = path(link(answer)) if "Link" in answer.headers else None
    assert len(pages) > 1
    found = [digest for page in pages for digest in page]
    assert sorted(found) == sorted(pushed)


def test_a_large_manifest_is_like_any_other(tree_server: JettisonRegistry, repo: str) -> None:
    raw = json.dumps(document(repo, tree_server, annotations={"filling": "x" * 3_000_000})).encode()
    assert put(tree_server, repo, "large", raw).status == 201
    where = f"/v2/{repo}/manifests/large"
    for _ in range(2):  # read for the first time, and known
        head = tree_server.request("HEAD", where, ACCEPT)
        assert head.status == 200
        assert head.headers["Content-Length"] == str(len(raw))
        assert head.headers["Content-Type"] == OCI_MANIFEST
        answer = tree_server.request("GET", where, ACCEPT)
        assert answer.body == raw
        assert answer.headers["Docker-Content-Digest"] == Digest.of(raw)
    assert tree_server.request("GET", where, {"Accept": OCI_INDEX}).status == 404
    part = tree_server.request("GET", where, ACCEPT | {"Range": "bytes=5-9"})
    assert (part.status, part.body) == (206, raw[5:10])
    blob_file(tree_server, Digest.of(raw)).write_bytes(b"x" * 100_000)
    assert tree_server.request("GET", where, ACCEPT).status == 500


def test_a_blob_that_lost_its_bytes_is_not_there(tree_server: JettisonRegistry, repo: str) -> None:
    raw = json.dumps(document(repo, tree_server)).encode()
    blob_file(tree_server, BLOB).write_bytes(b"")
    assert tree_server.request("HEAD", f"/v2/{repo}/blobs/{BLOB}").status == 404
    answer = put(tree_server, repo, "broken", raw)
    assert (answer.status, code(answer)) == (400, "MANIFEST_BLOB_UNKNOWN")
    document(repo, tree_server)  # pushes it again
    assert tree_server.request("HEAD", f"/v2/{repo}/blobs/{BLOB}").status == 200
    assert put(tree_server, repo, "whole", raw).status == 201


def test_a_manifest_that_lies_about_a_size(server: JettisonRegistry, repo: str) -> None:
    lying = document(repo, server)
    lying["layers"][0]["size"] += 1
    answer = put(server, repo, "lying", lying)
    assert (answer.status, code(answer)) == (400, "MANIFEST_BLOB_UNKNOWN")


def test_what_cannot_be_read_holds_everything_but_itself(tmp_path: Path) -> None:
    with starting(tmp_path) as tree_server:
        raws = [
            json.dumps(document("app", tree_server, annotations={"n": str(n)})).encode()
            for n in range(2)
        ]
        for number, raw in enumerate(raws):
            assert put(tree_server, "app", str(number), raw).status == 201
        damaged, other = map(Digest.of, raws)
        blob_file(tree_server, damaged).write_bytes(b"damaged")
        answer = tree_server.request("DELETE", f"/v2/app/manifests/{other}")
        assert (answer.status, code(answer)) == (405, "DENIED")
        assert damaged in answer.json["errors"][0]["message"]
        answer = tree_server.request("DELETE", f"/v2/app/blobs/{BLOB}")
        assert (answer.status, code(answer)) == (405, "DENIED")
        assert tree_server.request("DELETE", "/v2/app/manifests/1").status == 202  # the tag alone
        assert tree_server.request("DELETE", f"/v2/app/manifests/{damaged}").status == 202
        assert tree_server.request("DELETE", f"/v2/app/manifests/{other}").status == 202


def test_the_status_of_an_upload_needs_nobodys_leave(server: JettisonRegistry, repo: str) -> None:
    where = begin(server, repo)
    assert chunk(server, where, b"01234").status == 202
    answer = server.request("GET", where)
    assert (answer.status, answer.headers["Range"]) == (204, "0-4")
    assert finish(server, where, BLOB, b"56789").status == 201
    assert server.request("GET", where).status == 404
