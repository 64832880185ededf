"""The options of ``prune`` that ``apply``, ``explain``, ``snapshot`` and ``policy test`` share."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.options import check_reclaim, parse_duration
from jettison.cli.policy_options import read_option
from jettison.errors import NotFoundError

if TYPE_CHECKING:
    from jettison.jobs.remove import RemovalSettings
    from jettison.model.retention.prune_plan import Allowed
    from jettison.model.retention.pulls import KnownPulls

__all__ = [
    "CHANGES",
    "AllowAllTags",
    "AllowForeignOwner",
    "AllowIncomplete",
    "Backup",
    "IgnoreClock",
    "MaxRemoval",
    "PullsFile",
    "Reclaim",
    "Summary",
    "TrustTimes",
    "UndoWindow",
    "Whole",
    "WithoutUndo",
    "make_allowed",
    "make_settings",
    "read_pulls",
]

CHANGES = 3
"""The exit code of ``--exit-code`` where a dry run finds something to remove."""

_LOOKS_WRONG = "What looks wrong"
AllowAllTags = Annotated[
    bool,
    typer.Option(
        "--allow-all-tags",
        help="Allow every tag of a repository to go.",
        rich_help_panel=_LOOKS_WRONG,
    ),
]
AllowIncomplete = Annotated[
    bool,
    typer.Option(
        "--allow-incomplete",
        help="Allow a repository whose list of tags has gaps to be pruned.",
        rich_help_panel=_LOOKS_WRONG,
    ),
]
AllowForeignOwner = Annotated[
    bool,
    typer.Option(
        "--allow-foreign-owner",
        help="Allow a storage that belongs to a program such as Harbor to be pruned.",
        rich_help_panel=_LOOKS_WRONG,
    ),
]
IgnoreClock = Annotated[
    bool,
    typer.Option(
        "--ignore-clock",
        help="Allow the registry's clock and this machine's to differ.",
        rich_help_panel=_LOOKS_WRONG,
    ),
]
MaxRemoval = Annotated[
    str | None,
    typer.Option(
        "--max-removal",
        metavar="PERCENT",
        help="Refuse to remove more than this share of the tags or of their bytes; 30% unless the "
        "policy has another.",
        rich_help_panel=_LOOKS_WRONG,
    ),
]
PullsFile = Annotated[
    Path | None,
    typer.Option("--pulls", metavar="FILE", help="The book of pulls that `jettison listen` keeps."),
]
TrustTimes = Annotated[
    bool,
    typer.Option(
        "--trust-times",
        help="Take the times of a storage's links as they are, even if a copy seems to have made "
        "them.",
        rich_help_panel=_LOOKS_WRONG,
    ),
]
Backup = Annotated[
    Path | None,
    typer.Option(
        "--backup", metavar="DIR", help="Save everything as an OCI layout first, to undo from."
    ),
]
WithoutUndo = Annotated[
    bool,
    typer.Option(
        "--without-undo",
        help="Allow a removal that cannot be undone, because the registry drops blobs at once.",
    ),
]
UndoWindow = Annotated[
    float,
    typer.Option(
        "--undo-window",
        parser=parse_duration,
        metavar="DURATION",
        help="With a storage: how long collections keep what was removed, so that undo works.",
    ),
]
Reclaim = Annotated[
    bool,
    typer.Option(
        "--reclaim",
        help="Collect and verify at once; needs the storage. Cannot be undone without --backup.",
    ),
]
Summary = Annotated[
    bool, typer.Option("--summary", help="Print sums by repository and reason, not each tag.")
]
Whole = Annotated[
    bool, typer.Option("--list", help="Print each tag, also if they are many on a terminal.")
]


def make_settings(
    *,
    reclaim: bool,
    storage: str | None,
    grace: float,
    window: float,
    backup: Path | None,
    without_undo: bool,
    assume_quiescent: bool,
) -> "RemovalSettings":
    """Return the settings that the options mean; ``storage`` is that of the target."""
    from jettison.jobs.remove import RemovalSettings

    check_reclaim(reclaim=reclaim, storage=storage, grace=grace, assume_quiescent=assume_quiescent)
    return RemovalSettings(
        reclaim=reclaim,
        grace=grace,
        window=window,
        backup=None if backup is None else str(backup.absolute()),
        without_undo=without_undo,
    )


def make_allowed(
    *, all_tags: bool, clock: bool, incomplete: bool, foreign_owner: bool, most: str | None
) -> "Allowed":
    """Return what the options of "What looks wrong" allow."""
    from jettison.model.retention.prune_plan import Allowed
    from jettison.model.retention.quantities import Share

    share = None if most is None else read_option("--max-removal", Share, most)
    return Allowed(all_tags, clock, incomplete, foreign_owner, share)


def read_pulls(path: Path) -> "KnownPulls":
    """Return what a book of pulls tells."""
    from jettison.storage.pulls import read_book

    known = read_book(path, time.time())
    if known is None:
        raise NotFoundError(f"there is no book of pulls in {path}", hint="See `jettison listen`.")
    return known
