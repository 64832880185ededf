"""The entry of the command line: signals, exit codes, and the printing of errors.

Slow modules load on first use: `jettison --version` loads no parser, and `jettison --help` no
command.
"""

import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from jettison import __version__
from jettison.cli.output import Format, finish, note, open_streams, report, write
from jettison.errors import Interrupted, JettisonError, UsageError

__all__ = ["main"]

_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


def _interrupt(_: int, __: object) -> None:
    """Do what Ctrl-C does at this moment, which an event loop may have changed."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _end_like_ctrl_c() -> None:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does.

    By default they end it like ``kill -9``, and the quarantine of a collection stays.
    """
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup does
            signal.signal(number, _interrupt)


def main() -> None:
    """Run the command line; an error brings its own exit code (decision 0014)."""
    open_streams()
    arguments = sys.argv[1:]
    _end_like_ctrl_c()
    try:
        code = _run(arguments)
        if not arguments:
            code = UsageError.exit_code
        elif code == Interrupted.exit_code:
            report(Interrupted("interrupted"), asked_format(arguments))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else JettisonError.exit_code
    except BaseException as error:  # noqa: BLE001 - whatever it is, a person is to read it
        told = as_told(error)
        if told is not error and os.environ.get("JETTISON_DEBUG"):
            import traceback

            note(*"".join(traceback.format_exception(error)).splitlines())
        report(told, asked_format(arguments))
        code = told.exit_code
    sys.exit(finish(code))


def _run(arguments: list[str]) -> int:
    if arguments in (["--version"], ["version"]):
        write(f"jettison {__version__}")
        return 0
    from jettison.cli.commands import app

    code: int | None = app(arguments or ["--help"], standalone_mode=False)
    return code or 0


def asked_format(arguments: Sequence[str]) -> Format:
    """Return the format of ``-o``, which errors honour too, those of the parser included."""
    line = "\0".join(arguments)
    found = re.search(r"(?:^|\0)(?:-[a-z]*o|--output)[=\0]?(json|ndjson)(?=\0|$)", line)
    return Format.TABLE if found is None else Format(found[1])


def _begun(error: Exception, command: Any) -> Iterator[str]:  # noqa: ANN401 - of the parser
    """Yield the options of a command that begin as the one that there is not."""
    typed = getattr(error, "option_name", None)
    if isinstance(typed, str) and typed.startswith("--"):
        names = (name for option in command.params for name in option.opts)
        yield from (name for name in names if name.startswith(f"{typed}-"))


def as_told(error: BaseException) -> JettisonError:
    """Return the error as printed for people, with the next step."""
    if isinstance(error, JettisonError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted")
    import typer

    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        longer = [] if context is None else list(_begun(error, context.command))
        if longer:
            text = f"{error.message}; there is {', '.join(longer)}"
        else:
            text = error.format_message().removesuffix(".")
        path = "jettison" if context is None else context.command_path
        return UsageError(f"{text[:1].lower()}{text[1:]}", hint=f"See `{path} --help`.")
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        hint = None
        if isinstance(error, PermissionError):
            hint = "Run it as a user who may: the one that the registry runs as, or root."
        return JettisonError(f"{where}{error.strerror}", hint=hint)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return JettisonError(
        f"a fault in jettison: {text}",
        hint="Report it where jettison came from; JETTISON_DEBUG=1 shows the place to tell.",
    )
