"""The options of `jettison gc`, as a cron job or a person uses them."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest

from jettison.demo import images
from jettison.model.digest import Digest
from tests.support.cli import Jettison
from tests.support.redis import Server
from tests.support.registry import RegistryFactory
from tests.support.trees import Tree

QUIET = ("--grace", "0s", "--assume-quiescent", "--yes")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "registry")
    made.image("app", "1", [b"layer"])
    made.image("app", None, [b"untagged"])
    made.blob(b"garbage", "app")
    return made


def gauges(path: Path) -> dict[str, float]:
    """Read a textfile as node_exporter does."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def test_untagged_may_stand_without_an_age(jettison: Jettison, tree: Tree) -> None:
    def untagged(*options: str | Path) -> int:
        return len(jettison("gc", *options, "-n", "-o", "json").json["plan"]["revisions"])

    assert untagged(tree.root) == 0
    assert untagged("--untagged", tree.root) == 1
    assert untagged(tree.root, "--untagged") == 1
    assert untagged(tree.root, "--untagged=6d") == 1
    assert untagged(tree.root, "--untagged", "8d") == 0
    assert untagged("--untagged", "8d", tree.root) == 0
    told = jettison("gc", tree.root, "--untagged=soon", check=2)
    assert "no duration" in told.stderr


def test_the_plan_counts_every_class(jettison: Jettison, tree: Tree) -> None:
    found = jettison("gc", tree.root, "-n", "-o", "json").json["plan"]
    assert found["classes"]["blobs"] == {"count": 1, "bytes": 7}
    assert found["classes"]["layer_links"] == {"count": 1, "bytes": 71}
    assert found["disk_free_bytes"] > 0
    printed = jettison("gc", tree.root, "-n").stdout
    assert "blobs that nothing needs" in printed
    done = jettison("gc", tree.root, "--yes", "-o", "json").json
    assert done["collection"]["removed"]["blobs"] == {"count": 1, "bytes": 7}
    assert done["run"]["receipt"]["freed_bytes"] == 7


def test_the_figures_for_prometheus(jettison: Jettison, tree: Tree, tmp_path: Path) -> None:
    path = tmp_path / "jettison.prom"
    jettison("gc", tree.root, "--yes", "--textfile", path)
    label = f'{{storage="{tree.root}"}}'
    found = gauges(path)
    assert found[f"jettison_gc_success{label}"] == 1
    assert found[f"jettison_gc_freed_bytes{label}"] == 7
    assert found[f'jettison_gc_removed_files{{kind="blobs",storage="{tree.root}"}}'] == 1
    assert time.time() - found[f"jettison_gc_last_run_timestamp_seconds{label}"] < 60
    tree.write(tree.tag_path("app", "broken"), b"")
    jettison("gc", tree.root, "--yes", "--textfile", path, check=3)
    found = gauges(path)
    assert found[f"jettison_gc_success{label}"] == 0
    assert found[f"jettison_gc_exit_code{label}"] == 3
    assert found[f"jettison_gc_problems{label}"] == 1
    jettison("gc", tmp_path / "nowhere", "--yes", "--textfile", path, check=1)
    assert gauges(path)[f'jettison_gc_success{{storage="{tmp_path}/nowhere"}}'] == 0
    told = jettison("gc", tree.root, "--yes", "--textfile", tmp_path / "no" / "folder", check=1)
    assert "--textfile" in told.stderr
    jettison("gc", tree.root, "-n", "--textfile", path, check=2)


def test_phases_are_told_in_json(jettison: Jettison, tree: Tree) -> None:
    told = jettison("gc", tree.root, "--yes", "--log", "json").stderr
    lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert {(line["phase"], line["event"]) for line in lines} >= {
        ("marking repositories", "begin"),
        ("marking repositories", "end"),
        ("removing blobs", "end"),
    }
    [marked] = [
        line for line in lines if (line["phase"], line["event"]) == ("marking repositories", "end")
    ]
    assert marked["done"] == marked["total"] == 1


# Commands around the collection.


