"""``--in-use``: what runs, as a cluster or a machine lists it, for a run to leave alone."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from jettison.errors import UsageError, storage_errors

if TYPE_CHECKING:
    from jettison.model.retention.decide import Held

__all__ = ["InUse", "InUseMayBeEmpty", "read_held"]

_PANEL: Final = "What is held"
InUse = Annotated[
    list[str] | None,
    typer.Option(
        "--in-use",
        metavar="FILE|-",
        help="Images in use, which stay: references, one a line, or the JSON of "
        "`kubectl get pods -A -o json`, docker, podman, nerdctl or crictl. Several times for "
        "several lists; - is standard input.",
        rich_help_panel=_PANEL,
    ),
]
InUseMayBeEmpty = Annotated[
    bool,
    typer.Option(
        "--in-use-may-be-empty",
        help="Allow a list of images in use that names none.",
        rich_help_panel=_PANEL,
    ),
]


def read_held(in_use: list[str] | None, *, may_be_empty: bool = False) -> "Held":
    """Return what the lists hold: files, or ``-`` for standard input."""
    from jettison.model.retention.decide import NOTHING_HELD
    from jettison.model.retention.in_use import held_together, read_in_use

    if not in_use:
        return NOTHING_HELD
    if in_use.count("-") > 1:
        raise UsageError("--in-use - is given twice", hint="Standard input can be read once.")
    return held_together(
        read_in_use(*_read(one), may_be_empty=may_be_empty) for one in dict.fromkeys(in_use)
    )


def _read(name: str) -> tuple[bytes, str]:
    from jettison.model.retention.in_use import LARGEST

    if name == "-":
        if sys.stdin.isatty():
            hint = "Pipe a list to it: kubectl get pods -A -o json | jettison …"
            raise UsageError("--in-use - reads standard input, which is a terminal", hint=hint)
        return sys.stdin.buffer.read(LARGEST + 1), "standard input"
    path = Path(name)
    with storage_errors("read", path), path.open("rb") as file:
        return file.read(LARGEST + 1), name
