"""What docs/ says is what there is: commands, options, promises, rooms, links."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from docs import architecture, render_commands
from tests.layers import SOURCE, Layer

COMMANDS = Path(__file__).parents[1] / "docs" / "commands.md"

# typer's own; the same for every program made with it
BUILT_IN = {"--help", "--install-completion", "--show-completion"}


def commands(command: Any, path: str = "jettison") -> Iterator[tuple[str, Any]]:
    """The visible commands below `command`, each with its full name; groups come first."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from commands(child, f"{path} {name}")


def options(command: Any) -> list[str]:
    return [
        name
        for param in command.params
        if param.param_type_name == "option" and not getattr(param, "hidden", False)
        for name in [*param.opts, *param.secondary_opts]
        if name not in BUILT_IN
    ]


def sections(text: str) -> dict[str, str]:
    """The text below each heading that names a command, as in "## `jettison rm`"."""
    found: dict[str, str] = {}
    current = None
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if not fenced and re.match(r"#+ ", line):
            heading = re.search(r"`(jettison(?: [a-z][a-z-]*)*)`", line)
            current = heading[1] if heading else current
            found.setdefault(current or "", "")
        elif current is not None:
            found[current] += line + "\n"
    return found


def mentions(text: str, option: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text) is not None


def undocumented(app: typer.Typer, text: str) -> list[str]:
    """What `app` and its documentation do not agree about, one line for each."""
    found = []
    documented = sections(text)
    known = dict(commands(get_command(app)))
    for path, command in known.items():
        if path not in documented:
            found.append(f"{path}: has no section")
            continue
        found += [
            f"{path}: {option} is missing"
            for option in options(command)
            if not mentions(documented[path], option)
        ]
    for path in documented:
        if path.startswith("jettison") and path not in known:
            found.append(f"{path}: is documented but does not exist")
    return found


def without_example(app: typer.Typer) -> list[str]:
    return [
        path
        for path, command in commands(get_command(app))
        if not hasattr(command, "commands")
        and "Example" not in f"{command.help or ''}{command.epilog or ''}"
    ]


@pytest.fixture
def jettison_app() -> typer.Typer:
    app = import_module("jettison.cli.commands").app
    assert isinstance(app, typer.Typer)
    return app


def test_every_command_and_option_is_documented(jettison_app: typer.Typer) -> None:
    assert undocumented(jettison_app, COMMANDS.read_text(encoding="utf-8")) == []


def test_the_page_of_commands_is_what_the_help_says() -> None:
    assert COMMANDS.read_text(encoding="utf-8") == render_commands.render(), "run: make docs"


def test_the_help_of_every_command_has_an_example(jettison_app: typer.Typer) -> None:
    assert without_example(jettison_app) == []


@pytest.fixture
def sample() -> typer.Typer:
    app = typer.Typer(add_completion=False)

    @app.callback()
    def root() -> None: ...

    @app.command()
    def rm(
        *,
        yes: bool = typer.Option(False, "--yes/--no", "-y"),
        dry_run: bool = typer.Option(False, "--dry-run"),
    ) -> None:
        """Remove. Example: jettison rm x."""

    @app.command()
    def ls() -> None:
        """List."""

    @app.command(hidden=True)
    def secret() -> None: ...

    return app


