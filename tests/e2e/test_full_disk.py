"""The disk is full: the very reason why somebody removes images, so nothing may need room."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison.demo.images import image, layer, random_bytes
from tests.support.cli import Jettison
from tests.support.disk import small_disk
from tests.support.registry import DockerRegistry

BASE = layer({"base": random_bytes(1, 500_000)})
IMAGES = {
    tag: image([BASE, layer({"app": random_bytes(int(tag), 2_000_000)})]) for tag in ("1", "2")
}


@pytest.fixture
def full(tmp_path: Path) -> Iterator[DockerRegistry]:
    """A registry with two images on a disk of its own, on which nothing is left."""
    disk = tmp_path / "disk"
    with small_disk(disk, "8m"), DockerRegistry(disk / "registry", delete=True) as registry:
        for tag, made in IMAGES.items():
            registry.push("app", tag, made)
        registry.age(7200)
        fill(disk)
        yield registry


def fill(disk: Path) -> None:
    """Leave no byte."""
    for size in (65536, 4096, 1):
        with (disk / f"rest-{size}").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    assert os.statvfs(disk).f_bavail == 0


def test_one_command_frees_a_full_disk(full: DockerRegistry, jettison: Jettison) -> None:
    before = full.blob_bytes()
    storage = ("--storage", full.storage)
    done = jettison("rm", f"{full.host}/app:1", "--reclaim", *storage, "--yes", "-o", "json")
    receipt = done.json["run"]["receipt"]
    freed = before - full.blob_bytes()
    assert receipt["predicted_bytes"] == receipt["freed_bytes"] == freed > 2_000_000
    assert receipt["disk_free_after"] > 0
    assert full.tags("app") == ["2"]


def test_without_room_for_a_journal_nothing_is_removed(
    full: DockerRegistry, jettison: Jettison
) -> None:
    before = full.snapshot()
    refused = jettison("rm", f"{full.host}/app:1", "--storage", full.storage, "--yes", check=1)
    assert "--reclaim" in refused.stderr
    assert full.snapshot() == before


def test_a_prune_frees_a_full_disk_and_not_without_reclaim(
    full: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    policy = tmp_path / "retention.yml"
    policy.write_text('max_removal: 60%\nrules: [{tags: ["1"], remove: all}]\n')
    command = ("prune", full.root, "--policy", policy, "--yes")
    before = full.snapshot()
    refused = jettison(*command, check=1)
    assert "--reclaim" in refused.stderr
    assert full.snapshot() == before
    held = full.blob_bytes()
    receipt = jettison(*command, "--reclaim", "-o", "json").json["run"]["receipt"]
    freed = held - full.blob_bytes()
    assert receipt["predicted_bytes"] == receipt["freed_bytes"] == freed > 2_000_000
    assert full.tags("app") == ["2"]


def test_a_collection_needs_no_room(full: DockerRegistry, jettison: Jettison) -> None:
    # Garbage that no link leads to any more: nothing smaller can be removed before it.
    for folder in sorted((full.tree / "repositories" / "app" / "_layers/sha256").iterdir()):
        if folder.name != BASE.digest.hex:
            (folder / "link").unlink()
            folder.rmdir()
    full.delete("app", full.manifest("app", "1").headers["Docker-Content-Digest"])
    with (full.root.parent.parent / "rest").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    before = full.blob_bytes()
    jettison.later()("gc", full.root, "--yes", check=0)
    assert before - full.blob_bytes() > 2_000_000
    left = [path.name for path in full.root.iterdir()]
    assert sorted(left) == ["docker", "jettison"]


def test_a_removal_that_has_to_write_says_that_the_disk_is_full(
    full: DockerRegistry, jettison: Jettison
) -> None:
    removal = ("rm", f"{full.host}/app:1", "--reclaim", "--storage", full.storage, "--yes")
    jettison(*removal)
    full.push("app", "3", IMAGES["2"])
    fill(full.root.parent.parent)
    # A tag alone goes by a throw-away manifest, which Distribution 2.x has to write.
    refused = jettison("rm", f"{full.host}/app:3", "--yes", check=None)
    assert "its disk is full" in refused.stderr
    assert "jettison gc" in refused.stderr


def test_what_a_registry_could_not_write_to_the_end_is_repaired_with_a_little_room(
    full: DockerRegistry, jettison: Jettison
) -> None:
    full.delete("app", full.manifest("app", "1").headers["Docker-Content-Digest"])
    revisions = full.tree / "repositories/app/_manifests/revisions/sha256"
    torn = revisions / ("0" * 64) / "link"
    torn.parent.mkdir()
    torn.touch()
    later = jettison.later()
    before = full.blob_bytes()
    kept = later("gc", full.root, "--yes", check=3)
    assert "the link is empty" in kept.stderr
    assert "jettison fsck" in kept.stderr
    fill(full.root.parent.parent)
    repair = ("fsck", full.root, "--repair", "--yes")
    assert "The disk is full" in later(*repair, check=1).stderr
    (full.root.parent.parent / "rest-65536").unlink()
    later(*repair)
    later("gc", full.root, "--now", "--yes", "--assume-quiescent")
    assert before - full.blob_bytes() > 2_000_000
