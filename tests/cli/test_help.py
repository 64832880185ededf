"""Help fits a terminal: no line is broken where the source was, none is too long."""

import re
from itertools import pairwise

import pytest
from typer.main import get_command

from jettison.cli.main import app
from support.cli import Jettison

NAMES = sorted(get_command(app).commands)  # type: ignore[attr-defined] # it is a group


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
def test_help_is_not_ragged(width: int, jettison: Jettison) -> None:
    for name in NAMES:
        page = jettison(name, "--help", env={"COLUMNS": str(width)}).stdout
        assert ragged(page, width) == [], name
        assert max(map(len, page.splitlines())) <= width, name
        assert width < 80 or not re.search(r"[\w|]…", page.replace("REGISTRY_…", "")), name


def test_the_checker_sees_raggedness() -> None:
    page = " These words end early,\n and then go on, though this\n is fine.\n"
    assert ragged(page, 30) == [" These words end early,"]
