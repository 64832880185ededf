"""Every class of defect is found, alone; every repair mends it, and can be taken back."""

import ctypes
import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from jettison.collector.plan import CollectOptions
from jettison.collector.undo_windows import held_manifests
from jettison.errors import JournalError, Locked, NotFoundError, StorageError
from jettison.fsck import CheckOptions, check_again, check_tree, hashing, plan_repair
from jettison.jobs.collect import CollectionJob
from jettison.jobs.repair import RepairJob, RepairUndoJob
from jettison.jobs.workspace import Workspace
from jettison.model.check_report import (
    CheckReport,
    Defect,
    DefectClass,
    RepairAction,
    Severity,
    merge_defects,
)
from jettison.model.digest import Digest
from jettison.model.journal import JobKind, JobState, JournalEntry, RepairEntry, UndoEntry
from jettison.model.repair import FileFingerprint
from jettison.progress import Progress, silent
from jettison.storage.filesystem.folder import Folder
from jettison.storage.filesystem.lock import StorageLock
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.filesystem.tree_mover import TreeMover
from jettison.storage.journal import tree_journal
from jettison.storage.protocol import Stamp
from tests.support.trees import NOW, OLD, Tree, image_document, index_document

DAMAGE, NOTICE = Severity.DAMAGE, Severity.NOTICE
OTHER = Digest.of(b"something else")


class KilledError(Exception):
    """What a test throws where a process would be killed."""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree with a bit of everything, and sound."""
    tree = Tree(tmp_path / "registry")
    tree.image("app", "1", [b"base", b"one"])
    amd, arm = tree.image("app", None, [b"amd"]), tree.image("app", None, [b"arm"])
    tree.index("app", "multi", [amd, arm])
    tree.image("team/web", "1", [b"base", b"web"])
    tree.image("team/web", "2", [b"base", b"web 2"], subject=OTHER)
    (tree.repository("app") / "_uploads").mkdir()
    tree.write(tree.repository("app") / "_uploads" / "fresh" / "data", b"half", NOW)
    return tree


def check(tree: Tree, *, quick: bool = False) -> CheckReport:
    before = tree.snapshot()
    report = check_tree(tree.open(), CheckOptions(quick=quick), NOW)
    assert tree.snapshot() == before
    assert merge_defects(report.defects) == report.defects
    return report


def only(report: CheckReport) -> Defect:
    assert len(report.defects) == 1, report.defects
    return report.defects[0]


def unpullable(report: CheckReport) -> list[str]:
    return [tag.name for tag in report.unpullable]


def place(tree: StorageTree, progress: Progress = silent) -> Workspace:
    return Workspace(storage=tree, clock=lambda: NOW, progress=progress)


def mend(
    tree: Tree, *, progress: Callable[..., None] | None = None, run_id: str = "r"
) -> RepairEntry:
    opened = tree.open()
    plan = plan_repair(opened, check(tree), run_id, NOW, 3600.0)
    return RepairJob(place(opened, progress or silent), CheckOptions()).apply(plan, ("here",))


def undo(tree: Tree, run: JournalEntry) -> UndoEntry:
    assert isinstance(run, RepairEntry)
    return RepairUndoJob(place(tree.open()), run).apply()


def registry_files(tree: Tree) -> dict[str, tuple[bytes, int]]:
    """Every file of the registry's own, with its time."""
    files = (file for file in (tree.root / "docker").rglob("*") if file.is_file())
    return {
        str(file.relative_to(tree.root)): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in files
    }


def folders(tree: Tree) -> set[str]:
    found = (folder for folder in (tree.root / "docker").rglob("*") if folder.is_dir())
    return {str(folder.relative_to(tree.root)) for folder in found}


def image(layers: list[bytes]) -> Digest:
    """The digest of an image of these layers."""
    config = Digest.of(b"config of " + b",".join(layers))
    document = image_document(config, [Digest.of(layer) for layer in layers])
    return Digest.of(json.dumps(document).encode())


def test_a_sound_tree_has_no_defect(tree: Tree) -> None:
    report = check(tree)
    assert report.defects == ()
    assert (report.damage, report.unpullable, report.classes) == (0, (), {})
    assert report.repositories == 2
    assert report.blobs == len(tree.blobs())
    assert report.bytes == tree.blob_bytes()


def test_what_a_delete_and_a_collection_leave_is_no_defect(tree: Tree) -> None:
    digest = image([b"base", b"one"])
    tree.revision_path("app", digest).unlink()
    for part in ("current", "index"):
        for file in (tree.tag_path("app", "1").parents[1] / part).rglob("link"):
            file.unlink()
    shutil.rmtree(tree.tag_path("app", "1").parents[1])
    (tree.data(OTHER).parent).mkdir(parents=True)
    assert check(tree).defects == ()


# Damage.


