"""The cases that must come out right, each through the command line on a real docker-registry."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jettison.demo.images import (
    Image,
    Index,
    cosign_tag,
    fallback_index,
    image,
    index,
    layer,
    random_bytes,
    referrer,
    referrers_tag,
    signature,
)
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry, RegistryFactory

BASE = layer({"base": random_bytes(1, 50_000)})
IDLE = 7200.0


def app(seed: int, architecture: str = "amd64") -> Image:
    own = layer({"app": random_bytes(seed, 10_000 + seed)})
    return image([BASE, own], architecture=architecture)


def own_bytes(made: Image) -> int:
    """What only this image has: manifest, config, its last layer."""
    return made.manifest.size + made.config.size + made.layers[-1].size


def reclaim(registry: DockerRegistry, jettison: Jettison, *references: str) -> dict[str, Any]:
    """Remove and collect; what was predicted is what was freed and what the disk shows (case 4)."""
    before = registry.blob_bytes()
    named = [f"{registry.host}/{reference}" for reference in references]
    options = ("--reclaim", "--storage", registry.storage, "--yes", "-o", "json")
    run: dict[str, Any] = jettison("rm", *named, *options).json["run"]
    receipt = run["receipt"]
    gone = before - registry.blob_bytes()
    assert receipt["predicted_bytes"] + receipt["garbage_bytes"] == receipt["freed_bytes"] == gone
    assert receipt["blobs_before"] - receipt["blobs_after"] == gone
    assert receipt["exact"]
    return run


def pulls(registry: DockerRegistry, repo: str, tag: str, made: Image | Index) -> bool:
    return registry.pull_skopeo(repo, tag).manifest == made.manifest.raw


# Case 1


@pytest.mark.distribution
def test_a_sibling_tag_survives_on_a_registry_that_cannot_untag(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    made = app(1)
    registry.push("app", "1", made)
    registry.push("app", "2", made)
    registry.age(IDLE)
    files = registry.blob_files()
    jettison("rm", f"{registry.host}/app:1", "--yes")
    assert registry.tags("app") == ["2"]
    assert pulls(registry, "app", "2", made)
    assert registry.blob_files() != files, "the throw-away manifest is there until collected"
    jettison("gc", registry.storage, "--grace", "0s", "--assume-quiescent", "--yes")
    assert registry.blob_files() == files
    assert pulls(registry, "app", "2", made)


# Case 2


def test_deletion_disabled_changes_nothing_and_check_fixes_it(
    registry_factory: RegistryFactory, jettison: Jettison
) -> None:
    registry = registry_factory(delete=False)
    registry.push("app", "1", app(1))
    registry.push("app", "2", app(1))
    before = registry.snapshot()
    refused = jettison("rm", f"{registry.host}/app:1", "--yes", check=11)
    assert "storage.delete.enabled" in refused.stderr
    assert "restart" in refused.stderr
    assert registry.snapshot() == before
    comments = [line.partition("#")[2] for line in registry.config.read_text().splitlines()]
    jettison("check", registry.config, check=11)
    jettison("check", "--fix", registry.config)
    fixed = registry.config.read_text().splitlines()
    assert [line.partition("#")[2] for line in fixed] == comments
    registry.restart()
    jettison("rm", f"{registry.host}/app:1", "--yes")
    assert registry.tags("app") == ["2"]


# Cases 3 and 4


def test_a_layer_shared_across_repositories_goes_with_the_last(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    one, two = app(1), app(2)
    registry.push("app", "1", one)
    registry.push("other", "1", two)
    registry.age(IDLE)
    looked = jettison("inspect", f"{registry.host}/app:1", "-o", "json").json["image"]
    shared = {layer["digest"]: layer["holders"] for layer in looked["layers"]}
    assert shared[BASE.digest] == ["other:1"]
    run = reclaim(registry, jettison, "app:1")
    assert run["receipt"]["freed_bytes"] == own_bytes(one)
    [kept] = run["plan"]["estimate"]["shared"]
    assert (kept["digest"], kept["holders"]) == (BASE.digest, ["other:1"])
    assert pulls(registry, "other", "1", two)
    run = reclaim(registry, jettison, "other:1")
    assert run["receipt"]["freed_bytes"] == own_bytes(two) + BASE.size
    assert registry.blob_bytes() == 0


@pytest.mark.distribution
def test_over_the_api_alone_the_figure_is_marked_and_never_too_low(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    one, two = app(1), app(2)
    registry.push("app", "1", one)
    registry.push("app", None, two)  # untagged: no API lists it
    registry.age(IDLE)
    reference = f"{registry.host}/app:1"
    estimate = jettison("rm", reference, "-n", "-o", "json").json["plan"]["estimate"]
    assert estimate["unknown"]
    assert estimate["freed_bytes"] == own_bytes(one) + BASE.size
    assert "≤" in jettison("rm", reference, "-n").stdout
    if not registry.reclaims:
        with_storage = ("--reclaim", "--storage", registry.storage, "--yes")
        refused = jettison("rm", reference, *with_storage, check=12)
        assert "nothing can be hidden" in refused.stderr
        assert registry.tags("app") == ["1"]
        return
    run = reclaim(registry, jettison, "app:1")
    assert run["receipt"]["freed_bytes"] == own_bytes(one) <= estimate["freed_bytes"]


def test_two_that_only_together_free_a_layer(registry: DockerRegistry, jettison: Jettison) -> None:
    registry.push("app", "1", app(1))
    registry.push("app", "2", app(2))
    registry.push("app", "3", image([layer({"else": random_bytes(9, 999)})]))
    registry.age(IDLE)
    run = reclaim(registry, jettison, "app:1", "app:2")
    assert run["plan"]["estimate"]["together_bytes"] == BASE.size


# Case 5


def test_an_index_takes_its_children_but_not_those_of_others(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    alone, listed, tagged = app(1), app(2, "arm64"), app(3, "s390x")
    registry.push("app", "all", index([alone, listed, tagged]))
    registry.push("app", "other", other := index([listed]))
    registry.push("app", "tagged", tagged)
    registry.age(IDLE)
    registry_host = f"{registry.host}/app"
    refused = jettison("rm", f"{registry_host}@{alone.digest}", "--yes", check=4)
    assert "app:all" in refused.stderr
    assert "--break-indexes" in refused.stderr
    run = reclaim(registry, jettison, "app:all")
    assert {s["digest"] for s in run["plan"]["steps"] if s["action"] == "delete"} == {
        index([alone, listed, tagged]).digest,
        alone.digest,
    }
    assert pulls(registry, "app", "other", other)
    assert pulls(registry, "app", "tagged", tagged)


def test_a_tagged_child_only_loses_its_tag(registry: DockerRegistry, jettison: Jettison) -> None:
    child = app(1)
    registry.push("app", "all", both := index([child, app(2, "arm64")]))
    registry.push("app", "child", child)
    registry.age(IDLE)
    run = reclaim(registry, jettison, "app:child")
    assert run["receipt"]["freed_bytes"] == 0
    assert registry.tags("app") == ["all"]
    assert pulls(registry, "app", "all", both)
    named = f"{registry.host}/app@{child.digest}"
    if registry.program == "jettison":
        # Ours lets nobody break an index, unless it is told to.
        refused = jettison("rm", named, "--break-indexes", "--yes", check=4)
        assert f"listed by the index {both.manifest.digest} (all)" in refused.stderr
        registry.reconfigure(extra={"jettison": {"protect_references": False}})
    jettison("rm", named, "--break-indexes", "--yes")
    assert registry.manifest("app", child.digest).status == 404


# Case 6


def test_referrers_live_and_go_with_their_subject(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    signed, other = app(1), app(2)
    note = referrer(signed, "application/vnd.example.note", b"note")
    kept = referrer(signed, "application/vnd.example.kept", b"kept")
    registry.push("app", "1", signed)
    registry.push("app", "2", other)
    registry.push("app", cosign_tag(signed.digest, ".sig"), signature(signed))
    registry.push("app", cosign_tag(other.digest, ".sig"), signature(other))
    registry.push("app", referrers_tag(signed.digest), fallback_index([note, kept]))
    registry.push("app", "kept", kept)
    registry.age(IDLE)
    reclaim(registry, jettison, "app:1")
    assert registry.tags("app") == sorted(["2", "kept", cosign_tag(other.digest, ".sig")])
    assert registry.manifest("app", note.digest).status == 404
    assert registry.manifest("app", "kept").body == kept.manifest.raw
    assert pulls(registry, "app", "2", other)


# Case 7


def test_a_tag_that_moves_while_the_question_stands_stops_it(
    registry: DockerRegistry, tmp_path: Path
) -> None:
    registry.push("app", "1", app(1))
    registry.push("app", "2", app(2))
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jettison", "rm", f"{registry.host}/app:1"],
        cwd=tmp_path,
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=slave,
    )
    os.close(slave)
    told = b""
    deadline = time.monotonic() + 30
    while b"[y/N]" not in told and time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            told += os.read(master, 4096)
    assert b"Remove 1 tag and 1 manifest" in told
    registry.push("app", "1", app(3))
    before = registry.snapshot()
    os.write(master, b"y\n")
    process.communicate(timeout=60)
    os.close(master)
    assert process.returncode == 13
    assert registry.snapshot() == before


# Case 9


@pytest.mark.parametrize("flavour", ["oci", "docker"])
def test_undo_brings_back_tags_and_digests(
    registry: DockerRegistry, jettison: Jettison, flavour: str
) -> None:
    made = image([BASE], flavour="docker" if flavour == "docker" else "oci")
    registry.push("app", "1", made)
    registry.push("app", "latest", made)
    registry.push("app", "all", both := index([app(1), app(2, "arm64")]))
    host = f"{registry.host}/app"
    jettison("rm", f"{host}:1", f"{host}:latest", f"{host}:all", "--yes")
    assert registry.tags("app") == []
    jettison("undo", "last")
    assert registry.tags("app") == ["1", "all", "latest"]
    assert pulls(registry, "app", "1", made)
    assert pulls(registry, "app", "all", both)


def test_undo_after_a_collection_needs_a_backup(
    registry: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    made, both = app(1), index([app(2), app(3, "arm64")])
    registry.push("app", "1", made)
    registry.push("app", "all", both)
    registry.age(IDLE)
    host = f"{registry.host}/app"
    options = ("--reclaim", "--storage", registry.storage, "--yes")
    jettison("rm", f"{host}:all", *options, "--backup", tmp_path / "backup")
    jettison("rm", f"{host}:1", *options)
    assert registry.blob_bytes() == 0
    before = registry.snapshot()
    refused = jettison("undo", "last", check=4)
    assert made.config.digest in refused.stderr
    assert registry.snapshot() == before
    first = jettison("runs", "-o", "json").json["runs"][-1]["id"]
    jettison("undo", first)
    assert pulls(registry, "app", "all", both)


def test_inside_the_window_a_collection_keeps_what_went(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    made = app(1)
    registry.push("app", "1", made)
    registry.age(IDLE)
    jettison("rm", f"{registry.host}/app:1", "--storage", registry.storage, "--yes")
    jettison("gc", registry.storage, "--yes")
    assert registry.blob_bytes() == own_bytes(made) + BASE.size
    jettison("undo", "last")
    assert pulls(registry, "app", "1", made)
    jettison("rm", f"{registry.host}/app:1", "--storage", registry.storage, "--yes")
    jettison("gc", registry.config, "--now", "--yes", check=12)
    registry.stop()
    registry.age(IDLE)  # our own server touches what it is asked about
    with registry.at_rest() as quiet:
        jettison("gc", registry.config, "--now", *quiet, "--yes")
    assert registry.blob_bytes() == 0


# Case 10


@pytest.mark.distribution
def test_a_stale_descriptor_cache_is_found_out(
    registry_factory: RegistryFactory, jettison: Jettison
) -> None:
    registry = registry_factory(delete=True, cache="inmemory")
    made = app(1)
    registry.push("app", "1", made)
    registry.age(IDLE)
    for blob in made.blobs():
        assert registry.request("HEAD", f"/v2/app/blobs/{blob.digest}").status == 200
    jettison("rm", f"{registry.host}/app:1", "--storage", registry.storage, "--yes")
    jettison("gc", registry.storage, "--now", "--assume-quiescent", "--yes")
    assert registry.request("HEAD", f"/v2/app/blobs/{BASE.digest}").status == 200
    found = jettison("verify", "last", check=5)
    assert "restart the registry" in found.stderr
    registry.restart()
    jettison("verify", "last", check=0)
