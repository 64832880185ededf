"""What somebody does between any two steps of a collection: each of these once lost something."""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from jettison.collector import CollectOptions, collect, plan_collection
from jettison.collector import undo_windows as windows
from jettison.collector.mark import HeldManifest
from jettison.collector.plan import CollectionPlan
from jettison.collector.sweep import CollectionReceipt, recover
from jettison.collector.undo_windows import plan_within_windows
from jettison.errors import StorageError
from jettison.fsck import CheckOptions, check_tree
from jettison.jobs.collect import CollectionJob
from jettison.jobs.workspace import Workspace
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.journal import JobState, RemovalEntry, SavedManifest
from jettison.model.plan import Estimate, Plan
from jettison.storage.filesystem.folder import Folder
from jettison.storage.filesystem.quarantine import LinkGroup, Quarantine
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.journal import tree_journal
from jettison.storage.protocol import Outcome
from tests.support.trees import NOW, OLD, Tree, image_document, index_document, repo

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
    put = Quarantine.put

    def act(aside: Quarantine, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        monkeypatch.setattr(Quarantine, "put", put)
        push(tree, "app", "1")
        if isinstance(error, KeyboardInterrupt):
            raise error
        monkeypatch.setattr("jettison.collector.sweep._Sweep._settle", fail_once)
        return put(aside, digests)

    def fail_once(*_: object) -> None:
        monkeypatch.undo()
        raise error

    monkeypatch.setattr(Quarantine, "put", act)
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
    put = Quarantine.put

    def act(aside: Quarantine, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        monkeypatch.undo()
        tree.write(tree.data(DIGEST), RAW, NOW - 60)
        return put(aside, digests)

    monkeypatch.setattr(Quarantine, "put", act)
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
            saved = SavedManifest(repo("app"), DIGEST, "", RAW, ())
            run = RemovalEntry(
                id="20260101-000000-aaaaa",
                state=JobState.APPLYING,
                started="",
                registry="",
                request=(),
                plan=Plan("", "", (), (), (), Estimate(), {}),
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


# Links are taken as blobs are: aside, looked at, and put back.


def untagged(tree: Tree) -> tuple[Digest, CollectionPlan, StorageTree]:
    """A tagged image, and one without a tag that a plan is about to remove."""
    tree.image("app", "kept", [b"kept"])
    blobs(tree, "app")
    tree.put_raw("app", RAW, "1", OLD)
    tree.image("app", "1", [b"newer"])
    opened = tree.open()
    plan = plan_collection(opened, UNTAGGED, NOW)
    assert [link.digest for link in plan.revisions] == [DIGEST]
    assert [entry.digest for entry in plan.history] == [DIGEST]
    return DIGEST, plan, opened


def act_before(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[str], bool]) -> None:
    """Call `act` with what a method of Folder is about to be done to, until it returns True."""
    method = getattr(Folder, name)
    monkeypatch.setattr("jettison.storage.filesystem.native._library", None)  # one by one

    def meanwhile(folder: Folder, path: str, *more: object) -> object:
        if act(f"{folder.path}/{path}"):
            monkeypatch.setattr(Folder, name, method)
        return method(folder, path, *more)

    monkeypatch.setattr(Folder, name, meanwhile)


@pytest.mark.parametrize("how", ["in place", "renamed over it"])
def test_a_revision_that_is_put_between_look_and_take_stays(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    digest, plan, opened = untagged(tree)
    link = tree.revision_path("app", digest)

    def put(path: str) -> bool:
        if path != str(link):
            return False
        if how == "renamed over it":
            link.unlink()
        tree.write(link, digest.encode(), NOW)
        return True

    act_before(monkeypatch, "move", put)
    receipt = collect(opened, plan)
    assert link.stat().st_mtime == NOW
    check_whole(tree, "app")
    assert tree.history_path("app", "1", digest).exists()
    for tally in (receipt.revisions, receipt.history, receipt.layer_links, receipt.blobs):
        assert not tally.count


@pytest.mark.parametrize("kind", ["revision", "layer"])
def test_a_link_that_was_opened_before_it_was_taken_and_is_written_after(
    tree: Tree, kind: str
) -> None:
    """Distribution 2.x opens a link, empties it, writes it, and answers 201."""
    digest, plan, opened = untagged(tree)
    link = (
        tree.revision_path("app", digest) if kind == "revision" else tree.layer_path("app", LAYER)
    )
    content = link.read_bytes()
    descriptor = os.open(link, os.O_WRONLY)
    taken: list[bool] = []

    def sleep(seconds: float) -> None:
        if not taken and not link.exists():
            taken.append(True)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, content)
        A_LITTLE(seconds)

    try:
        receipt = collect(opened, plan, sleep=sleep)
    finally:
        os.close(descriptor)
    assert taken
    assert link.read_bytes() == content
    assert LAYER in tree.blobs()
    if kind == "revision":
        check_whole(tree, "app")
        assert tree.history_path("app", "1", digest).exists()
        assert not receipt.revisions.count
    assert not list(tree.root.rglob("*.aside"))


def test_a_revision_that_is_put_again_while_it_is_removed(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, plan, opened = untagged(tree)
    link = tree.revision_path("app", digest)

    def put(path: str) -> bool:
        if not path.endswith("/link.aside") or digest.hex not in path or "revisions" not in path:
            return False
        push(tree, "app", "2")
        return True

    act_before(monkeypatch, "unlink", put)
    receipt = collect(opened, plan)
    assert link.exists()
    check_whole(tree, "app")
    assert not receipt.revisions.count


def test_a_blob_that_is_touched_gets_its_link_back(tree: Tree) -> None:
    blobs(tree, "app")
    opened = tree.open()
    plan = plan_collection(opened, DEFAULT, NOW)

    def touch(seconds: float) -> None:
        os.utime(tree.root / "jettison" / "aside" / "sha256" / LAYER.hex)
        A_LITTLE(seconds)

    receipt = collect(opened, plan, sleep=touch)
    assert tree.blobs().keys() == {LAYER}
    assert tree.layer_path("app", LAYER).exists()
    assert receipt.layer_links.count == 1
    assert receipt.put_back.count == 1


def test_no_manifest_is_linked_again_whose_blobs_are_gone(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something unclear turns up in the repository after all of it was removed: half a tag."""
    digest, plan, opened = untagged(tree)
    remove = Quarantine.remove
    count: list[BinaryDigest] = []

    def act(aside: Quarantine, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        done = remove(aside, digests)
        count.extend(digests)
        if len(count) == len(plan.blobs):
            other = tree.image("app", None, [b"other"], when=NOW)
            tree.write(tree.history_path("app", "half", other), other.encode(), NOW)
            tree.write(tree.tag_path("app", "half"), b"", NOW)
        return done

    monkeypatch.setattr("jettison.storage.filesystem.links.PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(Quarantine, "remove", act)
    collect(opened, plan)
    assert digest not in tree.blobs()
    assert not tree.revision_path("app", digest).exists()
    assert not tree.layer_path("app", LAYER).exists()


class Killed(BaseException):
    pass


def kill_in_the_middle(
    opened: StorageTree, plan: CollectionPlan, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """End a collection as `kill -9` does: with what it has set aside."""

    def kill(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(f"jettison.collector.sweep._Sweep.{moment}", kill)
    monkeypatch.setattr("jettison.collector.sweep._Sweep._put_back", lambda *_: None)
    monkeypatch.setattr("jettison.collector.link_sweep.LinkSweep.put_back", lambda _: None)
    monkeypatch.setattr("jettison.collector.link_sweep.LinkSweep.remove_revisions", lambda _: None)
    with pytest.raises(Killed):
        collect(opened, plan, sleep=lambda _: None)
    monkeypatch.undo()


def test_links_that_a_killed_collection_left_aside_are_put_back(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, plan, opened = untagged(tree)
    before = tree.snapshot()

    kill_in_the_middle(opened, plan, monkeypatch, "_remove_uploads")
    assert not tree.revision_path("app", digest).exists()
    assert not tree.history_path("app", "1", digest).exists()
    assert not tree.layer_path("app", LAYER).exists()
    found = check_tree(opened, CheckOptions(), NOW)
    asides = [defect for defect in found.defects if "set aside" in defect.sentence]
    assert len(asides) == 4
    assert not found.damage
    # Somebody has pushed one of the layers again meanwhile.
    tree.write(tree.layer_path("app", CONFIG), CONFIG.encode(), NOW)
    recover(opened)
    check_whole(tree, "app")
    assert tree.layer_path("app", CONFIG).stat().st_mtime == NOW
    assert {path: raw for path, raw in tree.snapshot().items() if "lock" not in path} == before
    assert plan_collection(opened, UNTAGGED, NOW).revisions == plan.revisions


@pytest.mark.parametrize("moment", ["revisions", "_layers"])
def test_what_is_not_removed_yet_is_back_when_the_removal_is_interrupted(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    digest, plan, opened = untagged(tree)
    before = tree.snapshot()
    remove = LinkGroup.remove

    def interrupted(self: LinkGroup, digests: Sequence[Digest]) -> list[Outcome]:
        if digests and moment in self.place(digests[0]):
            raise KeyboardInterrupt
        return remove(self, digests)

    monkeypatch.setattr(LinkGroup, "remove", interrupted)
    with pytest.raises(KeyboardInterrupt):
        collect(opened, plan)
    after = tree.snapshot()
    assert not [path for path in after if path.endswith(".aside")]
    gone = before.keys() - after.keys()
    assert not [path for path in gone if moment in path or "/blobs/" in path]
    assert digest in tree.blobs()


def test_a_dry_run_counts_what_a_killed_collection_left_aside(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, plan, opened = untagged(tree)
    kill_in_the_middle(opened, plan, monkeypatch, "_put_back_wanted")
    assert digest not in tree.blobs()
    before = tree.snapshot()
    job = CollectionJob(Workspace(storage=opened, clock=lambda: NOW), UNTAGGED)
    dry = job.plan()
    assert tree.snapshot() == before
    assert dry.aside == len(plan.blobs)
    assert dry.classes == plan.classes
    assert (dry.blobs, dry.layer_links, dry.revisions) == (
        *(plan.blobs, plan.layer_links, plan.revisions),
    )
    job.recover()
    again = job.plan()
    assert again.aside == 0
    assert again.classes == dry.classes
    assert collect(opened, again).blobs.bytes == dry.bytes


def test_an_upload_that_goes_on_at_the_last_moment_stays(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tree.repository("app") / "_uploads" / "one" / "data"
    tree.write(data, b"half", OLD)
    os.utime(data.parent, (OLD, OLD))
    opened = tree.open()
    plan = plan_collection(opened, CollectOptions(uploads=60.0), NOW)
    assert [upload.id for upload in plan.uploads] == ["one"]

    def go_on(path: str) -> bool:
        with data.open("ab") as file:
            file.write(b" more")
        return True

    act_before(monkeypatch, "move", go_on)
    receipt = collect(opened, plan)
    assert data.read_bytes() == b"half more"
    assert not receipt.removed["uploads"].count
