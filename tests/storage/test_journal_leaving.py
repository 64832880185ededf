"""Entries that are over leave the journal; nobody misses one that anything may still ask for."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jettison.errors import StorageError
from jettison.model.journal import (
    CollectionEntry,
    JobState,
    JournalEntry,
    Receipt,
    RemovalEntry,
    RepairEntry,
    UndoEntry,
)
from jettison.model.journal_leaving import KEPT, LOOKED_AT, candidates, is_over
from jettison.model.plan import Estimate, Plan
from jettison.model.times import rfc3339
from jettison.storage.filesystem.folder import Folder
from jettison.storage.journal import Journal, Unreadable, new_run_id

DAY = 86400.0
NOW = 1_800_000_000.0
HOST = "registry.example"
PLAN = Plan(HOST, "", (), (), (), Estimate(), {})


def head(days: float, **more: Any) -> dict[str, Any]:
    """The head of something that was done so many days ago."""
    began = NOW - days * DAY
    found = {"id": new_run_id(began), "state": JobState.DONE, "started": rfc3339(began)}
    receipt = Receipt(rfc3339(began))
    return {**found, "registry": HOST, "request": (), "receipt": receipt, **more}


def removal(days: float, **more: Any) -> RemovalEntry:
    return RemovalEntry(**{"plan": PLAN, **head(days, **more)})


NEW = removal(0)
OLD_ENOUGH = KEPT / DAY + 1

STAYS: dict[str, JournalEntry] = {
    "young": removal(OLD_ENOUGH - 2),
    "its window has ended lately": removal(365, window_until=NOW - KEPT + DAY),
    "its window goes on": removal(365, window_until=NOW + DAY),
    "what an undo took is held": UndoEntry(**head(365, of="x", window_until=NOW + 1)),
    "killed": removal(365, state=JobState.APPLYING, receipt=None),
    "interrupted": removal(365, state=JobState.INTERRUPTED),
    "without its proof": removal(365, receipt=None),
    "the last on its registry": removal(365, registry="other.example"),
    "the last of its kind": CollectionEntry(**head(365)),
    "of no time that is known": removal(365, started="then"),
    "of a time without a zone": removal(365, started="2001-01-01T00:00:00"),
}
LEAVES: dict[str, JournalEntry] = {
    "done": removal(OLD_ENOUGH),
    "its window is over": removal(365, window_until=NOW - KEPT - DAY),
    "undone": removal(365, state=JobState.UNDONE),
    "stopped": removal(365, state=JobState.STOPPED, receipt=None),
    "its backup is gone": removal(365, backup="/nowhere/at/all"),
}


def folder(journal: Journal) -> Path:
    return Path(journal.location)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    root = tmp_path / "tree"
    root.mkdir()
    return Journal.in_tree(root)


@pytest.mark.parametrize("why", [*STAYS, *LEAVES])
def test_what_stays_and_what_leaves(journal: Journal, why: str) -> None:
    old = (STAYS | LEAVES)[why]
    journal.write(old)
    journal.mark(old.id, [(0, True)], at="then")
    journal.write(NEW)
    assert journal.ids() == sorted([NEW.id, *([old.id] if why in STAYS else [])])
    assert len(list(folder(journal).iterdir())) == (3 if why in STAYS else 1)
    assert journal.find_removal("last") == NEW


def test_each_kind_leaves_after_its_own(journal: Journal) -> None:
    for days in (365, 0):
        journal.write(CollectionEntry(**head(days)))
        journal.write(UndoEntry(**head(days, of="x")))
        journal.write(RepairEntry(**head(days, folder="x", state=JobState.UNDONE)))
    assert len(journal.ids()) == 3


def test_what_can_be_undone_for_as_long_as_one_likes_stays_so_long(
    journal: Journal, tmp_path: Path
) -> None:
    backed = removal(365, backup=str(tmp_path / "backup"))
    repair = RepairEntry(**head(365, folder="x", storage=str(tmp_path / "tree")))
    (tmp_path / "backup").mkdir()
    kept = tmp_path / "tree/jettison/fsck" / repair.id / "manifest.json"
    kept.parent.mkdir(parents=True)
    kept.touch()
    for old in (backed, repair):
        journal.write(old)
    journal.write(removal(2))
    journal.write(RepairEntry(**head(2, folder="x")))
    assert {backed.id, repair.id} < set(journal.ids())
    kept.unlink()
    (tmp_path / "backup").rmdir()
    journal.write(removal(1))
    journal.write(RepairEntry(**head(1, folder="x")))
    assert not {backed.id, repair.id} & set(journal.ids())


def test_a_pointer_leaves_after_what_it_points_to(journal: Journal, tmp_path: Path) -> None:
    users = Journal.at(tmp_path / "users")
    old, new = removal(365), [removal(days) for days in (2, 1, 0)]
    journal.write(old)
    users.point(old, journal)
    users.point(new[0], journal)
    assert old.id in users.ids()
    journal.write(new[1])
    assert old.id not in journal.ids()
    users.point(new[1], journal)
    assert old.id not in users.ids()
    # It points to nothing, too, but a moment ago it did not.
    assert new[0].id in users.ids()


def test_they_become_fewer_in_bounded_work(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    stay = [removal(365 + number, registry="other") for number in range(20)]
    for entry in (*stay, *(removal(365 + number) for number in range(40))):
        journal.write(entry)
    # Written one after the other, each the oldest so far: none of them had an older one.
    assert len(journal.ids()) == 60
    looked = 0
    read = Journal.head

    def reading(self: Journal, run_id: str) -> object:
        nonlocal looked
        looked += 1
        return read(self, run_id)

    monkeypatch.setattr(Journal, "head", reading)
    for number in range(1, 200):
        looked = 0
        journal.write(removal(-number / 1000))
        assert looked <= LOOKED_AT
    left = [run_id for run_id in journal.ids() if run_id < NEW.id]
    assert set(left) == {entry.id for entry in stay}


def test_replacing_an_entry_lets_none_leave(journal: Journal) -> None:
    journal.write(NEW)
    old = removal(365)
    journal.write(old)
    journal.write(NEW)
    assert old.id in journal.ids()


def test_one_that_cannot_be_read_or_removed_stays_and_stops_nothing(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, old = removal(366), removal(365)
    for entry in (bad, old):
        journal.write(entry)
    (folder(journal) / f"{bad.id}.json").write_text("{")

    def unlink(self: Folder, name: str) -> bool:
        raise StorageError(f"cannot remove {self.path}/{name}")

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "unlink", unlink)
        journal.write(removal(1))
    assert {bad.id, old.id} < set(journal.ids())
    journal.write(NEW)
    assert old.id not in journal.ids()
    assert bad.id in journal.ids()


def test_killed_between_it_is_an_entry_still(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = removal(365)
    journal.write(old)
    journal.mark(old.id, [(0, True)], at="then")
    unlink = Folder.unlink

    def killed(self: Folder, name: str) -> bool:
        if name.endswith(".json"):
            raise KeyboardInterrupt
        return unlink(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            journal.write(removal(1))
    assert journal.read(old.id) == old
    assert journal.steps(old.id).done == frozenset()
    journal.write(NEW)
    assert old.id not in journal.ids()


def test_one_that_leaves_while_all_are_listed_is_no_damage(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [removal(days) for days in (3, 2, 1)]
    for entry in entries:
        journal.write(entry)
    ids = Journal.ids

    def listed(self: Journal) -> list[str]:
        found = ids(self)
        (folder(journal) / f"{entries[0].id}.json").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Journal, "ids", listed)
    assert [one.id for one in journal.heads()] == [one.id for one in entries[1:]]
    assert not any(isinstance(one, Unreadable) for one in journal.runs())


def test_a_symbolic_link_in_a_tree_lets_nothing_leave_elsewhere(
    journal: Journal, tmp_path: Path
) -> None:
    old = removal(365)
    outside = Journal.at(tmp_path / "outside")
    outside.write(old)
    journal.write(removal(2))
    (folder(journal) / f"{old.id}.json").symlink_to(folder(outside) / f"{old.id}.json")
    journal.write(NEW)
    assert outside.ids() == [old.id]


@given(
    st.lists(st.integers(0, 2000), max_size=60),
    st.integers(0, 10**6),
)
def test_candidates_are_old_each_once_and_few(days: list[int], salt: int) -> None:
    ids = sorted({new_run_id(NOW - number * DAY) for number in days})
    newer = removal(0, id=f"{NEW.id}{salt}")
    found = candidates(ids, newer)
    assert len(found) == len(set(found)) <= LOOKED_AT
    old = {run_id for run_id in ids if run_id < new_run_id(NOW - KEPT - 1)}
    assert len(found) >= min(len(old), LOOKED_AT)
    assert not any(is_over(removal(1, id=run_id), newer) for run_id in found)


def test_of_no_time_nothing_leaves() -> None:
    assert candidates(["1", "2"], removal(0, started="then")) == []
    assert not is_over(removal(365), removal(0, started="then"))
