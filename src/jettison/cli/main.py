"""The commands, and how their errors reach a person.

`jettison --help` must answer at once, so command modules import what they need when they run.
"""

import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer

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
from jettison.cli.output import Format, finish, open_streams, report, write
from jettison.errors import Interrupted, JettisonError, UsageError

__all__ = ["app", "main"]

app = typer.Typer(
    name="jettison",
    help=(
        "Delete images from container registries, get the disk space back, prove it, undo it.\n\n"
        "Deleting is undoable, collecting is final: `rm` drops references and writes a journal, "
        "`gc` frees what nothing needs any more."
    ),
    epilog="Example: jettison rm localhost:5000/app:1.0 --reclaim --storage /srv/registry",
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

LOOK, REMOVE, KEEP = "Look", "Remove and free", "Prove and take back"
app.command(rich_help_panel=LOOK, epilog=check.EXAMPLE)(check.check)
app.command(rich_help_panel=LOOK, epilog=ls.EXAMPLE)(ls.ls)
app.command(rich_help_panel=LOOK, epilog=inspect.EXAMPLE)(inspect.inspect)
app.command(rich_help_panel=LOOK, epilog=fsck.EXAMPLE)(fsck.fsck)
app.command(rich_help_panel=REMOVE, epilog=rm.EXAMPLE)(rm.rm)
app.command(rich_help_panel=REMOVE, epilog=gc.EXAMPLE, cls=optional_values(gc.OPTIONAL))(gc.gc)
app.command(
    "garbage-collect",
    cls=garbage_collect.PflagCommand,
    rich_help_panel=REMOVE,
    epilog=garbage_collect.EXAMPLE,
)(garbage_collect.garbage_collect)
app.command(rich_help_panel=KEEP, epilog=verify.EXAMPLE)(verify.verify)
app.command(rich_help_panel=KEEP, epilog=undo.EXAMPLE)(undo.undo)
app.command(rich_help_panel=KEEP, epilog=runs.EXAMPLE)(runs.runs)
app.command(rich_help_panel="More", epilog=serve.EXAMPLE)(serve.serve)
app.command(rich_help_panel="More", epilog=login.LOGIN_EXAMPLE)(login.login)
app.command(rich_help_panel="More", epilog=login.LOGOUT_EXAMPLE)(login.logout)
app.command(rich_help_panel="More", epilog=demo.EXAMPLE)(demo.demo)


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
    except BaseException as error:
        if os.environ.get("JETTISON_DEBUG"):
            raise
        told = as_told(error)
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
