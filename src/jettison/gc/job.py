"""``jettison gc`` from options to receipt: plan, collect, and a note in the tree's journal."""

import contextlib
from collections.abc import Callable

import msgspec

from jettison.errors import JournalError
from jettison.gc.plan import CollectionPlan, CollectOptions, plan_collection
from jettison.gc.quiescence import require_quiescent
from jettison.gc.sweep import CollectionReceipt, collect
from jettison.gc.windows import held_manifests, tree_journal
from jettison.model.run import Finding, Kind, Receipt, Run, State
from jettison.progress import Progress, silent
from jettison.store.configuration import Configuration
from jettison.store.journal import new_run_id
from jettison.store.tree import StorageTree

__all__ = ["Collection", "end_windows", "prepare_collection", "run_collection"]


class Collection(msgspec.Struct, frozen=True):
    """What a collection did, beside what the disk showed before and after, in bytes."""

    run: Run
    receipt: CollectionReceipt


def prepare_collection(
    tree: StorageTree,
    configuration: Configuration | None,
    options: CollectOptions,
    now: float,
    *,
    end_undo: bool = False,
    assume_quiescent: bool = False,
    progress: Progress = silent,
) -> CollectionPlan:
    """Plan a collection, honouring the undo windows in the tree unless ``end_undo``.

    ``now`` is in seconds since the epoch. Without a grace period, or with ``end_undo``, the
    registry must be stopped or read-only; raises :class:`~jettison.errors.NotQuiescent` if not.
    """
    if (options.grace <= 0 or end_undo) and not assume_quiescent:
        require_quiescent(configuration)
    # Read with `end_undo` too: a window that cannot be read cannot be ended.
    held = list(held_manifests(tree, now))
    return plan_collection(tree, options, now, [] if end_undo else held, progress=progress)


def run_collection(
    tree: StorageTree,
    plan: CollectionPlan,
    request: tuple[str, ...],
    clock: Callable[[], float],
    stamp: Callable[[float], str],
    *,
    end_undo: bool = False,
    progress: Progress = silent,
) -> Collection:
    """Execute the plan and note it in the tree's journal, with its receipt."""
    before = _blob_bytes(tree)
    receipt = collect(tree, plan, clock=clock, progress=progress)
    after = _blob_bytes(tree)
    if end_undo:
        end_windows(tree, plan.started)
    freed = receipt.blobs.bytes
    findings = [Finding(ok=True, subject=f"{freed:,} bytes", sentence="freed, as predicted")]
    if freed != receipt.predicted_bytes:
        findings = [
            Finding(
                ok=not receipt.failures,
                subject=f"freed {freed:,} of {receipt.predicted_bytes:,} bytes predicted",
                sentence=f"{receipt.put_back.count} blobs were put back, since somebody wants them "
                f"again; {receipt.failures} files could not be removed",
            )
        ]
    if before - after != freed:
        sentence = "more is on the disk than that explains: others pushed meanwhile"
        subject = f"{after + freed - before:,} bytes"
        findings.append(Finding(ok=True, subject=subject, sentence=sentence))
    run = Run(
        id=new_run_id(plan.started),
        kind=Kind.GC,
        state=State.DONE,
        started=stamp(plan.started),
        registry="",
        request=request,
        storage=str(tree.root),
        receipt=Receipt(
            finished=stamp(clock()),
            manifests=receipt.revisions.count,
            predicted_bytes=receipt.predicted_bytes,
            freed_bytes=freed,
            blobs_before=before,
            blobs_after=after,
            disk_free_before=receipt.disk_free_before,
            disk_free_after=receipt.disk_free_after,
            findings=tuple(findings),
            notes=tuple(f"{problem.path}: {problem.message}" for problem in receipt.problems),
        ),
    )
    with contextlib.suppress(JournalError):  # a disk that is still full; the receipt is printed
        tree_journal(tree).write(run)
    return Collection(run, receipt)


def end_windows(tree: StorageTree, now: float) -> None:
    """Note in the journal that what these runs removed is held no longer."""
    journal = tree_journal(tree)
    for run in journal.runs():
        if isinstance(run, Run) and run.window_until is not None and run.window_until > now:
            journal.write(msgspec.structs.replace(run, window_until=now))


def _blob_bytes(tree: StorageTree) -> int:
    return sum(blob.size for blob in tree.blobs())
