"""Everything that Distribution leaves for ever goes, when nobody was at it lately."""

import os
from pathlib import Path

import pytest

from jettison.collector import (
    CollectionPlan,
    CollectionReceipt,
    CollectOptions,
    collect,
    plan_collection,
    sweep,
)
from jettison.collector.plan import Tally
from jettison.model.digest import Digest
from tests.support.trees import NOW, OLD, Tree

UNTAGGED = CollectOptions(untagged=0.0)


@pytest.fixture(autouse=True)
def _nobody_pushes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SETTLE_SECONDS", 0.0)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


def age(path: Path, when: float = OLD) -> None:
    """Let a folder, all in it, and all above it in the repositories, be as old as that."""
    for folder, folders, files in os.walk(path, topdown=False):
        for name in (*folders, *files):
            os.utime(Path(folder) / name, (when, when), follow_symlinks=False)
    os.utime(path, (when, when))


def run(
    tree: Tree, options: CollectOptions | None = None
) -> tuple[CollectionPlan, CollectionReceipt]:
    opened = tree.open()
    before = tree.snapshot()
    plan = plan_collection(opened, options or CollectOptions(), NOW)
    assert tree.snapshot() == before
    receipt = collect(opened, plan)
    assert receipt.ok
    assert receipt.removed == plan.classes
    return plan, receipt


def upload(tree: Tree, name: str, when: float) -> Path:
    folder = tree.repository(name) / "_uploads" / f"0b3c-{when}"
    tree.write(folder / "startedat", b"2026-01-01T00:00:00Z", when)
    tree.write(folder / "data", b"twelve bytes", when)
    tree.write(folder / "hashstates" / "sha256" / "12", b"state", when)
    age(folder, when)
    return folder


def test_abandoned_uploads_go(tree: Tree) -> None:
    tree.image("app", "1", [b"layer"])
    old, recent = upload(tree, "app", OLD - 3600), upload(tree, "app", NOW - 24 * 3600)
    plan, receipt = run(tree)
    assert [one.id for one in plan.uploads] == [old.name]
    assert receipt.removed["uploads"] == Tally(2, 32)
    assert not old.exists()
    assert recent.exists()
    run(tree, CollectOptions(uploads=3600.0))
    assert not recent.exists()
    assert list((tree.repository("app") / "_uploads").iterdir()) == []


def test_an_upload_that_moved_since_the_plan_stays(tree: Tree) -> None:
    folder = upload(tree, "app", OLD - 3600)
    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(), NOW)
    (folder / "data").write_bytes(b"it goes on")
    receipt = collect(opened, plan)
    assert folder.exists()
    assert receipt.removed["uploads"].count == 0
    assert plan_collection(opened, CollectOptions(uploads=None), NOW).uploads == ()


def test_folders_that_deletes_left_go(tree: Tree) -> None:
    kept = tree.image("app", "1", [b"layer"])
    gone = tree.image("app", None, [b"gone"])
    tree.revision_path("app", gone).unlink()
    layer = tree.blob(b"a layer that was deleted", "app")
    tree.layer_path("app", layer).unlink()
    hollow = tree.data(Digest.of(b"never written")).parent
    hollow.mkdir(parents=True)
    young = tree.revision_path("app", Digest.of(b"deleted just now")).parent
    young.mkdir(parents=True)
    for path in (
        tree.revision_path("app", gone).parent,
        tree.layer_path("app", layer).parent,
        hollow,
    ):
        age(path)
    plan, receipt = run(tree)
    assert plan.empty_folders == receipt.removed["folders"].count == 3
    assert not tree.revision_path("app", gone).parent.exists()
    assert not tree.layer_path("app", layer).parent.exists()
    assert not hollow.exists()
    assert young.exists()
    assert tree.revision_path("app", kept).exists()


def test_temporary_files_go_where_one_looks(tree: Tree) -> None:
    digest = tree.image("app", "1", [b"layer"])
    met = tree.data(Digest.of(b"never finished")).with_name("data.0b3c.tmp")
    tree.write(met, b"half of it")
    deep = [
        tree.revision_path("app", digest).with_name("link.0b3c.tmp"),
        tree.tag_path("app", "1").with_name("link.0b3c.tmp"),
        tree.layer_path("app", Digest.of(b"layer")).with_name("link.0b3c.tmp"),
        tree.data(digest).with_name("data.0b3c.tmp"),
    ]
    for path in deep:
        tree.write(path, b"sha256:")
    young = tree.data(digest).with_name("data.now.tmp")
    tree.write(young, b"being written", NOW)
    _, receipt = run(tree)
    assert receipt.removed["leftovers"] == Tally(1, 10)
    assert not met.exists()
    assert all(path.exists() for path in deep)
    plan, _ = run(tree, CollectOptions(thorough=True))
    assert len(plan.leftovers) == 4
    assert not any(path.exists() for path in deep)
    assert young.exists()
    assert digest in tree.blobs()


