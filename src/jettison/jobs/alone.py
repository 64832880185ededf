"""One process at a time carries out a command or undoes its run.

Two of the same command at once would both finish one interrupted run, or both apply one plan, and
an undo beside a run would put back what the run removes a moment later.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from jettison.errors import JournalError, Locked, NotFoundError, PlanStale
from jettison.model.digest import Digest
from jettison.model.journal import EntryHead, JobState, RemovalHead
from jettison.model.restoration import Undoable
from jettison.storage.journal import Journal

__all__ = ["carrying_out", "find_unfinished", "require_as_seen", "runs_of", "undoing"]

_WAIT: Final = (
    "Wait until it is done. One that was killed is in nobody's way; in a bucket that takes half a "
    "minute."
)


def runs_of(journal: Journal, fingerprint: str) -> Iterator[RemovalHead]:
    """Yield the runs in a journal of the command with this fingerprint."""
    for head in journal.heads():
        if isinstance(head, RemovalHead) and head.fingerprint == fingerprint:
            yield head


def find_unfinished(journal: Journal, fingerprint: str) -> RemovalHead | None:
    """Return the latest run in a journal that stopped half-way, of the command so named."""
    found = (head for head in runs_of(journal, fingerprint) if head.unfinished)
    return max(found, key=lambda head: head.id, default=None)


@contextmanager
def carrying_out(journal: Journal, fingerprint: str) -> Iterator[None]:
    """Hold the lease of the command with this fingerprint; it ends with the process.

    Raises :class:`Locked` if another process is carrying it out, or undoing its run.
    """
    with journal.lease(_name(fingerprint)) as held:
        if not held:
            begun = find_unfinished(journal, fingerprint)
            run = "" if begun is None else f", as run {begun.id} since {begun.started}"
            message = f"another process is at this removal now{run}; nothing was changed"
            raise Locked(message, hint=_WAIT)
        yield


@contextmanager
def undoing(journal: Journal, entry: Undoable) -> Iterator[None]:
    """Hold the lease of the command of a run that is to be undone.

    Raises :class:`Locked` if the run is still going on, or is being undone.
    """
    name = entry.fingerprint if isinstance(entry, RemovalHead) else entry.id
    with journal.lease(_name(name)) as held:
        if not held:
            message = f"another process is at run {entry.id} now; nothing was changed"
            raise Locked(message, hint=_WAIT)
        require_as_seen(journal, entry)
        yield


def require_as_seen(journal: Journal, entry: EntryHead) -> None:
    """Raise :class:`PlanStale` if another process has finished or undone a run meanwhile."""
    try:
        by_now = journal.head(entry.id)
    except (JournalError, NotFoundError):
        return  # nothing tells that anybody did
    finished = by_now.unfinished != entry.unfinished
    if finished or (by_now.state is JobState.UNDONE) != (entry.state is JobState.UNDONE):
        what = "undone" if by_now.state is JobState.UNDONE else "finished"
        message = f"another process has {what} run {entry.id} meanwhile; nothing was changed"
        raise PlanStale(message, hint="Look at the registry, and run the command again.")


def _name(text: str) -> str:
    return Digest.of(text.encode()).hex