def damage_layer(tree: Tree) -> list[str]:
    tree.write(tree.data(Digest.of(b"base")), b"bose")
    return ["app:1", "team/web:1", "team/web:2"]


def empty_layer(tree: Tree) -> list[str]:
    tree.write(tree.data(Digest.of(b"amd")), b"")
    return ["app:multi"]


def damage_unused(tree: Tree) -> list[str]:
    digest = tree.blob(b"nobody's")
    tree.write(tree.data(digest), b"noboby's")
    return []


def damage_manifest(tree: Tree) -> list[str]:
    tree.write(tree.data(image([b"arm"])), b"{}")
    return ["app:multi"]


def lose_manifest(tree: Tree) -> list[str]:
    tree.data(image([b"arm"])).unlink()
    return ["app:multi"]


def lose_layer(tree: Tree) -> list[str]:
    tree.data(Digest.of(b"web 2")).unlink()
    return ["team/web:2"]


def lose_config(tree: Tree) -> list[str]:
    tree.data(Digest.of(b"config of base,web")).unlink()
    return ["team/web:1"]


def lose_revision(tree: Tree) -> list[str]:
    tree.revision_path("team/web", image([b"base", b"web"])).unlink()
    return ["team/web:1"]


def lose_child(tree: Tree) -> list[str]:
    tree.revision_path("app", image([b"arm"])).unlink()
    return ["app:multi"]


def lose_link(tree: Tree) -> list[str]:
    # The other repository has one, which does not help.
    tree.layer_path("app", Digest.of(b"base")).unlink()
    return ["app:1"]


def empty_layer_link(tree: Tree) -> list[str]:
    tree.write(tree.layer_path("app", Digest.of(b"arm")), b"")
    return ["app:multi"]


def bend_layer_link(tree: Tree) -> list[str]:
    tree.write(tree.layer_path("app", Digest.of(b"one")), Digest.of(b"base").encode())
    return ["app:1"]


def empty_revision_link(tree: Tree) -> list[str]:
    tree.write(tree.revision_path("app", image([b"arm"])), b"")
    return ["app:multi"]


def bend_revision_link(tree: Tree) -> list[str]:
    tree.write(tree.revision_path("app", image([b"base", b"one"])), OTHER.encode())
    return ["app:1"]


def empty_current(tree: Tree) -> list[str]:
    tree.write(tree.tag_path("app", "1"), b"")
    return ["app:1"]


def lose_current(tree: Tree) -> list[str]:
    tree.tag_path("app", "1").unlink()
    os.utime(tree.tag_path("app", "1").parents[1], (OLD, OLD))
    return ["app:1"]


def lose_current_of_many(tree: Tree) -> list[str]:
    other = tree.image("app", "1", [b"newer"])
    tree.write(tree.tag_path("app", "1"), other.encode() + b"\n")
    for folder in (tree.tag_path("app", "1").parents[1],):
        os.utime(folder, (OLD, OLD))
    return ["app:1"]


def lose_tag(tree: Tree) -> list[str]:
    shutil.rmtree(tree.tag_path("app", "1").parents[1] / "index")
    tree.write(tree.history_path("app", "1", OTHER), OTHER.encode())
    tree.write(tree.tag_path("app", "1"), b"")
    os.utime(tree.tag_path("app", "1").parents[1], (OLD, OLD))
    return ["app:1"]


def garble_manifest(tree: Tree) -> list[str]:
    tree.put_raw("app", b'{"schemaVersion": 2, "config": 1}', "odd")
    return ["app:odd"]


def opaque_manifest(tree: Tree) -> list[str]:
    tree.put("app", {"schemaVersion": 2, "mediaType": "application/vnd.acme+json"}, "odd")
    return []


def stray_tag(tree: Tree) -> list[str]:
    tree.write(tree.repository("app") / "_manifests" / "tags" / "notes", b"x")
    return []


def stray_repository(tree: Tree) -> list[str]:
    (tree.base / "repositories" / "App" / "_layers").mkdir(parents=True)
    return []


