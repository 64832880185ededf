"""An undo from run id to proof."""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from jettison.errors import Refused
from jettison.jobs.remove import DEFAULT_WINDOW
from jettison.jobs.restore import Elsewhere, plan_undo, put_back
from jettison.jobs.verify import verify_restored
from jettison.jobs.workspace import Workspace
from jettison.model.digest import Digest
from jettison.model.journal import Finding, JobKind, JobState, JournalEntry, Receipt, SavedManifest
from jettison.model.restoration import NotBack, UndoPlan, is_undoable
from jettison.progress import Progress, silent
from jettison.registry import Registry
from jettison.storage.journal import Journal, StepLog, new_run_id

__all__ = ["prepare_undo", "take_back"]


async def prepare_undo(
    remote: Registry,
    run: JournalEntry,
    journals: Iterable[Journal],
    place: Workspace,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
) -> UndoPlan:
    """Return what an undo of ``run`` puts back; raises :class:`Refused` where it cannot.

    ``journals`` are those that runs on the same registry may be in, that of ``run`` first.
    """
    if not is_undoable(run):
        message = f"run {run.id} removed nothing that could be put back ({run.kind})"
        hint = "See `jettison runs` for removals."
        if run.kind is JobKind.UNDO:
            hint = f"To remove again what it put back: jettison rm {' '.join(run.request)}"
        raise Refused(message, hint=hint)
    known = list(journals)
    elsewhere = Elsewhere(lambda: _saved_by_others(run, known), _stored(place))
    return await plan_undo(
        remote, run, _steps(run, known[0]), elsewhere, overwrite=overwrite, progress=progress
    )


def _steps(run: JournalEntry, home: Journal) -> StepLog | None:
    """Return how far the run came; None where all of it was done, whatever the log says."""
    log = home.steps(run.id)
    logged = bool(log.begun or log.done)
    return (
        log
        if logged or run.state in {JobState.APPLYING, JobState.INTERRUPTED, JobState.STOPPED}
        else None
    )


def _saved_by_others(run: JournalEntry, journals: Iterable[Journal]) -> Iterator[SavedManifest]:
    for journal in journals:
        for other in journal.runs():
            if (
                isinstance(other, JournalEntry)
                and other.id != run.id
                and other.registry == run.registry
            ):
                yield from other.saved


def _stored(place: Workspace) -> Callable[[Digest], bytes | None]:
    tree = place.tree
    if tree is None:
        return lambda _: None
    return lambda digest: tree.read_manifest(digest.raw)


async def take_back(
    remote: Registry,
    run: JournalEntry,
    plan: UndoPlan,
    journal: Journal,
    clock: Callable[[], float],
    stamp: Callable[[float], str],
    *,
    place: Workspace | None = None,
    progress: Progress = silent,
) -> tuple[JournalEntry, list[NotBack]]:
    """Put everything back, prove it, and note both. ``place`` is where the run was, if at hand.

    Return the run that did it, and what it did not put back. What it took from others is saved in
    the run, so that it can be undone in its turn.
    """
    now = clock()
    gave = {(repository, tag): digest for repository, tag, digest in plan.tags}
    done = JournalEntry(
        id=new_run_id(now),
        kind=JobKind.UNDO,
        state=JobState.APPLYING,
        started=stamp(now),
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
    storage = None if place is None else place.storage
    back = await put_back(remote, run, plan, progress, storage=storage)
    left = [*plan.left, *back.left]
    findings = await verify_restored(remote, plan, left, progress)
    findings += [Finding(ok=False, subject=one.subject, sentence=one.reason) for one in left]
    done = msgspec.structs.replace(
        done,
        state=JobState.DONE,
        receipt=Receipt(
            finished=stamp(clock()),
            tags=back.tags,
            manifests=back.manifests,
            findings=tuple(findings),
        ),
    )
    journal.write(done)
    if done.receipt is not None and done.receipt.ok:
        # Only now may a collection stop honouring the window: tags hold everything again.
        journal.write(msgspec.structs.replace(run, state=JobState.UNDONE))
    return done, left
