"""Output for people and programs: tables, sizes, times, JSON, errors.

Data goes to stdout, everything else to stderr. Tables are never cut, so that other programs read
them whole.

This is the one module that writes to the terminal: everything printed passes :func:`write` or
:func:`note`. Text from a registry, a tree, a file name or an error is shown there and never obeyed.
A stream that lacks a character gets plain letters. A stream that is closed or full ends no work in
progress.
"""

import codecs
import enum
import errno
import io
import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, TextIO

from jettison.errors import JettisonError, UsageError
from jettison.model.printable import ascii_json, printable
from jettison.model.times import moment, rfc3339

__all__ = [
    "NANOSECONDS",
    "SCHEMA_VERSION",
    "SECONDS",
    "Format",
    "ago",
    "bold",
    "code_of",
    "command_again",
    "command_line",
    "counted",
    "dim",
    "document",
    "emit",
    "finish",
    "green",
    "moment",
    "note",
    "open_streams",
    "prompt",
    "red",
    "report",
    "size",
    "size_exactly",
    "stdout_ended",
    "table",
    "tag_name",
    "timestamp",
    "write",
    "yellow",
]

SCHEMA_VERSION: Final = 1


class Format(enum.StrEnum):
    """The format of data."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"


# Colour: only on a terminal, and not with NO_COLOR.

# A style is marked by what nobody outside can know, so that no text can bring its own.
_SECRET: Final = os.urandom(8).hex()
_MARK: Final = re.compile(rf"\x1b{_SECRET}([0-9;]+)m")


def _coloured(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _styled(text: str, code: str, stream: TextIO | None = None) -> str:
    if not _coloured(stream or sys.stdout):
        return text
    return f"\x1b{_SECRET}{code}m{text}\x1b{_SECRET}0m"


def bold(text: str) -> str:
    """Emphasise a text."""
    return _styled(text, "1")


def dim(text: str) -> str:
    """Dim a text."""
    return _styled(text, "2")


def green(text: str) -> str:
    """Mark a good result."""
    return _styled(text, "32")


def red(text: str) -> str:
    """Mark a removal or an error."""
    return _styled(text, "31")


def yellow(text: str) -> str:
    """Mark a warning."""
    return _styled(text, "33")


# Words.


def size(count: int | None) -> str:
    """Return a number of bytes for people: ``1.2 GB``, in powers of 1000 as registries do."""
    if count is None:
        return "?"
    value = float(abs(count))
    sign = "-" if count < 0 else ""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":  # noqa: PLR2004 - where four digits would begin
            digits = 0 if unit == "B" or value >= 99.95 else 1  # noqa: PLR2004 - three digits do
            return f"{sign}{value:.{digits}f} {unit}"
        value /= 1000
    raise AssertionError(unit)


def size_exactly(count: int) -> str:
    """Return ``1.2 GB (1,234,567,890 bytes)``."""
    exact = f"{count:,} bytes"
    return exact if count < 1000 else f"{size(count)} ({exact})"  # noqa: PLR2004 - kB begin


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return ``1 tag`` or ``2 tags``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def tag_name(tag: str) -> str:
    """Return a tag for a table; a digest in it is shortened."""
    import re

    match = re.fullmatch(r"(sha(?:256|512)-[0-9a-f]{12})[0-9a-f]{52,}(\.\w+)?", tag)
    return tag if match is None else f"{match[1]}…{match[2] or ''}"


def ago(seconds: float) -> str:
    """Return a span of time in its largest whole unit: ``3 h``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def timestamp(seconds: float | None = None) -> str:
    """Return a time (seconds since the epoch, default: now) in RFC 3339, UTC."""
    return rfc3339(time.time() if seconds is None else seconds)


# Writing.

_PIECE: Final = 1000
"""The lines of a table that are written at once."""

