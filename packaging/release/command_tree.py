"""The commands and their options, as the program's own help says them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from typer.main import get_command

from jettison.cli.commands import app


@dataclass(frozen=True)
class Option:
    """An option, or an argument, which has no names."""

    names: tuple[str, ...]
    value: str
    """What stands for its value; empty for a flag."""
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """A command: its full name, what it says of itself, and what it takes."""

    name: str
    paragraphs: tuple[str, ...]
    examples: tuple[str, ...]
    arguments: tuple[Option, ...]
    options: tuple[Option, ...]
    commands: tuple[str, ...]
    """The last words of the commands below it."""

    @property
    def summary(self) -> str:
        """The first sentence, without its full stop."""
        return self.paragraphs[0].removesuffix(".") if self.paragraphs else self.name


def commands() -> Iterator[Command]:
    """Yield the program, and each of its commands."""
    yield from _walk("jettison", get_command(app))


def _walk(name: str, command: Any) -> Iterator[Command]:  # noqa: ANN401 - the parser's classes are typer's own
    below = {n: c for n, c in getattr(command, "commands", {}).items() if not c.hidden}
    text = (command.help or "").strip().replace("\x0c", "")
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    yield Command(
        name,
        tuple(" ".join(one.split()) for one in text.split("\n\n") if one.strip()),
        tuple(one.strip() for one in (command.epilog or "").split("\n\n")[1:]),
        tuple(_option(p) for p in shown if p.param_type_name == "argument"),
        tuple(_option(p) for p in shown if p.param_type_name == "option"),
        tuple(below),
    )
    for last, child in below.items():
        yield from _walk(f"{name} {last}", child)


def _option(param: Any) -> Option:  # noqa: ANN401 - as above
    help_ = " ".join((getattr(param, "help", None) or "").split())
    choices = tuple(str(one) for one in getattr(param.type, "choices", ()))
    if param.param_type_name == "argument":
        return Option((), param.metavar or param.name, help_, choices)
    flag = param.is_flag or param.count
    return Option(
        (*param.opts, *param.secondary_opts),
        "" if flag else param.metavar or "VALUE",
        help_,
        choices,
    )
