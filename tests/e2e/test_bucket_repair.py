"""``jettison fsck --repair`` and its undo on a bucket, damaged in every way and pulled from."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.objects import open_bucket
from tests.e2e.test_fsck import IMAGES, NAMES, damage, made, pullable
from tests.support.buckets import Bucket, Gateway, S3Jettison, S3Registry
from tests.support.cli import Jettison
from tests.support.missing import need

MENDED = ["child", "current", "link", "malformed", "revision", "whole"]
STOPPED = ("--yes", "--assume-quiescent")


class Tree(S3Registry):
    """A registry whose bucket can be looked at, and harmed, as a folder."""

    def __init__(self, base: Path, bucket: Bucket, *, readonly: bool = False) -> None:
        super().__init__(base, bucket, delete=True, readonly=readonly)
        self.root = bucket.folder


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    with Gateway(tmp_path / "gateway") as gateway:
        yield gateway.bucket("images")


@pytest.fixture
def damaged(tmp_path: Path, bucket: Bucket) -> Iterator[Tree]:
    need("skopeo")
    with Tree(tmp_path / "registry", bucket) as registry:
        for name, content in IMAGES.items():
            registry.push("app", name, content)
        damage(registry)
        registry.age(7200)
        yield registry


def images_of(registry: Tree) -> dict[str, bytes]:
    return {path: raw for path, raw in registry.snapshot().items() if path.startswith("docker/")}


def test_the_same_damage_is_found_as_on_a_disk(damaged: Tree, jettison: Jettison) -> None:
    found = jettison("fsck", damaged.config, "-o", "json", check=5).json
    named = sorted(tag["name"].removeprefix("app:") for tag in found["unpullable"])
    assert named == sorted(set(NAMES) - {"whole"})
    assert found["damage"] == 8
    assert {defect["class"] for defect in found["flaws"]} == {
        "absent-blob",
        "blob-without-link",
        "child-without-revision",
        "damaged-blob",
        "leftover",
        "malformed-link",
        "tag-without-revision",
    }


def test_a_repair_is_served_and_undone(damaged: Tree, jettison: Jettison) -> None:
    before = damaged.snapshot()
    planned = jettison("fsck", damaged.config, "--repair", "-n", check=5)
    assert "To repair:" in planned.stdout
    damaged.stop()
    assert damaged.snapshot() == before
    done = jettison("fsck", damaged.config, "--repair", *STOPPED, check=3)
    assert "pushed again" in done.stdout
    damaged.start()
    assert pullable(damaged) == MENDED
    runs = jettison("runs", "--storage", damaged.config, "-o", "json").json["runs"]
    assert [run["kind"] for run in runs] == ["fsck"]

    damaged.stop()
    undone = jettison("undo", "last", "--storage", damaged.config, *STOPPED)
    assert "took back" in undone.stdout
    assert images_of(damaged) == before
    again = jettison("undo", runs[0]["id"], "--storage", damaged.config, *STOPPED)
    assert "undone already" in again.stderr
    left = {path for path in damaged.snapshot() if not path.startswith("docker/")}
    assert {path.split("/")[1] for path in left} == {"runs", "fsck"}
    assert [path for path in left if path.startswith("jettison/fsck/")] == [
        f"jettison/fsck/{runs[0]['id']}/manifest.json"
    ]


def test_what_is_pushed_after_a_repair_stays(damaged: Tree, jettison: Jettison) -> None:
    damaged.stop()
    jettison("fsck", damaged.config, "--repair", *STOPPED, check=3)
    damaged.start()
    for name in ("blob", "config", "manifest"):
        damaged.push_skopeo("app", name, IMAGES[name])
    assert pullable(damaged) == NAMES
    damaged.stop()
    assert "can be pulled" in jettison("fsck", damaged.config).stdout
    left = jettison("undo", "last", "--storage", damaged.config, *STOPPED, check=3)
    assert "written again" in left.stdout
    damaged.start()
    assert "blob" in pullable(damaged)


def test_a_repair_needs_a_registry_that_is_stopped(
    damaged: Tree, bucket: Bucket, jettison: Jettison, tmp_path: Path
) -> None:
    before = damaged.snapshot()
    told = jettison("fsck", damaged.config, "--repair", "--yes", check=12)
    assert "takes pushes" in told.stderr
    assert "--assume-quiescent" in told.stderr
    damaged.stop()
    told = jettison("fsck", damaged.config, "--repair", "--yes", check=12)
    assert "any other machine may serve s3://images" in told.stderr
    assert damaged.snapshot() == before
    with S3Jettison(tmp_path / "ours", bucket, delete=True) as ours:
        told = jettison("fsck", ours.config, "--repair", "--yes", check=12)
        assert "takes pushes" in told.stderr
    with Tree(tmp_path / "readonly", bucket, readonly=True) as readonly:
        jettison("fsck", readonly.config, "--repair", "--yes", check=3)
        assert pullable(readonly) == MENDED
        damaged.start()
        told = jettison("undo", "last", "--storage", damaged.config, "--yes", check=12)
        assert "takes pushes" in told.stderr
        damaged.stop()
        jettison("undo", "last", "--storage", readonly.config, "--yes")
    assert images_of(damaged) == before


def test_a_lease_is_respected(damaged: Tree, bucket: Bucket, jettison: Jettison) -> None:
    damaged.stop()
    lease = b'{"purpose": "collection", "host": "elsewhere", "pid": 7}'
    assert open_bucket(bucket).put_new("jettison/lease", lease)
    before = images_of(damaged)
    told = jettison("fsck", damaged.config, "--repair", *STOPPED, check=12)
    assert "is locked: collection by process 7 on elsewhere" in told.stderr
    assert images_of(damaged) == before


def test_a_collection_leaves_what_an_undo_needs(
    tmp_path: Path, bucket: Bucket, jettison: Jettison
) -> None:
    with Tree(tmp_path / "registry", bucket) as registry:
        for number, name in enumerate(("gone", "kept")):
            registry.push("app", name, made(30 + number))
    tag = registry.tree / "repositories" / "app" / "_manifests" / "tags" / "gone"
    (tag / "current" / "link").write_bytes(b"")
    shutil.rmtree(tag / "index")
    before = registry.snapshot()
    quiet = ("--grace", "0s", *STOPPED)
    told = jettison("fsck", registry.config, "--repair", *quiet)
    assert "app:gone" in told.stdout
    assert not any("/tags/gone/" in path for path in images_of(registry))
    told = jettison("gc", registry.config, "--untagged=0s", *quiet)
    assert "for an undo of run" in told.stdout
    jettison("undo", "last", "--storage", registry.config, *STOPPED)
    assert images_of(registry) == before
