"""``jettison fsck`` on the storage of a real registry, damaged in every way and pulled from."""

import contextlib
import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from jettison.demo.images import Image, Index, image, index, layer, random_bytes
from jettison.model.digest import Digest
from tests.support.cli import Jettison, Result
from tests.support.missing import need
from tests.support.redis import Server
from tests.support.registry import DockerRegistry, RegistryFactory

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
    """Pull each as Docker does: its tag for the digest, and then that."""
    found = []
    for name in NAMES:
        digest = registry.manifest("app", name).headers["Docker-Content-Digest"]
        if digest is None:
            continue
        with contextlib.suppress(subprocess.CalledProcessError, AssertionError, OSError):
            registry.pull_skopeo("app", digest)
            found.append(name)
    return found


def repair(
    registry: DockerRegistry, jettison: Jettison, *words: str, check: int = 0, known: bool = False
) -> Result:
    """Repair a storage; the registry of one in a bucket has to be stopped meanwhile."""
    storage = registry.config if known else registry.storage
    with registry.at_rest() as quiet:
        return jettison("fsck", storage, "--repair", "--yes", *quiet, *words, check=check)


def undo(
    registry: DockerRegistry, jettison: Jettison, run: str, *words: str, check: int = 0
) -> Result:
    """Undo a repair, which asks for the same."""
    with registry.at_rest() as quiet:
        return jettison("undo", run, *quiet, *words, check=check)


def in_tree(registry: DockerRegistry) -> dict[str, bytes]:
    """Return what the registry itself has in its storage, by path."""
    found = registry.snapshot()
    return {path: raw for path, raw in found.items() if path.startswith("docker/")}


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
    found = jettison("fsck", damaged.storage, "-o", "json", check=5).json
    named = sorted(tag["name"].removeprefix("app:") for tag in found["unpullable"])
    assert named == sorted(set(NAMES) - set(pullable(damaged)))
    assert named == sorted(set(NAMES) - {"whole"})
    assert found["schema_version"] == 1
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
    told = jettison("fsck", damaged.config, check=5)
    assert "8 tags cannot be pulled whole" in told.stdout
    assert "--repair" in told.stderr
    quick = jettison("fsck", damaged.storage, "--quick", "-o", "ndjson", check=5)
    assert "app:blob" not in {tag for defect in quick.ndjson for tag in defect["tags"]}
    assert damaged.snapshot() == before


def test_repair_then_push_then_undo(damaged: DockerRegistry, jettison: Jettison) -> None:
    before = damaged.snapshot()
    planned = jettison("fsck", damaged.storage, "--repair", "-n", check=5)
    assert "To repair:" in planned.stdout
    with damaged.at_rest() as quiet:
        refused = jettison("fsck", damaged.storage, "--repair", *quiet, check=4)
    assert "--yes" in refused.stderr
    assert damaged.snapshot() == before
    # Without the repair a push does not heal: the registry says that it has the blob.
    damaged.push_skopeo("app", "blob", IMAGES["blob"])
    assert "blob" not in pullable(damaged)
    damaged.age(7200)
    before = in_tree(damaged)

    done = repair(damaged, jettison, check=3)
    assert "jettison undo" in done.stderr
    assert "pushed again" in done.stdout
    mended = ["child", "current", "link", "malformed", "revision", "whole"]
    assert pullable(damaged) == mended
    runs = jettison("runs", "-o", "json").json["runs"]
    assert [run["kind"] for run in runs] == ["fsck"]

    assert "took back" in undo(damaged, jettison, "last").stdout
    assert in_tree(damaged) == before
    assert "undone already" in undo(damaged, jettison, runs[0]["id"]).stderr
    again = undo(damaged, jettison, runs[0]["id"], "-o", "json")
    assert again.json["run"]["state"] == "undone"

    damaged.age(7200)  # what was moved back in a bucket is new
    repair(damaged, jettison, check=3)
    for name in ("blob", "config", "manifest"):
        damaged.push_skopeo("app", name, IMAGES[name])
    assert pullable(damaged) == NAMES
    sound = jettison("fsck", damaged.storage)
    assert "can be pulled" in sound.stdout
    # What was pushed since is not overwritten.
    left = undo(damaged, jettison, "last", check=3)
    assert "written again" in left.stdout
    assert "blob" in pullable(damaged)


@pytest.mark.folder  # kills at calls to the system
@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_any_sync_a_repair_can_be_undone(
    damaged: DockerRegistry, jettison: Jettison, every: int
) -> None:
    need("strace")
    before = damaged.snapshot()
    for number in range(1, 60, every):
        kill = f"inject=fsync:signal=SIGKILL:when={number}"
        strace = ("strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fsync", "-e", kill)
        command = ("fsck", damaged.storage, "--repair", "--yes")
        process = jettison.start(*command, prefix=strace)
        process.communicate(timeout=60)
        if process.returncode == 3:
            assert number > 5
            return
        undone = jettison("undo", "last", "--storage", damaged.root, check=None)
        assert undone.code == 0 or "nothing was removed yet" in undone.stderr
        assert in_tree(damaged) == before
    pytest.fail("a repair makes fewer syncs")


@pytest.mark.folder  # test_bucket_repair.py has the same of a lease
def test_a_lock_is_respected(damaged: DockerRegistry, jettison: Jettison) -> None:
    folder = damaged.root / "jettison"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        jettison("fsck", damaged.storage, check=5)
        jettison("fsck", damaged.storage, "--repair", "--yes", check=12)