_PLAIN: Final = {"≤": "<=", "≥": ">=", "→": "->", "✓": "ok", "✗": "FAIL", "…": "...", "·": "-"}


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that a stream lacks; see :func:`codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or ascii(sign)[1:-1] for sign in signs), error.end


codecs.register_error("jettison", _plainly)


class _Stream:
    """Standard output or error; it remembers why it accepts nothing any more."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.failure: OSError | None = None

    @property
    def stream(self) -> TextIO:
        """The present stream: tests, and programs that import Jettison, replace it."""
        return sys.stdout if self._number == 1 else sys.stderr

    def put(self, text: str) -> None:
        """Write; a stream that fails does not end the work."""
        if self.failure is not None:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError as error:
            self.failure = error
            # What is still in the buffer has to go somewhere when the program ends.
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self._number)
            os.close(nothing)


_STDOUT: Final = _Stream(1)
_STDERR: Final = _Stream(2)


def open_streams() -> None:
    """Make the three streams usable, whatever the program was started with.

    A closed one is opened on /dev/null, so that no file gets its number. Characters that the
    encoding of a terminal lacks are replaced with plain letters.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            nothing = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            stream = os.fdopen(nothing, mode, closefd=False)
            setattr(sys, name, stream)
        if mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="jettison")


def stdout_ended() -> bool:
    """Whether the reader of standard output has gone (``| head``)."""
    return _STDOUT.failure is not None


def finish(code: int) -> int:
    """Flush what was printed; return the exit code, 1 for 0 if the output could not be written."""
    _STDOUT.put("")
    failure = _STDOUT.failure
    if failure is not None and failure.errno != errno.EPIPE and not code:
        text = f"standard output could not be written: {failure.strerror}"
        report(JettisonError(text, hint="Look at where the output goes."))
        code = JettisonError.exit_code
    _STDERR.put("")
    return code


def _shown(text: str) -> str:
    """Return a line with Jettison's own styles, and everything else made printable."""
    if text.isprintable():
        return text
    parts = _MARK.split(text)
    return "".join(f"\x1b[{p}m" if at % 2 else printable(p) for at, p in enumerate(parts))


def write(*lines: str) -> None:
    """Write lines of data to stdout, each on one line whatever it contains."""
    _STDOUT.put("".join(f"{_shown(line)}\n" for line in lines))


def note(*lines: str) -> None:
    """Write messages to stderr, each on one line whatever it contains."""
    _STDERR.put("".join(f"{_shown(line)}\n" for line in lines))


def prompt(text: str) -> None:
    """Write a question to stderr, and stay on its line."""
    _STDERR.put(f"{_shown(text)} ")


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]] | Callable[[], Iterator[Sequence[str]]],
    right: Sequence[str] = (),
) -> None:
    """Write rows in aligned columns; those in ``right`` are aligned right.

    A function is called twice for its rows, so that no more than a piece of them is in memory.
    """

    def each() -> Iterator[Sequence[str]]:
        return rows() if callable(rows) else iter(rows)

    widths = list(map(_width, columns))
    for row in each():
        widths = list(map(max, widths, map(_width, row)))

    def line(row: Sequence[str]) -> str:
        padded = []
        for name, text, width in zip(columns, row, widths, strict=True):
            space = " " * (width - _width(text))
            padded.append(space + text if name in right else text + space)
        return "  ".join(padded).rstrip()

    write(dim(line(columns)))
    lines = map(line, each())
    while piece := list(islice(lines, _PIECE)):
        write(*piece)


def _width(text: str) -> int:
    """Return the width of a cell in terminal columns."""
    shown = "".join(map(printable, _MARK.split(text)[::2]))
    encoding = sys.stdout.encoding or "utf-8"
    shown = shown if shown.isascii() else shown.encode(encoding, "jettison").decode(encoding)
    if shown.isascii():
        return len(shown)
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in shown)
    return len(shown) + wide - sum(unicodedata.combining(sign) > 0 for sign in shown)


# Documents.


def emit(form: Format, content: Mapping[str, object], items: str | None = None) -> None:
    """Write a document (:mod:`jettison.cli.documents`) as JSON.

    As NDJSON, a line for each of its ``items`` if there are any.
    """
    plain = document(content)
    if form is Format.NDJSON and items is not None:
        rest = {key: value for key, value in plain.items() if key != items}
        write(*(ascii_json(rest | item) for item in plain[items]))
    elif form is Format.NDJSON:
        write(ascii_json(plain))
    else:
        write(*ascii_json(plain, indent=2).split("\n"))


def document(content: Mapping[str, object]) -> dict[str, Any]:
    """Return a document for programs: plain values, with times in RFC 3339."""
    from jettison.model import codec

    found = codec.plain(content)
    return {"schema_version": SCHEMA_VERSION, **_with_times(found)}


SECONDS: Final = frozenset({"now", "planned", "started", "until", "window_until"})
"""The members that are times in seconds since the epoch, if they are numbers."""

NANOSECONDS: Final = "_ns"
"""How the names of members end that are times in nanoseconds since the epoch."""

_BY_NAME: Final = frozenset({"sizes"})
"""The members whose own members have names that others gave, and are numbers."""


def _with_times(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
    """Write times as RFC 3339: the fields of seconds, and those of nanoseconds (``mtime_ns``)."""
    if isinstance(value, list | tuple):
        return [_with_times(one) for one in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, one in value.items():
        if key in _BY_NAME:
            found[key] = one
            continue
        number = isinstance(one, int | float) and not isinstance(one, bool)
        if number and key in SECONDS:
            found[key] = timestamp(one)
        elif key.endswith(NANOSECONDS) and (number or one is None):
            told = None if one is None else timestamp(one // 1_000_000_000)
            found[key.removesuffix(NANOSECONDS)] = told
        else:
            found[key] = _with_times(one)
    return found


def report(error: JettisonError, form: Format = Format.TABLE) -> None:
    """Print an error and its next step to stderr; in JSON, as ``form`` says."""
    if form is not Format.TABLE:
        told = {"code": code_of(type(error)), "message": error.message, "hint": error.hint}
        if error.again:
            told["command"] = command_again(error.again)
        note(ascii_json(document({"error": {**told, "exit_code": error.exit_code}})))
        return
    first, *rest = error.message.split("\n")
    if not isinstance(error, UsageError):
        # What came from outside cannot begin a line that looks like ours; what was typed may.
        rest = [f"  {line.strip()}" for line in rest]
    note(f"{_styled('error:', '1;31', sys.stderr)} {first}", *rest)
    if error.hint:
        note(f"{_styled(' next:', '1', sys.stderr)} {error.hint}")
    if error.again:
        note(f"{_styled('   or:', '1', sys.stderr)} {command_again(error.again)}")


def command_again(options: Sequence[str]) -> str:
    """Return the command that was typed, with more options, ready to be pasted into a shell."""
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return command_line([*arguments[:end], *options, *arguments[end:]])


def command_line(arguments: Sequence[str]) -> str:
    """Return a Jettison command, started as this one was, ready to be pasted into a shell."""
    import shlex
    import shutil

    program = sys.argv[0]
    if program.endswith("__main__.py"):
        started = [sys.executable, "-m", "jettison"]
    else:
        started = ["jettison" if shutil.which("jettison") else program]
    if os.environ.get("SUDO_COMMAND"):
        started = ["sudo", *started]
    return shlex.join([*started, *arguments])


def code_of(error: type[JettisonError]) -> str:
    """Return the kind of an error for programs: ``not_found``, ``login_refused``.

    It is one of :mod:`jettison.errors`, also where a part of the program has finer ones.
    """
    known = next(one for one in error.__mro__ if one.__module__ == JettisonError.__module__)
    name = known.__name__.removesuffix("Error")
    words = re.findall("[A-Z](?:[a-z]+|(?![a-z]))", name)
    return "_".join(words).lower() if name != "Jettison" else "error"
