"""Plans that are edited, old, or met by changes, and prunes that are killed."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jettison.demo.images import index
from tests.e2e.test_prune import image as aged
from tests.support.cli import Jettison
from tests.support.missing import need
from tests.support.registry import SERVERS, DockerRegistry

KEEP = ("--match", "b*", "--keep-last", "4", "--clock", "created", "--max-removal", "60%")
ALL = ["b1", "b2", "b3", "b4", "b5", "b6"]


@pytest.fixture
def builds(registry: DockerRegistry) -> DockerRegistry:
    """A repository of six builds, one a day."""
    for number in range(1, 7):
        registry.push("app", f"b{number}", aged(number, 7 - number))
    return registry


@pytest.fixture
def plan(builds: DockerRegistry, jettison: Jettison, tmp_path: Path) -> Path:
    """A plan that removes b1 and b2."""
    path = tmp_path / "plan.json"
    jettison("prune", builds.host, *KEEP, "--out", path)
    return path


def edit(path: Path, **members: Any) -> None:
    found = json.loads(path.read_text())
    for name, change in members.items():
        change(found[name])
    path.write_text(json.dumps(found))


@pytest.mark.parametrize("program", SERVERS)
def test_steps_that_were_written_into_a_plan_are_not_done(
    builds: DockerRegistry, jettison: Jettison, plan: Path
) -> None:
    kept = str(aged(6, 1).manifest.digest)

    def add(of: dict[str, Any]) -> None:
        step = {"action": "delete", "repository": "app", "digest": kept, "tags": ["b6"]}
        of["steps"].append(step | {"reason": "child", "code": "child"})
        of["seen"] = {}

    edit(plan, plan=add)
    jettison("apply", plan, "--yes")
    assert builds.tags("app") == ["b3", "b4", "b5", "b6"]


def test_decision_that_the_policy_does_not_make_is_stale(
    builds: DockerRegistry, jettison: Jettison, plan: Path
) -> None:
    def add(of: list[dict[str, Any]]) -> None:
        of.append(of[0] | {"tag": "b6", "digest": str(aged(6, 1).manifest.digest)})

    edit(plan, decisions=add)
    told = jettison("apply", plan, "--yes", check=13)
    assert "app:b6 stays by now" in told.stderr
    assert builds.tags("app") == ALL


def test_policy_that_was_edited_in_a_plan_is_refused(
    builds: DockerRegistry, jettison: Jettison, plan: Path
) -> None:
    edit(plan, policy=lambda of: of["rules"][0]["keep"].update(last=1))
    told = jettison("apply", plan, "--yes", check=4)
    assert "was edited" in told.stderr
    assert builds.tags("app") == ALL


def test_plan_of_a_clock_that_was_ahead_is_refused(
    builds: DockerRegistry, jettison: Jettison, plan: Path
) -> None:
    made = json.loads(plan.read_text())
    plan.write_text(json.dumps(made | {"decided": made["decided"] + 86400 * 365}))
    told = jettison("apply", plan, "--yes", check=4)
    assert "after the present" in told.stderr
    assert "--ignore-clock" in told.stderr
    assert builds.tags("app") == ALL
    jettison("apply", plan, "--yes", "--ignore-clock")
    assert builds.tags("app") == ["b3", "b4", "b5", "b6"]


def test_plan_that_cannot_be_read_says_what_is_wrong(
    builds: DockerRegistry, jettison: Jettison, plan: Path
) -> None:
    raw = plan.read_text()
    cases = {
        "is no plan": raw[: len(raw) // 2],
        "no plan of a prune": raw.replace('"app"', '"../../etc"'),
        "newer version": json.dumps({"schema_version": 99, "anything": 1}),
    }
    for told, text in cases.items():
        plan.write_text(text)
        done = jettison("apply", plan, "--yes", check=2)
        assert told in done.stderr
    assert builds.tags("app") == ALL


def test_plan_is_not_for_other_content_under_the_same_name(
    builds: DockerRegistry, jettison: Jettison, plan: Path
) -> None:
    for number in range(1, 7):
        builds.push("app", f"b{number}", aged(50 + number, 7 - number))
    jettison("apply", plan, "--yes", check=13)
    jettison("apply", plan, "--yes", "--skip-moved", check=3)
    assert builds.tags("app") == ALL


def test_rollback_to_an_image_that_is_to_go_keeps_it(
    builds: DockerRegistry, jettison: Jettison, plan: Path
) -> None:
    builds.push("app", "live", aged(1, 6))
    jettison("apply", plan, "--yes")
    assert builds.tags("app") == ["b3", "b4", "b5", "b6", "live"]
    assert builds.manifest("app", "live").body == aged(1, 6).manifest.raw


def test_index_that_needs_what_is_to_go_keeps_it(
    builds: DockerRegistry, jettison: Jettison, plan: Path
) -> None:
    builds.push("app", "multi", index([aged(1, 6)]))
    jettison("apply", plan, "--yes", check=None)
    assert builds.manifest("app", str(aged(1, 6).manifest.digest)).status == 200


def test_applied_after_an_undo_again(
    builds: DockerRegistry, jettison: Jettison, plan: Path
) -> None:
    jettison("apply", plan, "--yes")
    jettison("undo", "last", "--yes")
    assert builds.tags("app") == ALL
    jettison("apply", plan, "--yes")
    assert builds.tags("app") == ["b3", "b4", "b5", "b6"]
    jettison("verify", "last")


@pytest.mark.parametrize("program", SERVERS)
@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.folder  # where the journal is synced
@pytest.mark.parametrize("after", ["again", "undo"])
def test_prune_killed_at_some_syncs(
    builds: DockerRegistry, jettison: Jettison, alone: bool, after: str
) -> None:
    need("strace")
    place = str(builds.storage) if alone else builds.host
    command = ("prune", place, *KEEP, "--yes")
    for number in (2, 4, 6):
        inject = f"inject=fsync:signal=SIGKILL:when={number}"
        strace = ("strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fsync", "-e", inject)
        process = jettison.start(*command, prefix=strace)
        process.communicate(timeout=60)
        for kept in (3, 4, 5, 6):
            assert builds.manifest("app", f"b{kept}").body == aged(kept, 7 - kept).manifest.raw
        if process.returncode == 0:
            break
        if after == "again":
            jettison(*command)
            assert builds.tags("app") == ["b3", "b4", "b5", "b6"]
        more = ("--storage", builds.storage) if alone else ()
        jettison("undo", "last", "--yes", *more, check=None)
        assert builds.tags("app") == ALL
        for number_back in range(1, 7):
            made = aged(number_back, 7 - number_back)
            assert builds.manifest("app", f"b{number_back}").body == made.manifest.raw


@pytest.mark.folder  # as above
def test_rest_of_a_killed_prune_leaves_what_is_in_use_by_now(
    builds: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    need("strace")
    command = ("prune", builds.host, *KEEP, "--yes")
    strace = ("strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fsync", "-e")
    # Killed ever earlier, until the journal is written and no tag is gone.
    for number in (5, 4, 3, 2):
        kill = f"inject=fsync:signal=SIGKILL:when={number}"
        process = jettison.start(*command, prefix=(*strace, kill))
        process.communicate(timeout=60)
        runs = jettison("runs", "-o", "json").json["runs"]
        left = [tag for tag in ("b1", "b2") if tag in builds.tags("app")]
        if left:
            break
        jettison("undo", "last", "--yes")
    assert left
    assert runs[0]["kind"] == "prune"
    used = tmp_path / "used"
    used.write_text("".join(f"{builds.host}/app:{tag}\n" for tag in left))
    told = jettison(*command, "--in-use", used, check=3)
    assert runs[0]["id"] in told.stderr
    assert "stays by now" in told.stderr
    assert set(left) <= set(builds.tags("app"))


def test_storage_of_harbor_is_refused(
    builds: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    config = tmp_path / "harbor.yml"
    config.write_text(
        f"version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {builds.root}}}\n"
        "auth: {token: {realm: https://h/service/token, service: harbor-registry, issuer: x}}\n"
        "http: {addr: 127.0.0.1:5000}\n"
    )
    command = ("prune", config, *KEEP, "--yes")
    told = jettison(*command, check=4)
    assert "belongs to Harbor" in told.stderr
    assert "--allow-foreign-owner" in told.stderr
    assert builds.tags("app") == ALL
    jettison(*command, "--allow-foreign-owner")
    assert builds.tags("app") == ["b3", "b4", "b5", "b6"]


def test_storage_of_a_cache_is_refused(
    builds: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    """Its tags are what it fetched last, and what is removed is fetched again."""
    config = tmp_path / "cache.yml"
    config.write_text(
        f"version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {builds.root}}}\n"
        "proxy: {remoteurl: 'https://u:hunter2@hub.example'}\nhttp: {addr: 127.0.0.1:5000}\n"
    )
    more = (*KEEP, "--yes")
    told = jettison("prune", config, *more, check=4)
    assert (
        "belongs to a pull-through cache (proxy.remoteurl is https://…@hub.example)" in told.stderr
    )
    assert "--allow-foreign-owner" in told.stderr
    jettison("gc", config, "-n")
    (builds.root / "scheduler-state.json").write_text("{}")
    told = jettison("prune", builds.storage, *more, check=4)
    assert "scheduler-state.json" in told.stderr
    assert builds.tags("app") == ALL


def test_wrong_use_is_told_before_the_registry_is_asked(jettison: Jettison, tmp_path: Path) -> None:
    nowhere = "127.0.0.1:1"
    told = jettison("prune", nowhere, *KEEP, "--out", tmp_path / "no" / "plan", check=2)
    assert "there is no folder" in told.stderr
    told = jettison("prune", nowhere, *KEEP, "--exit-code", check=2)
    assert "Add -n or --out" in told.stderr


def test_repository_that_no_rule_finds_is_noted(
    builds: DockerRegistry, jettison: Jettison, tmp_path: Path
) -> None:
    policy = tmp_path / "p.yml"
    policy.write_text("rules: [{repositories: [ap], tags: ['*'], keep: {last: 1}, remove: rest}]")
    told = jettison("prune", builds.host, "--policy", policy, "-n")
    assert "no repository matches ap" in told.stderr
