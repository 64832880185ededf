"""What a command loads before it does anything, which is most of the time that it takes."""

import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from jettison.cli.commands import app
from tests.support.cli import Jettison
from tests.support.registry import free_port
from tests.support.trees import Tree

HEAVY = frozenset(
    {
        *("aiohttp", "asyncio", "bcrypt", "cryptography", "jwt", "msgspec", "prometheus_client"),
        *("redis", "rich", "ruamel.yaml", "sqlite3", "ssl", "typer", "uvicorn", "uvloop"),
    }
)
ROOT: Any = get_command(app)


@pytest.fixture
def timed(tmp_path: Path) -> Jettison:
    """The command line, which lists on standard error what it imports."""
    return Jettison(tmp_path, (sys.executable, "-X", "importtime", "-m", "jettison"))


def loaded(timed: Jettison, *args: str | Path, check: int | None = 0) -> set[str]:
    lines = timed(*args, check=check).stderr.splitlines()
    found = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    assert "jettison.cli.main" in found
    return found


@pytest.mark.parametrize("typed", ["--version", "version"])
def test_the_version_needs_no_parser(timed: Jettison, typed: str) -> None:
    found = loaded(timed, typed)
    assert found & HEAVY == set()
    assert len(found) < 100


def test_help_loads_no_command(timed: Jettison) -> None:
    found = loaded(timed, "--help")
    assert found & HEAVY == {"rich", "typer"}
    named = {f"jettison.cli.{name.replace('-', '_')}" for name in ROOT.commands}
    assert found & named == set()
    assert len(found) < 400


@pytest.mark.parametrize("name", sorted(ROOT.commands))
def test_the_help_of_a_command_loads_no_work(timed: Jettison, name: str) -> None:
    found = loaded(timed, name, "--help")
    assert found & HEAVY == {"rich", "typer"}
    assert found & {"jettison.jobs", "jettison.client", "jettison.storage"} == set()


def test_work_on_a_storage_asks_no_registry(timed: Jettison, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "registry")
    tree.image("app", "1", [b"layer"])
    for command in (("gc", "-n"), ("fsck",), ("check",)):
        found = loaded(timed, *command, tree.root)
        assert found & HEAVY == {"msgspec", "typer"}, command
    assert "aiohttp" not in loaded(timed, "runs", "--storage", tree.root)
    found = loaded(timed, "gc", "-n", tree.root)
    assert found & {"jettison.fsck", "jettison.jobs.check", "jettison.jobs.discover"} == set()


def test_work_on_a_registry_loads_no_collector(timed: Jettison) -> None:
    found = loaded(timed, "ls", f"127.0.0.1:{free_port()}", check=10)
    assert found & {"jettison.client.registry", "aiohttp"}
    assert found & {"jettison.collector", "jettison.configuration", "ruamel.yaml"} == set()


@pytest.mark.parametrize("name", sorted(ROOT.commands))
def test_the_list_of_commands_says_what_their_help_says(name: str) -> None:
    first = ROOT.commands[name].help.partition("\n\n")[0]
    assert ROOT.get_command(None, name).help == first
    assert ROOT.get_command(None, name).rich_help_panel == ROOT.commands[name].rich_help_panel
