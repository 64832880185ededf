"""``jettison fsck --repair`` and its undo: under the lock, with a note in the tree's journal."""

from collections.abc import Callable

import msgspec

from jettison.errors import JournalError
from jettison.gc.fsck.repair import Outcome, execute, keep_plan, load_plan, take_back
from jettison.gc.windows import tree_journal
from jettison.model.repair import RepairPlan
from jettison.model.run import Finding, Kind, Receipt, Run, State
from jettison.progress import Progress, silent
from jettison.store.journal import new_run_id
from jettison.store.lock import StorageLock
from jettison.store.tree import StorageTree

__all__ = ["run_repair", "undo_repair"]

_FOLDER = "folder"


def run_repair(
    tree: StorageTree,
    plan: RepairPlan,
    request: tuple[str, ...],
    clock: Callable[[], float],
    stamp: Callable[[float], str],
    *,
    noted: Callable[[Run], None] = lambda _: None,
    progress: Progress = silent,
) -> Run:
    """Execute the plan and return the run, which is in the tree's journal.

    Plan and journal entry are on the disk, and ``noted`` was called, before the first step. Raises
    :class:`~jettison.errors.Locked` if a collection or another repair is at it.
    """
    with StorageLock(tree, "repair"):
        journal = tree_journal(tree)
        keep_plan(tree, plan)
        run = Run(
            id=plan.id,
            kind=Kind.FSCK,
            state=State.APPLYING,
            started=stamp(plan.started),
            registry="",
            request=request,
            storage=str(tree.root),
            details={_FOLDER: plan.folder},
        )
        journal.write(run)
        noted(run)
        outcome = execute(tree, plan, progress)
        note = f"What was moved aside is in {plan.folder}; remove that when nothing is missed."
        receipt = _receipt(outcome, "repairs", len(plan.steps), stamp(clock()), (note,))
        run = msgspec.structs.replace(run, state=State.DONE, receipt=receipt)
        journal.write(run)
        return run


def undo_repair(
    tree: StorageTree,
    run: Run,
    clock: Callable[[], float],
    stamp: Callable[[float], str],
    *,
    progress: Progress = silent,
) -> Run:
    """Take a repair back and return the run that did it, which is in the tree's journal.

    What was written since is left, and is among the receipt's findings.
    """
    folder = run.details.get(_FOLDER)
    if not isinstance(folder, str):
        message = f"run {run.id} does not say where its repair is kept"
        raise JournalError(message)
    with StorageLock(tree, "undo of a repair"):
        plan = load_plan(tree, folder)
        now = clock()
        outcome = take_back(tree, plan, progress)
        steps = outcome.done + len(outcome.left)
        done = Run(
            id=new_run_id(now),
            kind=Kind.UNDO,
            state=State.DONE,
            started=stamp(now),
            registry="",
            request=run.request,
            storage=str(tree.root),
            of=run.id,
            receipt=_receipt(outcome, "repairs", steps, stamp(clock()), (), "taken back"),
        )
        journal = tree_journal(tree)
        journal.write(done)
        if not outcome.left:
            journal.write(msgspec.structs.replace(run, state=State.UNDONE))
        return done


def _receipt(
    outcome: Outcome,
    noun: str,
    total: int,
    finished: str,
    notes: tuple[str, ...],
    verb: str = "done",
) -> Receipt:
    subject = f"{outcome.done:,} of {total:,} {noun}"
    findings = [Finding(ok=outcome.done == total, subject=subject, sentence=verb)]
    findings += [Finding(ok=False, subject=one.path, sentence=one.reason) for one in outcome.left]
    return Receipt(finished=finished, findings=tuple(findings), notes=notes)
