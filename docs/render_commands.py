"""Write docs/commands.md from the program's own help: `make docs`."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from jettison.cli.commands import app

TARGET = Path(__file__).parent / "commands.md"
HEAD = """\
# Commands

<!-- run: none, these are the examples of the help; their options are parsed -->

`make docs` writes this page from the program's own help. Data goes to standard output, messages and
progress to standard error.

`-o json` and `-o ndjson` print [documents](json.md) with a `schema_version`, sizes in bytes and
times as in RFC 3339. A command that ends with an error then writes it as the last line of standard
error: `{"schema_version":1,"error":{"code":"not_found","message":…,"hint":…,"exit_code":1}}`.

Text from a registry, a tree or a file name is shown and never obeyed: control characters, text
directions and the like are written out (`\\x1b`). A terminal that lacks a character gets plain
letters (`<=`). There are no colours with `NO_COLOR`, with `TERM=dumb`, and without a terminal. A
fault in the program itself is one line; `JETTISON_DEBUG=1` shows where it is.

## Exit codes

| code | meaning |
|---|---|
| 0 | done and verified |
| 1 | error |
| 2 | the command, a reference or a configuration is malformed |
| 3 | partly done |
| 4 | refused or declined |
| 5 | verification failed |
| 10 | no registry can be reached there, or it refuses the login, or the right to do this |
| 11 | deletion is not enabled |
| 12 | locked, or not quiescent |
| 13 | the plan is stale, and nothing of it could be done |
| 130 | interrupted with Ctrl-C |
"""


def render() -> str:
    """Return the whole document."""
    root: Any = get_command(app)
    parts = [HEAD, *_section("jettison", root)]
    for name, command in root.commands.items():
        parts += _section(f"jettison {name}", command)
        for inner, below in getattr(command, "commands", {}).items():
            parts += _section(f"jettison {name} {inner}", below)
    return "\n".join(parts).rstrip() + "\n"


def _section(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401 - the parser's classes are typer's own
    yield f"## `{name}`\n"
    paragraphs = (command.help or "").strip().replace("\x0c", "").split("\n\n")
    yield "\n\n".join(textwrap.fill(one, 100, break_on_hyphens=False) for one in paragraphs) + "\n"
    examples = (command.epilog or "").split("\n\n")[1:]
    if examples:
        yield "```sh\n" + "\n".join(examples) + "\n```\n"
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    rows = [(f"`{_cell(p.metavar or p.name)}`", p.help or "") for p in arguments]
    rows += [(_names(p), _help(p)) for p in options if p.name != "help"]
    if rows:
        yield "| | |\n|---|---|"
        yield "\n".join(f"| {left} | {_cell(right)} |" for left, right in rows) + "\n"


def _help(option: Any) -> str:  # noqa: ANN401 - as above
    """Return what an option is for, and what it is if it is not given."""
    text = option.help or ""
    plain = isinstance(option.default, str | int | float) and not option.is_flag
    return f"{text} Default: {option.default}." if plain and "efault" not in text else text


def _names(option: Any) -> str:  # noqa: ANN401 - as above
    names = [*option.opts, *option.secondary_opts]
    value = "" if option.is_flag else f" {option.metavar or 'VALUE'}"
    return ", ".join(f"`{name}{value}`" for name in names).replace("|", "\\|")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(render())
