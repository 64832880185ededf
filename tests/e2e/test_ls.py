"""``ls`` as a user types it, and digests as it prints them."""

import json

import pytest

from jettison.demo.images import Image, image, index, layer, random_bytes
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry


def made(seed: int, created: str = "2026-01-01T00:00:00Z", size: int = 500) -> Image:
    return image([layer({"app": random_bytes(seed, size)})], created=created)


ONE, TWO, BIG = made(1), made(2, "2026-02-01T00:00:00Z"), made(3, "2025-01-01T00:00:00Z", 9000)


@pytest.fixture
def place(registry: DockerRegistry) -> str:
    registry.push("app", "v1", ONE)
    registry.push("app", "v2", TWO)
    registry.push("app", "v2.1", TWO)
    registry.push("app", "big", BIG)
    registry.push("team/other", "1", ONE)
    return f"{registry.host}/app"


def first_words(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines()]


def test_names_alone(place: str, registry: DockerRegistry, jettison: Jettison) -> None:
    assert first_words(jettison("ls", place).stdout) == ["TAG", "big", "v1", "v2", "v2.1"]
    assert first_words(jettison("ls", registry.host).stdout) == ["REPOSITORY", "app", "team/other"]
    document = jettison("ls", place, "-o", "json").json
    assert document["tags"] == [{"tag": name} for name in ("big", "v1", "v2", "v2.1")]
    lines = jettison("ls", place, "-o", "ndjson").ndjson
    assert [line["tag"] for line in lines] == ["big", "v1", "v2", "v2.1"]
    assert lines[0]["repository"] == "app"


ORDERS = {
    "--filter v*": ["v1", "v2", "v2.1"],
    "--filter v* --limit 2": ["v1", "v2"],
    "--sort name -r": ["v2.1", "v2", "v1", "big"],
    "-r --limit 2": ["v2.1", "v2"],
    "--sort size --limit 1": ["big"],
    "--sort created": ["v2", "v2.1", "v1", "big"],
    "--sort created -r --limit 2": ["big", "v1"],
    "--exclusive --filter v?": ["v1", "v2"],
}


def test_what_is_asked_for(place: str, jettison: Jettison) -> None:
    for options, wanted in ORDERS.items():
        words = options.split()
        assert first_words(jettison("ls", place, *words).stdout)[1:] == wanted
    document = jettison("ls", place, *words, "-o", "json").json
    assert [row["tag"] for row in document["tags"]] == wanted


def test_of_many_tags_of_one_image_a_few_are_named(
    place: str, registry: DockerRegistry, jettison: Jettison
) -> None:
    """Each of thousands of tags with thousands of names beside it would be too much."""
    for number in range(14):
        registry.push("app", f"same{number:02}", BIG)
    assert "same09 and 4 more" in jettison("ls", place, "-l").stdout
    row = jettison("ls", place, "-l", "-o", "json").json["tags"][0]
    assert (row["tag"], len(row["siblings"]), row["sibling_count"]) == ("big", 10, 14)


def test_figures(place: str, registry: DockerRegistry, jettison: Jettison) -> None:
    rows = {row["tag"]: row for row in jettison("ls", place, "-l", "-o", "json").json["tags"]}
    assert rows["v2"]["digest"] == TWO.manifest.digest
    assert rows["v2"]["siblings"] == ["v2.1"]
    assert rows["v2"]["sibling_count"] == 1
    members = {"tag", "digest", "media_type", "what", "size", "siblings", "sibling_count"}
    assert rows["v2"].keys() == members
    full = jettison("ls", place, "--exclusive", "--created", "-o", "json").json
    rows = {row["tag"]: row for row in full["tags"]}
    # Another repository has the very same image.
    assert rows["v1"]["exclusive_size"] == 0
    assert rows["big"]["exclusive_size"] > 9000
    assert rows["big"]["created"] == "2025-01-01T00:00:00Z"
    counts = jettison("ls", registry.host, "--sort", "tags", "-o", "json").json["repositories"]
    assert counts == [{"repository": "app", "tags": 4}, {"repository": "team/other", "tags": 1}]
    shown = jettison("ls", place, "--storage", registry.storage, "-l").stdout
    assert first_words(shown)[1:] == ["big", "v1", "v2", "v2.1"]