COMPLETE = """
# `jettison`
# The commands
## `jettison rm`
`--yes`, `-y`, `--no`
### Options
```
# a comment, not a heading: jettison rm --dry-run
```
## `jettison ls`
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (COMPLETE, []),
        (COMPLETE.replace("`-y`", ""), ["jettison rm: -y is missing"]),
        (COMPLETE.replace("--dry-run", "--dry-runs"), ["jettison rm: --dry-run is missing"]),
        (COMPLETE.replace("## `jettison ls`", ""), ["jettison ls: has no section"]),
        (COMPLETE + "## `jettison no`", ["jettison no: is documented but does not exist"]),
    ],
)
def test_the_checker_compares(sample: typer.Typer, text: str, expected: list[str]) -> None:
    assert undocumented(sample, text) == expected


def test_the_checker_wants_an_example(sample: typer.Typer) -> None:
    assert without_example(sample) == ["jettison ls"]


# Each promise of docs/security.md names the test that holds it.

SECURITY = COMMANDS.with_name("security.md")


def broken_promises(text: str) -> list[str]:
    """The rows of a table of promises that name no test which exists."""
    found = []
    rows = re.findall(r"^\| promised \| held by \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    for row in "".join(rows).splitlines():
        names = re.findall(r"(tests/[\w/]+\.py)::(\w+)", row)
        missing = [
            name
            for path, name in names
            if not (file := COMMANDS.parents[1] / path).exists()
            or not re.search(rf"^\s*(?:async )?def {name}\(", file.read_text(), re.MULTILINE)
        ]
        if missing or not names:
            found.append(row)
    return found


def test_each_promise_of_security_is_held_by_a_test() -> None:
    text = SECURITY.read_text(encoding="utf-8")
    assert text.count("| held by |") > 2
    assert broken_promises(text) == []


def test_a_promise_without_a_test_is_found() -> None:
    head = "| promised | held by |\n|---|---|\n"
    good = "| a | tests/test_docs.py::test_a_promise_without_a_test_is_found |\n"
    for bad in ("| a | nobody |\n", "| a | tests/test_docs.py::test_none |\n"):
        assert broken_promises(head + good + bad) == [bad.strip()]
    assert broken_promises(head + good) == []


# The picture of the rooms is drawn from the code, and each room is explained beside it.


def test_the_picture_shows_the_rooms_as_they_are() -> None:
    kept = architecture.TARGET.read_text("utf-8")
    assert architecture.stale(kept, architecture.draw(architecture.rooms())) == "", "run: make docs"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ""),
        ({"lines": 1100}, ""),
        ({"lines": 1400}, "a room of 1400 lines is drawn with 1000"),
        ({"imports": frozenset({"errors"})}, "imports have changed"),
        ({"holds": "something else"}, "have changed"),
    ],
)
def test_a_stale_picture_is_found(change: dict[str, Any], expected: str) -> None:
    layer = Layer("one", {"model": "it", "errors": "them"})
    errors = architecture.Room("errors", layer, "them", 100, frozenset())
    model = architecture.Room("model", layer, "it", 1000, frozenset())
    kept = architecture.draw([model, errors])
    found = architecture.stale(kept, architecture.draw([model._replace(**change), errors]))
    assert expected in found
    assert bool(found) == bool(expected)


ROOMS_PAGE = COMMANDS.with_name("architecture.md")


def unnamed(text: str, source: Path) -> list[str]:
    """The packages and top-level modules below `source` that a page does not name."""
    packages = [f"{one.parent.relative_to(source)}/" for one in source.rglob("*/__init__.py")]
    modules = [one.name for one in source.glob("*.py") if not one.name.startswith("__")]
    return [name for name in sorted([*packages, *modules]) if f"`{name}`" not in text]


def gone(text: str, *roots: Path) -> list[str]:
    """The files and folders that a page names in backquotes and that are below none of `roots`."""
    names = re.findall(r"`([a-z][a-z_]*(?:/[a-z_]+)*(?:\.py|/))`", text)
    return [name for name in names if not any((root / name).exists() for root in roots)]


def classless(text: str, source: Path) -> list[str]:
    """The CamelCase names in backquotes on a page that are no class below `source`."""
    code = "".join(path.read_text("utf-8") for path in source.rglob("*.py"))
    names = re.findall(r"`([A-Z][a-z]+[A-Z]\w+)`", text)
    return [name for name in names if not re.search(rf"^class {name}\b", code, re.MULTILINE)]


def test_the_page_of_the_rooms_names_each_and_no_other() -> None:
    text = ROOMS_PAGE.read_text("utf-8")
    assert unnamed(text, SOURCE) == []
    assert gone(text, SOURCE, SOURCE.parents[1]) == []
    assert classless(text, SOURCE) == []


def test_a_room_without_a_word_and_a_word_without_a_room_are_found(tmp_path: Path) -> None:
    for name in ("client", "storage/filesystem"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "errors.py").write_text("class NotFound: ...\n")
    assert classless("`NotFound`, `NotHere`, `HEAD`", tmp_path) == ["NotHere"]
    assert unnamed("`client/` and storage/filesystem/", tmp_path) == [
        "errors.py",
        "storage/filesystem/",
    ]
    assert gone("`client/`, `storage/filesystem/x.py`, `cli/NAME.py`, `a b/`", tmp_path) == [
        "storage/filesystem/x.py"
    ]


# Links between pages lead to pages, and to headings that are there.

ROOT = COMMANDS.parents[1]
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchor(heading: str) -> str:
    """What a heading is linked by, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken_links(page: Path) -> list[str]:
    """The links of a page to files that are not there, or to headings that they do not have."""
    found = []
    for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if "://" in link:
            continue
        name, _, fragment = link.partition("#")
        target = page.parent / name if name else page
        headings = (
            {anchor(one) for one in HEADING.findall(FENCE.sub("", target.read_text("utf-8")))}
            if fragment and target.is_file()
            else set()
        )
        if not target.exists() or (fragment and fragment not in headings):
            found.append(link)
    return found


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One `two` & three\n```\n# four\n```\n")
    good = "[a](other.md) [b](other.md#one-two--three) [c](#here) [d](https://x.example/y)"
    bad = "[e](none.md) [f](other.md#four) [g](#there)"
    page = tmp_path / "page.md"
    page.write_text(f"# Here\n{good}\n{bad}\n```\n[h](none.md)\n```\n")
    assert broken_links(page) == ["none.md", "other.md#four", "#there"]


def test_each_decision_is_listed() -> None:
    index = ROOT / "docs" / "decisions" / "README.md"
    listed = LINK.findall(index.read_text("utf-8"))
    there = sorted(one.name for one in index.parent.glob("[0-9]*.md"))
    assert listed == there
    assert [one[:4] for one in there] == [f"{number:04}" for number in range(1, len(there) + 1)]


def unknown_decisions(folder: Path, numbers: set[str]) -> list[str]:
    """The references of code to decisions that there are not."""
    return [
        f"{path.relative_to(folder)}: {number}"
        for path in sorted(folder.rglob("*.py"))
        for number in re.findall(r"decision\s(\d{4})", path.read_text("utf-8"))
        if number not in numbers
    ]


def test_the_code_names_decisions_that_there_are() -> None:
    numbers = {one.name[:4] for one in (ROOT / "docs" / "decisions").glob("[0-9]*.md")}
    assert unknown_decisions(SOURCE, numbers) == []


def test_a_decision_that_there_is_not_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('"""As in decision 0001, and in decision\n0002."""')
    assert unknown_decisions(tmp_path, {"0001"}) == ["a.py: 0002"]
