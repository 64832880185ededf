"""A command that is called with nothing says what it needs, or does what it can."""

import pytest
from typer.main import get_command

from jettison.cli.commands import app
from tests.support.cli import Jettison


@pytest.mark.parametrize("name", sorted(set(get_command(app).commands) - {"demo"}))  # type: ignore[attr-defined] # it is a group
def test_no_arguments(jettison: Jettison, name: str) -> None:
    told = jettison(name, check=None)
    assert "Traceback" not in told.stderr
    assert told.code in {0, 2}
    assert told.stdout or "jettison" in told.stderr or "next:" in told.stderr
