"""``jettison rm``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.descriptor_cache import warn_before_removal
from jettison.cli.options import (
    AllowEmpty,
    AllowForeignOwner,
    AssumeQuiescent,
    Connection,
    DryRun,
    Exact,
    Grace,
    MaxRemoval,
    Output,
    Quick,
    Storage,
    Yes,
    check_reclaim,
    confirm,
    extent_of,
    parse_duration,
    run,
    with_connection,
)
from jettison.cli.output import (
    Format,
    ago,
    bold,
    command_again,
    command_line,
    dim,
    emit,
    moment,
    note,
    size,
    size_exactly,
    write,
    yellow,
)
from jettison.cli.progress import reporting
from jettison.errors import JettisonError

if TYPE_CHECKING:
    from jettison.api.registry import AsyncRegistrySession
    from jettison.cli import documents
    from jettison.jobs.removal_plan import RemovalRequest
    from jettison.jobs.remove import PreparedRemoval, RemovalSettings
    from jettison.model.journal import RemovalEntry
    from jettison.model.plan import Prediction
    from jettison.model.undo_promise import UndoPromise

__all__ = ["EXAMPLE", "rm"]

EXAMPLE = (
    "Example: jettison rm localhost:5000/app:1.0 -n · "
    "jettison rm localhost:5000/app:1.0 --reclaim --storage /etc/docker/registry/config.yml · "
    "jettison rm 'localhost:5000/app:pr-*' --backup /var/backups/app"
)


@with_connection
def rm(
    references: Annotated[
        list[str], typer.Argument(metavar="REF...", help="HOST/REPO:TAG, :GLOB or @DIGEST.")
    ],
    all_tags: Annotated[
        bool, typer.Option("--all-tags", help="Allow every tag of HOST/REPO to go.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    reclaim: Annotated[
        bool,
        typer.Option(
            "--reclaim",
            help="Collect and verify at once; needs --storage. Cannot be undone without --backup.",
        ),
    ] = False,
    storage: Storage = None,
    backup: Annotated[
        Path | None,
        typer.Option(
            "--backup",
            metavar="DIR",
            help="Save everything as an OCI layout first, so that undo always works.",
        ),
    ] = None,
    without_undo: Annotated[
        bool,
        typer.Option(
            "--without-undo",
            help="Allow a removal that cannot be undone, because the registry drops blobs at once.",
        ),
    ] = False,
    break_indexes: Annotated[
        bool,
        typer.Option(
            "--break-indexes", help="Delete a digest although an index that stays lists it."
        ),
    ] = False,
    grace: Grace = "1h",  # type: ignore[assignment] # parsed by the option
    undo_window: Annotated[
        float,
        typer.Option(
            "--undo-window",
            parser=parse_duration,
            metavar="DURATION",
            help="With --storage: how long collections keep what was removed, so that undo works.",
        ),
    ] = "7d",  # type: ignore[assignment] # parsed by the option
    assume_quiescent: AssumeQuiescent = False,
    allow_empty: AllowEmpty = False,
    allow_foreign_owner: AllowForeignOwner = False,
    max_removal: MaxRemoval = "50%",  # type: ignore[assignment] # parsed by the option
    quick: Quick = False,
    exact: Exact = False,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Remove tags, and the manifests that nothing needs.

    A tag goes alone. Its manifest goes with it if that was its last tag and no index lists it; then
    its children and its signatures go too. Sibling tags stay. The command first prints what goes,
    what stays and what that frees, and asks. Run the same command to finish an interrupted run.
    """
    from jettison.jobs.removal_plan import RemovalRequest
    from jettison.jobs.remove import RemovalSettings
    from jettison.model.names import Reference
    from jettison.model.plausibility import Consent

    request = RemovalRequest(
        tuple(Reference.parse(text) for text in references),
        all_tags=all_tags,
        break_indexes=break_indexes,
        extent=extent_of(quick=quick, exact=exact),
    )
    check_reclaim(reclaim=reclaim, storage=storage, grace=grace, assume_quiescent=assume_quiescent)
    settings = RemovalSettings(
        reclaim=reclaim,
        grace=grace,
        window=undo_window,
        backup=None if backup is None else str(backup.absolute()),
        consent=Consent(empty=allow_empty, foreign_owner=allow_foreign_owner, most=max_removal),
        without_undo=without_undo,
    )
    finished = run(
        _rm(request, settings, storage, connection, output, dry_run=dry_run, yes=yes),
        changing=True,
    )
    if finished is None:
        return
    if output is not Format.TABLE:
        emit(output, {"run": finished})
    from jettison.jobs.outcome import require_success

    require_success(finished)


