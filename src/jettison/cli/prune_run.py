"""A prune on the command line, from a policy or a plan file to the receipt."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from jettison.cli.options import Connection, confirm
from jettison.cli.output import Format, command_line, counted, dim, emit, note, size, write
from jettison.cli.policy_options import Target
from jettison.cli.progress import reporting
from jettison.cli.prune_options import CHANGES
from jettison.errors import JettisonError, UsageError

if TYPE_CHECKING:
    from jettison.api.registry import AsyncRegistrySession
    from jettison.cli import documents
    from jettison.jobs.prune import PreparedPrune, PruneJob, PruneRequest
    from jettison.jobs.remove import RemovalSettings
    from jettison.model.journal import RemovalEntry
    from jettison.model.retention.decide import Held
    from jettison.model.retention.prune_plan import Allowed, PrunePlan
    from jettison.model.retention.pulls import KnownPulls

__all__ = ["Outcome", "PruneCommand", "require_place"]


class Outcome:
    """The plan that was made or read, and the run that applied it; each None if there is none."""

    def __init__(self, plan: "PrunePlan | None", entry: "RemovalEntry | None" = None) -> None:
        self.plan = plan
        self.entry = entry


class PruneCommand:
    """A prune on the command line: plan, print, ask, apply, print.

    ``only``: nothing is applied.
    """

    def __init__(
        self,
        target: Target,
        connection: Connection,
        output: Format,
        settings: "RemovalSettings",
        *,
        only: bool,
        yes: bool,
        summary: bool,
        whole: bool,
    ) -> None:
        self._target = target
        self._connection = connection
        self._output = output
        self._settings = settings
        self._only = only
        self._yes = yes
        self._summary = summary
        self._whole = whole

    async def prune(self, request: "PruneRequest") -> Outcome:
        """Make a plan and apply it, or finish the interrupted run of the same command."""
        from jettison.jobs.prune import PruneJob

        async with self._connected() as session:
            with reporting() as progress:
                job = PruneJob(session.workspace.reporting_to(progress))
                fingerprint = job.fingerprint(request, self._settings)
                begun, made = None, None
                if not self._only:
                    begun = await job.find_interrupted(
                        fingerprint, self._settings, request, session.cache
                    )
                if begun is None:
                    made = await job.plan(request, session.cache)
            if begun is not None:
                return await self._rest(session, begun)
            assert made is not None  # noqa: S101 - one of both
            return await self._go_on(session, made, fingerprint, made.decided)

    async def apply(
        self,
        made: "PrunePlan",
        held: "Held",
        pulls: "KnownPulls | None",
        allowed: "Allowed",
        *,
        skip_moved: bool,
    ) -> Outcome:
        """Apply a plan that was made earlier, or the rest of it."""
        from jettison.jobs.prune import PruneJob

        async with self._connected() as session:
            with reporting() as progress:
                job = PruneJob(session.workspace.reporting_to(progress))
                fingerprint = job.fingerprint_of(made)
                begun = None
                if not self._only:
                    begun = await job.find_rest(made, self._settings, held, pulls, session.cache)
                done = None if begun is not None else job.removal.find_done(fingerprint)
                looked = time.time()
                if begun is None and done is None:
                    made = await job.renew(
                        made,
                        held,
                        skip=skip_moved,
                        allowed=allowed,
                        pulls=pulls,
                        cache=session.cache,
                    )
            if begun is not None:
                return await self._rest(session, begun)
            if done is not None:
                note(f"This plan was applied already, as run {done.id}; nothing was changed.")
                if self._output is not Format.TABLE:
                    emit(self._output, {"run": done})
                return Outcome(None)
            return await self._go_on(session, made, fingerprint, looked, once=True)

    def _connected(self) -> "AsyncRegistrySession":
        from jettison import connect

        target = self._target
        return connect(target.host, storage=target.storage, connection=self._connection)

    async def _go_on(
        self,
        session: "AsyncRegistrySession",
        made: "PrunePlan",
        fingerprint: str,
        looked: float,
        *,
        once: bool = False,
    ) -> Outcome:
        """Print a plan and, if that is wanted, apply it; ``looked`` is when it was made.

        ``once``: the fingerprint is that of the plan, which is applied once.
        """
        from jettison.jobs.prune import PruneJob

        nothing = self._only or not made.plan.steps
        if self._output is Format.TABLE:
            from jettison.cli.prune_plan import print_prune_plan

            print_prune_plan(made, summary=self._summary, whole=self._whole)
        elif nothing:
            from jettison.cli.prune_document import document_of

            told: documents.PrunePlan = {"plan": document_of(made)}
            emit(self._output, told)
        if nothing:
            if not self._only:
                PruneJob(session.workspace).note_untagged(made)
            return Outcome(made)
        return await self._apply(session, made, fingerprint, looked, once=once)

    async def _rest(self, session: "AsyncRegistrySession", begun: "PreparedPrune") -> Outcome:
        entry = begun.removal.begun
        assert entry is not None  # noqa: S101 - that is why it was found
        note(f"Run {entry.id} of the same command was interrupted; this finishes it.")
        steps = counted(len(entry.plan.steps), "step")
        confirm(f"Finish run {entry.id}, of {steps}?", yes=self._yes)
        return Outcome(None, await self._carried_out(session, begun))

    async def _apply(
        self,
        session: "AsyncRegistrySession",
        made: "PrunePlan",
        fingerprint: str,
        looked: float,
        *,
        once: bool = False,
    ) -> Outcome:
        from jettison.cli.receipt import what_goes
        from jettison.jobs.prune import PruneJob, require_unopposed

        require_unopposed(made)
        job = PruneJob(session.workspace)
        prepared = await job.prepare(made, self._settings, fingerprint, looked, once=once)
        job.removal.require_way_back(prepared.removal)
        promise = job.removal.promise(prepared.removal)
        if self._output is Format.TABLE:
            note(dim(f"Undo: {promise.sentence}."))
        plan = prepared.removal.plan
        what = what_goes(plan.tag_count, plan.manifest_count)
        final = "" if promise.possible else ", for good"
        place = self._target.host or self._target.storage
        gain = size(plan.estimate.freed_bytes)
        confirm(f"Remove {what} from {place}, making {gain} collectable{final}?", yes=self._yes)
        return Outcome(made, await self._carried_out(session, prepared))

    async def _carried_out(
        self, session: "AsyncRegistrySession", prepared: "PreparedPrune"
    ) -> "RemovalEntry":
        from jettison.cli.receipt import print_receipt, tell_undo
        from jettison.jobs.prune import PruneJob

        with reporting() as progress:
            job = PruneJob(session.workspace.reporting_to(progress))
            try:
                entry = await job.apply(prepared, session.cache)
            except JettisonError:
                _tell_progress(job, self._output)
                raise
        if self._output is Format.TABLE:
            write("")
            print_receipt(entry)
            tell_undo(entry, time.time())
        else:
            emit(self._output, {"run": entry})
        return entry

    def finish(
        self,
        outcome: Outcome,
        *,
        out: Path | None = None,
        exit_code: bool = False,
        more: Sequence[str] = (),
    ) -> None:
        """Write the plan, and end with the exit code that the outcome has.

        ``more`` are the options that the plan is to be applied with.
        """
        from jettison.jobs.outcome import require_success, require_whole
        from jettison.jobs.prune import require_unopposed

        made, entry = outcome.plan, outcome.entry
        if self._only and made is not None:
            require_unopposed(made)
        if out is not None and made is not None:
            _write_plan(out, made, more)
        if entry is not None:
            require_success(entry)
        if made is None:
            return
        if entry is None and not made.plan.steps and self._output is Format.TABLE:
            note("Nothing is to be removed.")
        require_whole(made)
        if exit_code and self._only and made.plan.steps:
            raise typer.Exit(CHANGES)


def _tell_progress(job: "PruneJob", output: Format) -> None:
    """Print how far a run came that an error ended."""
    from jettison.cli.receipt import print_receipt

    last = job.removal.last
    if last is None:
        return
    if output is Format.TABLE:
        print_receipt(last)
    else:
        emit(output, {"run": last})


def require_place(path: Path) -> None:
    """Raise before a long look at a registry if a file cannot be written there."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir():
        what = "it is a folder" if path.is_dir() else f"there is no folder {folder}"
        raise UsageError(f"cannot write the plan to {path}: {what}")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f"cannot write the plan to {path}: this user may not write there")


def _write_plan(path: Path, made: "PrunePlan", more: Sequence[str]) -> None:
    from jettison.errors import storage_errors
    from jettison.model import codec

    with storage_errors("write", path):
        path.write_bytes(codec.encode(made) + b"\n")
    again = command_line(["apply", str(path), *more])
    note(f"The plan is in {path}; nothing was removed. To apply it: {again}")
