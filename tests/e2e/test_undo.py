"""Undo in any order and of any part, and what `verify` says, on a real registry."""

import pytest

from jettison.demo.images import image, index, layer, random_bytes
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry, RegistryFactory

BASE = layer({"base": random_bytes(1, 5000)})
ONE = image([BASE, layer({"app": random_bytes(2, 2000)})])
TWO = image([BASE, layer({"app": random_bytes(3, 2000)})], architecture="arm64")
OTHER = image([layer({"other": random_bytes(4, 2000)})])


def last_id(jettison: Jettison) -> str:
    found: str = jettison("runs", "-o", "json").json["runs"][0]["id"]
    return found


def served(registry: DockerRegistry, repo: str, tag: str) -> bytes:
    return registry.manifest(repo, tag).body


def test_all_tags_of_one_digest_come_back(registry: DockerRegistry, jettison: Jettison) -> None:
    for tag in ("stays", "a-1", "a-2", "a-3"):
        registry.push("app", tag, ONE)
    jettison("rm", f"{registry.host}/app:a-*", "--yes")
    assert registry.tags("app") == ["stays"]
    undone = jettison("undo", "last")
    assert "3 tags are back" in undone.stdout
    assert registry.tags("app") == ["a-1", "a-2", "a-3", "stays"]


def test_runs_are_undone_in_any_order(registry: DockerRegistry, jettison: Jettison) -> None:
    first, second = index([ONE]), index([ONE, TWO])
    registry.push("app", "first", first)
    registry.push("app", "second", second)
    jettison("rm", f"{registry.host}/app:first", "--yes")
    earlier = last_id(jettison)
    jettison("rm", f"{registry.host}/app:second", "--yes")  # and ONE, which `first` lists too
    later = last_id(jettison)
    jettison("undo", earlier)
    assert served(registry, "app", "first") == first.manifest.raw
    assert served(registry, "app", ONE.digest) == ONE.manifest.raw
    assert registry.tags("app") == ["first"]
    jettison("undo", later)
    assert served(registry, "app", "second") == second.manifest.raw


def test_what_was_collected_is_named_and_the_rest_comes_back(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    registry.push("app", "1", ONE)
    registry.push("app", "other", OTHER)
    registry.push("app", "taken", TWO)
    jettison("rm", f"{registry.host}/app", "--all-tags", "--yes")
    run = last_id(jettison)
    lost = OTHER.layers[0]
    registry.request("DELETE", f"/v2/app/blobs/{lost.digest}")
    registry.push("app", "taken", ONE)
    told = jettison("undo", run, check=3)
    assert str(lost.digest) in told.stderr
    assert "app:taken" in told.stderr
    assert registry.tags("app") == ["1", "taken"]
    assert served(registry, "app", "taken") == ONE.manifest.raw
    again = jettison("undo", run, check=4)
    assert "nothing was changed" in again.stderr
    jettison("undo", run, "--overwrite-tags", check=3)
    assert served(registry, "app", "taken") == TWO.manifest.raw


@pytest.mark.parametrize("damage", ["shorter", "other"])
def test_whole_is_only_what_was_read(
    registry: DockerRegistry, jettison: Jettison, damage: str
) -> None:
    registry.push("app", "1", ONE)
    registry.push("app", "2", ONE)
    path = registry.tree / "blobs" / "sha256" / BASE.digest.hex[:2] / BASE.digest.hex / "data"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw[:-1] if damage == "shorter" else raw)
    removed = jettison("rm", f"{registry.host}/app:1", "--yes")
    assert "whole" not in removed.stdout
    # What a length tells is told before, and is no fault of the run.
    assert (str(BASE.digest) in removed.stderr) is (damage == "shorter")
    assert ("app:2: is broken, as before" in removed.stdout) is (damage == "shorter")
    assert ("with its blobs and their sizes" in removed.stdout) is (damage == "other")
    read = jettison("verify", "last", "--read-data", check=0 if damage == "shorter" else 5)
    assert str(BASE.digest) in read.stdout
    assert "whole" not in read.stdout


@pytest.mark.distribution
def test_what_lacked_something_comes_back_as_it_was_through_the_storage(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    both = index([ONE, TWO])
    registry.push("app", "sparse", both)
    registry.push("app", "broken", OTHER)
    revisions = registry.tree / "repositories" / "app" / "_manifests" / "revisions" / "sha256"
    (revisions / TWO.digest.hex / "link").unlink()
    lost = OTHER.layers[0].digest
    (registry.tree / "blobs" / "sha256" / lost.hex[:2] / lost.hex / "data").unlink()
    # Over the API alone it is not promised, since Distribution does not take them.
    told = jettison("rm", f"{registry.host}/app:broken", "-n").stderr
    assert "Undo: not possible" in told
    jettison("rm", f"{registry.host}/app", "--all-tags", "--yes", "--storage", registry.storage)
    assert "images as broken as now" in jettison("runs", "last").stdout
    assert registry.tags("app") == []
    undone = jettison("undo", "last", "--storage", registry.storage)
    assert "2 tags are back" in undone.stdout
    assert f"! app@{OTHER.digest}: is broken, as before" in undone.stdout
    assert served(registry, "app", "sparse") == both.manifest.raw
    assert served(registry, "app", "broken") == OTHER.manifest.raw


def test_last_is_said_and_asked_about_on_another_registry(
    registry_factory: RegistryFactory, jettison: Jettison
) -> None:
    one, two = registry_factory(delete=True), registry_factory(delete=True)
    for registry in (one, two):
        registry.push("app", "1", ONE)
        registry.push("app", "2", TWO)
        jettison("rm", f"{registry.host}/app:1", "--yes")
    said = jettison("undo", "last")
    assert last_id(jettison) in said.stdout
    assert f"on {two.host}" in said.stderr
    assert (one.tags("app"), two.tags("app")) == (["2"], ["1", "2"])
    jettison("undo", "last", "--registry", one.host)
    assert one.tags("app") == ["1", "2"]
    # The latest removal is not where the latest run was.
    jettison("rm", f"{two.host}/app:2", "--yes")
    jettison("undo", "last", "--registry", one.host)
    removal = next(r for r in jettison("runs", "-o", "json").json["runs"] if r["kind"] == "rm")
    assert removal["registry"] == two.host