def test_an_empty_repository_leaves_the_catalog(tree: Tree) -> None:
    tree.image("app", "1", [b"layer"])
    tree.image("team/app", None, [b"gone"])
    tree.image("team/app/inner", "1", [b"inner"])
    tree.image("other/deep/app", None, [b"gone too"])
    (tree.repository("other/deep/app") / "_uploads").mkdir()
    for name in ("team/app", "other/deep/app"):
        age(tree.repository(name))
    plan, receipt = run(tree, UNTAGGED)
    assert plan.vacant == ("other/deep/app", "team/app")
    assert receipt.removed["repositories"].count == 2
    assert tree.open().repositories() == ["app", "team/app/inner"]
    assert not tree.repository("other").exists()
    assert not (tree.repository("team/app") / "_manifests").exists()


@pytest.mark.parametrize("what", ["tag", "upload", "recent", "link"])
def test_a_repository_in_use_stays(tree: Tree, what: str) -> None:
    folder = tree.repository("app") / "_manifests" / "revisions"
    folder.mkdir(parents=True)
    age(tree.repository("app"))
    if what == "tag":
        tree.image("app", "1", [b"layer"])
    elif what == "upload":
        upload(tree, "app", NOW)
    elif what == "recent":
        os.utime(folder.parent, (NOW, NOW))
    else:
        tree.blob(b"old blob, linked just now", when=OLD)
        tree.write(
            tree.layer_path("app", Digest.of(b"old blob, linked just now")),
            Digest.of(b"old blob, linked just now").encode(),
            NOW,
        )
    plan, _ = run(tree)
    assert plan.vacant == ()
    assert tree.open().repositories() == ["app"]


@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize(
    "stray",
    [
        "_manifests/.DS_Store",
        "_manifests/tags/.DS_Store",
        "_layers/sha256/@eaDir/x",
        "_uploads/.DS_Store",
        "_uploads/@eaDir/x",
        "_manifests/revisions/sha256/0.tmp",
    ],
)
def test_a_repository_that_cannot_go_is_not_planned(
    tree: Tree, stray: str, *, thorough: bool
) -> None:
    tree.image("app", None, [b"gone"])
    path = tree.repository("app") / stray
    tree.write(path, b"of others", OLD)
    age(tree.repository("app"))
    goes = thorough and stray.endswith(".tmp")
    plan, receipt = run(tree, CollectOptions(untagged=0.0, thorough=thorough))
    assert plan.vacant == (("app",) if goes else ())
    assert receipt.removed["repositories"].count == goes
    assert path.exists() is not goes


def test_a_push_into_a_repository_on_its_way_out_is_safe(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree.repository("app") / "_manifests" / "revisions" / "sha256").mkdir(parents=True)
    (tree.repository("app") / "_layers" / "sha256").mkdir(parents=True)
    age(tree.repository("app"))
    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(), NOW)
    assert plan.vacant == ("app",)
    digest = tree.image("app", "1", [b"pushed meanwhile"], when=NOW)
    receipt = collect(opened, plan)
    assert receipt.removed["repositories"].count == 0
    assert tree.tag_path("app", "1").exists()
    assert tree.revision_path("app", digest).exists()
    assert tree.layer_path("app", Digest.of(b"pushed meanwhile")).exists()


def test_folders_of_repositories_that_went_by_hand(tree: Tree) -> None:
    (tree.repository("team") / "gone").mkdir(parents=True)
    age(tree.repository("team"))
    tree.image("app", "1", [b"layer"])
    run(tree)
    assert not (tree.repository("team") / "gone").exists()
    age(tree.repository("team"))
    run(tree)
    assert not tree.repository("team").exists()


def test_links_to_absent_blobs_go_when_nothing_kept_uses_them(tree: Tree) -> None:
    tree.image("app", "1", [b"layer"])
    lost = tree.blob(b"lost", "app")
    tree.data(lost).unlink()
    plan, receipt = run(tree)
    assert [link.digest for link in plan.layer_links] == [lost]
    assert receipt.layer_links == Tally(1, 71)
    assert not tree.layer_path("app", lost).parent.exists()


def test_a_manifest_pushed_again_into_its_old_folder_is_seen(tree: Tree) -> None:
    """A DELETE leaves the revision's folder, so its parent does not change on the next push."""
    digest = tree.image("app", None, [b"layer"])
    link = tree.revision_path("app", digest)
    link.unlink()
    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(), NOW)
    assert digest in {blob.digest for blob in plan.blobs}
    tree.write(link, digest.encode(), NOW)
    above = link.parents[1]
    os.utime(above, (OLD, OLD))
    receipt = collect(opened, plan)
    assert {digest, Digest.of(b"layer")} <= tree.blobs().keys()
    assert tree.layer_path("app", Digest.of(b"layer")).exists()
    assert receipt.put_back.count == 3
