"""``jettison fsck --repair`` and its undo: under the lock, with a note in the tree's journal."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from jettison.collector.undo_windows import tree_journal
from jettison.fsck.repair import Outcome, execute, keep_plan, take_back
from jettison.fsck.tree_mover import TreeMover
from jettison.jobs.collect import forget_in_redis
from jettison.model.check_report import RepairAction
from jettison.model.digest import Digest, raw_digest
from jettison.model.journal import Finding, JobKind, JobState, JournalEntry, Receipt
from jettison.model.repair import Move, RepairPlan
from jettison.progress import Progress, silent
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.lock import StorageLock
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.journal import new_run_id
from jettison.storage.repair_plans import load_plan

if TYPE_CHECKING:
    from jettison.configuration import Configuration

__all__ = ["run_repair", "undo_repair"]

_FOLDER = "folder"


def run_repair(
    tree: StorageTree,
    plan: RepairPlan,
    request: tuple[str, ...],
    clock: Callable[[], float],
    stamp: Callable[[float], str],
    *,
    configuration: "Configuration | None" = None,
    noted: Callable[[JournalEntry], None] = lambda _: None,
    progress: Progress = silent,
) -> JournalEntry:
    """Execute the plan and return the run, which is in the tree's journal.

    Plan and journal entry are on the disk, and ``noted`` was called, before the first step. Where
    the configuration names a Redis that remembers blobs, what was moved is forgotten there. Raises
    :class:`~jettison.errors.Locked` if a collection or another repair is at it.
    """
    with StorageLock(tree, "repair"):
        journal = tree_journal(tree)
        keep_plan(tree, plan)
        run = JournalEntry(
            id=plan.id,
            kind=JobKind.FSCK,
            state=JobState.APPLYING,
            started=stamp(plan.started),
            registry="",
            request=request,
            storage=str(tree.root),
            details={_FOLDER: plan.folder},
        )
        journal.write(run)
        noted(run)
        outcome = execute(tree, plan, progress)
        moved = _moved(tree, plan)
        receipt = _receipt(outcome, len(plan.steps), stamp(clock()), tuple(_notes(plan, moved)))
        if moved and configuration is not None and configuration.storage.cache == "redis":
            findings = (*receipt.findings, _forget(configuration, moved))
            receipt = msgspec.structs.replace(receipt, findings=findings)
        run = msgspec.structs.replace(run, state=JobState.DONE, receipt=receipt)
        journal.write(run)
        return run


def undo_repair(
    tree: StorageTree,
    run: JournalEntry,
    clock: Callable[[], float],
    stamp: Callable[[float], str],
    *,
    progress: Progress = silent,
) -> JournalEntry:
    """Take a repair back and return the run that did it, which is in the tree's journal.

    What was written since is left, and is among the receipt's findings.
    """
    with StorageLock(tree, "undo of a repair"):
        plan = load_plan(tree, run.id)
        now = clock()
        outcome = take_back(tree, plan, progress)
        steps = outcome.done + len(outcome.left)
        done = JournalEntry(
            id=new_run_id(now),
            kind=JobKind.UNDO,
            state=JobState.DONE,
            started=stamp(now),
            registry="",
            request=run.request,
            storage=str(tree.root),
            of=run.id,
            receipt=_receipt(outcome, steps, stamp(clock()), (), "taken back"),
        )
        journal = tree_journal(tree)
        journal.write(done)
        if not outcome.left:
            journal.write(msgspec.structs.replace(run, state=JobState.UNDONE))
        return done


def _moved(tree: StorageTree, plan: RepairPlan) -> list[Move]:
    """Return the steps whose files are in the repair's folder now."""
    hands = TreeMover(tree)
    steps = (step for step in plan.steps if isinstance(step, Move) and not step.stays)
    return [step for step in steps if hands.look(step.to).inode]


def _notes(plan: RepairPlan, moved: list[Move]) -> Iterator[str]:
    tags = [step.tag for step in moved if step.tag]
    if tags:
        yield f"Tags that were moved aside: {', '.join(tags)}."
    if moved:
        yield f"What was moved aside is in {plan.folder}; remove that when nothing is missed."


def _forget(configuration: "Configuration", moved: list[Move]) -> Finding:
    blobs, links = [], []
    for step in moved:
        if step.action is RepairAction.MOVE_BLOB:
            _, algorithm, _, encoded, _ = step.path.rsplit("/", 4)
            digest = raw_digest(algorithm, encoded)
            if digest is not None:
                blobs.append(Digest.from_raw(digest))
        elif step.action is RepairAction.MOVE_LINK:
            above, algorithm, encoded, _ = step.path.rsplit("/", 3)
            name = above.removeprefix(f"{layout.REPOSITORIES}/")
            digest = raw_digest(algorithm, encoded)
            repository, _, inner = name.rpartition("/_")
            if digest is not None and f"_{inner}" == layout.LAYERS:
                links.append((repository, Digest.from_raw(digest)))
    return forget_in_redis(configuration, blobs, links)


def _receipt(
    outcome: Outcome,
    total: int,
    finished: str,
    notes: tuple[str, ...],
    verb: str = "done",
) -> Receipt:
    subject = f"{outcome.done:,} of {total:,} repair{'' if total == 1 else 's'}"
    findings = [Finding(ok=outcome.done == total, subject=subject, sentence=verb)]
    findings += [Finding(ok=False, subject=one.path, sentence=one.reason) for one in outcome.left]
    return Receipt(finished=finished, findings=tuple(findings), notes=notes)