MENDED, PARTLY, LEFT = "mended", "partly", "left"
DAMAGES = [
    (damage_layer, DefectClass.DAMAGED_BLOB, PARTLY),
    (empty_layer, DefectClass.DAMAGED_BLOB, PARTLY),
    (damage_unused, DefectClass.DAMAGED_BLOB, MENDED),
    (damage_manifest, DefectClass.DAMAGED_BLOB, PARTLY),
    (lose_manifest, DefectClass.ABSENT_MANIFEST, LEFT),
    (lose_layer, DefectClass.ABSENT_BLOB, LEFT),
    (lose_config, DefectClass.ABSENT_BLOB, LEFT),
    (lose_revision, DefectClass.TAG_WITHOUT_REVISION, MENDED),
    (lose_child, DefectClass.CHILD_WITHOUT_REVISION, MENDED),
    (lose_link, DefectClass.BLOB_WITHOUT_LINK, MENDED),
    (empty_layer_link, DefectClass.MALFORMED_LINK, MENDED),
    (bend_layer_link, DefectClass.MALFORMED_LINK, MENDED),
    (empty_revision_link, DefectClass.MALFORMED_LINK, MENDED),
    (bend_revision_link, DefectClass.MALFORMED_LINK, MENDED),
    (empty_current, DefectClass.MALFORMED_LINK, MENDED),
    (lose_current, DefectClass.MALFORMED_LINK, MENDED),
    (lose_current_of_many, DefectClass.MALFORMED_LINK, LEFT),
    (lose_tag, DefectClass.MALFORMED_LINK, MENDED),
    (garble_manifest, DefectClass.UNKNOWN_MANIFEST, LEFT),
    (opaque_manifest, DefectClass.UNKNOWN_MANIFEST, LEFT),
    (stray_tag, DefectClass.UNEXPECTED_FILE, LEFT),
    (stray_repository, DefectClass.UNEXPECTED_FILE, LEFT),
]


# Notices.


def leave_temporary(tree: Tree) -> None:
    path = tree.tag_path("app", "1")
    tree.write(path.with_name("link.1b4e28ba.tmp"), b"sha")


def leave_temporary_in_uploads(tree: Tree) -> None:
    tree.write(tree.base / "blobs" / "sha256" / "x.tmp", b"sha")


def dangling_link(tree: Tree) -> None:
    tree.write(tree.layer_path("app", OTHER), OTHER.encode())


def malformed_unused_link(tree: Tree) -> None:
    tree.write(tree.layer_path("app", OTHER), b"sha256:")


def malformed_history(tree: Tree) -> None:
    tree.write(tree.history_path("app", "1", OTHER), b"")


def given_up(tree: Tree) -> None:
    upload = tree.repository("app") / "_uploads" / "old"
    tree.write(upload / "data", b"half", OLD - 3600)
    os.utime(upload, (OLD - 3600, OLD - 3600))


def strange_blob(tree: Tree) -> None:
    (tree.base / "blobs" / "sha256" / "zz").mkdir()


def strange_hex(tree: Tree) -> None:
    (tree.base / "blobs" / "sha256" / "00" / OTHER.hex).mkdir(parents=True)


def folder_for_a_link(tree: Tree) -> None:
    tree.layer_path("app", OTHER).mkdir(parents=True)


def symbolic_link(tree: Tree) -> None:
    (tree.repository("app") / "_manifests" / "old").symlink_to("tags")


def old_draft(tree: Tree) -> None:
    tree.write(tree.root / "jettison" / "drafts" / "x", b"half")


def unsettled(tree: Tree) -> None:
    tree.write(tree.data(OTHER), b"half", NOW)


NOTICED = [
    (leave_temporary, DefectClass.LEFTOVER, True),
    (leave_temporary_in_uploads, DefectClass.LEFTOVER, True),
    (dangling_link, DefectClass.DANGLING_LINK, True),
    (malformed_unused_link, DefectClass.MALFORMED_LINK, True),
    (malformed_history, DefectClass.MALFORMED_LINK, True),
    (given_up, DefectClass.LEFTOVER, False),
    (strange_blob, DefectClass.UNEXPECTED_FILE, False),
    (strange_hex, DefectClass.UNEXPECTED_FILE, False),
    (folder_for_a_link, DefectClass.UNEXPECTED_FILE, False),
    (symbolic_link, DefectClass.SYMBOLIC_LINK, False),
    (old_draft, DefectClass.LEFTOVER, False),
    (unsettled, DefectClass.UNSETTLED_BLOB, False),
]


@pytest.mark.parametrize(("spoil", "kind", "fate"), DAMAGES)
def test_damage_is_found_and_the_tags_are_named(
    tree: Tree, spoil: Callable[[Tree], list[str]], kind: DefectClass, fate: str
) -> None:
    tags = spoil(tree)
    report = check(tree)
    defect = only(report)
    assert (defect.kind, defect.severity) == (kind, DAMAGE)
    assert unpullable(report) == tags
    assert (defect.remedy is not None) == (fate != LEFT)
    assert report.damage == 1


@pytest.mark.parametrize(("spoil", "kind", "mendable"), NOTICED)
def test_a_notice_is_found(
    tree: Tree, spoil: Callable[[Tree], None], kind: DefectClass, mendable: bool
) -> None:
    spoil(tree)
    report = check(tree)
    defect = only(report)
    assert (defect.kind, defect.severity) == (kind, NOTICE)
    assert (defect.remedy is not None) == mendable
    assert (report.damage, report.unpullable) == (0, ())


