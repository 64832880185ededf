"""``jettison apply``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli import prune_options as pruning
from jettison.cli.in_use import InUse, InUseMayBeEmpty, read_held
from jettison.cli.options import (
    AssumeQuiescent,
    Connection,
    DryRun,
    Grace,
    Output,
    Storage,
    Yes,
    run,
    with_connection,
)
from jettison.cli.output import Format
from jettison.cli.policy_options import Target
from jettison.cli.prune_run import PruneCommand
from jettison.errors import InvalidDocument, UsageError, storage_errors

if TYPE_CHECKING:
    from jettison.model.retention.prune_plan import PrunePlan

__all__ = ["EXAMPLE", "apply"]


EXAMPLE = (
    "Example: jettison prune localhost:5000 --policy retention.yml --out plan.json · "
    "jettison apply plan.json -n · jettison apply plan.json --yes"
)


@with_connection
def apply(
    plan: Annotated[
        Path, typer.Argument(metavar="PLAN", help="A plan that `jettison prune --out` wrote.")
    ],
    dry_run: DryRun = False,
    yes: Yes = False,
    skip_moved: Annotated[
        bool,
        typer.Option(
            "--skip-moved",
            help="Leave what changed since the plan was made, and remove the rest.",
        ),
    ] = False,
    summary: pruning.Summary = False,
    whole: pruning.Whole = False,
    reclaim: pruning.Reclaim = False,
    storage: Storage = None,
    backup: pruning.Backup = None,
    without_undo: pruning.WithoutUndo = False,
    in_use: InUse = None,
    pulls: pruning.PullsFile = None,
    undo_window: pruning.UndoWindow = "7d",  # type: ignore[assignment] # parsed by the option
    grace: Grace = "1h",  # type: ignore[assignment] # parsed by the option
    assume_quiescent: AssumeQuiescent = False,
    allow_all_tags: pruning.AllowAllTags = False,
    allow_incomplete: pruning.AllowIncomplete = False,
    allow_foreign_owner: pruning.AllowForeignOwner = False,
    ignore_clock: pruning.IgnoreClock = False,
    in_use_may_be_empty: InUseMayBeEmpty = False,
    max_removal: pruning.MaxRemoval = None,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Apply a plan that `jettison prune --out` made, if the registry is still what it saw.

    The registry is read again, and the plan's policy decides again, at the time of the plan: what
    is to go and points elsewhere by now, or would stay by now, ends it with exit code 13, before
    anything is removed. What is gone already is no error. Run the same command to finish an
    interrupted run; a plan that was applied is not applied again.
    """
    made = _read(plan)
    if made.plan.registry == made.storage:
        target = Target(None, storage or made.opened_by)
    else:
        target = Target(made.plan.registry, storage)
    settings = pruning.make_settings(
        reclaim=reclaim,
        storage=target.storage,
        grace=grace,
        window=undo_window,
        backup=backup,
        without_undo=without_undo,
        assume_quiescent=assume_quiescent,
    )
    work = PruneCommand(
        target, connection, output, settings, only=dry_run, yes=yes, summary=summary, whole=whole
    )
    allowed = pruning.make_allowed(
        all_tags=allow_all_tags,
        clock=ignore_clock,
        incomplete=allow_incomplete,
        foreign_owner=allow_foreign_owner,
        most=max_removal,
    )
    held = read_held(in_use, may_be_empty=in_use_may_be_empty)
    known = None if pulls is None else pruning.read_pulls(pulls)
    work.finish(run(work.apply(made, held, known, allowed, skip_moved=skip_moved), changing=True))


def _read(path: Path) -> "PrunePlan":
    from jettison.model import codec
    from jettison.model.retention.prune_plan import PRUNE_SCHEMA, PrunePlan

    with storage_errors("read", path), path.open("rb") as file:
        raw = file.read(codec.LARGEST + 1)
    try:
        made: PrunePlan | None = codec.decode(raw, PrunePlan)
    except InvalidDocument as error:
        if _version(raw) <= PRUNE_SCHEMA:
            message = f"{path} is no plan of a prune: {error}"
            hint = "Make one: jettison prune HOST … --out FILE"
            raise UsageError(message, hint=hint) from None
        made = None
    if made is None or made.schema_version > PRUNE_SCHEMA:
        message = f"{path} was written by a newer version of Jettison"
        raise UsageError(message, hint="Upgrade Jettison.")
    return made


def _version(raw: bytes) -> int:
    """Return the version that a document says it has, 0 if it says none."""
    from jettison.model import codec

    try:
        found = codec.decode(raw, dict).get("schema_version")
    except InvalidDocument:
        return 0
    return found if isinstance(found, int) else 0
