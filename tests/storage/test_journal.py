import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from jettison.errors import JettisonError, JournalError, NotFoundError
from jettison.model import codec
from jettison.model.digest import Digest
from jettison.model.journal import (
    RUN_SCHEMA,
    Finding,
    FindingCode,
    JobState,
    JournalEntry,
    Receipt,
    RemovalEntry,
    SavedManifest,
    UndoEntry,
    head_of,
)
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Estimate, Freed, Kept, Plan, Prediction, Shared, Step, StepAction
from jettison.storage.journal import (
    Journal,
    StepLog,
    Unreadable,
    new_run_id,
    state_directory,
    tree_journal,
)
from jettison.storage.memory import MemoryStorage

FOUND = Finding(FindingCode.TAG_GONE, ok=True, subject="v1", sentence="is gone")
APP, TAG, DIGEST = RepoName("team/app"), Tag("v1"), Digest.of(b"{}")


def make(run_id: str = "20240101-000000-abcd", **changes: object) -> RemovalEntry:
    plan = Plan(
        "h:5000",
        "2024-01-01T00:00:00Z",
        ("h:5000/team/app:v1",),
        (Step(StepAction.DELETE, APP, DIGEST, (TAG,), "its last tag goes"),),
        (Kept(APP, DIGEST, None, "listed by team/app:v2"),),
        Estimate((Freed(DIGEST, 5),), (Shared(DIGEST, 7, ("x",), 1),), 5, 7, 0, ("who knows",)),
        {APP: {TAG: DIGEST}},
    )
    run = RemovalEntry(
        id=run_id,
        state=JobState.APPLYING,
        started="2024-01-01T00:00:00Z",
        registry="h:5000",
        request=("h:5000/team/app:v1",),
        plan=plan,
        # No JSON, not even text: bytes are never serialized again.
        saved=(SavedManifest(APP, DIGEST, "application/x", b'{ }\n\x00\xff"', (TAG,)),),
        window_until=1.5,
        receipt=Receipt("2024-01-01T00:00:01Z", findings=(FOUND,)),
        prediction=Prediction(1, 2, 3),
    )
    return msgspec.structs.replace(run, **changes)


def undo(run_id: str, of: str) -> UndoEntry:
    done = JobState.DONE
    return UndoEntry(id=run_id, state=done, started="", registry="h:5000", request=(), of=of)


def folder(journal: Journal) -> Path:
    return Path(journal.location)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.at(tmp_path / "deep" / "runs")


def test_a_run_comes_back_as_it_was(journal: Journal) -> None:
    run = make()
    journal.write(run)
    read = journal.read(run.id)
    assert read == run
    assert isinstance(read, RemovalEntry)
    assert isinstance(read.saved[0].digest, Digest)
    assert isinstance(read.saved[0].repository, RepoName)
    assert isinstance(next(iter(read.plan.seen)), RepoName)
    assert journal.home_of(run.id) is journal


def test_a_path_that_is_no_text_is_an_error_and_no_fault_of_ours(journal: Journal) -> None:
    with pytest.raises(JournalError, match="is not UTF-8"):
        journal.write(make(storage=os.fsdecode(b"/srv/\xff")))
    with pytest.raises(JournalError, match="is not UTF-8"):
        journal.point(make(), Journal.at(Path(os.fsdecode(b"/srv/\xff"))))


def test_it_is_a_document_for_people_and_other_programs(journal: Journal) -> None:
    journal.write(make())
    document = json.loads((folder(journal) / "20240101-000000-abcd.json").read_text())
    assert document["schema_version"] == RUN_SCHEMA
    assert document["kind"] == "rm"
    assert document["plan"]["steps"][0]["digest"] == DIGEST


def test_a_later_state_replaces_the_earlier_one_and_leaves_nothing_else(journal: Journal) -> None:
    journal.write(make())
    journal.write(make(state=JobState.DONE))
    assert journal.read("20240101-000000-abcd").state is JobState.DONE
    assert [path.name for path in folder(journal).iterdir()] == ["20240101-000000-abcd.json"]


def test_only_the_user_may_read_it(journal: Journal) -> None:
    journal.write(make())
    journal.mark("20240101-000000-abcd", [(0, False)], at="now")
    assert stat.S_IMODE(folder(journal).stat().st_mode) == 0o700
    for path in folder(journal).iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_crash_while_writing_leaves_the_earlier_state(journal: Journal) -> None:
    journal.write(make())
    (folder(journal) / "20240101-000000-abcd.tmp").write_bytes(b'{"id": "2024')
    assert journal.ids() == ["20240101-000000-abcd"]
    journal.write(make(state=JobState.DONE))
    assert journal.read("20240101-000000-abcd").state is JobState.DONE


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(JournalError) as raised:
        Journal.at(tmp_path / "runs").write(make())
    assert str(tmp_path / "runs") in raised.value.message
    assert "Nothing is removed without a journal" in (raised.value.hint or "")