@pytest.mark.parametrize("spoil", [damage_layer, empty_layer, damage_unused])
def test_quick_does_not_read_layers(tree: Tree, spoil: Callable[[Tree], list[str]]) -> None:
    spoil(tree)
    assert check(tree, quick=True).defects == ()


def test_quick_still_reads_manifests(tree: Tree) -> None:
    damage_manifest(tree)
    assert only(check(tree, quick=True)).kind is DefectClass.DAMAGED_BLOB


@pytest.mark.parametrize(("spoil", "kind", "fate"), DAMAGES)
def test_a_repair_mends_what_can_be_mended_and_is_undone(
    tree: Tree, spoil: Callable[[Tree], list[str]], kind: DefectClass, fate: str
) -> None:
    tags = spoil(tree)
    before, places = registry_files(tree), folders(tree)
    run = mend(tree)
    assert run.receipt is not None
    assert run.receipt.ok
    after = check(tree)
    if fate == MENDED:
        assert after.defects == ()
    else:
        assert kind is not DefectClass.DAMAGED_BLOB or kind not in after.classes
        assert unpullable(after) == tags
    undone = undo(tree, run)
    assert undone.receipt is not None
    assert undone.receipt.ok
    assert (undone.kind, undone.of) == (JobKind.UNDO, run.id)
    assert registry_files(tree) == before
    assert folders(tree) == places
    assert tree_journal(tree.open()).read(run.id).state is JobState.UNDONE


@pytest.mark.parametrize(("spoil", "kind", "mendable"), NOTICED)
def test_a_repair_moves_aside_what_lies_about_and_is_undone(
    tree: Tree, spoil: Callable[[Tree], None], kind: DefectClass, mendable: bool
) -> None:
    spoil(tree)
    before = registry_files(tree)
    run = mend(tree)
    assert (check(tree).defects == ()) == mendable
    undo(tree, run)
    assert registry_files(tree) == before


def spoil_all(tree: Tree) -> None:
    for spoil in (damage_layer, lose_child, lose_link, bend_revision_link, empty_current):
        spoil(tree)
    for notice in (leave_temporary, dangling_link, malformed_history):
        notice(tree)


def test_killed_at_any_step_it_can_be_undone(tree: Tree) -> None:
    spoil_all(tree)
    before = registry_files(tree)
    for number in range(50):

        def kill(phase: str, done: int, total: int | None = None, number: int = number) -> None:
            if (phase, done) == ("repairing", number):
                raise KilledError

        run_id = f"run-{number}"
        try:
            mend(tree, progress=kill, run_id=run_id)
        except KilledError:
            run = tree_journal(tree.open()).read(run_id)
            assert run.state is JobState.APPLYING
            undo(tree, run)
            assert registry_files(tree) == before
        else:
            assert number > 6
            return
    pytest.fail("a repair has fewer steps")


