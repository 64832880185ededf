"""``jettison undo``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.last_run import confirm_last, tell_last
from jettison.cli.options import (
    AssumeQuiescent,
    Connection,
    DryRun,
    Output,
    Storage,
    Yes,
    run,
    user_journal,
    with_connection,
)
from jettison.cli.output import Format, counted, emit, note, table, tag_name, write, yellow
from jettison.cli.progress import reporting
from jettison.errors import PartlyDone, UsageError

if TYPE_CHECKING:
    from jettison.jobs.workspace import Workspace
    from jettison.model.journal import JournalEntry, RepairEntry, UndoEntry
    from jettison.model.repair import Move, Write
    from jettison.model.restoration import NotBack, Undoable, UndoPlan

__all__ = ["EXAMPLE", "undo"]

EXAMPLE = "Example: jettison undo last · jettison undo 20260102-030405-k7m2"


@with_connection
def undo(
    run_id: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Its id, the beginning or end of it, or `last`."),
    ],
    dry_run: DryRun = False,
    yes: Yes = False,
    overwrite_tags: Annotated[
        bool,
        typer.Option("--overwrite-tags", help="Take back tags that point to other images by now."),
    ] = False,
    storage: Storage = None,
    assume_quiescent: AssumeQuiescent = False,
    registry: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="With `last`: the last run on this registry."),
    ] = None,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Put back what a run removed: the same bytes, the same digests, the same tags.

    Works until the registry is collected, and with a backup even then; in any order of runs, and
    for runs that stopped half-way. A tag that points to another image by now stays there. Exit code
    3: something cannot be put back and is named, and the rest is back. Exit code 4: nothing can be
    put back, and nothing was changed. `last` is your last removal, or with --storage the last in
    that storage; if your last run was on another registry, the command asks first. A repair by
    `fsck` is undone in the storage itself (that of --storage, else the one of the repair); what was
    written there since stays, with exit code 3, and the registry of a bucket must be stopped or
    read-only for it.
    """
    from jettison.jobs.undo import require_undoable
    from jettison.jobs.workspace import open_workspace
    from jettison.model.journal import JobState, RepairEntry

    place = open_workspace(storage, users=user_journal())
    journal = place.journal
    found = journal.find_undoable(run_id, registry)
    tell_last(run_id, found)
    if found.state is JobState.UNDONE:
        note(f"Run {found.id} was undone already; nothing was changed.")
        if output is not Format.TABLE:
            emit(output, {"run": found})
        return
    if not dry_run:
        confirm_last(run_id, found, journal, named=bool(storage or registry), yes=yes)
    if isinstance(found, RepairEntry):
        _undo_repair(found, place, output, dry_run=dry_run, assume_quiescent=assume_quiescent)
        return
    taken = require_undoable(found)
    undone = run(
        _undo(taken, storage, connection, output, dry_run=dry_run, overwrite=overwrite_tags),
        changing=True,
    )
    if undone is None:
        return
    done, left = undone
    if output is not Format.TABLE:
        emit(output, {"run": done})
    if left:
        raise _partly(found, left)
    from jettison.jobs.outcome import require_verified

    if done.receipt is not None:
        require_verified(done.receipt.findings, done.id)


def _partly(found: "JournalEntry", left: list["NotBack"]) -> PartlyDone:
    from jettison.jobs.outcome import and_more

    hint = f"When that is mended: jettison undo {found.id}"
    if any(one.taken for one in left):
        hint = f"To take such tags from other images: jettison undo {found.id} --overwrite-tags"
    return PartlyDone(
        f"not everything could be put back: {left[0].subject}: {left[0].reason}{and_more(left)}",
        hint=hint,
    )


async def _undo(
    found: "Undoable",
    storage: str | None,
    connection: Connection,
    output: Format,
    *,
    dry_run: bool,
    overwrite: bool,
) -> "tuple[UndoEntry, list[NotBack]] | None":
    from jettison import connect
    from jettison.cli.receipt import print_receipt

    # What was done in a storage alone is undone there.
    host = found.registry or None
    where = storage if host is not None else storage or found.storage
    async with connect(host, storage=where, connection=connection) as registry:
        with reporting() as progress:
            told = registry.reporting_to(progress)
            plan = await told.plan_undo(found, overwrite=overwrite)
        if output is Format.TABLE:
            _print(found, plan)
        elif dry_run:
            emit(output, {"run": found.id, "undo": plan})
        if dry_run:
            return None
        with reporting() as progress:
            try:
                done, left = await registry.reporting_to(progress).undo(found, plan)
            except PartlyDone:
                if output is not Format.TABLE:
                    emit(output, {"run": found.id, "undo": plan})
                raise
    if output is Format.TABLE:
        print_receipt(done)
    return done, left


def _undo_repair(
    found: "RepairEntry",
    place: "Workspace",
    output: Format,
    *,
    dry_run: bool,
    assume_quiescent: bool,
) -> None:
    from jettison.cli.receipt import print_receipt
    from jettison.jobs.repair import RepairUndoJob
    from jettison.storage.opening import open_storage

    if place.storage is None and not found.storage:
        message = f"run {found.id} does not say which storage it repaired"
        raise UsageError(message, hint="Give it: --storage DIR.")
    there = place
    if there.storage is None:
        there = replace(place, storage=open_storage(Path(found.storage or ""), {})[0])
    tree = there.own_storage
    if dry_run:
        plan = RepairUndoJob(there, found).plan()
        if output is not Format.TABLE:
            emit(output, {"run": found.id, "undo": plan})
            return
        what = f"run {found.id}, a repair of {tree.location}"
        write(f"Undo of {what}, where it still can be taken back:")
        table(["STEP", "PATH", "FROM"], [_taken_back(step) for step in plan.steps[::-1]])
        return
    with reporting() as progress:
        job = RepairUndoJob(there.reporting_to(progress), found)
        done = job.apply(assume_quiescent=assume_quiescent)
    if place.storage is None:
        place.journal.point(done, there.journal)
    if output is Format.TABLE:
        print_receipt(done)
    else:
        emit(output, {"run": done})
    left = [] if done.receipt is None else [one for one in done.receipt.findings if not one.ok]
    if left:
        raise PartlyDone(
            f"not everything could be taken back: {left[-1].subject}: {left[-1].sentence}",
            hint="Look at what is named there, then try again.",
        )


def _taken_back(step: "Move | Write") -> tuple[str, str, str]:
    from jettison.model.repair import Move

    if isinstance(step, Move):
        return ("stays" if step.stays else "move back", step.path, step.to)
    return ("remove" if step.old is None else "write the old", step.path, "")


def _print(found: "JournalEntry", plan: "UndoPlan") -> None:
    from jettison.cli.receipt import what_goes

    write(
        f"Undo of run {found.id} on {found.place}, to put back: "
        + what_goes(len(plan.tags), len(plan.manifests))
        + (f", {counted(len(plan.blobs), 'blob')} from the backup" if plan.blobs else "")
        + "."
    )
    tags = [(repository, tag_name(tag), digest.short) for repository, tag, digest in plan.tags]
    if tags:
        table(["REPOSITORY", "TAG", "DIGEST"], tags)
    for one in plan.left:
        note(yellow(f"not put back: {one.subject}: {one.reason}"))
