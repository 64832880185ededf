"""``jettison gc`` from options to receipt: plan, collect, and a note in the tree's journal."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from jettison.errors import JournalError
from jettison.gc.plan import CollectionPlan, CollectOptions, LinkedDigest, plan_collection
from jettison.gc.quiescence import require_quiescent
from jettison.gc.sweep import CollectionReceipt, collect
from jettison.gc.trace import Tracing
from jettison.gc.windows import held_manifests, tree_journal
from jettison.model.run import Finding, Kind, Receipt, Run, State
from jettison.progress import Progress, silent
from jettison.store.configuration import Configuration
from jettison.store.journal import new_run_id
from jettison.store.tree import StorageTree

__all__ = ["Collection", "end_windows", "prepare_collection", "run_collection"]


MOST_SAMPLED: Final = 100
"""So many of the removed layer links are noted for :func:`verify_collected`."""


class Collection(msgspec.Struct, frozen=True):
    """A collection as it stands in the journal, and its receipt."""

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
    tracing: Tracing | None = None,
) -> CollectionPlan:
    """Plan a collection, honouring the undo windows in the tree unless ``end_undo``.

    ``now`` is in seconds since the epoch. Without a grace period, or with ``end_undo``, the
    registry must be stopped or read-only; raises :class:`~jettison.errors.NotQuiescent` if not.
    """
    if (options.grace <= 0 or end_undo) and not assume_quiescent:
        require_quiescent(configuration)
    # Read with `end_undo` too: a window that cannot be read cannot be ended.
    held = list(held_manifests(tree, now))
    held = [] if end_undo else held
    return plan_collection(tree, options, now, held, progress=progress, tracing=tracing)


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
    receipt = collect(tree, plan, clock=clock, progress=progress)
    if end_undo:
        end_windows(tree, plan.started)
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
            freed_bytes=receipt.blobs.bytes,
            disk_free_before=receipt.disk_free_before,
            disk_free_after=receipt.disk_free_after,
            findings=tuple(_findings(tree, plan, receipt)),
            notes=tuple(f"{problem.path}: {problem.message}" for problem in receipt.problems),
        ),
        details={
            "removed": msgspec.to_builtins(receipt.removed),
            "links": [(link.repository, str(link.digest)) for link in _sample(plan.layer_links)],
        },
    )
    with contextlib.suppress(JournalError):  # a disk that is still full; the receipt is printed
        tree_journal(tree).write(run)
    return Collection(run, receipt)


def _findings(
    tree: StorageTree, plan: CollectionPlan, receipt: CollectionReceipt
) -> Iterator[Finding]:
    """Put what was freed beside what was predicted, and both beside what is on the disk."""
    freed, failures = receipt.blobs.bytes, receipt.failures
    if freed == plan.bytes:
        yield Finding(ok=True, subject=f"{freed:,} bytes", sentence="freed, as predicted")
    else:
        sentence = (
            f"{receipt.put_back.count} blobs were put back, since somebody wants them again; "
            f"{failures} files could not be removed"
        )
        subject = f"freed {freed:,} of {plan.bytes:,} bytes predicted"
        yield Finding(ok=not failures, subject=subject, sentence=sentence)
    if plan.blobs:
        gone = sum(tree.blob(blob.digest.raw) is None for blob in plan.blobs)
        subject = f"{gone:,} of {len(plan.blobs):,} blob files"
        wanted = gone >= receipt.blobs.count
        sentence = "gone from the disk" if wanted else "gone; others pushed the rest again"
        yield Finding(ok=True, subject=subject, sentence=sentence)


def _sample(links: Sequence[LinkedDigest]) -> Sequence[LinkedDigest]:
    """Return links that a proof can ask the registry for, from everywhere in the tree."""
    return links[:: max(1, len(links) // MOST_SAMPLED)][:MOST_SAMPLED]


def end_windows(tree: StorageTree, now: float) -> None:
    """Note in the journal that what these runs removed is held no longer."""
    journal = tree_journal(tree)
    for run in journal.runs():
        if isinstance(run, Run) and run.window_until is not None and run.window_until > now:
            journal.write(msgspec.structs.replace(run, window_until=now))