def test_killed_between_the_halves_of_a_move(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    damage_unused(tree)
    before = registry_files(tree)
    whole = os.unlink

    def killed(path: str, *, dir_fd: int | None = None) -> None:
        if path == "data":
            raise KilledError
        whole(path, dir_fd=dir_fd)

    run = mend(tree)
    monkeypatch.setattr(os, "unlink", killed)
    with pytest.raises(KilledError):
        undo(tree, run)
    monkeypatch.setattr(os, "unlink", whole)
    done = undo(tree, run)
    assert done.receipt is not None
    assert done.receipt.ok
    assert registry_files(tree) == before
    assert not list((tree.root / "jettison" / "fsck" / "r" / "moved").rglob("*"))


def test_where_there_are_no_hard_links(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "no hard links here")

    spoil_all(tree)
    before = registry_files(tree)
    monkeypatch.setattr(os, "link", refuse)
    run = mend(tree)
    assert run.receipt is not None
    assert run.receipt.ok
    undo(tree, run)
    assert registry_files(tree) == before


def test_a_push_that_came_since_is_not_undone(tree: Tree) -> None:
    damage_layer(tree)
    digest = Digest.of(b"base")
    lose_link(tree)
    run = mend(tree)
    tree.write(tree.data(digest), b"base", NOW)
    tree.write(tree.layer_path("app", digest), digest.encode(), NOW + 1)
    assert check(tree).defects == ()
    done = undo(tree, run)
    assert done.receipt is not None
    assert [finding.ok for finding in done.receipt.findings] == [False, False, False]
    assert check(tree).defects == ()
    assert tree_journal(tree.open()).read(run.id).state is JobState.DONE


def test_what_changes_after_the_check_is_left(tree: Tree) -> None:
    damage_unused(tree)
    empty_current(tree)
    opened = tree.open()
    plan = plan_repair(opened, check(tree), "r", NOW, 3600.0)
    assert len(plan.steps) == 2
    tree.blob(b"nobody's", when=NOW)
    tree.write(tree.tag_path("app", "1"), image([b"base", b"one"]).encode())
    before = registry_files(tree)
    run = RepairJob(place(opened), CheckOptions()).apply(plan, ())
    assert run.receipt is not None
    assert [finding.ok for finding in run.receipt.findings] == [False, False, False]
    assert registry_files(tree) == before


def test_what_is_young_is_left(tree: Tree) -> None:
    empty_current(tree)
    tree.write(tree.tag_path("app", "1"), b"", NOW - 60)
    plan = plan_repair(tree.open(), check(tree), "r", NOW, 3600.0)
    assert plan.steps == ()
    assert [skipped.path for skipped in plan.skipped] == [
        str(tree.tag_path("app", "1").relative_to(tree.root))
    ]


def test_a_chain_of_what_is_not_linked_is_linked_from_below(tree: Tree) -> None:
    children = [image([b"amd"]), image([b"arm"])]
    for digest in children:
        tree.revision_path("app", digest).unlink()
    index = next(d for d in tree.blobs() if b"image.index" in tree.data(d).read_bytes())
    tree.revision_path("app", index).unlink()
    tree.layer_path("app", Digest.of(b"amd")).unlink()
    plan = plan_repair(tree.open(), check(tree), "r", NOW, 3600.0)
    actions = [step.action for step in plan.steps]
    assert actions == [RepairAction.WRITE_LAYER, *[RepairAction.WRITE_REVISION] * 3]
    assert index.hex in plan.steps[-1].path
    mend(tree)
    assert check(tree).defects == ()


def test_a_tag_whose_history_names_several_is_left_to_protect_them(tree: Tree) -> None:
    lose_current_of_many(tree)
    defect = only(check(tree))
    assert "the newest in its history is sha256:" in defect.sentence
    assert "push the tag again, or delete it" in defect.sentence
    assert defect.remedy is None
    plan = plan_repair(tree.open(), check(tree), "r", NOW, 3600.0)
    assert plan.steps == ()


def test_a_tag_whose_history_leads_nowhere_is_moved_aside_and_named(tree: Tree) -> None:
    lose_tag(tree)
    defect = only(check(tree))
    assert defect.remedy is not None
    assert defect.remedy.action is RepairAction.MOVE_TAG
    assert plan_repair(tree.open(), check(tree), "r", NOW, 3600.0).moved_tags == ("app:1",)
    run = mend(tree)
    assert not tree.tag_path("app", "1").parents[1].exists()
    assert run.receipt is not None
    assert any("app:1" in note for note in run.receipt.notes)


def collect_untagged(tree: Tree) -> None:
    job = CollectionJob(place(tree.open()), CollectOptions(untagged=0.0))
    job.apply(job.plan(), ())


def lose_tag_and_history(tree: Tree) -> list[str]:
    shutil.rmtree(tree.tag_path("app", "1").parents[1] / "index")
    return empty_current(tree)


@pytest.mark.parametrize(
    "spoil", [empty_current, lose_current_of_many, lose_tag, lose_tag_and_history]
)
def test_what_a_repair_unguards_is_not_collected_before_its_undo(
    tree: Tree, spoil: Callable[[Tree], list[str]]
) -> None:
    spoil(tree)
    for folder in (tree.repository("app") / "_manifests" / "tags").iterdir():
        os.utime(folder, (OLD, OLD))
    shutil.rmtree(tree.repository("app") / "_uploads")
    before = registry_files(tree)
    run = None
    if plan_repair(tree.open(), check(tree), "r", NOW, 3600.0).steps:
        run = mend(tree)
    collect_untagged(tree)
    if run is not None:
        done = undo(tree, run)
        assert done.receipt is not None
        assert done.receipt.ok
    assert registry_files(tree) == before


def test_a_repair_that_was_undone_or_forgotten_holds_nothing(tree: Tree) -> None:
    lose_tag(tree)
    run = mend(tree)
    held = {one.digest for one in held_manifests(tree.open(), NOW)}
    assert image([b"base", b"one"]) in held
    undo(tree, run)
    assert list(held_manifests(tree.open(), NOW)) == []
    mend(tree, run_id="s")
    shutil.rmtree(tree.root / "jettison" / "fsck" / "s" / "moved")
    assert list(held_manifests(tree.open(), NOW)) == []
    (tree.root / "jettison" / "fsck" / "s" / "manifest.json").write_text("{")
    with pytest.raises(JournalError, match=r"manifest\.json"):
        list(held_manifests(tree.open(), NOW))


# What cannot be read protects.


def unreadable(monkeypatch: pytest.MonkeyPatch, *paths: Path) -> None:
    """Make the system answer that the disk is broken, for these files."""
    whole, hidden = os.open, [path.stat().st_ino for path in paths]

    def opened(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        descriptor = whole(path, flags, mode, dir_fd=dir_fd)
        if not flags & os.O_PATH and os.fstat(descriptor).st_ino in hidden:
            os.close(descriptor)
            raise OSError(5, "Input/output error")
        return descriptor

    def missing(*_: object) -> int:
        ctypes.set_errno(errno.ENOSYS)
        return -1

    monkeypatch.setattr(os, "open", opened)
    # Without the system call os.open is all there is.
    monkeypatch.setattr("jettison.storage.filesystem.beneath._syscall", missing)
    monkeypatch.setattr("jettison.storage.filesystem.native._library", None)


def unreadable_manifest_and_revision_link(tree: Tree) -> list[Path]:
    empty_revision_link(tree)
    return [tree.data(image([b"arm"]))]


def unreadable_manifest_in_a_history(tree: Tree) -> list[Path]:
    empty_current(tree)
    return [tree.data(image([b"base", b"one"]))]


def unreadable_revision_link(tree: Tree) -> list[Path]:
    return [tree.revision_path("app", image([b"arm"]))]


def unreadable_revision_link_of_an_absent_manifest(tree: Tree) -> list[Path]:
    lose_manifest(tree)
    return [tree.revision_path("app", image([b"arm"]))]


def unreadable_current(tree: Tree) -> list[Path]:
    lose_tag(tree)
    return [tree.tag_path("app", "1")]


def unreadable_layer_link(tree: Tree) -> list[Path]:
    return [tree.layer_path("app", Digest.of(b"arm"))]


def unreadable_history_link(tree: Tree) -> list[Path]:
    return [tree.history_path("app", "1", image([b"base", b"one"]))]


def unreadable_manifest_and_dangling_link(tree: Tree) -> list[Path]:
    dangling_link(tree)
    return [tree.data(image([b"arm"]))]


@pytest.mark.parametrize(
    "spoil",
    [
        unreadable_manifest_and_revision_link,
        unreadable_manifest_in_a_history,
        unreadable_revision_link,
        unreadable_revision_link_of_an_absent_manifest,
        unreadable_current,
        unreadable_layer_link,
        unreadable_history_link,
        unreadable_manifest_and_dangling_link,
    ],
)
def test_nothing_is_done_about_what_cannot_be_read(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Tree], list[Path]]
) -> None:
    unreadable(monkeypatch, *spoil(tree))
    report = check_tree(tree.open(), CheckOptions(), NOW)
    assert DefectClass.UNREADABLE in report.classes
    assert DefectClass.PERMISSIONS not in report.classes
    assert [defect.remedy for defect in report.defects if defect.remedy is not None] == []


