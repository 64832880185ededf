"""``du`` beside a registry, on its storage and over its API."""

from pathlib import Path
from typing import Any

from jettison.demo.images import Image, image, layer, random_bytes
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry
from tests.support.trees import Tree

BASE = layer({"base": random_bytes(1, 20_000)})
CLASSES = ("own", "shared", "untagged", "undo", "young", "protected", "garbage")
HOUR = 3600


def made(seed: int, count: int = 3000) -> Image:
    created = f"2026-{seed // 10:02}-{1 + seed % 10:02}T00:00:00Z"
    return image([BASE, layer({"own": random_bytes(seed, count)})], created=created)


def populate(registry: DockerRegistry, jettison: Jettison) -> None:
    for number in range(3):
        registry.push("team/app", f"v{number}", made(10 + number))
    registry.push("team/app", "v0", made(20))  # so that the first v0 has no tag
    registry.push("team/tool", "1", made(30, 9000))
    registry.delete("team/tool", registry.push("team/tool", "gone", made(40)))
    registry.age(2 * HOUR)
    jettison("rm", f"{registry.host}/team/app:v2", "--storage", registry.storage, "--yes")
    registry.age(2 * HOUR)


def state_of(registry: DockerRegistry) -> dict[str, tuple[bytes, int]]:
    """All files with their content and their times."""
    files = (path for path in registry.root.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def by_name(document: Any) -> dict[str, Any]:
    return {row["repository"]: row for row in document["repositories"]}


def test_every_byte_is_counted_once_and_none_is_written(
    place: DockerRegistry, jettison: Jettison
) -> None:
    populate(place, jettison)
    before = state_of(place)
    told = jettison("du", place.storage, "-o", "json").json
    assert state_of(place) == before
    assert told["exact"] is True
    assert told["total_bytes"] == sum(told["total"][one]["bytes"] for one in CLASSES)
    assert told["total_bytes"] == place.blob_bytes()
    assert sum(told["total"][one]["count"] for one in CLASSES) == len(place.blob_files())
    for one in ("own", "shared", "untagged", "undo", "garbage"):
        assert told["total"][one]["bytes"] > 0, one
    rows = by_name(told)
    app, tool = rows["team/app"], rows["team/tool"]
    assert (app["tags"], tool["tags"]) == (2, 1)
    assert app["shared"] == tool["shared"] == told["total"]["shared"]
    assert app["undo"]["bytes"] == told["total"]["undo"]["bytes"]
    # In a bucket a deleted manifest leaves no folder that tells whose it was.
    left = tool["garbage"]["bytes"] + told["nowhere"]["garbage"]["bytes"]
    assert left == told["total"]["garbage"]["bytes"]
    assert tool["garbage"]["bytes"] > 3000
    assert tool["own"]["bytes"] > 9000
    # What gc says is what du says.
    plan = jettison("gc", place.storage, "-n", "-o", "json").json["plan"]
    assert plan["bytes"] == told["total"]["garbage"]["bytes"]
    assert plan["held"][0]["bytes"] == told["total"]["undo"]["bytes"]


def test_an_api_shows_what_tags_need_and_no_more(place: DockerRegistry, jettison: Jettison) -> None:
    populate(place, jettison)
    there = by_name(jettison("du", place.host, "-o", "json").json)
    here = by_name(jettison("du", place.host, "--storage", place.storage, "-o", "json").json)
    for name in ("team/app", "team/tool"):
        assert there[name]["own"] == here[name]["own"]
        assert there[name]["tags"] == here[name]["tags"]
        for one in ("untagged", "undo", "young", "protected", "garbage"):
            assert there[name][one] is None
    told = jettison("du", place.host)
    assert "≤ " in told.stdout
    assert "at least" in told.stdout
    assert "≤: this registry's API does not list untagged manifests" in told.stderr
    assert "only the storage shows" in told.stderr


def test_what_is_shown_and_in_which_order(jettison: Jettison, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "registry")
    for number, name in enumerate(("small", "middle", "team/large")):
        tree.image(name, "1", [b"base" * 50, name.encode() * 10 ** (number + 1)])
    tree.blob(b"left" * 999, "small")

    def shown(*options: str) -> list[str]:
        return [line.split()[0] for line in jettison("du", tree.root, *options).stdout.splitlines()]

    last = ["total", f"{tree.root}:"]
    assert shown() == ["REPOSITORY", "team/large", "small", "middle", *last]
    assert shown("--sort", "name") == ["REPOSITORY", "middle", "small", "team/large", *last]
    assert shown("--sort", "own", "--limit", "1") == ["REPOSITORY", "team/large", *last]
    assert shown("--sort", "garbage", "--filter", "*m*") == [
        *("REPOSITORY", "small", "middle", "team/large"),
        *last,
    ]
    assert shown("--filter", "s*") == ["REPOSITORY", "small", *last]
    lines = jettison("du", f"{tree.root}/small", "-o", "ndjson").ndjson
    assert [line["repository"] for line in lines] == ["small"]
    assert lines[0]["garbage"] == {"count": 1, "bytes": 4 * 999}
    assert "there is no repository none" in jettison("du", f"{tree.root}/none", check=1).stderr
    assert "two storages" in jettison("du", tree.root, "--storage", tree.root, check=2).stderr


def test_what_cannot_be_read_is_told(jettison: Jettison, tmp_path: Path) -> None:
    """Everything in that repository may be needed, so nothing of it is garbage."""
    tree = Tree(tmp_path / "registry")
    tree.image("app", "1", [b"layer"])
    tree.write(tree.tag_path("app", "broken"), b"sha256:")
    tree.blob(b"left" * 99, "app")
    told = jettison("du", tree.root, "-o", "json", check=3)
    assert told.json["total"]["garbage"]["bytes"] == 0
    assert told.json["total"]["protected"]["bytes"] == 4 * 99
    assert told.json["total_bytes"] == tree.blob_bytes()
    assert "broken" in told.stderr
