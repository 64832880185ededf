"""``jettison fsck`` on the storage of a real registry, damaged in every way and pulled from."""

import contextlib
import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from jettison.demo.images import Image, Index, image, index, layer, random_bytes
from jettison.model.digest import Digest
from support.cli import Jettison
from support.missing import need
from support.registry import DockerRegistry

BASE = layer({"base": random_bytes(9, 200_000)})
NAMES = ["blob", "child", "config", "current", "link", "malformed", "manifest", "revision", "whole"]


def made(number: int) -> Image:
    return image([BASE, layer({"app": random_bytes(number, 2000)})])


IMAGES: dict[str, Image | Index] = {name: made(number) for number, name in enumerate(NAMES)}
IMAGES["child"] = index([made(20), made(21)])


def link(registry: DockerRegistry, inner: str, digest: str) -> Path:
    return registry.tree.joinpath("repositories", "app", inner, *digest.split(":"), "link")


def data(registry: DockerRegistry, digest: str) -> Path:
    encoded = digest.split(":")[1]
    return registry.tree / "blobs" / "sha256" / encoded[:2] / encoded / "data"


def one(name: str) -> Image:
    found = IMAGES[name]
    assert isinstance(found, Image)
    return found


def own_layer(name: str) -> Digest:
    return one(name).layers[-1].digest


def damage(registry: DockerRegistry) -> None:
    """Do each tag the harm that it is named after."""
    blob = data(registry, own_layer("blob"))
    raw = bytearray(blob.read_bytes())
    raw[100] ^= 1
    blob.write_bytes(raw)
    found = IMAGES["child"]
    assert isinstance(found, Index)
    link(registry, "_manifests/revisions", found.members[0].digest).unlink()
    data(registry, one("config").config.digest).unlink()
    tags = registry.tree / "repositories" / "app" / "_manifests" / "tags"
    (tags / "current" / "current" / "link").write_bytes(b"")
    link(registry, "_layers", own_layer("link")).unlink()
    link(registry, "_manifests/revisions", one("malformed").manifest.digest).write_bytes(b"")
    data(registry, one("manifest").manifest.digest).write_bytes(b"{}")
    link(registry, "_manifests/revisions", one("revision").manifest.digest).unlink()
    (tags / "whole" / "current" / "link.0b.tmp").write_bytes(b"sha")


def pullable(registry: DockerRegistry) -> list[str]:
    found = []
    for name in NAMES:
        with contextlib.suppress(subprocess.CalledProcessError, AssertionError, OSError):
            registry.pull_skopeo("app", name)
            found.append(name)
    return found


@pytest.fixture
def damaged(registry: DockerRegistry) -> DockerRegistry:
    need("skopeo")
    for name, content in IMAGES.items():
        registry.push("app", name, content)
    damage(registry)
    registry.age(7200)
    return registry


def test_what_fsck_calls_unpullable_is(damaged: DockerRegistry, jettison: Jettison) -> None:
    before = damaged.snapshot()
    found = jettison("fsck", damaged.root, "-o", "json", check=5).json
    named = sorted(tag["name"].removeprefix("app:") for tag in found["unpullable"])
    assert named == sorted(set(NAMES) - set(pullable(damaged)))
    assert named == sorted(set(NAMES) - {"whole"})
    assert found["schema_version"] == 1
    assert found["damage"] == 8
    assert {flaw["class"] for flaw in found["flaws"]} == {
        "absent-blob",
        "blob-without-link",
        "child-without-revision",
        "damaged-blob",
        "leftover",
        "malformed-link",
        "tag-without-revision",
    }
    told = jettison("fsck", damaged.config, check=5)
    assert "8 tags cannot be pulled whole" in told.stdout
    assert "--repair" in told.stderr
    quick = jettison("fsck", damaged.root, "--quick", "-o", "ndjson", check=5)
    assert "app:blob" not in {tag for flaw in quick.ndjson for tag in flaw["tags"]}
    assert damaged.snapshot() == before


def test_repair_then_push_then_undo(damaged: DockerRegistry, jettison: Jettison) -> None:
    before = damaged.snapshot()
    planned = jettison("fsck", damaged.root, "--repair", "-n", check=5)
    assert "To repair:" in planned.stdout
    refused = jettison("fsck", damaged.root, "--repair", check=4)
    assert "--yes" in refused.stderr
    assert damaged.snapshot() == before
    # Without the repair a push does not heal: the registry says that it has the blob.
    damaged.push_skopeo("app", "blob", IMAGES["blob"])
    assert "blob" not in pullable(damaged)
    damaged.age(7200)
    before = damaged.snapshot()

    done = jettison("fsck", damaged.root, "--repair", "--yes", check=3)
    assert "jettison undo" in done.stderr
    assert "pushed again" in done.stdout
    mended = ["child", "current", "link", "malformed", "revision", "whole"]
    assert pullable(damaged) == mended
    runs = jettison("runs", "-o", "json").json["runs"]
    assert [run["kind"] for run in runs] == ["fsck"]

    assert "took back" in jettison("undo", "last").stdout
    after = {path: raw for path, raw in damaged.snapshot().items() if path.startswith("docker/")}
    assert after == before
    assert "undone already" in jettison("undo", runs[0]["id"]).stderr

    jettison("fsck", damaged.root, "--repair", "--yes", check=3)
    for name in ("blob", "config", "manifest"):
        damaged.push_skopeo("app", name, IMAGES[name])
    assert pullable(damaged) == NAMES
    sound = jettison("fsck", damaged.root)
    assert "can be pulled" in sound.stdout
    # What was pushed since is not overwritten.
    left = jettison("undo", "last", check=3)
    assert "written again" in left.stdout
    assert "blob" in pullable(damaged)


def test_killed_at_any_sync_a_repair_can_be_undone(
    damaged: DockerRegistry, jettison: Jettison
) -> None:
    need("strace")
    before = damaged.snapshot()
    for number in range(1, 60, 2):
        kill = f"inject=fsync:signal=SIGKILL:when={number}"
        strace = ("strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fsync", "-e", kill)
        command = ("fsck", damaged.root, "--repair", "--yes")
        process = jettison.start(*command, prefix=strace)
        process.communicate(timeout=60)
        if process.returncode == 3:
            assert number > 5
            return
        undone = jettison("undo", "last", "--storage", damaged.root, check=None)
        assert undone.code == 0 or "nothing was removed yet" in undone.stderr
        after = damaged.snapshot()
        assert {p: raw for p, raw in after.items() if p.startswith("docker/")} == before
    pytest.fail("a repair makes fewer syncs")


def test_a_lock_is_respected(damaged: DockerRegistry, jettison: Jettison) -> None:

    folder = damaged.root / "jettison"
    folder.mkdir()
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        jettison("fsck", damaged.root, check=5)
        jettison("fsck", damaged.root, "--repair", "--yes", check=12)
