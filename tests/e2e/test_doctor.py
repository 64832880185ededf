"""``doctor``: all that is known of a registry, and what to do next."""

import shlex
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from jettison.cli.main import main
from jettison.storage.filesystem.tree import StorageTree
from tests.e2e.test_space import by_name, made, populate, state_of
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry
from tests.support.trees import Tree

POLICY = """\
max_removal: 60%
rules:
- name: one
  repositories: [team/app]
  tags: [v1]
  remove: all
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "retention.yml"
    file.write_text(POLICY)
    return file


def next_of(told: Any) -> dict[str, dict[str, Any]]:
    return {one["code"]: one for one in told["next"]}


def judged(document: Any) -> list[tuple[str, str]]:
    """What is said of what; how much room there is changes meanwhile."""
    return [(item["level"], item["subject"]) for item in document["items"]]


def pasted(jettison: Jettison, command: str, *more: str, check: int | None = 0) -> Any:
    """Run a command as it is printed."""
    words = shlex.split(command)
    [program, *_] = [at for at, word in enumerate(words) if Path(word).name == "jettison"]
    arguments = words[program + 1 :]
    return jettison(*arguments, *more, check=check)


def test_what_is_told_is_what_the_commands_then_do(
    place: DockerRegistry, jettison: Jettison, policy: Path
) -> None:
    populate(place, jettison)
    before = state_of(place)
    target = place.config
    told = jettison("doctor", target, "--policy", policy, "-o", "json").json
    assert state_of(place) == before
    checked = jettison("check", target, "-o", "json").json["items"]
    assert judged(told)[: len(checked)] == judged({"items": checked})

    space = told["space"]
    assert space["total_bytes"] == place.blob_bytes()
    assert told["frees_bytes"] == space["total"]["garbage"]["bytes"]
    assert by_name(space).keys() == {"team/app", "team/tool"}
    steps = next_of(told)
    assert next(iter(steps)) == "collect"
    assert steps["collect"]["bytes"] == told["frees_bytes"]
    assert steps["prune"]["bytes"] == told["policy"]["bytes"] > 0
    assert steps["end-undo"]["bytes"] > 0

    # Each command that is printed runs, and frees what was said.
    for code, one in steps.items():
        if code not in {"collect", "prune"}:
            pasted(jettison, one["command"])
    plan = pasted(jettison, steps["prune"]["command"], "-n", "-o", "json").json["plan"]
    assert plan["bytes"]["freed_bytes"] == told["policy"]["bytes"]
    place.stop()
    bytes_before = place.blob_bytes()
    # Or a bucket is kept out of the registry's sight for minutes.
    pasted(jettison, steps["collect"]["command"], "--yes", "--assume-quiescent")
    assert bytes_before - place.blob_bytes() == told["frees_bytes"]


def test_over_the_api_what_is_known_is_told(
    place: DockerRegistry, jettison: Jettison, policy: Path
) -> None:
    populate(place, jettison)
    shown = jettison("doctor", place.host, "--policy", policy)
    assert "deletion" in shown.stdout
    assert f"Policy {policy}: 1 tag and 1 image would go" in shown.stdout
    assert "GARBAGE" not in shown.stdout
    assert "only the storage shows" in shown.stderr
    told = jettison("doctor", place.host, "-o", "json").json
    assert told["frees_bytes"] is None
    assert told["space"]["total"]["garbage"] is None
    assert [*next_of(told)] == ["try-policy", "look"]
    for one in told["next"]:
        pasted(jettison, one["command"])
    told = jettison("doctor", place.host, "--storage", place.storage, "-o", "json").json
    assert told["frees_bytes"] > 0
    assert next(iter(next_of(told))) == "collect"


def test_a_registry_that_does_not_delete(tmp_path: Path, jettison: Jettison) -> None:
    with DockerRegistry(tmp_path / "registry", delete=False) as registry:
        registry.push("app", "1", made(10))
        for target in (registry.host, registry.config):
            checked = jettison("check", target, "-o", "json", check=11)
            told = jettison("doctor", target, "-o", "json", check=11)
            assert judged(told.json) == judged(checked.json)
            assert told.stderr.splitlines()[-1] == checked.stderr.splitlines()[-1]
        first = told.json["next"][0]
        assert first["code"] == "enable-deletion"
        pasted(jettison, first["command"])
    assert "enable-deletion" not in next_of(jettison("doctor", target, "-o", "json").json)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "registry")
    made.image("app", "1", [b"base", b"one"])
    made.image("app", None, [b"base", b"untagged" * 9])
    made.blob(b"left" * 99, "app")
    return made


def test_what_a_person_reads(tree: Tree, jettison: Jettison) -> None:
    shown = jettison("doctor", tree.root).stdout
    assert "garbage, which gc frees now" in shown
    assert "Oldest garbage: last written or touched on" in shown
    assert f"# frees what nothing needs: 396 B\n  {sys.executable}" in shown or (
        "# frees what nothing needs: 396 B\n  jettison" in shown
    )
    assert max(map(len, shown.split("What to do next")[0].splitlines()[1:])) <= 100


def test_a_storage_that_nothing_is_to_be_done_about(tmp_path: Path, jettison: Jettison) -> None:
    tree = Tree(tmp_path / "registry")
    shown = jettison("doctor", tree.root, check=None).stdout
    assert "Nothing to do" in shown


def test_what_cannot_be_read_is_told_and_where_to_look(tree: Tree, jettison: Jettison) -> None:
    tree.write(tree.tag_path("app", "broken"), b"sha256:")
    told = jettison("doctor", tree.root, "-o", "json").json
    assert any("something cannot be read" in item["message"] for item in told["items"])
    assert told["space"]["total"]["protected"]["bytes"] > 0
    assert "check-storage" in next_of(told)
    assert told["frees_bytes"] == 0


def test_an_undo_window_that_cannot_be_read_holds_everything(
    tree: Tree, jettison: Jettison
) -> None:
    """As for gc: nobody knows what it holds, so nothing is called garbage."""
    tree.write(tree.root / "jettison" / "runs" / "20260101-000000-aaaaa.json", b"{")
    shown = jettison("doctor", tree.root, "-o", "json", check=1)
    assert shown.json["space"] is None
    assert shown.json["frees_bytes"] is None
    assert any(i["level"] == "error" and i["subject"] == "space" for i in shown.json["items"])
    assert "nothing is collected" in shown.stderr
    assert "collect" not in next_of(shown.json)


def test_a_storage_of_another_program_is_left_to_it(tree: Tree, jettison: Jettison) -> None:
    config = tree.root / "config.yml"
    config.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {tree.root}}}, delete: {{enabled: true}}}}\n"
        "proxy: {remoteurl: https://registry.example}\n"
    )
    told = jettison("doctor", config, "-o", "json", check=None).json
    assert {"collect", "untagged", "prune"}.isdisjoint(next_of(told))


def test_a_policy_of_the_configuration_is_the_default(tree: Tree, jettison: Jettison) -> None:
    (tree.root / "policy.yml").write_text(POLICY.replace("team/app", "app"))
    config = tree.root / "config.yml"
    config.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {tree.root}}}, delete: {{enabled: true}}}}\n"
        "http: {addr: 127.0.0.1:0}\n"
        f"jettison: {{retention: {{policy: {tree.root}/policy.yml, schedule: '0 3 * * *'}}}}\n"
    )
    told = jettison("doctor", config, "-o", "json").json
    assert told["policy"]["file"].endswith("policy.yml")


def test_a_storage_is_read_once(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check goes by the count: no group of blobs is listed a second time."""
    listed: list[str] = []
    listing = StorageTree.blobs_in

    def blobs_in(self: StorageTree, group: str, *more: Any) -> Any:
        listed.append(group)
        return listing(self, group, *more)

    monkeypatch.setattr("sys.argv", ["jettison", "doctor", str(tree.root)])
    with (
        patch.object(StorageTree, "blobs_in", blobs_in),
        patch.object(StorageTree, "blobs", lambda _: pytest.fail("read a second time")),
        patch("os.sched_getaffinity", lambda _: {0}),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert ended.value.code == 0, capsys.readouterr().err
    assert len(listed) == len(set(listed)) > 0


def test_an_unwritable_storage_is_diagnosed(tree: Tree, jettison: Jettison) -> None:
    before = tree.snapshot()
    for path in (tree.root, *tree.root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        told = jettison("doctor", tree.root, "-o", "json", check=None).json
    finally:
        for path in (tree.root, *tree.root.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert told["frees_bytes"] == 396
    assert tree.snapshot() == before