def test_typing_errors_get_the_right_hint(place: str, jettison: Jettison) -> None:
    host = place.removesuffix("/app")
    for typed, hint in (
        (f"{place}:v1", f"jettison inspect {place}:v1"),
        (f"{place}:v*", f"jettison ls {place} --filter 'v*'"),
        (f"{place}@{ONE.manifest.digest}", f"jettison inspect {place}@{ONE.manifest.digest}"),
        ("app", "localhost:5000/app"),
    ):
        told = jettison("ls", typed, check=2)
        assert hint in told.stderr
    assert "app" in jettison("ls", f"{host}/ap", check=1).stderr.splitlines()[-1]
    assert "name, tags" in jettison("ls", host, "--sort", "size", check=2).stderr
    assert "/REPO" in jettison("ls", host, "--created", check=2).stderr


def test_short_digests_can_be_pasted(
    place: str, registry: DockerRegistry, jettison: Jettison
) -> None:
    members = [made(7), made(8)]
    pair = index(members)
    registry.push("app", "pair", pair)
    row = next(
        line.split()
        for line in jettison("ls", place, "-l").stdout.splitlines()
        if line.startswith("big")
    )
    short = row[1]
    assert short == BIG.manifest.digest[:19]
    for text in (short, short.removeprefix("sha256:"), short[:13]):
        looked = jettison("inspect", f"{place}@{text}", "-o", "json").json["image"]
        assert looked["digest"] == BIG.manifest.digest
    child = members[0].manifest.digest
    assert (
        jettison("inspect", f"{place}@{child[:19]}", "-o", "json").json["image"]["digest"] == child
    )
    jettison("rm", f"{place}@{short}", "--yes")
    assert "big" not in first_words(jettison("ls", place).stdout)
    told = jettison("rm", f"{place}@{short}", "--yes", check=1)
    assert "jettison ls -l" in told.stderr


def test_a_reader_that_left_ends_the_listing(place: str, jettison: Jettison) -> None:
    with jettison.start("ls", place, "-o", "ndjson") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_document_of_what_could_be_listed_stands_beside_the_error(
    place: str, registry: DockerRegistry, jettison: Jettison
) -> None:
    link = registry.root / "docker/registry/v2/repositories/app/_manifests/tags/v1/current/link"
    link.write_text("damaged")
    done = jettison("ls", place, "-l", "-o", "json", check=3)
    assert {row["tag"] for row in done.json["tags"]} == {"big", "v1", "v2", "v2.1"}
    assert [problem["subject"] for problem in done.json["problems"]] == ["v1"]
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "partly_done"
    assert first_words(jettison("ls", place).stdout)[1:] == ["big", "v1", "v2", "v2.1"]


@pytest.mark.folder
def test_a_storage_is_listed_without_its_registry(
    place: str, registry: DockerRegistry, jettison: Jettison
) -> None:
    registry.stop()
    for storage in (registry.config, registry.root):
        found = jettison("ls", storage, check=0).stdout
        assert first_words(found) == ["REPOSITORY", "app", "team/other"]
        rows = jettison("ls", f"{storage}/app", "-l", "-o", "json", check=0).json["tags"]
        assert [row["tag"] for row in rows] == ["big", "v1", "v2", "v2.1"]
        inner = jettison("ls", f"{storage}/team/other", check=0).stdout
        assert first_words(inner) == ["TAG", "1"]
    done = jettison("ls", f"{registry.config}/nothing", check=1)
    assert "has no repository nothing" in done.stderr
    done = jettison("ls", "absent.yml", check=1)
    assert "absent.yml" in done.stderr
    done = jettison("ls", registry.config, "--storage", registry.storage, check=2)
    assert "are two storages; give one" in done.stderr
