"""What the undo windows of a tree's own journal hold back from a collection."""

from collections.abc import Iterator

from jettison.errors import JournalError
from jettison.gc.mark import NOTHING_REMOVED, HeldManifest, Without
from jettison.gc.options import CollectOptions
from jettison.gc.plan import CollectionPlan, plan_collection
from jettison.gc.trace import Tracing
from jettison.model.run import Kind, State
from jettison.progress import Progress, silent
from jettison.store.journal import Journal, Unreadable
from jettison.store.tree import StorageTree

__all__ = ["held_manifests", "plan_within_windows", "tree_journal"]


def tree_journal(tree: StorageTree) -> Journal:
    """Return the journal that lies in the tree itself."""
    return Journal(tree.root / "jettison" / "runs")


def held_manifests(tree: StorageTree, now: float) -> Iterator[HeldManifest]:
    """Yield what can still be brought back at ``now`` (seconds since the epoch).

    Raises :class:`~jettison.errors.JournalError` for an entry that cannot be read: nobody knows
    what it holds (design.md, rule 2).
    """
    for run in tree_journal(tree).runs():
        if isinstance(run, Unreadable):
            message = f"{run.reason}; what it holds back is not known, so nothing is collected"
            raise JournalError(message, hint=f"Look at {tree.root}/jettison/runs/{run.id}.json.")
        if run.kind is not Kind.RM or run.state is State.UNDONE or run.window_until is None:
            continue
        if run.window_until > now:
            for saved in run.saved:
                yield HeldManifest(
                    run.id, run.window_until, saved.repository, saved.digest, saved.raw
                )


def plan_within_windows(
    tree: StorageTree,
    options: CollectOptions,
    now: float,
    without: Without = NOTHING_REMOVED,
    progress: Progress = silent,
    tracing: Tracing | None = None,
) -> CollectionPlan:
    """Plan a collection that keeps what the undo windows of the tree's journal hold.

    A removal writes its journal entry before it removes anything. So if one has begun while the
    tree was read, what it removed was perhaps seen as gone, and the plan is made again.
    """
    held = list(held_manifests(tree, now))
    while True:
        plan = plan_collection(
            tree, options, now, held, without, progress=progress, tracing=tracing
        )
        again = list(held_manifests(tree, now))
        if {one.run for one in again} <= {one.run for one in held}:
            return plan
        held = again
