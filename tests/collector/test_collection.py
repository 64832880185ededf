"""The collector on trees, first of all where Distribution's own goes wrong (its defects)."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from jettison.collector import (
    AssumedRemoval,
    CollectionPlan,
    CollectionReceipt,
    CollectOptions,
    HeldManifest,
    collect,
    plan_collection,
    sweep,
)
from jettison.collector.count import MOST_PROBLEMS
from jettison.collector.plan import Tally
from jettison.errors import Locked, StorageError, UsageError
from jettison.model.digest import BinaryDigest, Digest
from jettison.storage.filesystem.folder import Folder
from jettison.storage.filesystem.lock import StorageLock
from jettison.storage.filesystem.quarantine import Quarantine
from jettison.storage.protocol import Outcome
from tests.support.trees import NOW, OLD, Tree, image_document, index_document, repo, tag

DEFAULT = CollectOptions()
UNTAGGED = CollectOptions(untagged=0.0)


@pytest.fixture(autouse=True)
def _nobody_pushes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SETTLE_SECONDS", 0.0)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


def run(
    tree: Tree, options: CollectOptions = DEFAULT, held: list[HeldManifest] | None = None
) -> tuple[CollectionPlan, CollectionReceipt]:
    """Plan, collect, and check that the prediction came true to the byte."""
    opened = tree.open()
    before = tree.snapshot()
    bytes_before = tree.blob_bytes()
    plan = plan_collection(opened, options, NOW, held or ())
    assert tree.snapshot() == before
    receipt = collect(opened, plan)
    assert plan.bytes == receipt.blobs.bytes == bytes_before - tree.blob_bytes()
    assert not any((tree.root / "jettison" / "aside").rglob("*/*"))
    return plan, receipt


def test_what_nothing_references_goes_and_the_rest_stays(tree: Tree) -> None:
    kept = tree.image("app", "1", [b"base", b"one"])
    gone = tree.image("app", "2", [b"base", b"two"])
    for path in (tree.revision_path("app", gone), tree.tag_path("app", "2")):
        path.unlink()
    (tree.tag_path("app", "2").parents[1] / "index").rename(tree.root / "away")
    for folder in (tree.tag_path("app", "2").parent, tree.tag_path("app", "2").parents[1]):
        folder.rmdir()
    plan, receipt = run(tree)
    assert receipt.ok
    assert {blob.digest for blob in plan.blobs} == {
        gone,
        Digest.of(b"two"),
        Digest.of(b"config of base,two"),
    }
    assert tree.blobs().keys() == {
        kept,
        Digest.of(b"base"),
        Digest.of(b"one"),
        Digest.of(b"config of base,one"),
    }
    assert receipt.layer_links.count == 2
    assert not tree.layer_path("app", Digest.of(b"two")).parent.exists()
    assert not tree.data(gone).parent.exists()
    assert run(tree)[0].empty


def test_defect_1_a_child_deleted_in_one_repository_lives_in_the_other(tree: Tree) -> None:
    for name in ("aaa/app", "bbb/app"):
        arm, amd = tree.image(name, None, [b"arm"]), tree.image(name, None, [b"amd"])
        tree.index(name, "1", [arm, amd])
    tree.revision_path("aaa/app", arm).unlink()
    for options in (DEFAULT, UNTAGGED):
        before = tree.blobs()
        _, receipt = run(tree, options)
        assert receipt.ok
        assert tree.blobs() == before
        assert tree.layer_path("bbb/app", Digest.of(b"arm")).exists()


def test_defect_2_a_vanished_revision_link_ends_nothing(tree: Tree) -> None:
    digests = [tree.image("app", f"t{number}", [b"%d" % number]) for number in range(20)]
    gone = sorted(digests)[3]
    tree.revision_path("app", gone).unlink()
    # Its tag is still there: Distribution's DELETE takes the link first.
    before = tree.blobs()
    run(tree)
    assert tree.blobs() == before


def test_defect_3_a_missing_manifest_protects_its_repository(tree: Tree) -> None:
    lost = tree.image("app", "1", [b"precious"])
    tree.data(lost).unlink()
    orphan = tree.blob(b"unused in app", "app")
    elsewhere = tree.blob(b"unused elsewhere", "other")
    plan, receipt = run(tree)
    assert Digest.of(b"precious") in tree.blobs()
    assert orphan in tree.blobs()
    assert elsewhere not in tree.blobs()
    assert not receipt.ok
    [problem] = receipt.problems
    assert problem.repository == "app"
    assert f"manifest {lost}, which tag 1 points to: is missing" in problem.message
    assert plan.protected.bytes == sum(
        len(raw) for raw in (b"precious", b"config of precious", b"unused in app")
    )


@pytest.mark.parametrize("damage", ["empty link", "newline", "empty manifest", "no JSON", "other"])
@pytest.mark.parametrize("options", [DEFAULT, UNTAGGED])
def test_defect_4_damage_protects_its_repository_and_the_rest_is_collected(
    tree: Tree, damage: str, options: CollectOptions
) -> None:
    broken = tree.image("app", "1", [b"precious"])
    loose = tree.blob(b"perhaps used by it", "app")
    garbage = tree.blob(b"garbage", "other")
    if damage == "empty link":
        tree.write(tree.revision_path("app", broken), b"")
    elif damage == "newline":
        tree.write(tree.tag_path("app", "1"), broken.encode() + b"\n")
    elif damage == "empty manifest":
        tree.write(tree.data(broken), b"")
    elif damage == "no JSON":
        tree.put_raw("app", b"{", "2")
    else:
        other = tree.image("app", None, [b"other"])
        tree.write(tree.revision_path("app", broken), other.encode())
    _, receipt = run(tree, options)
    assert {loose, Digest.of(b"precious")} <= tree.blobs().keys()
    assert garbage not in tree.blobs()
    assert receipt.problems
    assert tree.layer_path("app", loose).exists()


def test_an_opaque_manifest_protects_its_repository(tree: Tree) -> None:
    tree.put("app", {"mediaType": "application/vnd.example.thing+json", "things": []}, "1")
    loose = tree.blob(b"perhaps used by it", "app")
    _, receipt = run(tree)
    assert loose in tree.blobs()
    assert "application/vnd.example.thing+json" in receipt.problems[0].message


def test_defect_5_children_and_referrers_of_tagged_images_stay(tree: Tree) -> None:
    child = tree.image("app", None, [b"child"])
    top = tree.index("app", "1", [tree.index("app", None, [child])])
    signature = tree.image("app", None, [b"signature"], subject=top)
    of_signature = tree.image("app", None, [b"signature of it"], subject=signature)
    dangling = tree.image("app", None, [b"nobody's"], subject=Digest.of(b"unknown"))
    plan, _ = run(tree, UNTAGGED)
    assert {child, top, signature, of_signature} <= tree.blobs().keys()
    assert [link.digest for link in plan.revisions] == [dangling]
    assert dangling not in tree.blobs()
    assert not tree.revision_path("app", dangling).exists()


def test_untagged_manifests_stay_unless_asked_for_and_old_enough(tree: Tree) -> None:
    old = tree.image("app", None, [b"old"])
    recent = tree.image("app", None, [b"recent"], when=NOW - 2 * 3600)
    new = tree.image("app", None, [b"new"], when=NOW - 60)
    tree.image("app", "1", [b"tagged"])
    before = tree.blobs()
    run(tree)
    assert tree.blobs() == before
    run(tree, CollectOptions(untagged=24 * 3600.0))
    assert before.keys() - tree.blobs().keys() == {
        old,
        Digest.of(b"old"),
        Digest.of(b"config of old"),
    }
    run(tree, UNTAGGED)
    assert recent not in tree.blobs()
    assert new in tree.blobs()


def test_history_is_no_root_and_goes_with_its_revision(tree: Tree) -> None:
    first = tree.image("app", "1", [b"first"])
    second = tree.image("app", "1", [b"second"])
    plan, receipt = run(tree, UNTAGGED)
    assert [(entry.tag, entry.digest) for entry in plan.history] == [("1", first)]
    assert receipt.history.count == 1
    assert not tree.history_path("app", "1", first).parent.exists()
    assert tree.history_path("app", "1", second).exists()
    assert first not in tree.blobs()


def test_a_history_of_which_a_killed_sweep_left_the_folder_goes_too(tree: Tree) -> None:
    first = tree.image("app", "1", [b"one"])
    tree.image("app", "1", [b"two"])
    entry = tree.history_path("app", "1", first)
    entry.unlink()
    _, receipt = run(tree, UNTAGGED)
    assert (receipt.revisions.count, receipt.history.count) == (1, 0)
    assert not entry.parent.exists()


def test_defect_6_layer_links_go_repository_by_repository(tree: Tree) -> None:
    tree.image("app", "1", [b"shared"])
    shared = tree.blob(b"shared", "zzz", "aaa", "app")
    _, receipt = run(tree)
    assert receipt.layer_links.count == 2
    assert shared in tree.blobs()
    assert tree.layer_path("app", shared).exists()
    assert not tree.layer_path("zzz", shared).exists()


def test_defect_7_what_is_young_stays(tree: Tree) -> None:
    pushed = tree.blob(b"just pushed", when=NOW - 60)
    mounted = tree.blob(b"old, and linked just now")
    tree.write(tree.layer_path("app", mounted), mounted.encode(), NOW - 60)
    future = tree.blob(b"from the future", "app", when=NOW + 86400)
    touched = tree.blob(b"touched", "app")
    os.utime(tree.data(touched), (NOW, NOW))
    idle = tree.blob(b"idle", "app")
    plan, _ = run(tree)
    assert tree.blobs().keys() == {pushed, mounted, future, touched}
    assert plan.young.count == 4
    assert plan.young_links == 3
    assert tree.layer_path("app", touched).exists()
    assert not tree.layer_path("app", idle).exists()
    run(tree, CollectOptions(grace=0.0))
    assert tree.blobs().keys() == {future}


def test_a_long_push_keeps_its_first_layers(tree: Tree) -> None:
    first = tree.blob(b"first layer, three hours ago", "app", when=NOW - 3 * 3600)
    before = tree.blob(b"long before", "app")
    upload = tree.repository("app") / "_uploads" / "0b3c"
    tree.write(upload / "startedat", b"2026-01-01T00:00:00Z", NOW - 3 * 3600)
    tree.write(upload / "data", b"going on", NOW - 5)
    run(tree)
    assert tree.blobs().keys() == {first}
    assert before not in tree.blobs()


def test_defect_9_a_repository_without_tags_is_like_any_other(tree: Tree) -> None:
    digest = tree.image("app", None, [b"layer"])
    assert run(tree)[1].ok
    assert digest in tree.blobs()
    assert run(tree, UNTAGGED)[1].ok
    assert tree.blobs() == {}


def test_a_child_that_is_nowhere_protects(tree: Tree) -> None:
    index = tree.index("app", "1", [Digest.of(b"never pushed")])
    loose = tree.blob(b"loose", "app")
    _, receipt = run(tree)
    assert loose in tree.blobs()
    assert f"a child of index {index}: is missing" in receipt.problems[0].message


def test_symbolic_links_are_never_followed(tree: Tree, tmp_path: Path) -> None:
    outside = Tree(tmp_path / "outside")
    outside.image("app", "1", [b"outside"])
    garbage = tree.blob(b"garbage", "other")
    kept = outside.snapshot()
    linked = outside.blob(b"linked")
    folder = tree.data(linked).parent
    folder.parent.mkdir(parents=True)
    folder.symlink_to(outside.data(linked).parent)
    _, receipt = run(tree)
    assert garbage not in tree.blobs()
    assert outside.data(linked).exists()
    assert "symbolic link" in receipt.problems[0].message

    # A whole repository behind a link may reference anything, so nothing is swept.
    garbage = tree.blob(b"garbage", "other")
    tree.repository("far").symlink_to(outside.repository("app"))
    plan, receipt = run(tree)
    assert garbage in tree.blobs()
    assert plan.protected.bytes == len(b"garbage")
    assert not receipt.ok
    assert outside.snapshot().items() >= kept.items()


def test_a_repository_with_a_name_that_is_none_is_protected(tree: Tree) -> None:
    tree.image("App", "1", [b"layer"])
    loose = tree.blob(b"loose", "App")
    _, receipt = run(tree)
    assert loose in tree.blobs()
    assert receipt.problems[0].repository == "App"


def test_a_file_where_a_folder_should_be_is_reported(tree: Tree) -> None:
    tree.image("app", "1", [b"layer"])
    tree.write(tree.repository("app") / "_manifests" / "tags" / "file", b"")
    tree.write(tree.repository("app") / "_manifests" / "tags" / "x.tmp", b"")
    loose = tree.blob(b"loose", "app")
    _, receipt = run(tree)
    assert loose in tree.blobs()
    assert [problem.path.rpartition("/")[2] for problem in receipt.problems] == ["file"]


def test_content_of_another_algorithm_is_followed_through_its_link(tree: Tree) -> None:
    config = tree.blob(b"{}", "app")
    stored = tree.blob(b"layer pushed by sha512")
    named = Digest.of(b"layer pushed by sha512", "sha512")
    tree.write(tree.layer_path("app", named), stored.encode())
    tree.write(tree.layer_path("app", stored), stored.encode())
    tree.put("app", image_document(config, [named]), "1")
    run(tree)
    assert stored in tree.blobs()
    assert tree.layer_path("app", named).exists()
    assert tree.layer_path("app", stored).exists()


# Undo windows and predictions.


def held(tree: Tree, name: str, digest: Digest, run: str, until: float) -> HeldManifest:
    return HeldManifest(run, until, repo(name), digest, tree.data(digest).read_bytes())


def test_an_undo_window_keeps_what_its_run_removed(tree: Tree) -> None:
    child = tree.image("app", None, [b"layer", b"shared"])
    index = tree.index("app", "1", [child])
    tree.image("app", "2", [b"shared"])
    windows = [held(tree, "app", d, "run-1", NOW + 60) for d in (index, child)]
    opened = tree.open()
    opened.delete_revision(repo("app"), index)
    opened.delete_revision(repo("app"), child)
    before = tree.blobs()
    plan, receipt = run(tree, DEFAULT, windows)
    assert receipt.ok
    assert tree.blobs() == before
    assert tree.layer_path("app", Digest.of(b"layer")).exists()
    [back] = plan.held
    only_held = {index, child, Digest.of(b"layer"), Digest.of(b"config of layer,shared")}
    assert (back.run, back.until, back.count) == ("run-1", NOW + 60, 4)
    assert back.bytes == sum(before[digest] for digest in only_held)
    # The last of two windows counts; one that has ended does not.
    later = [held(tree, "app", index, "run-2", NOW + 120)]
    ended = [held(tree, "app", index, "run-0", NOW - 1)]
    plan = plan_collection(opened, DEFAULT, NOW, [*windows, *later, *ended])
    assert [back.run for back in plan.held] == ["run-2"]
    run(tree, DEFAULT, ended)
    assert before.keys() - tree.blobs().keys() == only_held


def test_a_window_holds_in_a_repository_that_is_gone(tree: Tree) -> None:
    digest = tree.image("app", "1", [b"layer"])
    window = [held(tree, "gone", digest, "run-1", NOW + 60)]
    tree.open().delete_revision(repo("app"), digest)
    before = tree.blobs()
    run(tree, DEFAULT, window)
    assert tree.blobs() == before


def test_the_plan_without_is_the_plan_after(tree: Tree) -> None:
    one = tree.image("app", "1", [b"shared", b"one"])
    tree.tag("app", "one-too", one)
    tree.image("other", "2", [b"shared", b"two"])
    opened = tree.open()
    predicted = plan_collection(
        opened, DEFAULT, NOW, without=AssumedRemoval(manifests=frozenset({(repo("app"), one)}))
    )
    assert predicted.hypothetical
    with pytest.raises(UsageError, match="not made"):
        collect(opened, predicted)
    assert opened.delete_revision(repo("app"), one)
    plan, _ = run(tree)
    assert predicted.blobs == plan.blobs
    assert predicted.layer_links == plan.layer_links
    assert {blob.digest for blob in plan.blobs} == {
        one,
        Digest.of(b"one"),
        Digest.of(b"config of shared,one"),
    }


def test_untagging_alone_frees_nothing_unless_untagged_go_too(tree: Tree) -> None:
    tree.image("app", "1", [b"one"])
    without = AssumedRemoval(tags=frozenset({(repo("app"), tag("1"))}))
    assert plan_collection(tree.open(), DEFAULT, NOW, without=without).bytes == 0
    assert plan_collection(tree.open(), UNTAGGED, NOW, without=without).bytes == tree.blob_bytes()


# Beside others, and after crashes.


def test_an_image_pushed_since_the_plan_gets_its_blobs_back(tree: Tree) -> None:
    layer = tree.blob(b"layer", "app")
    config = tree.blob(b"config", "app")
    garbage = tree.blob(b"garbage", "app")
    opened = tree.open()
    plan = plan_collection(opened, DEFAULT, NOW)
    assert len(plan.blobs) == 3
    tree.put("new", image_document(config, [layer]), "1", NOW)
    receipt = collect(opened, plan)
    assert {layer, config} <= tree.blobs().keys()
    assert garbage not in tree.blobs()
    assert receipt.put_back.count == 2


def test_a_push_in_the_middle_of_the_sweep_loses_nothing(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, config = tree.blob(b"layer", "app"), tree.blob(b"config", "app")
    linked = tree.blob(b"linked by a push whose manifest is to come", "app")
    touched, garbage = tree.blob(b"touched", "app"), tree.blob(b"garbage", "app")
    opened = tree.open()
    plan = plan_collection(opened, DEFAULT, NOW)
    set_aside = Quarantine.put
    calls = 0

    def meanwhile(aside: Quarantine, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        nonlocal calls
        calls += 1
        if calls == 1:
            # Its layer links are gone by now; the manifest was checked before they went.
            tree.put("app", image_document(config, [layer]), "1", NOW)
            tree.write(tree.layer_path("other", linked), linked.encode(), NOW)
            os.utime(tree.data(touched), (NOW, NOW))
        return set_aside(aside, digests)

    monkeypatch.setattr(Quarantine, "put", meanwhile)
    receipt = collect(opened, plan)
    assert tree.blobs().keys() >= {layer, config, linked, touched}
    assert garbage not in tree.blobs()
    assert tree.layer_path("app", layer).exists()
    assert tree.layer_path("app", config).exists()
    assert receipt.put_back.count == 4
    assert receipt.ok


def test_a_tag_put_on_a_manifest_that_just_went_brings_it_back(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = tree.image("app", None, [b"layer"])
    opened = tree.open()
    plan = plan_collection(opened, UNTAGGED, NOW)
    move = Folder.move

    def meanwhile(folder: Folder, name: str, to: Folder, new: str) -> bool:
        tree.tag("app", "1", digest, NOW)
        return move(folder, name, to, new)

    monkeypatch.setattr("jettison.storage.filesystem.native._library", None)  # one by one
    monkeypatch.setattr(Folder, "move", meanwhile)
    collect(opened, plan)
    assert tree.revision_path("app", digest).exists()
    assert digest in tree.blobs()
    assert tree.layer_path("app", Digest.of(b"layer")).exists()
    assert Digest.of(b"layer") in tree.blobs()


def test_each_blob_settles_while_the_next_are_moved_aside(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        tree.blob(b"garbage %d" % number, "app")
    opened = tree.open()
    plan = plan_collection(opened, DEFAULT, NOW)
    now, settle = 0.0, 0.5
    put, remove = Quarantine.put, Quarantine.remove
    taken: dict[BinaryDigest, float] = {}
    gone: set[BinaryDigest] = set()

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    def timed_put(aside: Quarantine, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        taken.update(dict.fromkeys(digests, now))
        assert len(taken) - len(gone) <= 2 * sweep.MOST_WAITING
        return put(aside, digests)

    def timed_remove(aside: Quarantine, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        assert all(now - taken[digest] >= settle for digest in digests)
        gone.update(digests)
        return remove(aside, digests)

    monkeypatch.setattr(sweep, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(sweep, "SETTLE_SECONDS", settle)
    monkeypatch.setattr(sweep, "BATCH", 2)
    monkeypatch.setattr(Quarantine, "put", timed_put)
    monkeypatch.setattr(Quarantine, "remove", timed_remove)
    receipt = collect(opened, plan, sleep=sleep)
    assert receipt.blobs.count == len(gone) == 10
    # Five times two blobs: three at once, then the other two.
    assert now == pytest.approx(2 * settle)


def test_what_a_killed_collection_left_aside_is_put_back(tree: Tree) -> None:
    digest = tree.image("app", "1", [b"layer"])
    opened = tree.open()
    with Quarantine(opened) as aside:
        assert aside.put([Digest.of(b"layer").binary, digest.binary]) == [True, True]
    tree.write(tree.data(digest), b"pushed again")
    receipt = collect(opened, plan_collection(opened, DEFAULT, NOW))
    assert Digest.of(b"layer") in tree.blobs()
    assert tree.data(digest).read_bytes() == b"pushed again"
    assert receipt.recovered == 1


def test_ctrl_c_leaves_nothing_out_of_sight(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        tree.blob(b"garbage %d" % number, "app")
    opened = tree.open()
    before = tree.blobs()
    plan = plan_collection(opened, DEFAULT, NOW)
    set_aside = Quarantine.put

    def interrupted(aside: Quarantine, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        set_aside(aside, digests[:5])
        raise KeyboardInterrupt

    monkeypatch.setattr(Quarantine, "put", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collect(opened, plan)
    assert tree.blobs() == before


def test_an_error_on_one_file_does_not_end_the_rest(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [tree.blob(b"garbage %d" % number, "app") for number in range(MOST_PROBLEMS + 10)]
    opened = tree.open()
    plan = plan_collection(opened, DEFAULT, NOW)
    set_aside = Quarantine.put

    def failing(aside: Quarantine, some: Sequence[BinaryDigest]) -> list[Outcome]:
        error = StorageError("cannot move aside it: Input/output error")
        return [set_aside(aside, [one])[0] if one == digests[0].binary else error for one in some]

    monkeypatch.setattr(Quarantine, "put", failing)
    receipt = collect(opened, plan)
    assert receipt.blobs.count == 1
    assert receipt.failures == MOST_PROBLEMS + 9
    assert len(receipt.problems) == MOST_PROBLEMS
    assert not receipt.ok


def test_two_collections_do_not_meet(tree: Tree) -> None:
    opened = tree.open()
    plan = plan_collection(opened, DEFAULT, NOW)
    with (
        StorageLock(opened, "collection"),
        pytest.raises(Locked, match=rf"process {os.getpid()} .*\(collection\) since 20"),
    ):
        collect(opened, plan)
    collect(opened, plan)
    holder = json.loads((tree.root / "jettison" / "lock").read_text(encoding="utf-8"))
    assert holder["what"] == "collection"


def test_a_plan_is_for_its_own_tree(tree: Tree, tmp_path: Path) -> None:
    plan = plan_collection(tree.open(), DEFAULT, NOW)
    with pytest.raises(UsageError, match="this plan is about"):
        collect(Tree(tmp_path / "second").open(), plan)


def test_nested_indexes_are_followed_to_any_depth(tree: Tree) -> None:
    top = tree.image("app", None, [b"deep"])
    for _ in range(50):
        top = tree.put("app", index_document([top]))
    tree.tag("app", "1", top)
    before = tree.blobs()
    run(tree, UNTAGGED)
    assert tree.blobs() == before
    assert OLD < NOW


def test_what_untagged_manifests_hold_is_told(tree: Tree) -> None:
    tagged = tree.image("app", "1", [b"shared", b"tagged"])
    tree.index("app", "list", [tree.image("app", None, [b"child"])])
    tree.image("app", None, [b"signature"], subject=tagged)
    assert plan_collection(tree.open(), CollectOptions(), NOW).untagged == Tally()
    before = tree.blobs()
    tree.image("app", None, [b"shared", b"untagged"])
    more = sum(tree.blobs().values()) - sum(before.values())
    plan = plan_collection(tree.open(), CollectOptions(), NOW)
    assert plan.untagged == Tally(1, more)
    going = plan_collection(tree.open(), CollectOptions(untagged=0.0), NOW)
    assert going.bytes == more
    assert going.untagged == Tally()


# What the disk gets back.


@pytest.mark.parametrize("how", ["hard link", "sparse", "partly sparse"])
def test_only_what_the_disk_gets_back_is_counted(tree: Tree, tmp_path: Path, how: str) -> None:
    tree.image("app", "1", [b"kept"])
    full, odd = b"x" * 10_000, b"\0" * 1_000_000
    tree.blob(full, "app")
    digest = tree.blob(odd, "app")
    path = tree.data(digest)
    if how == "hard link":
        os.link(path, tmp_path / "backup")
        kept = len(odd)
    else:
        with path.open("wb") as file:
            if how == "partly sparse":
                file.write(b"\0" * 4096)
            file.truncate(len(odd))
        os.utime(path, (OLD, OLD))
        kept = len(odd) - path.stat().st_blocks * 512
    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(), NOW)
    assert plan.bytes == len(full) + len(odd) - kept
    assert plan.kept == Tally(1, kept)
    receipt = collect(opened, plan)
    assert receipt.blobs == Tally(2, plan.bytes)
    assert receipt.ok