def test_an_unsettled_manifest_is_left(tree: Tree) -> None:
    empty_revision_link(tree)
    tree.write(tree.data(image([b"arm"])), b"half", NOW)
    assert [defect for defect in check(tree).defects if defect.remedy is not None] == []


def test_an_unreadable_blob_is_told_of_once_with_its_tags(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable(monkeypatch, tree.data(Digest.of(b"base")), tree.data(image([b"base", b"web"])))
    report = check_tree(tree.open(), CheckOptions(), NOW)
    assert [defect.kind for defect in report.defects] == [DefectClass.UNREADABLE] * 2
    assert unpullable(report) == ["app:1", "team/web:1", "team/web:2"]
    again = check_again(tree.open(), CheckOptions(), NOW, report)
    assert unpullable(again) == unpullable(report)


@pytest.mark.parametrize("kind", ["name", "file", "list"])
def test_a_history_that_is_not_understood_in_full_is_not_believed(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    empty_current(tree)
    index = tree.history_path("app", "1", OTHER).parents[1]
    if kind == "name":
        (index / "abc").mkdir()
    elif kind == "file":
        (index / OTHER.hex).write_bytes(b"")
    else:
        whole = Folder.folders

        def folders(folder: Folder) -> tuple[list[str], list[os.DirEntry[str]]]:
            if folder.path.endswith("1/index"):
                raise StorageError("cannot list it")
            return whole(folder)

        monkeypatch.setattr(Folder, "folders", folders)
    report = check_tree(tree.open(), CheckOptions(), NOW)
    defect = next(defect for defect in report.defects if defect.path.endswith("current/link"))
    assert defect.remedy is None
    assert "nothing is done, since its history" in defect.sentence


def test_a_link_that_names_what_is_there_is_left(tree: Tree) -> None:
    lose_manifest(tree)
    loose = tree.put_raw("app", b'{"schemaVersion": 2, "mediaType": "application/x"}')
    tree.revision_path("app", loose).unlink()
    tree.write(tree.revision_path("app", image([b"arm"])), loose.encode())
    report = check(tree)
    assert [defect.remedy for defect in report.defects] == [None] * len(report.defects)


# What a push writes at the last moment.


def at_the_last_moment(monkeypatch: pytest.MonkeyPatch, path: Path, raw: bytes) -> None:
    """Let somebody write a file between the look at something and its being taken."""
    whole = TreeMover.take

    def take(hands: TreeMover, source: str, to: str, seen: Iterable[FileFingerprint]) -> bool:
        draft = path.with_name("link.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(raw)
        draft.rename(path)
        return whole(hands, source, to, seen)

    monkeypatch.setattr(TreeMover, "take", take)


@pytest.mark.parametrize(
    ("spoil", "what"), [(empty_current, "current"), (lose_tag, "current"), (damage_unused, "data")]
)
def test_what_is_pushed_while_it_is_taken_stays(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Tree], list[str]], what: str
) -> None:
    spoil(tree)
    is_blob = what == "data"
    path = tree.data(Digest.of(b"nobody's")) if is_blob else tree.tag_path("app", "1")
    raw = b"nobody's" if is_blob else image([b"amd"]).encode()
    at_the_last_moment(monkeypatch, path, raw)
    run = mend(tree)
    assert path.read_bytes() == raw
    assert run.receipt is not None
    assert not run.receipt.ok
    assert any("just now" in finding.sentence for finding in run.receipt.findings)


def test_what_is_pushed_when_the_old_link_is_gone_stays(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_current(tree)
    path, raw, whole = tree.tag_path("app", "1"), image([b"amd"]).encode(), TreeMover.write

    def write(hands: TreeMover, where: str, content: bytes, stamp: Stamp) -> None:
        if where.endswith("current/link"):
            path.write_bytes(raw)
        whole(hands, where, content, stamp)

    monkeypatch.setattr(TreeMover, "write", write)
    run = mend(tree)
    assert path.read_bytes() == raw
    assert run.receipt is not None
    assert not run.receipt.ok
    undo(tree, run)
    assert path.read_bytes() == raw


def test_what_is_pushed_while_it_is_undone_stays(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_current(tree)
    lose_link(tree)
    run = mend(tree)
    path, raw = tree.tag_path("app", "1"), image([b"amd"]).encode()
    at_the_last_moment(monkeypatch, path, raw)
    done = undo(tree, run)
    assert path.read_bytes() == raw
    assert done.receipt is not None
    assert not done.receipt.ok


@pytest.mark.parametrize("method", ["write", "move"])
def test_killed_between_taking_a_link_and_writing_it(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    empty_current(tree)
    before = registry_files(tree)
    whole = getattr(TreeMover, method)

    def killed(hands: TreeMover, path: str, *more: object) -> object:
        if path.endswith("link"):
            raise KilledError
        return whole(hands, path, *more)

    if method == "write":
        monkeypatch.setattr(TreeMover, method, killed)
        with pytest.raises(KilledError):
            mend(tree)
        assert not tree.tag_path("app", "1").exists()
        run = tree_journal(tree.open()).read("r")
    else:
        run = mend(tree)
        monkeypatch.setattr(TreeMover, method, killed)
        with pytest.raises(KilledError):
            undo(tree, run)
    monkeypatch.setattr(TreeMover, method, whole)
    done = undo(tree, run)
    assert done.receipt is not None
    assert done.receipt.ok
    assert registry_files(tree) == before
    kept = tree.root / "jettison" / "fsck" / "r"
    assert [path for path in kept.rglob("*") if path.name != "manifest.json"] == []


def test_a_layer_that_is_not_distributable_may_be_absent(tree: Tree) -> None:
    document = image_document(Digest.of(b"config of amd"), [Digest.of(b"amd")])
    layers = document["layers"]
    assert isinstance(layers, list)
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    layers.append({"mediaType": foreign, "digest": OTHER, "size": 1, "urls": ["https://x/y"]})
    tree.put("app", document, "windows")
    assert check(tree).defects == ()


def test_a_layer_under_its_sha512_leads_to_its_canonical_digest(tree: Tree) -> None:
    raw = b"long"
    short, long = tree.blob(raw, "app"), Digest.of(raw, "sha512")
    tree.write(tree.layer_path("app", long), short.encode())
    tree.put("app", image_document(Digest.of(b"config of amd"), [long]), "long")
    assert check(tree).defects == ()
    tree.data(short).unlink()
    report = check(tree)
    assert unpullable(report) == ["app:long"]
    # The plain link is needed by nothing, the other is.
    assert set(report.classes) == {DefectClass.ABSENT_BLOB, DefectClass.DANGLING_LINK}


def test_a_blob_of_a_killed_sweep_is_put_back_and_stays(tree: Tree) -> None:
    digest = Digest.of(b"web 2")
    aside = tree.root / "jettison" / "aside" / "sha256" / digest.hex
    aside.parent.mkdir(parents=True)
    tree.data(digest).rename(aside)
    report = check(tree)
    assert set(report.classes) == {DefectClass.ABSENT_BLOB, DefectClass.LEFTOVER}
    run = mend(tree)
    assert check(tree).defects == ()
    undo(tree, run)
    assert tree.data(digest).exists()


def test_a_damaged_blob_of_a_killed_sweep_is_not_put_back(tree: Tree) -> None:
    tree.write(tree.root / "jettison" / "aside" / "sha256" / OTHER.hex, b"half")
    plan = plan_repair(tree.open(), check(tree), "r", NOW, 3600.0)
    assert plan.steps == ()
    assert "damaged" in plan.skipped[0].reason


def test_nothing_behind_a_link_is_touched(tree: Tree, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    tree.write(elsewhere / OTHER.hex / "link", b"")
    tree.write(elsewhere / "x.tmp", b"")
    layers = tree.repository("app") / "_layers" / "sha512"
    layers.symlink_to(elsewhere)
    assert only(check(tree)).kind is DefectClass.SYMBOLIC_LINK
    mend(tree)
    assert (elsewhere / "x.tmp").exists()
    assert (elsewhere / OTHER.hex / "link").exists()


def test_owners_and_modes(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    for folder, _, files in os.walk(tree.root):
        for name in (".", *files):
            os.chown(f"{folder}/{name}", 1000, 1000)
    assert check(tree).defects == ()
    layers = tree.repository("app") / "_layers"
    for path in (layers, *layers.rglob("*")):
        os.chown(path, 0, 0)
    defect = only(check(tree))  # once, for the folder
    assert (defect.kind, defect.severity) == (DefectClass.PERMISSIONS, NOTICE)
    assert defect.path.endswith("app/_layers")
    layers.chmod(0o700)
    assert only(check(tree)).severity is DAMAGE
    layers.chmod(0o755)
    for path in (layers, *layers.rglob("*")):
        os.chown(path, 1000, 1000)
    tree.data(Digest.of(b"base")).chmod(0o444)
    assert "cannot be written" in only(check(tree)).sentence


def test_what_cannot_be_listed_is_told_and_the_rest_goes_on(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_layer(tree)
    whole = Folder.entries

    def entries(folder: Folder) -> list[os.DirEntry[str]]:
        if folder.path.endswith("app/_layers"):
            raise StorageError("cannot list it")
        return whole(folder)

    monkeypatch.setattr(Folder, "entries", entries)
    report = check(tree)
    assert DefectClass.UNREADABLE in report.classes
    assert "team/web:2" in unpullable(report)


def test_what_a_push_shows_for_a_moment_is_no_damage(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_revision(tree)
    digest = image([b"base", b"web"])

    def meanwhile(seconds: float) -> None:
        tree.write(tree.revision_path("team/web", digest), digest.encode())

    monkeypatch.setattr(time, "sleep", meanwhile)
    report = check_tree(tree.open(), CheckOptions(), NOW)
    assert report.defects == ()


def test_hashing_reports_bytes(tree: Tree) -> None:
    seen: list[tuple[int, int | None]] = []

    def progress(phase: str, done: int, total: int | None = None) -> None:
        if phase == hashing.HASHING:
            seen.append((done, total))

    check_tree(tree.open(), CheckOptions(), NOW, progress)
    total = tree.blob_bytes()
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)


def test_hashing_stops_when_it_is_interrupted(tree: Tree) -> None:
    def progress(phase: str, done: int, total: int | None = None) -> None:
        if phase == hashing.HASHING:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_tree(tree.open(), CheckOptions(), NOW, progress)


def test_one_repair_at_a_time(tree: Tree) -> None:
    damage_unused(tree)
    before = registry_files(tree)
    with StorageLock(tree.open(), "collection"), pytest.raises(Locked):
        mend(tree)
    assert registry_files(tree) == before


def test_without_its_folder_a_repair_cannot_be_undone(tree: Tree) -> None:
    damage_unused(tree)
    run = mend(tree)
    (tree.root / "jettison" / "fsck" / "r" / "manifest.json").unlink()
    with pytest.raises(NotFoundError, match="cannot be undone"):
        undo(tree, run)


def test_an_index_of_which_a_child_was_never_there(tree: Tree) -> None:
    tree.put("app", index_document([OTHER]), "sparse")
    defect = only(check(tree))
    assert defect.kind is DefectClass.CHILD_WITHOUT_REVISION
    assert defect.tags == ("app:sparse",)
    assert defect.remedy is None


def test_a_second_look_remembers_what_was_left_in_its_place(tree: Tree) -> None:
    damage_layer(tree)
    unsettled(tree)
    before = check(tree)
    again = check_again(tree.open(), CheckOptions(), NOW, before)
    assert again.defects == before.defects
    assert again.hashed
    tree.data(Digest.of(b"base")).unlink()
    again = check_again(tree.open(), CheckOptions(), NOW, before)
    assert DefectClass.DAMAGED_BLOB not in again.classes
    assert unpullable(again) == unpullable(before)