async def _rm(
    request: "RemovalRequest",
    settings: "RemovalSettings",
    storage: str | None,
    connection: Connection,
    output: Format,
    *,
    dry_run: bool,
    yes: bool,
) -> "RemovalEntry | None":
    from jettison import connect
    from jettison.cli.receipt import print_receipt, tell_undo
    from jettison.collector.plausibility import refuse

    async with connect(request.host, storage=storage, connection=connection) as registry:
        with reporting() as progress:
            prepared = await registry.reporting_to(progress).plan_removal(
                *request.references,
                all_tags=request.all_tags,
                break_indexes=request.break_indexes,
                extent=request.extent,
                settings=settings,
            )
        if prepared.begun is not None:
            begun = prepared.begun.id
            note(f"Run {begun} of the same command was interrupted; this finishes it.")
        promise = registry.promise(prepared)
        if output is Format.TABLE:
            _print(prepared, promise, settings, storage)
            if settings.reclaim:
                warn_before_removal(registry.workspace.configuration)
        elif dry_run:
            told: documents.RemovalPlan = {
                "plan": prepared.plan,
                "prediction": prepared.prediction,
            }
            emit(output, told)
        if settings.reclaim:
            refuse(prepared.objections)
        if dry_run:
            return None
        if prepared.begun is None:
            registry.require_way_back(prepared)
        confirm(_question(prepared, promise), yes=yes)
        with reporting() as progress:
            finished = await _told(registry.reporting_to(progress), prepared, output)
    if output is Format.TABLE:
        write("")
        print_receipt(finished)
        tell_undo(finished, time.time())
        _tell_later(finished, prepared, storage)
    return finished


async def _told(
    registry: "AsyncRegistrySession", prepared: "PreparedRemoval", output: Format
) -> "RemovalEntry":
    """Do it; if an error ends it, first print its progress."""
    from jettison.cli.receipt import print_receipt

    try:
        return await registry.remove(prepared)
    except JettisonError:
        if registry.last is not None:
            if output is Format.TABLE:
                print_receipt(registry.last)
            else:
                emit(output, {"run": registry.last})
        raise


def _print(
    prepared: "PreparedRemoval",
    promise: "UndoPromise",
    settings: "RemovalSettings",
    storage: str | None,
) -> None:
    from jettison.cli.receipt import print_plan

    print_plan(prepared.plan)
    prediction = prepared.prediction
    if prediction is not None:
        write(f"Collecting now frees {bold(size_exactly(prediction.total))}:")
        write(f"  {size_exactly(prediction.removal)} by this removal")
        if prediction.garbage:
            write(f"  {size_exactly(prediction.garbage)} of garbage that was there before")
        if prediction.later:
            _print_later(prediction, settings, storage)
        note(*(yellow(f"warning: {problem}") for problem in prediction.problems))
    elif prepared.plan.estimate.freed_bytes:
        note(dim("Nothing is freed before the registry is collected (see `jettison gc`)."))
    undo = f"Undo: {promise.sentence}."
    note(dim(undo) if promise.possible else yellow(undo))


def _print_later(
    prediction: "Prediction", settings: "RemovalSettings", storage: str | None
) -> None:
    """Print why not everything is freed now, when it will be, and what frees it now."""
    text = f"  {size_exactly(prediction.later)} more later"
    if prediction.until is None:
        write(f"{text}: held for an undo of another run, or for what cannot be read")
        return
    since = f"pushed less than {ago(settings.grace)} ago, so that a push may rely on it"
    write(f"{text}: {since}; then, from {moment(prediction.until)} on: {_collect_command(storage)}")
    now = command_again(("--grace", "0s", "--assume-quiescent"))
    write(f"    or: now, if nobody pushes: {now}")


def _tell_later(finished: "RemovalEntry", prepared: "PreparedRemoval", storage: str | None) -> None:
    """Print again, after a removal that freed less than it will, what frees the rest."""
    prediction = prepared.prediction
    if finished.reclaim and prediction is not None and prediction.until is not None:
        later = f"Not freed yet: {size_exactly(prediction.later)}, pushed a short time ago."
        when = f"from {moment(prediction.until)} on: {_collect_command(storage)}"
        now = _collect_command(storage, "--grace", "0s", "--assume-quiescent")
        note(yellow(f"{later} It can be freed {when}"), f"   or: now, if nobody pushes: {now}")


def _collect_command(storage: str | None, *options: str) -> str:
    return command_line(["gc", storage or "", *options])


def _question(prepared: "PreparedRemoval", promise: "UndoPromise") -> str:
    from jettison.cli.receipt import bound, what_goes

    plan = prepared.plan
    what = what_goes(plan.tag_count, plan.manifest_count)
    if prepared.prediction is not None:
        gain = f"freeing {size(prepared.prediction.total)}"
    else:
        gain = f"making {bound(plan.estimate)}{size(plan.estimate.freed_bytes)} collectable"
    final = "" if promise.possible else ", for good"
    return f"Remove {what} from {plan.registry}, {gain}{final}?"
