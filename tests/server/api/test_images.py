"""The list of all manifests and their times, for programs that prune."""

from datetime import UTC, datetime
from pathlib import Path

from jettison.demo import images
from jettison.demo.images import Image
from jettison.model.mediatypes import ACCEPT
from tests.server.asking import code, starting
from tests.support.registry import JettisonRegistry, Response


def image(name: str) -> Image:
    """An image that says that it was made just now: its push is no copy."""
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return images.image([images.layer({"file": name.encode()})], created=created)


def listed(server: JettisonRegistry, repository: str = "app") -> Response:
    return server.request("GET", f"/v2/{repository}/_jettison/images")


def test_lists_what_is_tagged_and_what_is_not(tmp_path: Path) -> None:
    with starting(tmp_path) as server:
        first = server.push("app", "latest", image("one"))
        index = images.index([image("a"), image("b")])
        server.push("app", "latest", index)
        found = listed(server).json
        assert found["tags"] == {"latest": index.digest}
        wanted = {first, *(one.digest for one in index.manifests())}
        assert set(found["manifests"]) == wanted
        times = found["evidence"]["manifests"]
        assert set(times) == wanted
        assert times[first]["untagged"][0] >= times[first]["pushed"][0]
        assert found["evidence"]["tags"]["latest"]["pushed"][1] == "link of the tag"


def test_tells_pulls(tmp_path: Path) -> None:
    with starting(tmp_path) as server:
        server.push("app", "1", image("one"))
        server.request("GET", "/v2/app/manifests/1", {"Accept": ACCEPT})
        server.stop()  # what was pulled is in the book then
        server.start()
        assert "pulled" in listed(server).json["evidence"]["tags"]["1"]


def test_of_what_is_damaged_or_absent_it_tells_nothing(tmp_path: Path) -> None:
    with starting(tmp_path) as server:
        server.push("app", "1", image("one"))
        absent = listed(server, "other")
        assert (absent.status, code(absent)) == (404, "NAME_UNKNOWN")
        link = server.tree / "repositories/app/_manifests/tags/1/current/link"
        link.write_bytes(b"damaged")
        damaged = listed(server)
        assert damaged.status == 409
        assert "fsck" in damaged.json["errors"][0]["message"]
