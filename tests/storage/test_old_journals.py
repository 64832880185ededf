"""Journals of schema 1, as earlier versions wrote them, are read, shown, undone and finished.

`old_journals/` has a folder for each thing that was done to a registry with three images:
`tree/` is the journal in its storage, `users/` that of its user, `fsck/` what a repair kept.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jettison.demo.images import image, layer, random_bytes
from jettison.model import codec
from jettison.model.journal import (
    RUN_SCHEMA,
    CollectionEntry,
    JobState,
    LeftCode,
    RemovalEntry,
    RepairEntry,
    UndoEntry,
    head_of,
)
from jettison.model.names import RepoName
from jettison.storage.journal import Journal, Unreadable
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry

OLD = Path(__file__).with_name("old_journals")
HOST, ROOT = b"registry.example:5000", b"/var/lib/registry"
BASE = layer({"base": random_bytes(1, 200)})
IMAGES = [image([BASE, layer({"app": random_bytes(seed, 200)})]) for seed in (2, 3, 4)]
DOCUMENTS = {
    file.relative_to(OLD).as_posix(): file
    for file in sorted(OLD.glob("*/*/*.json"))
    if b'"elsewhere":"' not in file.read_bytes()
}


def lay(source: Path, target: Path, host: str, root: Path) -> None:
    """Copy documents to where they would be if this registry had been that one."""
    for file in source.rglob("*"):
        if file.is_file():
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            raw = file.read_bytes().replace(HOST, host.encode())
            place.write_bytes(raw.replace(ROOT, str(root).encode()))


@pytest.fixture
def inherit(registry: DockerRegistry, home: Path) -> Callable[[str], str]:
    """Push the images, lay down the journals of a scenario, and return the id of its first run."""

    def lay_all(name: str) -> str:
        for tag, one in zip("123", IMAGES, strict=True):
            registry.push("app", tag, one)
        ours = registry.root / "jettison"
        lay(OLD / name / "tree", ours / "runs", registry.host, registry.root)
        lay(OLD / name / "fsck", ours / "fsck", registry.host, registry.root)
        users = home / ".local/state/jettison/runs"
        lay(OLD / name / "users", users, registry.host, registry.root)
        return min(file.stem for file in users.iterdir())

    return lay_all


def decoded(file: Path) -> Any:
    return json.loads(file.read_bytes())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_of_a_document_is_lost(tmp_path: Path, name: str) -> None:
    file = DOCUMENTS[name]
    shutil.copy(file, tmp_path)
    old, journal = decoded(file), Journal.at(tmp_path)
    for finding in (old["receipt"] or {}).get("findings", []):
        finding["code"] = "uncoded"
    plan = old["plan"] or {}
    for planned in (*plan.get("steps", []), *plan.get("kept", [])):
        planned["code"] = "uncoded"
    run = journal.read(file.stem)
    new = json.loads(codec.encode(run))
    details = old.pop("details")
    assert old.pop("schema_version") == 1
    assert new.pop("schema_version") == RUN_SCHEMA == 2
    for member, value in new.items():
        if member in old:
            assert value == old.pop(member), member
    # What other kinds of runs have, or no run had.
    assert not any(old.values()), old
    match run:
        case RemovalEntry():
            assert (new["grace"], new["planned"]) == (details["grace"], details["now"])
            assert (new["product"], new["prediction"]) == (
                details["product"],
                details["prediction"],
            )
        case CollectionEntry():
            assert new["blobs"] == details["blobs"] != []
            assert new["links"] == details["links"] != []
            assert isinstance(run.links[0][0], RepoName)
        case RepairEntry():
            assert run.folder == details["folder"] == f"jettison/fsck/{run.id}"
        case UndoEntry():
            assert details == {}
    journal.write(run)
    assert journal.read(run.id) == run
    assert decoded(tmp_path / file.name)["schema_version"] == 2


def test_there_is_one_of_each() -> None:
    found = {decoded(file)["kind"] for file in DOCUMENTS.values()}
    assert found == {"rm", "gc", "fsck", "undo"}
    assert {decoded(file)["state"] for file in DOCUMENTS.values()} == {"done", "undone", "applying"}


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("damage", [b'"details":5', b'"details":{"now":"?","links":5,"folder":5}'])
def test_damaged_details_are_damage(tmp_path: Path, name: str, damage: bytes) -> None:
    start, _, rest = DOCUMENTS[name].read_bytes().rpartition(b'"details":')
    end = rest.rindex(b',"schema_version"')
    run_id = DOCUMENTS[name].stem
    (tmp_path / f"{run_id}.json").write_bytes(start + damage + rest[end:])
    found = Journal.at(tmp_path).read_quietly(run_id)
    assert isinstance(found, Unreadable) or (isinstance(found, UndoEntry) and b"{" in damage)


@pytest.mark.parametrize("name", sorted(folder.name for folder in OLD.iterdir()))
def test_they_are_shown(jettison: Jettison, home: Path, tmp_path: Path, name: str) -> None:
    lay(OLD / name / "tree", tmp_path / "jettison/runs", "host:1", tmp_path)
    users = home / ".local/state/jettison/runs"
    lay(OLD / name / "users", users, "host:1", tmp_path)
    run_id = min(file.stem for file in users.iterdir())
    [*_, brief] = jettison("runs", "-o", "json").json["runs"]
    shown = jettison("runs", run_id, "-o", "json").json
    [document] = [decoded(file) for file in DOCUMENTS.values() if file.stem == run_id]
    told = {**shown["run"], "window_until": document["window_until"]}  # it is a text for people
    assert brief == shown["run"]
    for member in ("id", "kind", "state", "storage", "window_until", "of", "left"):
        assert told[member] == document[member] or member == "storage"
    receipt = document["receipt"]
    assert told["tags"] == (receipt and receipt["tags"])
    assert told["freed_bytes"] == (receipt and receipt["freed_bytes"])
    assert document["state"] != "undone" or told["undo"] == "undone"
    assert run_id in jettison("runs", run_id).stdout


@pytest.mark.parametrize("name", ["removal", "api"])
def test_a_removal_is_held_and_undone(
    registry: DockerRegistry, jettison: Jettison, inherit: Callable[[str], str], name: str
) -> None:
    run_id = inherit(name)
    registry.delete("app", IMAGES[0].digest)
    assert registry.tags("app") == ["2", "3"]
    registry.age(2 * 86400)
    if name == "removal":
        jettison("gc", registry.config, "--yes", "--untagged", "0s")
        assert jettison("verify", run_id).code == 0
    jettison("undo", run_id, "--yes")
    assert registry.manifest("app", "1").body == IMAGES[0].manifest.raw
    assert "undone already" in jettison("undo", run_id).stderr


def test_what_took_tags_back_is_undone(
    registry: DockerRegistry, jettison: Jettison, inherit: Callable[[str], str]
) -> None:
    removal = inherit("overwritten")
    undo = max(file.stem for file in (registry.root / "jettison/runs").iterdir())
    assert undo > removal
    jettison("undo", undo, "--yes", "--storage", registry.root)
    assert registry.manifest("app", "1").body == IMAGES[1].manifest.raw


def test_an_interrupted_removal_is_finished(
    registry: DockerRegistry, jettison: Jettison, inherit: Callable[[str], str]
) -> None:
    run_id = inherit("killed")
    registry.delete("app", IMAGES[1].digest)  # as far as it came
    names = [f"{registry.host}/app:{tag}" for tag in "12"]
    done = jettison("rm", *names, "--yes", "--storage", registry.root)
    assert f"Run {run_id} of the same command was interrupted" in done.stderr
    assert registry.tags("app") == ["3"]
    journal = Journal.in_tree(registry.root)
    assert journal.head(run_id).state is JobState.DONE
    assert decoded(Path(journal.location) / f"{run_id}.json")["schema_version"] == 2
    jettison("undo", run_id, "--yes")
    assert registry.tags("app") == ["1", "2", "3"]


def test_a_repair_is_undone(
    registry: DockerRegistry, jettison: Jettison, inherit: Callable[[str], str]
) -> None:
    run_id = inherit("repair")
    digest = IMAGES[0].layers[1].digest
    place = registry.tree / "blobs" / "sha256" / digest.hex[:2] / digest.hex / "data"
    place.unlink()  # the repair had moved it aside
    jettison("undo", run_id, "--yes")
    assert place.read_bytes() == b"damaged"


def test_a_collection_is_verified(jettison: Jettison, inherit: Callable[[str], str]) -> None:
    run_id = inherit("collection")
    # All that it removed has been pushed again.
    told = jettison("verify", run_id, "-o", "json").json["findings"]
    assert [one["ok"] for one in told] == [True] * len(told)
    assert "came back since" in told[0]["sentence"]


def test_what_was_left_has_no_code(tmp_path: Path) -> None:
    file = DOCUMENTS["killed/tree/20261126-031357-3vpqy.json"]
    left = {"step": 0, "tags": ["1"], "reason": "refused"}
    (tmp_path / file.name).write_text(json.dumps(decoded(file) | {"left": [left]}))
    run = Journal.at(tmp_path).read(file.stem)
    assert isinstance(run, RemovalEntry)
    assert [(one.code, one.reason) for one in run.left] == [(LeftCode.UNCODED, "refused")]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_head_is_no_more_than_that(tmp_path: Path, name: str) -> None:
    shutil.copy(DOCUMENTS[name], tmp_path)
    journal, run_id = Journal.at(tmp_path), DOCUMENTS[name].stem
    assert journal.head(run_id) == head_of(journal.read(run_id))
