"""Help fits a terminal: no line is broken where the source was, none is too long."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from jettison import errors
from jettison.cli.commands import app
from jettison.errors import UsageError

ROOT: Any = get_command(app)
NAMES = [
    names
    for name, command in sorted(ROOT.commands.items())
    for names in [(name,), *((name, below) for below in getattr(command, "commands", {}))]
]


def ragged(page: str, width: int) -> list[str]:
    """The lines of paragraphs that end early, though the next word had room."""
    return [
        line
        for line, following in pairwise(page.splitlines())
        if re.match(r" \w", line)
        and (first := re.match(r" (\w\S*)", following))
        and len(line.rstrip()) + len(first[0]) < width
    ]


@pytest.mark.parametrize("width", [60, 80])
def test_help_is_not_ragged(width: int) -> None:
    for name in NAMES:
        shown = CliRunner().invoke(app, [*name, "--help"], env={"COLUMNS": str(width)})
        page = shown.stdout
        assert "Usage:" in page
        assert ragged(page, width) == [], name
        assert max(map(len, page.splitlines())) <= width, name
        assert width < 80 or not re.search(r"[\w|]…", page.replace("REGISTRY_…", "")), name


def test_the_checker_sees_raggedness() -> None:
    page = " These words end early,\n and then go on, though this\n is fine.\n"
    assert ragged(page, 30) == [" These words end early,"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("lss", "ls"), ("lst", "list"), ("RM", "rm"), ("remove", "rm"), ("verison", "version")],
)
def test_a_command_that_there_is_not(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=typed) as caught:
        app([typed, "x"], standalone_mode=False)
    assert f"jettison {meant}`" in (caught.value.hint or "")


def test_every_exit_code_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs/commands.md").read_text(encoding="utf-8")
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.JettisonError)
    }
    assert codes | {0} == {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
