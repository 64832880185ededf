"""Other names of commands: the same options and help, and what is mistyped is suggested."""

import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from jettison import __version__
from jettison.cli.commands import app
from jettison.errors import UsageError
from tests.support.cli import Jettison
from tests.support.trees import Tree

ROOT: Any = get_command(app)
ALIASES = {"list": "ls", "tags": "ls", "delete": "rm"}


def page(*words: str) -> str:
    shown = CliRunner().invoke(app, [*words], env={"COLUMNS": "80"})
    assert shown.exit_code == 0, shown.output
    return shown.stdout


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_an_alias_is_the_command(alias: str, name: str) -> None:
    called, command, rest = ROOT.resolve_command(None, [alias, "x"])
    assert (called, rest) == (alias, ["x"])
    assert command is ROOT.commands[name]
    assert alias not in list(ROOT.commands)


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_its_help_is_that_of_the_command(alias: str, name: str) -> None:
    help_of_alias, help_of_name = page(alias, "--help"), page(name, "--help")
    first = f"Usage: jettison {alias} ".replace("jettison", ROOT.name or "jettison")
    assert first in help_of_alias
    assert help_of_alias.replace(f"{alias} [OPTIONS]", f"{name} [OPTIONS]").split() == (
        help_of_name.split()
    )
    assert f"`jettison {alias}`" in help_of_name
    assert f"`{alias}` for `{name}`" in " ".join(page("--help").split())


@pytest.mark.parametrize(
    "words", [[], ["gc"], ["delete"], ["policy"], ["policy", "import"], ["help"], ["version"]]
)
def test_help_is_help(words: list[str]) -> None:
    assert page("help", *words) == page(*words, "--help")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["polcy"], "`jettison policy`"),
        (["gc", "now"], "`jettison gc --help`"),
        (["policy", "imprt"], "'import'"),
    ],
)
def test_help_about_what_there_is_not(words: list[str], told: str, jettison: Jettison) -> None:
    assert told in jettison("help", *words, check=2).stderr


def test_help_runs_nothing(jettison: Jettison, tree: Tree) -> None:
    """What follows the names of commands is refused, and not handed to one."""
    before = tree.snapshot()
    for more in (("gc", "--", str(tree.root)), ("--", "--yes"), ("gc", "--yes")):
        jettison("help", *more, check=2)
    assert tree.snapshot() == before


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "registry")
    made.image("app", "1", [b"layer"])
    return made


def test_the_version(jettison: Jettison) -> None:
    assert jettison("version").stdout == jettison("--version").stdout
    assert page("version") == f"jettison {__version__}\n"


def test_aliases_work(jettison: Jettison, tree: Tree) -> None:
    where = f"{tree.root}/app"
    for alias in ("list", "tags"):
        assert jettison(alias, where, "-o", "json").json == jettison("ls", where, "-o", "json").json
    assert "Did you mean `jettison tags`" in jettison("tgs", where, check=2).stderr


COMPLETED = {
    "del": "delete",
    "ta": "tags",
    "che": "check",
    "chekc": "check",
    "DELETE": "delete",
    "collect": "gc",
    "xyzzy": "",
}


@pytest.mark.parametrize(("typed", "completed"), COMPLETED.items())
def test_completion(typed: str, completed: str) -> None:
    found = ROOT.shell_complete(ROOT.make_context("jettison", [], resilient_parsing=True), typed)
    assert [one.value for one in found] == completed.split()
    assert all(one.help for one in found)


def test_the_shell_is_told(tmp_path: Path) -> None:
    shell = Jettison(tmp_path, (str(Path(sys.executable).with_name("jettison")),))
    for typed, completed in (("del", "delete"), ("list --fil", "--filter")):
        env = {"_JETTISON_COMPLETE": "complete_bash", "COMP_WORDS": f"jettison {typed}"}
        told = shell(env={**env, "COMP_CWORD": str(len(typed.split()))}, check=None)
        assert told.stdout.split() == [completed]


def test_an_unknown_command_is_named() -> None:
    with pytest.raises(UsageError, match="xyzzy") as caught:
        app(["xyzzy"], standalone_mode=False)
    assert caught.value.hint == "See `jettison --help`."
