"""An undo from run id to proof."""

from collections.abc import Callable

import msgspec

from jettison.errors import Refused
from jettison.lifecycle.undo import UndoPlan, plan_undo, undo
from jettison.lifecycle.verify import verify_restored
from jettison.model.run import Kind, Receipt, Run, State
from jettison.progress import Progress, silent
from jettison.registry import Registry
from jettison.store.journal import Journal, new_run_id

__all__ = ["prepare_undo", "take_back"]


async def prepare_undo(
    remote: Registry, run: Run, *, overwrite: bool = False, progress: Progress = silent
) -> UndoPlan:
    """Return what an undo of ``run`` puts back; raises :class:`Refused` where it cannot."""
    if run.kind is not Kind.RM:
        message = f"run {run.id} removed nothing that could be put back ({run.kind})"
        raise Refused(message, hint="See `jettison runs` for removals.")
    return await plan_undo(remote, run, overwrite=overwrite, progress=progress)


async def take_back(
    remote: Registry,
    run: Run,
    plan: UndoPlan,
    journal: Journal,
    clock: Callable[[], float],
    stamp: Callable[[float], str],
    *,
    progress: Progress = silent,
) -> Run:
    """Put everything back, prove it, and note both; return the run that did it."""
    now = clock()
    await undo(remote, run, plan, progress)
    findings = await verify_restored(remote, run, progress)
    done = Run(
        id=new_run_id(now),
        kind=Kind.UNDO,
        state=State.DONE,
        started=stamp(now),
        registry=run.registry,
        request=run.request,
        storage=run.storage,
        of=run.id,
        receipt=Receipt(
            finished=stamp(clock()),
            tags=len(plan.tags),
            manifests=len(plan.manifests),
            findings=tuple(findings),
        ),
    )
    journal.write(done)
    if done.receipt is not None and done.receipt.ok:
        # Only now may a collection stop honouring the window: tags hold everything again.
        journal.write(msgspec.structs.replace(run, state=State.UNDONE))
    return done
