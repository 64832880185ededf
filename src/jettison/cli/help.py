"""``jettison help`` and ``jettison version``, for those who type them without dashes."""

from typing import Annotated, Any

import typer

from jettison import __version__
from jettison.cli.output import write
from jettison.errors import UsageError

__all__ = ["HELP_EXAMPLE", "VERSION_EXAMPLE", "help", "version"]

HELP_EXAMPLE = "Example: jettison help · jettison help gc · jettison help policy import"
VERSION_EXAMPLE = "Example: jettison version"


def help(  # noqa: A001 - it is the command's name
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND]", help="A command. Default: all.")
    ] = None,
) -> None:
    """Show what there is, or the help of a command: the same as --help."""
    from jettison.cli.commands import app

    # Looked up first: nothing but the name of a command may come before --help.
    root = context.find_root()
    found: Any = root.command
    for at, word in enumerate(words or ()):
        if not hasattr(found, "resolve_command"):
            whole = " ".join(("jettison", *(words or ())[:at]))
            raise UsageError(f"`{whole}` has no command {word!r}", hint=f"See `{whole} --help`.")
        found = found.resolve_command(context, [word])[1]
    app([*(words or ()), "--help"], prog_name=root.info_name, standalone_mode=False)


def version() -> None:
    """Print the version: the same as --version."""
    write(f"jettison {__version__}")