def noted(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def test_commands_run_around_the_collection(jettison: Jettison, tree: Tree, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    garbage = tree.root / "docker/registry/v2/blobs"
    commands = (
        "--quiesce",
        f"echo stopped >>{notes}; find {garbage} -name data | wc -l >>{notes}",
        "--resume",
        f"echo started >>{notes}; find {garbage} -name data | wc -l >>{notes}",
    )
    jettison("gc", tree.root, "-n", *commands)
    assert noted(notes) == []
    jettison("gc", tree.root, *commands, check=4)
    assert noted(notes) == []
    jettison("gc", tree.root, *commands, "--yes")
    assert noted(notes) == ["stopped", "7", "started", "6"]


def test_resume_runs_whatever_happens(jettison: Jettison, tree: Tree, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    resume = ("--resume", f"echo started >>{notes}", "--yes")
    told = jettison("gc", tree.root, "--quiesce", "exit 7", *resume, check=12)
    assert "exit code 7" in told.stderr
    assert noted(notes) == ["started"]
    # Nothing to be looked at: not quiescent.
    jettison("gc", tree.root, "--now", *resume, check=12)
    assert noted(notes) == ["started"] * 2
    jettison("gc", tree.root, "--resume", "exit 1", "--yes", check=3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_resume_runs_when_the_collection_is_ended(
    jettison: Jettison, tree: Tree, tmp_path: Path, number: signal.Signals
) -> None:
    notes = tmp_path / "notes"
    process = jettison.start(
        "gc",
        tree.root,
        "--yes",
        "--quiesce",
        f"echo stopped >>{notes}; sleep 60",
        "--resume",
        f"echo started >>{notes}",
    )
    try:
        while noted(notes) != ["stopped"]:
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, number)
        process.wait(timeout=20)
    finally:
        # What the shell was running may have outlived it, and holds the pipes.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    # The shell may end first, and then there is nothing quiescent to collect.
    assert process.returncode in {12, 130}
    assert noted(notes) == ["stopped", "started"]


def test_who_reads_only_the_beginning_gets_it_all_done(jettison: Jettison, tree: Tree) -> None:
    process = jettison.start("gc", tree.root, "--yes")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    assert jettison("gc", tree.root, "-n", "-o", "json").json["plan"]["bytes"] == 0


def test_ctrl_c_is_told_with_the_next_step(jettison: Jettison, tree: Tree) -> None:
    process = jettison.start("gc", tree.root, "--yes", "--quiesce", "kill -INT $PPID; sleep 1")
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in told
    assert "same command finishes it" in told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("command", ["gc", "garbage-collect"])
def test_a_collection_that_is_ended_leaves_nothing_out_of_sight(
    jettison: Jettison, tree: Tree, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    config = tmp_path / "config.yml"
    config.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tree.root}}}}}\n")
    args = {"gc": ("gc", tree.root, "--yes"), "garbage-collect": ("garbage-collect", config)}
    before = tree.blobs()
    process = jettison.start(*args[command])
    garbage = Digest.of(b"garbage")
    while tree.data(garbage).exists():  # then it is aside, for half a second
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert tree.blobs() == before
    assert tree.layer_path("app", garbage).exists()


def test_a_dry_run_says_what_would_be(jettison: Jettison, tree: Tree) -> None:
    tree.write(tree.tag_path("app", "broken"), b"")
    told = jettison("gc", tree.root, "-n", check=3).stderr
    assert "was collected" not in told
    assert "fsck" in told


def test_the_last_collection_is_verified_where_nothing_was_removed(
    jettison: Jettison, tree: Tree
) -> None:
    jettison("gc", tree.root, "--yes")
    assert "gone from the disk" in jettison("verify", "last").stdout


# Registries that remember.


@pytest.mark.distribution
def test_a_memory_is_warned_of_and_verified(
    jettison: Jettison, registry_factory: RegistryFactory
) -> None:
    registry = registry_factory(delete=True, cache="inmemory")
    image = images.image([images.layer({"gone": b"gone"})])
    registry.push("app", "1", image)
    for blob in image.blobs():
        assert registry.request("HEAD", f"/v2/app/blobs/{blob.digest}").status == 200
    assert registry.delete("app", image.digest) == 202
    # A bucket does not show that a repository had manifests before.
    done = jettison("gc", registry.config, *QUIET, "--allow-empty", "-o", "json")
    assert "makes a broken image" in done.stderr
    run = done.json["run"]
    assert run["registry"] == registry.host
    told = jettison("verify", run["id"], check=5)
    assert "HEAD answers 200" in told.stderr
    registry.restart()
    assert "not served any more" in jettison("verify", run["id"]).stdout
    registry.stop()
    assert "not running" in jettison("verify", run["id"]).stdout


def test_redis_is_made_to_forget(
    jettison: Jettison, registry_factory: RegistryFactory, tmp_path: Path
) -> None:
    with Server(tmp_path / "redis") as redis:
        registry = registry_factory(
            delete=True,
            extra={
                "redis": {"addr": redis.address},
                "storage": {"cache": {"blobdescriptor": "redis"}},
            },
        )
        image = images.image([images.layer({"gone": b"gone"})])
        registry.push("app", "1", image)
        registry.pull_skopeo("app", "1")
        assert registry.delete("app", image.digest) == 202
        # A bucket does not show that a repository had manifests before.
        done = jettison("gc", registry.config, *QUIET, "--allow-empty")
        assert "entries in Redis" in done.stdout
        assert f"collected {registry.location}" in done.stdout
        for blob in image.blobs():
            assert registry.request("HEAD", f"/v2/app/blobs/{blob.digest}").status == 404
        registry.push("app", "1", image)
        assert registry.delete("app", image.digest) == 202
    # It is stopped now, and goes on remembering whatever it has written.
    told = jettison("gc", registry.config, *QUIET, "--allow-empty", check=3)
    assert "Redis" in told.stdout + told.stderr
