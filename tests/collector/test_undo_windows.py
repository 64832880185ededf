"""What undo windows hold is read from the few entries that hold anything."""

import shutil
from pathlib import Path

import pytest

from jettison.collector.options import CollectOptions
from jettison.collector.plausibility import find_objections
from jettison.collector.undo_windows import held_manifests, plan_within_windows, removed_manifests
from jettison.errors import JournalError
from jettison.model.digest import Digest
from jettison.model.journal import JobState, Receipt, RemovalEntry, SavedManifest
from jettison.model.names import RepoName
from jettison.model.plan import Estimate, Plan
from jettison.model.plausibility import NOTHING_SAID
from jettison.storage.journal import Journal
from tests.support.trees import NOW, Tree

APP = RepoName("app")
PLAN = Plan("", "", (), (), (), Estimate(), {})
OPTIONS = CollectOptions()
LATER = NOW + 7200
"""When nothing is young any more: some times of files cannot be set back."""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "registry")
    for number in range(20):
        made.image("app", f"t{number}", [b"%d" % number])
    return made


def removed(tree: Tree, number: int, *, until: float) -> Digest:
    """Remove a tag and its manifest, and note that with a window."""
    digest = Digest(tree.tag_path("app", f"t{number}").read_text())
    raw = tree.data(digest).read_bytes()
    run = RemovalEntry(
        id=str(number),
        state=JobState.DONE,
        started="",
        registry="",
        request=(),
        storage=str(tree.root),
        receipt=Receipt(""),
        plan=PLAN,
        saved=(SavedManifest(APP, digest, "", raw, ()),),
        window_until=until,
    )
    Journal.in_tree(tree.root).write(run)
    shutil.rmtree(tree.tag_path("app", f"t{number}").parents[1])
    tree.revision_path("app", digest).unlink()
    return digest


def damage_body(tree: Tree, number: int) -> None:
    path = tree.root / "jettison/runs" / f"{number}.json"
    path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n")


def test_only_what_a_window_holds_is_read(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    removed(tree, 1, until=LATER - 1)
    held = removed(tree, 2, until=LATER + 1)
    read: list[str] = []
    whole = Journal.read

    def reading(self: Journal, run_id: str) -> object:
        read.append(run_id)
        return whole(self, run_id)

    monkeypatch.setattr(Journal, "read", reading)
    plan = plan_within_windows(tree.open(), OPTIONS, LATER)
    assert [one.count for one in plan.held] == [3]  # its config, its layer, itself
    assert find_objections(tree.open(), None, plan, NOTHING_SAID) == []
    assert set(read) == {"2"}
    assert held not in {blob.digest for blob in plan.blobs}


def test_what_was_removed_on_purpose_is_looked_up_where_it_matters(tree: Tree) -> None:
    gone = {removed(tree, number, until=LATER - 1) for number in range(18)}
    assert set(removed_manifests(tree.open())) == gone
    plan = plan_within_windows(tree.open(), OPTIONS, LATER)
    assert gone < {blob.digest for blob in plan.blobs}
    assert find_objections(tree.open(), None, plan, NOTHING_SAID) == []
    for path in (tree.root / "jettison/runs").iterdir():
        path.unlink()
    assert find_objections(tree.open(), None, plan, NOTHING_SAID)


def test_an_entry_that_holds_nothing_may_be_damaged_below_its_head(tree: Tree) -> None:
    removed(tree, 1, until=LATER - 1)
    damage_body(tree, 1)
    assert list(held_manifests(tree.open(), LATER)) == []
    removed(tree, 2, until=LATER + 1)
    damage_body(tree, 2)
    with pytest.raises(JournalError, match="what it holds back is not known"):
        list(held_manifests(tree.open(), LATER))
