"""What people and programs read: tables, sizes, times, JSON, errors.

Data goes to stdout, everything else to stderr (design.md, rule 9). Tables are never cut: what is
piped into another program is what is there.
"""

import enum
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, TextIO

import typer

from jettison.errors import JettisonError

__all__ = [
    "SCHEMA_VERSION",
    "Format",
    "ago",
    "bold",
    "counted",
    "dim",
    "emit",
    "green",
    "note",
    "red",
    "report",
    "size",
    "size_exactly",
    "table",
    "tag_name",
    "write",
    "yellow",
]

SCHEMA_VERSION: Final = 1


class Format(enum.StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"
    NDJSON = "ndjson"


# Colour: only on a terminal, and not with NO_COLOR.


def _coloured(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def _styled(text: str, code: str, stream: TextIO | None = None) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if _coloured(stream or sys.stdout) else text


def bold(text: str) -> str:
    """Stress it."""
    return _styled(text, "1")


def dim(text: str) -> str:
    """Put it into the background."""
    return _styled(text, "2")


def green(text: str) -> str:
    """All is well."""
    return _styled(text, "32")


def red(text: str) -> str:
    """Something goes, or is wrong."""
    return _styled(text, "31")


def yellow(text: str) -> str:
    """Look at this."""
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
    """Return a tag for a table: the digest in a tag that is about a manifest is shortened."""
    import re

    match = re.fullmatch(r"(sha(?:256|512)-[0-9a-f]{12})[0-9a-f]{52,}(\.\w+)?", tag)
    return tag if match is None else f"{match[1]}…{match[2] or ''}"


def ago(seconds: float) -> str:
    """Return a span of time in its largest whole unit: ``3 h``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


# Writing.


def write(*lines: str) -> None:
    """Write data to stdout.

    Whoever read it may have seen enough (`| head`); what is to be done is done all the same.
    """
    try:
        for line in lines:
            typer.echo(line)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(*lines: str) -> None:
    """Write messages to stderr."""
    for line in lines:
        typer.echo(line, err=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Write rows in aligned columns; those named in ``right`` are aligned there."""
    cells = [list(row) for row in rows]
    widths = [
        max(len(name), *(len(row[place]) for row in cells)) if cells else len(name)
        for place, name in enumerate(columns)
    ]

    def line(row: Sequence[str]) -> str:
        padded = [
            text.rjust(width) if name in right else text.ljust(width)
            for name, text, width in zip(columns, row, widths, strict=True)
        ]
        return "  ".join(padded).rstrip()

    write(dim(line(columns)), *(line(row) for row in cells))


def emit(form: Format, document: dict[str, Any], items: str | None = None) -> None:
    """Write a document as JSON; as NDJSON, a line for each of its ``items`` if there are any."""
    import msgspec

    def encode(value: dict[str, Any]) -> str:
        return msgspec.json.encode(
            {"schema_version": SCHEMA_VERSION, **value}, enc_hook=str
        ).decode()

    if form is Format.NDJSON and items is not None:
        rest = {key: value for key, value in document.items() if key != items}
        write(*(encode(rest | _builtins(item)) for item in document[items]))
    elif form is Format.NDJSON:
        write(encode(document))
    else:
        write(msgspec.json.format(encode(document).encode(), indent=2).decode())


def _builtins(item: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever can become JSON
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(item, enc_hook=str)
    return found


def report(error: JettisonError) -> None:
    """Tell an error and its next step."""
    first, *rest = error.message.split("\n")
    note(f"{_styled('error:', '1;31', sys.stderr)} {first}", *rest)
    if error.hint:
        note(f"{_styled(' next:', '1', sys.stderr)} {error.hint}")
