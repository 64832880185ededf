"""What the undo windows of a tree's own journal hold back from a collection."""

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Final

from jettison.collector.mark import NOTHING_REMOVED, AssumedRemoval, HeldManifest
from jettison.collector.mark_log import Tracing
from jettison.collector.options import CollectOptions
from jettison.collector.plan import CollectionPlan
from jettison.collector.planning import plan_collection
from jettison.collector.space import SpaceCount
from jettison.errors import InvalidName, JournalError, NotFoundError
from jettison.model.digest import Digest
from jettison.model.journal import (
    JobState,
    RemovalEntry,
    RemovalHead,
    RepairEntry,
    SavedManifest,
    UndoEntry,
    UndoHead,
)
from jettison.model.names import RepoName
from jettison.model.repair import Move
from jettison.progress import Progress, silent
from jettison.storage.journal import Unreadable, tree_journal
from jettison.storage.protocol import Storage
from jettison.storage.repair_plans import load_plan

__all__ = [
    "FOREVER",
    "held_manifests",
    "plan_within_windows",
    "removed_manifests",
    "saved_manifests",
    "used_addresses",
]

_MOST_ADDRESSES: Final = 5

FOREVER: Final = 253402300799.0
"""The end of the year 9999, in seconds since the epoch: what a window without an end has."""


def held_manifests(storage: Storage, now: float) -> Iterator[HeldManifest]:
    """Yield what can still be brought back at ``now`` (seconds since the epoch).

    Also all manifests of repositories out of which a repair moved a tag or a manifest's link, as
    long as it can be undone: what was moved had kept the collector from them.
    Raises :class:`~jettison.errors.JournalError` for an entry that cannot be read: nobody knows
    what it holds (decision 0002).
    """
    journal = tree_journal(storage)
    for head in journal.heads():
        if isinstance(head, Unreadable):
            raise _unknown(storage, head)
        if head.state is JobState.UNDONE:
            continue
        if isinstance(head, RepairEntry):
            yield from _unguarded(storage, head)
        # An undo takes references away where it takes tags back from other images.
        elif isinstance(head, RemovalHead | UndoHead) and (head.window_until or 0.0) > now:
            run = journal.read_quietly(head.id)
            if isinstance(run, Unreadable):
                raise _unknown(storage, run)
            if isinstance(run, RemovalEntry | UndoEntry):
                until = head.window_until or 0.0
                for saved in run.saved:
                    yield HeldManifest(run.id, until, saved.repository, saved.digest, saved.raw)


def _unknown(storage: Storage, run: Unreadable) -> JournalError:
    message = f"{run.reason}; what it holds back is not known, so nothing is collected"
    return JournalError(
        message, hint=f"Look at {storage.location}/{storage.places.journal}/{run.id}.json."
    )


def _unguarded(storage: Storage, run: RepairEntry) -> Iterator[HeldManifest]:
    try:
        plan = load_plan(storage, run.id)
    except NotFoundError:
        return  # it cannot be undone any more
    except JournalError as error:
        message = f"{error.message}; what it holds back is not known, so nothing is collected"
        raise JournalError(message, hint=error.hint) from error
    moves = (step for step in plan.steps if isinstance(step, Move))
    names = {step.unguards for step in moves if storage.exists(step.to)}
    for name in sorted(name for name in names if name is not None):
        try:
            repository = RepoName(name)
        except InvalidName:
            continue  # nothing in it is collected
        with storage.repository(repository) as reader:
            for digest in sorted(reader.revisions().linked):
                # What its bytes are is for the mark to read.
                yield HeldManifest(run.id, FOREVER, repository, Digest.from_binary(digest), b"")


def removed_manifests(storage: Storage) -> Iterator[Digest]:
    """Yield the manifests that the tree's journal says were removed, or lost a tag."""
    return (saved.digest for saved in saved_manifests(storage))


def saved_manifests(storage: Storage) -> Iterator[SavedManifest]:
    """Yield the manifests that removals have saved in the tree's journal before they went.

    Every entry is read as a whole, which may be much: ask when it matters.
    """
    for run in tree_journal(storage).runs():
        if isinstance(run, RemovalEntry | UndoEntry) and run.state is not JobState.UNDONE:
            yield from run.saved


def used_addresses(storage: Storage) -> list[str]:
    """Return at which addresses the tree's registry was used, the latest first, a few at most."""
    heads = [head for head in tree_journal(storage).heads() if not isinstance(head, Unreadable)]
    found = dict.fromkeys(head.registry for head in reversed(heads) if head.registry)
    return list(found)[:_MOST_ADDRESSES]


def plan_within_windows(
    storage: Storage,
    options: CollectOptions,
    now: float,
    without: AssumedRemoval = NOTHING_REMOVED,
    progress: Progress = silent,
    *,
    tracing: Tracing | None = None,
    counting: SpaceCount | None = None,
    unlinked: Collection[Digest] = (),
) -> CollectionPlan:
    """Plan a collection that keeps what the undo windows of the tree's journal hold.

    ``unlinked`` are manifests that were removed on purpose, beside those that the journal names.

    A removal writes its journal entry before it removes anything. So if one has begun while the
    tree was read, what it removed was perhaps seen as gone, and the plan is made again.
    """
    held = list(held_manifests(storage, now))
    while True:
        plan = plan_collection(
            storage,
            options,
            now,
            held,
            without,
            progress=progress,
            tracing=tracing,
            counting=counting,
            unlinked=chain(unlinked, removed_manifests(storage)),
        )
        again = list(held_manifests(storage, now))
        if {one.run for one in again} <= {one.run for one in held}:
            return plan
        held = again
