"""A page of the manual for each command."""

import re
import time
from collections.abc import Iterator
from typing import Final

from docs.render_commands import HEAD
from release.command_tree import Command, Option

_EXIT_CODES: Final = re.findall(r"^\| (\d+) \| (.+) \|$", HEAD, re.MULTILINE)


def manual_page(command: Command, every: list[Command], version: str, epoch: int) -> str:
    """Return the page of a command, in the language of man."""
    return "\n".join(_lines(command, every, version, epoch)) + "\n"


def page_name(command: Command) -> str:
    """Return the name of a command's page: ``jettison-gc``."""
    return command.name.replace(" ", "-")


def _lines(command: Command, every: list[Command], version: str, epoch: int) -> Iterator[str]:
    date = time.strftime("%Y-%m-%d", time.gmtime(epoch))
    page = page_name(command)
    yield f'.TH {_text(page.upper())} 1 "{date}" "jettison {version}" "Jettison"'
    yield from (".SH NAME", f"{_text(page)} \\- {_text(command.summary)}", ".SH SYNOPSIS")
    takes = ["[OPTION]..."] if command.options else []
    takes += ["COMMAND"] if command.commands else []
    takes += [one.value for one in command.arguments]
    yield f"\\fB{_text(command.name)}\\fR {_text(' '.join(takes))}".rstrip()
    yield ".SH DESCRIPTION"
    for at, paragraph in enumerate(command.paragraphs):
        yield from ([".PP"] if at else [])
        yield _text(paragraph)
    for title, options in (("ARGUMENTS", command.arguments), ("OPTIONS", command.options)):
        yield from ([f".SH {title}"] if options else [])
        for one in options:
            yield from (".TP", _names(one), _text(one.help) or "\\&")
    below = [one for one in every if one.name.rpartition(" ")[0] == command.name]
    yield from ([".SH COMMANDS"] if below else [])
    for other in below:
        yield from (".TP", f"\\fB{_text(other.name)}\\fR", _text(other.summary) + ".")
    if command.examples:
        yield from (".SH EXAMPLES", ".nf", *map(_text, command.examples), ".fi")
    yield ".SH EXIT STATUS"
    for code, meaning in _EXIT_CODES:
        yield from (".TP", f"\\fB{code}\\fR", _text(meaning))
    if command.name != "jettison":
        yield from (".SH SEE ALSO", ".BR jettison (1)")


def _names(option: Option) -> str:
    value = f" \\fI{_text(option.value)}\\fR" if option.value else ""
    if not option.names:
        return value.strip()
    return ", ".join(f"\\fB{_text(name)}\\fR{value}" for name in option.names)


def _text(text: str) -> str:
    """Return text that man prints as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\`")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
