"""The one door to the terminal."""

import ast
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from jettison.cli import output
from jettison.cli.commands import app
from jettison.cli.main import as_told, asked_format
from jettison.cli.output import Format
from jettison.errors import InvalidReference, JettisonError, NotFoundError, PartlyDone
from jettison.model.names import Reference

SOURCE = Path(output.__file__).parents[1]
HOSTILE = "\x1b]0;title\x07\x1b[31mred\r\nerror: forged\u202e\u2028\x9b2J\x7f\udcff"
SHOWN = "\\x1b]0;title\\x07\\x1b[31mred\\r\\nerror: forged\\u202e\\u2028\\x9b2J\\x7f\\udcff"


Capture = pytest.CaptureFixture[str]


class Written(io.TextIOWrapper):
    """A stream in memory, with an encoding of its own."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="jettison", newline="")

    @property
    def text(self) -> str:
        self.flush()
        raw = self.buffer
        assert isinstance(raw, io.BytesIO)
        return raw.getvalue().decode(self.encoding)


@pytest.fixture
def coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")


def test_a_line_stays_a_line(capsys: Capture) -> None:
    output.write(HOSTILE, "next")
    output.note(HOSTILE)
    output.table(["NAME", "X"], [(HOSTILE, "y")])
    said = capsys.readouterr()
    first, second, _, row, _ = said.out.split("\n")
    assert (first, second, row) == (SHOWN, "next", f"{SHOWN}  y")
    assert said.err == f"{SHOWN}\n"


@pytest.mark.usefixtures("coloured")
def test_only_our_own_styles_are_styles(capsys: Capture) -> None:
    output.write(output.red(HOSTILE) + " " + output.bold("fine") + "\x1b[1m")
    assert capsys.readouterr().out == f"\x1b[31m{SHOWN}\x1b[0m \x1b[1mfine\x1b[0m\\x1b[1m\n"


@pytest.mark.usefixtures("coloured")
@pytest.mark.parametrize(("name", "wide"), [("app", 0), ("中文", 2), ("e\u0301", -1), (HOSTILE, 0)])
def test_columns_are_aligned_with_colours_and_wide_signs(
    capsys: Capture, name: str, wide: int
) -> None:
    rows = [(output.red("delete"), name, "1 B"), ("-", "x", "20 B")]
    output.table(["STEP", "NAME", "SIZE"], rows)
    head, first, second, _ = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out).split("\n")
    assert head.index("NAME") == second.index("x") == len("delete  ")
    assert head.index("SIZE") == first.index("1 B") + wide == second.index("20 B")


def test_no_colour_where_the_terminal_has_none(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for variable, value, wanted in (("TERM", "dumb", "x"), ("NO_COLOR", "1", "x")):
        monkeypatch.setenv(variable, value)
        assert output.red("x") == wanted
        monkeypatch.delenv(variable)
    assert output.red("x") != "x"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "<= 1 ok -> \\xe9 \\u4e2d"),
        ("latin-1", "<= 1 ok -> é \\u4e2d"),
        ("utf-8", "≤ 1 ✓ → é 中"),
    ],
)
def test_a_terminal_that_lacks_signs(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Written(encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    output.write("≤ 1 ✓ → é 中")
    output.table(["A", "B"], [("≤", "x"), ("ab", "y")])
    first, _, *rows = stream.text.split("\n")
    assert first == shown
    assert rows[0].index("x") == rows[1].index("y")


def test_documents_are_ascii_and_carry_times(capsys: Capture) -> None:
    document = {
        "name": HOSTILE,
        "window_until": 1_700_000_000.5,
        "seen": [{"mtime_ns": 1_700_000_000_123_456_789, "until": 253402300799.0, "size": 5}],
        "started": "2026-01-02T03:04:05Z",
        "tags": ["é"],
    }
    output.emit(Format.JSON, document)
    text = capsys.readouterr().out
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == {
        "schema_version": 1,
        "name": HOSTILE,
        "window_until": "2023-11-14T22:13:20Z",
        "seen": [{"mtime": "2023-11-14T22:13:20Z", "until": "9999-12-31T23:59:59Z", "size": 5}],
        "started": "2026-01-02T03:04:05Z",
        "tags": ["é"],
    }


def test_documents_by_lines(capsys: Capture) -> None:
    output.emit(Format.NDJSON, {"host": "h", "tags": [{"tag": "1\u2028"}, {"tag": "2"}]}, "tags")
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"schema_version": 1, "host": "h", "tag": "1\u2028"},
        {"schema_version": 1, "host": "h", "tag": "2"},
    ]


def test_an_error_cannot_forge_a_line(capsys: Capture) -> None:
    output.report(JettisonError("it says: a\nerror: b\n next: c\x1b[2J", hint="h\nx"))
    assert (
        capsys.readouterr().err
        == "error: it says: a\n  error: b\n  next: c\\x1b[2J\n next: h\\nx\n"
    )


def test_carets_stand_below_what_is_shown(capsys: Capture) -> None:
    with pytest.raises(InvalidReference) as caught:
        Reference.parse("localhost:5000/\x1b[2Japp:1")
    output.report(caught.value)
    _, shown, carets, _, _ = capsys.readouterr().err.split("\n")
    assert shown == "localhost:5000/\\x1b[2Japp:1"
    assert shown[carets.index("^") : len(carets)] == "\\x1b"


def test_an_error_for_a_program(capsys: Capture) -> None:
    output.report(NotFoundError("no é", hint="Look."), Format.JSON)
    assert json.loads(capsys.readouterr().err) == {
        "schema_version": 1,
        "error": {"code": "not_found", "message": "no é", "hint": "Look.", "exit_code": 1},
    }
    output.report(PartlyDone("half"), Format.NDJSON)
    assert json.loads(capsys.readouterr().err)["error"]["code"] == "partly_done"


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("ls h/r", Format.TABLE),
        ("ls h/r -o json", Format.JSON),
        ("-o ndjson", Format.NDJSON),
        ("ls h/r -ojson", Format.JSON),
        ("rm -yo json h/r:1", Format.JSON),
        ("ls --output=json", Format.JSON),
        ("ls --output json x", Format.JSON),
        ("ls --output table", Format.TABLE),
        ("ls --storage json", Format.TABLE),
        ("ls -o jsonl", Format.TABLE),
    ],
)
def test_the_form_that_is_asked_for(line: str, form: Format) -> None:
    assert asked_format(line.split()) is form


def test_what_nobody_foresaw_is_one_line() -> None:
    told = as_told(KeyError("a\nb"))
    assert "\n" not in told.message
    assert "KeyError" in told.message
    assert "JETTISON_DEBUG=1" in (told.hint or "")
    full = OSError(28, "No space left on device", "/x/y")
    assert as_told(full).message == "/x/y: No space left on device"


def test_an_option_that_is_cut_short() -> None:
    with pytest.raises(typer.TyperException) as raised:
        app(["prune", "localhost:5000", "--keep", "3"], standalone_mode=False)
    told = as_told(raised.value).message
    assert told.startswith("no such option: --keep; there is --keep-last, --keep-within, --keep")
    with pytest.raises(typer.TyperException) as raised:
        app(["prune", "localhost:5000", "--kep-last", "3"], standalone_mode=False)
    assert "--keep-last" in as_told(raised.value).message


# Nothing else writes to the terminal.

DOORS = {
    "cli/output.py",
    "cli/progress.py",  # the bar
    "server/messages.py",  # the log of a server
    "server/workers.py",  # flushes before it forks
    "collector/parallel.py",  # a fault, with JETTISON_DEBUG
    "jobs/quiescence.py",  # a command that the user names
}


def writers(text: str) -> Iterator[int]:
    """The lines of a module that print."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in {"sys.stderr", "sys.stdout", "typer.echo", "traceback.print_exc"}:
                parent = text.splitlines()[node.lineno - 1]
                if ".isatty()" not in parent:
                    yield node.lineno
        elif isinstance(node, ast.Name) and node.id in {"print", "Console", "StreamHandler"}:
            yield node.lineno


def test_all_that_is_printed_passes_the_door() -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}"
        for path in SOURCE.rglob("*.py")
        if str(path.relative_to(SOURCE)) not in DOORS
        for line in writers(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_the_checker_finds_them() -> None:
    text = "import sys\nprint(1)\nsys.stdout.write('')\ntyper.echo('')\nif sys.stdin.isatty(): ..."
    assert sorted(writers(text)) == [2, 3, 4]
