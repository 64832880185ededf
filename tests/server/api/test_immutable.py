"""Immutable tags: what is refused, and what is not."""

import threading
from pathlib import Path

import pytest

from jettison.demo import images
from tests.server.asking import code, image, put, starting
from tests.support.cli import Jettison
from tests.support.registry import JettisonRegistry, Response

IMMUTABLE = {"jettison": {"immutable": ["v*", "re:[0-9.]+"], "protect_references": False}}


def deleted(server: JettisonRegistry, reference: str) -> Response:
    return server.request("DELETE", f"/v2/app/manifests/{reference}")


def test_tag_is_set_once(tmp_path: Path) -> None:
    with starting(tmp_path, extra=IMMUTABLE) as server:
        first = server.push("app", "v1", image("one"))
        server.push("app", "latest", image("two"))
        server.push("app", "v1", image("one"))  # the same again
        other = image("two")
        refused = put(server, "app", "v1", other.manifest.raw)
        assert (refused.status, code(refused)) == (412, "PRECONDITION")
        [error] = refused.json["errors"]
        assert "the tag v1 is immutable (jettison.immutable: v*)" in error["message"]
        assert str(first) in error["message"]
        # Nor beside others, of which none is set then.
        refused = put(server, "app", f"{other.digest}?tag=new&tag=1.0&tag=v1", other.manifest.raw)
        assert refused.status == 412
        assert server.tags("app") == ["latest", "v1"]
        assert put(server, "app", "latest", image("one").manifest.raw).status == 201
        assert put(server, "app", "2.0", other.manifest.raw).status == 201


def test_tag_is_not_removed_nor_its_manifest(tmp_path: Path) -> None:
    with starting(tmp_path, extra=IMMUTABLE) as server:
        index = images.index([image("a"), image("b")])
        digest = server.push("app", "v1", index)
        server.push("app", "latest", index)
        for reference in ("v1", digest):
            refused = deleted(server, reference)
            assert (refused.status, code(refused)) == (412, "PRECONDITION")
        assert deleted(server, "v2").status == 404
        assert deleted(server, "latest").status == 202
        assert server.tags("app") == ["v1"]


def test_damaged_tag_counts_as_one_that_points_elsewhere(tmp_path: Path) -> None:
    with starting(tmp_path, extra=IMMUTABLE) as server:
        server.push("app", "v1", image("one"))
        link = server.tree / "repositories/app/_manifests/tags/v1/current/link"
        link.write_bytes(b"damaged")
        refused = put(server, "app", "v1", image("one").manifest.raw)
        assert refused.status == 412
        assert "cannot be read" in refused.json["errors"][0]["message"]
        assert deleted(server, "v1").status == 412


@pytest.mark.parametrize("workers", [1, 2])
def test_one_of_two_pushes_at_once_wins(tmp_path: Path, workers: int) -> None:
    extra = {"jettison": {"immutable": ["v*"], "workers": workers}}
    with starting(tmp_path, extra=extra) as server:
        both = [image("one"), image("two")]
        for one in both:
            server.push("app", None, one)
        for number in range(15):
            answers: list[Response] = []
            gate = threading.Barrier(2)

            def push(one: images.Image, tag: str) -> None:
                gate.wait()  # noqa: B023 - joined within the round
                answers.append(put(server, "app", tag, one.manifest.raw))  # noqa: B023 - same

            threads = [threading.Thread(target=push, args=(one, f"v{number}")) for one in both]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(one.status for one in answers) == [201, 412]
            won = next(one for one in answers if one.status == 201)
            now = server.request("HEAD", f"/v2/app/manifests/v{number}", {"Accept": "*/*"})
            digest = "Docker-Content-Digest"
            assert now.headers[digest] == won.headers[digest]


def test_rm_leaves_it_and_says_so(tmp_path: Path, jettison: Jettison) -> None:
    with starting(tmp_path, extra=IMMUTABLE) as server:
        server.push("app", "v1", image("one"))
        server.push("app", "latest", image("one"))
        server.push("app", "old", image("two"))
        done = jettison("rm", f"{server.host}/app:*", "--all-tags", "--yes", check=3)
        assert "the tag v1 is immutable (jettison.immutable: v*)" in done.stderr
        assert "(its other tags are removed; it still has v1)" in done.stdout
        assert "nothing is to be done again" in done.stderr
        assert server.tags("app") == ["v1"]
        [left] = jettison("runs", "last", "-o", "json").json["run"]["left"]
        assert (left["code"], left["tags"]) == ("refused", ["v1"])
        done = jettison("rm", f"{server.host}/app:v1", "--yes", check=1)
        assert "the tag v1 is immutable" in done.stderr
        assert server.tags("app") == ["v1"]
