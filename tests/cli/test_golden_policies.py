"""What `explain`, `snapshot` and `policy test` print, word for word, as in test_golden.py."""

import time
from pathlib import Path

import pytest

from jettison.model.names import RepoName, Tag
from jettison.model.retention.evidence import Evidence, Moment, Times
from jettison.model.retention.snapshot_document import (
    begin_document,
    end_document,
    repository_line,
)
from tests.cli.test_golden import APP, HOST, Run, compare, registry, run, tree
from tests.model.retention.building import NOW, Repository
from tests.support.memory import MemoryRegistry

__all__ = ["registry", "run", "tree"]

POLICY = """
protect: {tags: ["v*"]}
max_removal: 50%
rules:
- {name: newest, tags: ["1.*", latest], keep: {last: 1}, remove: {older_than: 7d}}
- {name: other, repositories: ["other/*"], tags: ["*"], remove: all}
- {name: rubbish, state: untagged, remove: {older_than: 7d}}
"""


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "retention.yml"
    path.write_text(POLICY)
    return str(path)


@pytest.fixture
def dated(registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry tells when tags were pushed: 1.0 five days ago, the others an hour ago."""

    async def evidence(name: RepoName) -> Evidence:
        days = {"1.0": 5.0, "1": 9.0}
        now = time.time()
        tags = {
            tag: Times(Moment(now - days.get(tag, 1 / 24) * 86400, "tag history"))
            for tag in map(Tag, ("1.0", "1.1", "latest", "multi", "1"))
        }
        return Evidence(tags if name == APP else {})

    monkeypatch.setattr(registry, "evidence", evidence)


@pytest.mark.usefixtures("dated")
def test_explanations(run: Run, policy: str, pytestconfig: pytest.Config) -> None:
    text = [
        run("explain", f"{HOST}/team/app:{tag}", "--policy", policy)
        for tag in ("1.0", "latest", "multi")
    ]
    wrong = [
        (f"{HOST}/team/app:1.2", 1),
        (f"{HOST}/team/ap:1.0", 1),
        (f"{HOST}/team/app", 2),
        (f"{HOST}/team/app@sha256:00000000", 1),
        ("team/app:1.0", 2),
    ]
    text += [run("explain", name, "--policy", policy, code=code) for name, code in wrong]
    compare("explain", "\n".join(text), pytestconfig)


@pytest.mark.usefixtures("dated")
def test_explanation_for_programs(run: Run, policy: str, pytestconfig: pytest.Config) -> None:
    arguments = ("explain", f"{HOST}/team/app:1.0", "--policy", policy, "-o", "json")
    compare("explain-json", run(*arguments), pytestconfig)


@pytest.mark.usefixtures("dated")
def test_snapshot(run: Run, pytestconfig: pytest.Config) -> None:
    text = [run("snapshot", f"{HOST}/team/tool"), run("snapshot", f"{HOST}/none", code=1)]
    compare("snapshot", "\n".join(text), pytestconfig)


@pytest.fixture
def snapshot(tmp_path: Path) -> str:
    app, tool = Repository("team/app"), Repository("team/tool")
    for day in (1, 5, 9, 12):
        app.add(f"app {day}", f"1.{day}", pushed=day)
    app.add("release", "v1", pushed=400)
    tool.add("old", pushed=400, untagged=20)
    tool.add("tool", "1.0", pushed=1)
    lines = [
        begin_document("localhost:5000", "", NOW),
        *(repository_line(one.snapshot, one.evidence, first=one is app) for one in (app, tool)),
        end_document([]),
    ]
    path = tmp_path / "snapshot.json"
    path.write_text("\n".join(lines))
    return str(path)


def test_policy_on_a_snapshot(
    run: Run, policy: str, snapshot: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    text = [run("policy", "test", policy)]
    test = ("policy", "test", policy, "--on", snapshot)
    text.append(run(*test))
    text.append(run(*test, "--at", "2027-02-01", "--summary", "--exit-code", code=3))
    golden = tmp_path / "golden.json"
    # The first line is the command, and lines of standard error are marked.
    told = run(*test, "-o", "json").split("\n", 1)[1]
    golden.write_text("\n".join(line for line in told.splitlines() if line[:2] != "2>"))
    text.append(run(*test, "--expect", str(golden)))
    text.append(run(*test, "--at", "2027-01-20T08:00+01:00", "--expect", str(golden), code=5))
    compare("policy-test", "\n".join(text), pytestconfig)


def test_policy_test_says_what_is_missing(
    run: Run, policy: str, snapshot: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    keeping = tmp_path / "keeping.yml"
    keeping.write_text('rules: [{tags: ["*"], keep: {last: 3}}]\n')
    misspelt = tmp_path / "misspelt.yml"
    misspelt.write_text('rules:\n- tags: ["*"]\n  keep: {lats: 3}\n  remove: rest\n')
    text = [
        run("policy", "test", str(keeping)),
        run("policy", "test", str(misspelt), code=2),
        run("policy", "test", policy, "--at", "2027-01-01", code=2),
        run("policy", "test", policy, "--on", snapshot, "--at", "tomorrow", code=2),
        run("policy", "test", policy, "--on", policy, code=1),
        run("policy", "test", policy, "--on", snapshot, "--expect", snapshot, code=1),
        run("policy", "test", policy, "--on", str(tmp_path / "none.json"), code=1),
    ]
    compare("policy-test-refused", "\n".join(text), pytestconfig)