def test_a_step_that_cannot_be_noted(journal: Journal) -> None:
    with pytest.raises(JournalError, match="No such file or directory"):
        journal.mark("gone", [(0, False)], at="now")


def test_steps(journal: Journal) -> None:
    run = make()
    journal.write(run)
    assert journal.steps(run.id) == StepLog(frozenset(), frozenset())
    journal.mark(run.id, [(0, False)], at="t0")
    journal.mark(run.id, [(0, True)], at="t1")
    journal.mark(run.id, [(1, False)], at="t2")
    assert journal.steps(run.id) == StepLog(frozenset({0, 1}), frozenset({0}))


@pytest.mark.parametrize("keep", range(1, 36))
def test_a_step_cut_short_by_a_crash_does_not_count_and_harms_no_other(
    journal: Journal, keep: int
) -> None:
    run = make()
    journal.write(run)
    journal.mark(run.id, [(0, False)], at="t0")
    path = folder(journal) / f"{run.id}.steps"
    whole = path.read_bytes()
    assert len(whole) == 35
    path.write_bytes(whole + whole[:keep].replace(b'"step":0', b'"step":7'))
    torn = keep < len(whole.rstrip())
    journal.mark(run.id, [(0, True)], at="t1")
    steps = journal.steps(run.id)
    assert steps.done == {0}
    assert steps.begun == ({0} if torn else {0, 7})


def test_a_run_that_lies_elsewhere(tmp_path: Path, journal: Journal) -> None:
    here = Journal.at(tmp_path / "here")
    run = make()
    journal.write(run)
    journal.mark(run.id, [(0, True)], at="t")
    here.point(run, journal)
    assert here.ids() == [run.id]
    assert here.read(run.id) == run
    home = here.home_of(run.id)
    assert folder(home) == folder(journal)
    assert home.steps(run.id).done == {0}
    assert list(here.runs()) == [run]


def test_a_pointer_to_nothing(tmp_path: Path, journal: Journal) -> None:
    journal.point(make(), Journal.at(tmp_path / "gone"))
    with pytest.raises(NotFoundError):
        journal.read("20240101-000000-abcd")
    (entry,) = journal.runs()
    assert isinstance(entry, Unreadable)


def test_pointers_that_go_round_end(tmp_path: Path, journal: Journal) -> None:
    other = Journal.at(tmp_path / "other")
    journal.point(make(), other)
    other.point(make(), journal)
    with pytest.raises(JournalError, match="only points on"):
        journal.read("20240101-000000-abcd")
    journal.point(make(), journal)
    with pytest.raises(JournalError, match="only points on"):
        journal.read("20240101-000000-abcd")


def test_no_such_run(journal: Journal) -> None:
    assert journal.ids() == []
    assert list(journal.runs()) == []
    with pytest.raises(NotFoundError, match="there is no run x"):
        journal.read("x")


