"""The commands, and how their errors reach a person.

`jettison --help` must answer at once, so command modules import what they need when they run.
"""

import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from inspect import cleandoc
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from jettison import __version__
from jettison.cli import (
    check,
    demo,
    fsck,
    garbage_collect,
    gc,
    inspect,
    login,
    ls,
    rm,
    runs,
    serve,
    undo,
    verify,
)
from jettison.cli.options import optional_values
from jettison.cli.output import Format, finish, note, open_streams, report, write
from jettison.errors import Interrupted, JettisonError, UsageError

__all__ = ["app", "main"]

_SYNONYMS: Final = {
    "collect": "gc",
    "delete": "rm",
    "help": "--help",
    "history": "runs",
    "list": "ls",
    "prune": "gc",
    "purge": "rm",
    "remove": "rm",
    "show": "inspect",
    "version": "--version",
}


class _Group(TyperGroup):
    """Commands, and the nearest of them for what is none."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - typer's own
        if args[0] not in self.commands and not args[0].startswith("-"):
            known = {**{name: name for name in self.commands}, **_SYNONYMS}
            near = get_close_matches(args[0].lower(), known, n=1)
            hint = f"Did you mean `jettison {known[near[0]]}`? " if near else ""
            raise UsageError(
                f"there is no command {args[0]!r}", hint=f"{hint}See `jettison --help`."
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="jettison",
    cls=_Group,
    help=(
        "Delete images from container registries, get the disk space back, prove it, undo it.\n\n"
        "Deleting is undoable, collecting is final: `rm` drops references and writes a journal, "
        "`gc` frees what nothing needs any more."
    ),
    epilog="Example:\n\njettison rm localhost:5000/app:1.0 --reclaim --storage /srv/registry",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _add(
    command: Callable[..., None],
    panel: str,
    example: str,
    *,
    name: str | None = None,
    cls: type[TyperCommand] | None = None,
) -> None:
    """Add a command; its paragraphs flow, whatever the terminal's width, and so do examples."""
    paragraphs = cleandoc(command.__doc__ or "").split("\n\n")
    app.command(
        name,
        cls=cls,
        rich_help_panel=panel,
        help="\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs),
        epilog="\n\n".join(["Example:", *example.removeprefix("Example: ").split(" · ")]),
    )(command)


LOOK, REMOVE, KEEP, MORE = "Look", "Remove and free", "Prove and take back", "More"
_add(check.check, LOOK, check.EXAMPLE)
_add(ls.ls, LOOK, ls.EXAMPLE)
_add(inspect.inspect, LOOK, inspect.EXAMPLE)
_add(fsck.fsck, LOOK, fsck.EXAMPLE)
_add(rm.rm, REMOVE, rm.EXAMPLE)
_add(gc.gc, REMOVE, gc.EXAMPLE, cls=optional_values(gc.OPTIONAL))
_add(
    garbage_collect.garbage_collect,
    REMOVE,
    garbage_collect.EXAMPLE,
    name="garbage-collect",
    cls=garbage_collect.PflagCommand,
)
_add(verify.verify, KEEP, verify.EXAMPLE)
_add(undo.undo, KEEP, undo.EXAMPLE)
_add(runs.runs, KEEP, runs.EXAMPLE)
_add(serve.serve, MORE, serve.EXAMPLE)
_add(login.login, MORE, login.LOGIN_EXAMPLE)
_add(login.logout, MORE, login.LOGOUT_EXAMPLE)
_add(demo.demo, MORE, demo.EXAMPLE)


def _print_version(wanted: bool) -> None:
    if wanted:
        write(f"jettison {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


def _interrupt(_: int, __: object) -> None:
    """Do what Ctrl-C does at this moment, which an event loop may have changed."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _end_like_ctrl_c() -> None:
    """Let whoever ends a command by SIGTERM or SIGHUP leave no work half done behind.

    At once they would end it like ``kill -9``: what a collection has set aside stays out of sight.
    """
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup does
            signal.signal(number, _interrupt)


def main() -> None:
    """Run the command line; the exit codes are design.md's, rule 10."""
    open_streams()
    arguments = sys.argv[1:]
    _end_like_ctrl_c()
    try:
        code = app(arguments or ["--help"], standalone_mode=False) or 0
        if not arguments:
            code = UsageError.exit_code
        elif code == Interrupted.exit_code:
            report(Interrupted("interrupted"), asked_format(arguments))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else JettisonError.exit_code
    except BaseException as error:  # noqa: BLE001 - whatever it is, a person is to read it
        told = as_told(error)
        if told is not error and os.environ.get("JETTISON_DEBUG"):
            note(*"".join(traceback.format_exception(error)).splitlines())
        report(told, asked_format(arguments))
        code = told.exit_code
    sys.exit(finish(code))


def asked_format(arguments: Sequence[str]) -> Format:
    """Return what ``-o`` asks for; errors honour it too, those of the command line as well."""
    line = "\0".join(arguments)
    found = re.search(r"(?:^|\0)(?:-[a-z]*o|--output)[=\0]?(json|ndjson)(?=\0|$)", line)
    return Format.TABLE if found is None else Format(found[1])


def as_told(error: BaseException) -> JettisonError:
    """Return the error as a person is told it, with the next step."""
    if isinstance(error, JettisonError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted")
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        text = error.format_message().removesuffix(".")
        path = "jettison" if context is None else context.command_path
        return UsageError(f"{text[:1].lower()}{text[1:]}", hint=f"See `{path} --help`.")
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        return JettisonError(f"{where}{error.strerror}")
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return JettisonError(
        f"a fault in jettison: {text}",
        hint="Report it where jettison came from; JETTISON_DEBUG=1 shows the place to tell.",
    )
