"""An undo from entry to proof: the other job that changes a registry."""

from collections.abc import Callable, Iterator

import msgspec

from jettison.errors import Refused
from jettison.jobs.alone import undoing
from jettison.jobs.remove import DEFAULT_WINDOW
from jettison.jobs.restore import Elsewhere, plan_undo, put_back
from jettison.jobs.verify import verify_restored
from jettison.jobs.workspace import Workspace
from jettison.model.digest import Digest
from jettison.model.journal import (
    Finding,
    FindingCode,
    JobState,
    JournalEntry,
    Receipt,
    RemovalEntry,
    SavedManifest,
    UndoEntry,
)
from jettison.model.restoration import NotBack, Undoable, UndoPlan, is_undoable
from jettison.model.times import rfc3339
from jettison.storage.journal import Journal, StepLog, new_run_id

__all__ = ["UndoJob", "require_undoable"]

_HALF_WAY = frozenset({JobState.APPLYING, JobState.INTERRUPTED, JobState.STOPPED})


def require_undoable(run: JournalEntry) -> Undoable:
    """Return a run that can be undone; raise :class:`Refused` for any other."""
    if is_undoable(run):
        return run
    message = f"run {run.id} removed nothing that could be put back ({run.kind})"
    hint = "See `jettison runs` for removals."
    if isinstance(run, UndoEntry):
        hint = f"To remove again what it put back: jettison rm {' '.join(run.request)}"
    raise Refused(message, hint=hint)


class UndoJob:
    """Restores what the run ``entry`` removed: planned, applied, and verified.

    If the workspace has no storage, that of the run is opened if it still exists.
    """

    def __init__(self, workspace: Workspace, entry: Undoable) -> None:
        self._journal = workspace.journal
        self._home = self._journal.home_of(entry.id)
        self._workspace = workspace if workspace.storage is not None else workspace.beside(entry)
        self._entry = entry

    async def plan(self, *, overwrite: bool = False) -> UndoPlan:
        """Return what an undo restores, changing nothing.

        ``overwrite``: also tags that point to other images by now. Raises :class:`Refused` if
        nothing can be restored.
        """
        entry, place = self._entry, self._workspace
        place.look_again()
        elsewhere = Elsewhere(self._saved_by_others, self._stored())
        return await plan_undo(
            place.registry,
            entry,
            self._steps(),
            elsewhere,
            overwrite=overwrite,
            progress=place.progress,
        )

    def _steps(self) -> StepLog | None:
        """Return the steps that the run began; None if it was done."""
        log = self._home.steps(self._entry.id)
        return log if log.begun or log.done or self._entry.state in _HALF_WAY else None

    def _saved_by_others(self) -> Iterator[SavedManifest]:
        """Yield what other runs on the same registry saved, in all journals at hand."""
        journals: dict[str, Journal] = {
            one.location: one for one in (self._home, self._journal, self._workspace.users_journal)
        }
        for journal in journals.values():
            for other in journal.runs():
                if (
                    isinstance(other, RemovalEntry | UndoEntry)
                    and other.id != self._entry.id
                    and other.registry == self._entry.registry
                ):
                    yield from other.saved

    def _stored(self) -> Callable[[Digest], bytes | None]:
        storage = self._workspace.storage
        if storage is None:
            return lambda _: None
        return lambda digest: storage.read_manifest(digest.binary)

    async def apply(self, plan: UndoPlan) -> tuple[UndoEntry, list[NotBack]]:
        """Restore everything, verify it, and note both.

        Return the entry of the undo, and what it did not restore. The entry has the images whose
        tags it took, so that it can itself be undone. Raises :class:`Locked` if the run is going
        on still, or another process undoes it.
        """
        with undoing(self._home, self._entry):
            return await self._apply(plan)

    async def _apply(self, plan: UndoPlan) -> tuple[UndoEntry, list[NotBack]]:
        run, place, journal = self._entry, self._workspace, self._home
        place.look_again()
        now = place.clock()
        gave = {(repository, tag): digest for repository, tag, digest in plan.tags}
        done = UndoEntry(
            id=new_run_id(now),
            state=JobState.APPLYING,
            started=rfc3339(now),
            registry=run.registry,
            request=run.request,
            storage=run.storage,
            of=run.id,
            saved=plan.displaced,
            window_until=now + DEFAULT_WINDOW if plan.displaced and run.storage else None,
            gave=tuple(
                (one.repository, tag, gave[one.repository, tag])
                for one in plan.displaced
                for tag in one.tags
            ),
        )
        if plan.displaced:
            journal.write(done)  # before anything is taken from anybody
        back = await put_back(
            place.registry, run, plan, place.progress, storage=place.storage_registry
        )
        left = [*plan.left, *back.left]
        findings = tuple(await self.verify(plan, left))
        receipt = Receipt(
            finished=place.now(), tags=back.tags, manifests=back.manifests, findings=findings
        )
        done = msgspec.structs.replace(done, state=JobState.DONE, receipt=receipt)
        journal.write(done)
        if receipt.ok:
            # Only now may a collection stop honouring the window: tags hold everything again.
            journal.write(msgspec.structs.replace(run, state=JobState.UNDONE))
        if journal.location != self._journal.location:
            self._journal.point(done, journal)
        return done, left

    async def verify(self, plan: UndoPlan, left: list[NotBack]) -> list[Finding]:
        """Check that everything is back, except what is ``left``, which becomes findings."""
        place = self._workspace
        place.look_again()
        findings = await verify_restored(place.registry, plan, left, place.progress)
        return findings + [
            Finding(FindingCode.NOT_RESTORED, ok=False, subject=one.subject, sentence=one.reason)
            for one in left
        ]