DAMAGE: Mapping[str, tuple[bytes, bytes]] = {
    "a digest": (DIGEST.encode(), b"sha256:zz"),
    "a repository": (b'"repository":"team/app"', b'"repository":"Team/app"'),
    "a tag": (b'"tags":["v1"]', b'"tags":["v 1"]'),
    "a kind": (b'"kind":"rm"', b'"kind":"xx"'),
    "a type": (b'"request":[', b'"request":[5,'),
    "the encoding": (b"h:5000", b"h:\xff000"),
    "the encoding of the id": (b"20240101", b"2024010\xff"),
    "a brace": (b"{", b""),
    "everything": (b'"', b""),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_told_and_hides_no_other_run(journal: Journal, what: str) -> None:
    journal.write(make("1"))
    journal.write(make("2"))
    path = folder(journal) / "1.json"
    sound = path.read_bytes().replace(b'"id":"1"', b'"id":"20240101"')
    damaged = sound.replace(*DAMAGE[what])
    assert damaged != sound
    path.write_bytes(damaged)
    with pytest.raises(JournalError) as raised:
        journal.read("1")
    assert raised.value.message.startswith("run 1 cannot be read: ")
    assert raised.value.hint == f"Look at {path}."
    first, second = journal.runs()
    assert first == Unreadable("1", raised.value.message)
    assert isinstance(second, JournalEntry)


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_document_cut_short(journal: Journal, cut: int) -> None:
    journal.write(make("1"))
    path = folder(journal) / "1.json"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(JournalError):
        journal.read("1")


def test_a_newer_version_is_not_guessed_at(journal: Journal) -> None:
    folder(journal).mkdir(parents=True)
    document = {"id": "1", "schema_version": RUN_SCHEMA + 1, "kind": "something new"}
    (folder(journal) / "1.json").write_text(json.dumps(document))
    with pytest.raises(JournalError, match="newer version of Jettison") as raised:
        journal.read("1")
    assert raised.value.hint == "Upgrade Jettison and try again."
    (entry,) = journal.runs()
    assert isinstance(entry, Unreadable)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20240101-000000-aaaa", "20240101-000000-aaaa"),
        ("20240101", "20240101-000000-aaaa"),
        ("aaaa", "20240101-000000-aaaa"),
        ("cccc", "20240202-000000-cccc"),
        ("last", "20240202-000000-cccc"),
        ("2024", "more than one run matches '2024'"),
        ("2025", "there is no run '2025'"),
        ("", "more than one run matches ''"),
        ("000000", "there is no run '000000'"),
        ("../x", "there is no run '../x'"),
    ],
)
def test_find(journal: Journal, text: str, expected: str) -> None:
    for run_id in ("20240202-000000-bbbb", "20240101-000000-aaaa", "20240202-000000-cccc"):
        journal.write(make(run_id))
    try:
        found = journal.find(text)
    except NotFoundError as error:
        found = error.message
    assert found == expected


def test_the_last_removal_is_neither_an_undo_nor_damaged(journal: Journal) -> None:
    with pytest.raises(NotFoundError):
        journal.find("last")
    with pytest.raises(NotFoundError, match="nothing was removed yet"):
        journal.find_removal("last")
    journal.write(make("1"))
    journal.write(undo("2", of="1"))
    (folder(journal) / "3.json").write_text("{")
    assert journal.find_removal("last").id == "1"
    assert journal.find_removal("2").id == "2"
    with pytest.raises(JettisonError):
        journal.find_removal("3")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/home/me"}, "/state/jettison"),
        ({"HOME": "/home/me"}, "/home/me/.local/state/jettison"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/me"}, "/home/me/.local/state/jettison"),
    ],
)
def test_the_state_directory(environment: dict[str, str], expected: str) -> None:
    assert state_directory(environment) == Path(expected)


def test_ids_sort_by_time_and_differ() -> None:
    first, second = new_run_id(0), new_run_id(1_700_000_000)
    assert first.startswith("19700101-000000-")
    assert first < second
    assert len({new_run_id(0) for _ in range(50)}) > 1


def test_ids_of_one_second_sort_by_time() -> None:
    ids = [new_run_id(1_800_000_000 + number / 200) for number in range(200)]
    assert ids == sorted(ids)


def test_more_parts_than_any_of_ours_are_unreadable(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few bytes of a document can take much memory."""
    run = make(request=("x",) * 1000)
    journal.write(run)
    assert journal.read(run.id) == run
    monkeypatch.setattr(codec, "MOST_PARTS", 1000)
    found = journal.read_quietly(run.id)
    assert isinstance(found, Unreadable)
    assert "than any that Jettison writes" in found.reason
    with pytest.raises(JournalError, match="so large a run"):
        journal.write(run)


def test_it_lies_in_any_storage() -> None:
    storage = MemoryStorage()
    journal = tree_journal(storage)
    run = make(storage="/somewhere/else")
    journal.write(run)
    journal.mark(run.id, [(0, True)], at="t")
    assert journal.has_room()
    again = tree_journal(storage)
    assert again.read(run.id) == msgspec.structs.replace(run, storage=storage.location)
    assert again.head(run.id) == head_of(again.read(run.id))
    assert again.steps(run.id).done == {0}
    assert again.home_of(run.id) is again


@pytest.mark.parametrize("spaces", range(8))
def test_a_head_that_is_longer_than_any(journal: Journal, spaces: int) -> None:
    """Where reading stops at first there may be a comma, too."""
    run = make(request=(" " * spaces, *["x,,,,"] * 20_000))
    journal.write(run)
    assert journal.head(run.id) == head_of(run)


def test_a_document_that_people_have_formatted(journal: Journal) -> None:
    run = make()
    journal.write(run)
    path = folder(journal) / f"{run.id}.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    assert journal.read(run.id) == run
    assert journal.head(run.id) == head_of(run)