def test_repair_then_collection_then_undo(registry: DockerRegistry, jettison: Jettison) -> None:
    for number, name in enumerate(("gone", "many", "other")):
        registry.push("app", name, made(30 + number))
    registry.push("app", "many", made(40))
    tags = registry.tree / "repositories" / "app" / "_manifests" / "tags"
    for name in ("gone", "many"):
        (tags / name / "current" / "link").write_bytes(b"")
    shutil.rmtree(tags / "gone" / "index")
    registry.stop()
    before = in_tree(registry)
    told = repair(registry, jettison, "--grace", "0s", check=3)
    assert "app:gone" in told.stdout
    assert "push the tag again, or delete it" in told.stdout
    assert not (tags / "gone").exists()
    # Left where it is, this one protects the repository; without it, the run does.
    assert (tags / "many").exists()
    shutil.move(tags / "many", registry.root / "many")
    quiet = ("--grace", "0s", "--assume-quiescent", "--yes")
    collected = jettison("gc", registry.storage, "--untagged=0s", *quiet)
    assert "for an undo of run" in collected.stdout
    assert "until" not in collected.stdout
    (registry.root / "many").rename(tags / "many")
    undo(registry, jettison, "last", "--storage", str(registry.storage))
    assert in_tree(registry) == before


@pytest.mark.folder  # copies it
def test_undo_works_in_the_storage_that_is_given(
    damaged: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    before = damaged.snapshot()
    jettison("fsck", damaged.storage, "--repair", "--yes", check=3)
    repaired = damaged.snapshot()
    copy = tmp_path / "copy"
    shutil.copytree(damaged.root, copy)
    assert str(copy) in jettison("undo", "last", "--storage", copy, "-n").stdout
    jettison("undo", "last", "--storage", copy)
    assert damaged.snapshot() == repaired
    files = (path for path in (copy / "docker").rglob("*") if path.is_file())
    assert {str(path.relative_to(copy)): path.read_bytes() for path in files} == before


def test_redis_is_made_to_forget_what_was_moved(
    registry_factory: RegistryFactory, jettison: Jettison, tmp_path: Path
) -> None:
    with Server(tmp_path / "redis") as redis:
        extra = {
            "redis": {"addr": redis.address},
            "storage": {"cache": {"blobdescriptor": "redis"}},
        }
        registry = registry_factory(extra=extra)
        pushed = made(50)
        registry.push("app", "1", pushed)
        registry.pull_skopeo("app", "1")
        path = data(registry, pushed.layers[-1].digest)
        path.write_bytes(b"other")
        registry.age(7200)
        done = repair(registry, jettison, check=3, known=True)
        assert "entries in Redis" in done.stdout
        assert "restart" not in done.stderr
        registry.push_skopeo("app", "1", pushed)
        registry.pull_skopeo("app", "1")
        path.write_bytes(b"other")
        registry.age(7200)
    left = repair(registry, jettison, check=3, known=True)
    assert "still remembers" in left.stdout


def test_an_in_memory_cache_is_to_be_restarted(
    registry_factory: RegistryFactory, jettison: Jettison
) -> None:
    registry = registry_factory(extra={"storage": {"cache": {"blobdescriptor": "inmemory"}}})
    registry.push("app", "1", made(51))
    data(registry, made(51).layers[-1].digest).write_bytes(b"other")
    registry.age(7200)
    done = repair(registry, jettison, check=3, known=True)
    assert "restart it after this" in done.stderr


@pytest.mark.folder  # reads fail that only a disk has
def test_a_broken_disk_is_no_reason_to_push(registry: DockerRegistry, jettison: Jettison) -> None:
    need("strace")
    registry.push("app", "1", made(61))
    registry.age(7200)
    broken = ("-e", "trace=readv", "-e", "inject=readv:error=EIO")  # only blobs are read so
    strace = ("strace", "-f", "-qq", "-o", os.devnull, *broken)
    process = jettison.start("fsck", registry.storage, "--repair", "--yes", prefix=strace)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == 5
    assert "unreadable" in told
    assert "permissions" not in told
    assert "the disk" in errors
    assert "Push" not in errors
    assert "--repair" not in errors
    assert "0 tags" not in told + errors
    assert told.count(made(61).layers[-1].digest.hex) == 1


def test_what_is_told(registry: DockerRegistry, jettison: Jettison) -> None:
    pushed = made(60)
    registry.push("app", "1", pushed)
    sound = jettison("fsck", registry.storage, "--quick").stdout
    assert "Everything" not in sound
    assert "the content of blobs was not read" in sound
    assert "can be pulled" in jettison("fsck", registry.storage).stdout

    link(registry, "_layers", pushed.layers[-1].digest).write_bytes(b"")
    young = repair(registry, jettison, check=5)
    assert "1 defect that does harm" in young.stderr
    assert "--repair" not in young.stderr
    assert "grace period" in young.stderr
    registry.age(7200)
    planned = jettison("fsck", registry.storage, "--repair", "-n", "-o", "ndjson", check=5).ndjson
    assert [step["action"] for step in planned[-1]["plan"]["steps"]] == ["link layer"]
    done = repair(registry, jettison, "-o", "ndjson").ndjson
    [closing] = done
    assert closing["run"]["id"] == closing["plan"]["id"]
    assert (closing["damage"], closing["before"]["damage"]) == (0, 1)
    assert closing["run"]["receipt"]["notes"] == []
    assert closing["run"]["receipt"]["findings"][0]["subject"] == "1 of 1 repair"
    kept = registry.root / "jettison" / "fsck" / closing["run"]["id"]
    assert not (kept / "moved").exists()
