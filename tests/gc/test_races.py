"""What somebody does between any two steps of a collection: each of these once lost something."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from jettison.errors import StorageError
from jettison.gc import CollectOptions, collect, plan_collection, windows
from jettison.gc.mark import HeldManifest
from jettison.gc.sweep import CollectionReceipt
from jettison.gc.windows import plan_within_windows, tree_journal
from jettison.model.digest import Digest, RawDigest
from jettison.model.run import Kind, Run, Saved, State
from jettison.store.aside import Aside
from jettison.store.folder import Folder
from jettison.store.tree import StorageTree
from store.trees import NOW, OLD, Tree, image_document, index_document, repo

DEFAULT, UNTAGGED = CollectOptions(), CollectOptions(untagged=0.0)
CONFIG, LAYER = Digest.of(b"config"), Digest.of(b"layer")
RAW = json.dumps(image_document(CONFIG, [LAYER])).encode()
DIGEST = Digest.of(RAW)
A_LITTLE = time.sleep


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


def blobs(tree: Tree, *names: str) -> None:
    for raw in (b"config", b"layer"):
        tree.blob(raw, *names)


def sweep(
    tree: Tree, options: CollectOptions = DEFAULT, nap: Callable[[], None] | None = None
) -> CollectionReceipt:
    """Plan and collect; `nap` is called once, at the first rest of the sweep."""
    opened = tree.open()
    plan = plan_collection(opened, options, NOW)
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 1 and nap is not None:
            nap()
        A_LITTLE(seconds)

    receipt = collect(opened, plan, sleep=sleep)
    assert nap is None or naps
    return receipt


def push(tree: Tree, name: str, tag: str, when: float = NOW) -> None:
    tree.put_raw(name, RAW, tag, when)


def check_whole(tree: Tree, name: str) -> None:
    assert {DIGEST, CONFIG, LAYER} <= tree.blobs().keys()
    for layer in (CONFIG, LAYER):
        assert tree.layer_path(name, layer).exists()
    assert tree.revision_path(name, DIGEST).exists()


def test_links_alone_are_waited_for_too(tree: Tree) -> None:
    """The blobs stay for another repository; only the links of this one are to go."""
    blobs(tree, "other", "app")
    push(tree, "other", "1", OLD)
    tree.image("app", "1", [b"kept"])
    receipt = sweep(tree, nap=lambda: push(tree, "app", "new"))
    assert receipt.ok
    check_whole(tree, "app")


def test_a_stored_manifest_keeps_links_whose_blobs_stay(tree: Tree) -> None:
    blobs(tree, "other", "app")
    tree.put("other", {**image_document(CONFIG, [LAYER]), "n": 1}, "1")
    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(), NOW)
    assert len(plan.layer_links) == 2
    tree.write(tree.data(DIGEST), RAW, NOW)
    collect(opened, plan)
    push(tree, "app", "new")
    check_whole(tree, "app")


@pytest.mark.parametrize("renamed", ["during the sweep", "after it"])
def test_a_manifest_that_is_being_synced_while_the_plan_is_made(tree: Tree, renamed: str) -> None:
    """Distribution 3.x writes beside the place, syncs, which may take seconds, and renames."""
    blobs(tree, "app")
    draft = tree.data(DIGEST).with_name("data.0b3c.tmp")
    tree.write(draft, RAW, NOW)
    if renamed == "after it":
        sweep(tree)
        draft.rename(tree.data(DIGEST))
    else:
        sweep(tree, nap=None)
        draft.rename(tree.data(DIGEST))
    push(tree, "app", "1")
    check_whole(tree, "app")


def test_a_revision_that_is_being_synced_while_the_plan_is_made(tree: Tree) -> None:
    blobs(tree, "app")
    tree.write(tree.data(DIGEST), RAW)
    tree.write(tree.revision_path("app", DIGEST).with_name("link.0b3c.tmp"), b"sha256:", NOW)
    sweep(tree)
    push(tree, "app", "1")
    check_whole(tree, "app")


def test_a_referrer_stays_with_a_subject_that_was_put_again(tree: Tree) -> None:
    subject = tree.image("app", None, [b"subject"])
    signature = tree.image("app", None, [b"signature"], subject=subject)
    opened = tree.open()
    plan = plan_collection(opened, UNTAGGED, NOW)
    assert {link.digest for link in plan.revisions} == {subject, signature}
    os.utime(tree.revision_path("app", subject), (NOW, NOW))
    collect(opened, plan)
    assert {subject, signature, Digest.of(b"signature")} <= tree.blobs().keys()
    assert tree.revision_path("app", signature).exists()


def test_a_child_stays_for_an_index_that_is_stored_and_not_linked_yet(tree: Tree) -> None:
    child = tree.image("app", None, [b"child"])
    index = json.dumps(index_document([child])).encode()
    tree.write(tree.data(Digest.of(index)), index, NOW - 5)
    sweep(tree, UNTAGGED)
    assert tree.revision_path("app", child).exists()
    assert {child, Digest.of(b"child")} <= tree.blobs().keys()


def test_revisions_that_cannot_be_reached_keep_what_they_need(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = tree.image("app", None, [b"layer of it"])
    opened = tree.open()
    plan = plan_collection(opened, UNTAGGED, NOW)
    folder = StorageTree.folder

    def failing(self: StorageTree, relative: str) -> Folder | None:
        if relative.endswith("revisions/sha256"):
            raise StorageError("cannot list it: Input/output error")
        return folder(self, relative)

    monkeypatch.setattr(StorageTree, "folder", failing)
    receipt = collect(opened, plan)
    assert receipt.failures
    monkeypatch.undo()
    assert {digest, Digest.of(b"layer of it")} <= tree.blobs().keys()
    assert tree.layer_path("app", Digest.of(b"layer of it")).exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StorageError("cannot list it")])
def test_links_come_back_when_the_collection_is_ended(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    blobs(tree, "app")
    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(), NOW)
    put = Aside.put

    def act(aside: Aside, digest: RawDigest) -> bool:
        monkeypatch.setattr(Aside, "put", put)
        push(tree, "app", "1")
        if isinstance(error, KeyboardInterrupt):
            raise error
        monkeypatch.setattr("jettison.gc.sweep._Sweep._settle", fail_once)
        return put(aside, digest)

    def fail_once(*_: object) -> None:
        monkeypatch.undo()
        raise error

    monkeypatch.setattr(Aside, "put", act)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            collect(opened, plan)
    else:
        receipt = collect(opened, plan)
        assert receipt.ended
        assert not receipt.ok
    check_whole(tree, "app")


def test_a_storage_whose_clock_is_behind(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs(tree, "app")
    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(), NOW)
    put = Aside.put

    def act(aside: Aside, digest: RawDigest) -> bool:
        monkeypatch.undo()
        tree.write(tree.data(DIGEST), RAW, NOW - 60)
        return put(aside, digest)

    monkeypatch.setattr(Aside, "put", act)
    collect(opened, plan)
    push(tree, "app", "1")
    check_whole(tree, "app")


def test_a_window_that_opens_while_the_plan_is_made_is_honoured(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs(tree, "app")
    push(tree, "app", "1", OLD)
    opened = tree.open()
    held_manifests = windows.held_manifests
    calls: list[int] = []

    def removed_meanwhile(found: StorageTree, now: float) -> list[HeldManifest]:
        held = list(held_manifests(found, now))
        calls.append(len(held))
        if len(calls) == 1:
            saved = Saved(repo("app"), DIGEST, "", RAW, ())
            run = Run(
                id="20260101-000000-aaaaa",
                kind=Kind.RM,
                state=State.APPLYING,
                started="",
                registry="",
                request=(),
                saved=(saved,),
                window_until=NOW + 60,
            )
            tree_journal(found).write(run)
            found.delete_revision(repo("app"), DIGEST)
        return held

    monkeypatch.setattr(windows, "held_manifests", removed_meanwhile)
    plan = plan_within_windows(opened, CollectOptions(), NOW)
    assert calls == [0, 1, 1]
    assert not plan.blobs
    assert [back.count for back in plan.held] == [3]


def test_a_plan_read_in_another_process_only_looks_more(tree: Tree) -> None:
    """Sums of names mean nothing there, so that every repository is taken for changed."""
    blobs(tree, "app")
    kept = tree.image("app", "1", [b"kept"])
    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(), NOW)
    seen = {
        name: msgspec.structs.replace(one, names=one.names + 1) for name, one in plan.seen.items()
    }
    names = {name: total + 1 for name, total in plan.blob_names.items()}
    foreign = msgspec.structs.replace(plan, seen=seen, blob_names=names)
    receipt = collect(opened, foreign)
    assert receipt.ok
    assert receipt.blobs.count == 2
    assert kept in tree.blobs()
