"""``acr purge`` of Azure Container Registry, as a command line or in a task.

A tag goes if a filter names it and it was last updated longer ago than ``--ago``; of those, the
newest ``--keep`` of a repository stay. See https://github.com/Azure/acr-cli (cmd/acr/purge.go).
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from jettison.model.retention.importing.draft import Draft, Imported
from jettison.model.retention.importing.expressions import (
    ALL,
    Untranslatable,
    anchored,
    literal,
    searched,
)
from jettison.model.retention.importing.reading import Malformed, Node
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.period import Period
from jettison.model.retention.policy import Clock, Remove, State

__all__ = ["from_azure"]

_VALUES: Final = {
    "--filter": "filter",
    "-f": "filter",
    "--ago": "ago",
    "--keep": "keep",
    **dict.fromkeys(
        (
            *("--registry", "-r", "--concurrency", "--repository-page-size", "--config", "-c"),
            *("--filter-timeout-seconds", "--username", "-u", "--password", "-p"),
        ),
        "",
    ),
}
"""Options with a value; "" for what has no bearing on what is purged."""
_FLAGS: Final = frozenset({"--untagged", "--dry-run", "--include-locked"})
_PURGE: Final = re.compile(r"(?:^|\s)(?:\S*/)?acr(?:-cli\S*)?\s+purge\s")
_AGO: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_VARIABLE: Final = re.compile(r"\$\{|\$\(|\$[A-Za-z_]|\{\{|`")
_COLON: Final = re.compile(r"\(\?[imsU-]*:|\[[^\]]*\]|\\.|(:)")
_QUOTES: Final = str.maketrans(dict.fromkeys("\"'=", " "))
_LITERAL: Final = re.compile(r"[\w/-]+")


class _Purge(NamedTuple):
    """A command, as it was written; ``comment`` is what stands above it."""

    filters: tuple[str, ...]
    ago: str
    keep: int
    flags: frozenset[str]
    comment: str = ""


def from_azure(document: Node, attached_to: str | None = None) -> Imported:
    """Import the purges of a task (``steps``), or of lines of a shell."""
    if attached_to is not None:
        raise Malformed("filters of acr purge name repositories; leave --attached-to out", ())
    draft = Draft("acr purge")
    found = [
        _parsed(words, node)._replace(comment=comment)
        for node in _texts(document)
        for comment, words in _commands(node)
    ]
    if not found:
        raise document.refused("a command `acr purge`, or a task with one in its steps")
    for number, purge in enumerate(found, 1):
        name = f"purge {number}" if len(found) > 1 else "purge"
        if "--dry-run" in purge.flags:
            draft.keep(f"{name} is a dry run, which deletes nothing.")
            continue
        _add(draft, name, purge, document)
    return draft.imported()


def _texts(document: Node) -> Iterator[Node]:
    if not document.is_section:
        yield Node(document.text(), document.steps)
        return
    for step in document.need("steps").items("a list of steps"):
        if isinstance(step.value, Mapping) and (command := step.get("cmd")) is not None:
            yield command


def _commands(node: Node) -> Iterator[tuple[str, list[str]]]:
    """Yield each such command: the comment above it, and the words after ``acr purge``."""
    text = re.sub(r"\\\r?\n", " ", node.text())
    comment = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            comment = f"{comment} {line.lstrip(' #')}".strip()
            continue
        if _PURGE.search(_unquoted(line)):
            for words in _words(line, number, node):
                yield comment, words
        comment = ""


def _unquoted(line: str) -> str:
    return line.translate(_QUOTES) + " "


def _words(line: str, number: int, node: Node) -> Iterator[list[str]]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise Malformed(f"line {number} is no command: {error}", node.steps) from None
    for at, word in enumerate(words):
        inner = word.partition("=")[2] if re.match(r"\w+=", word) else word
        if _PURGE.search(f"{inner} ") and " " in inner:
            yield from _words(inner, number, node)
        elif word == "purge" and at and re.fullmatch(r"(?:\S*/)?acr(?:-cli\S*)?", words[at - 1]):
            yield words[at + 1 :]


def _parsed(words: list[str], node: Node) -> _Purge:
    values: dict[str, list[str]] = {"filter": [], "ago": [], "keep": []}
    flags = set()
    rest = iter(words)
    for word in rest:
        if word in {";", "&&", "||", "|", "/dev/null"}:
            break
        option, equals, value = word.partition("=")
        if option in _FLAGS:
            if value != "false":
                flags.add(option)
        elif option in _VALUES:
            value = value if equals else next(rest, "")
            values.setdefault(_VALUES[option], []).append(value)
        else:
            raise Malformed(f"the option {word!r} of acr purge is not understood", node.steps)
    for value in (*values["filter"], *values["ago"], *values["keep"]):
        if _VARIABLE.search(value):
            message = f"{value!r} has a variable; write its value"
            raise Malformed(message, node.steps)
    if not values["filter"] or not values["ago"]:
        raise Malformed("acr purge needs --filter and --ago", node.steps)
    keep = (values["keep"] or ["0"])[-1]
    if not keep.isascii() or not keep.isdecimal():
        raise Malformed(f"--keep {keep!r} is no number", node.steps)
    return _Purge(tuple(values["filter"]), values["ago"][-1], int(keep), frozenset(flags))


def _period(ago: str, node: Node) -> Period:
    found = _AGO.fullmatch(ago)
    if not ago or found is None:
        raise Malformed(f"--ago {ago!r} is no duration such as 7d or 2d3h6m", node.steps)
    parts = [f"{int(n)}{unit}" for n, unit in zip(found.groups(), "dhms", strict=True) if n]
    return Period("".join(part for part in parts if not part.startswith("0")) or "0d")


def _add(draft: Draft, name: str, purge: _Purge, document: Node) -> None:
    period = _period(purge.ago, document)
    draft.compare(name, purge.comment, days=-period.before(0.0) / 86400)
    if period == "0d":
        draft.ask(f"{name} has --ago {purge.ago}: it takes what is being pushed. Is that meant?")
    if purge.keep:
        draft.ask(
            f"{name}: --keep {purge.keep} counts only among the tags older than {purge.ago}, so "
            f"that {purge.keep} old ones stay beside all younger ones (`leaving`). Were the newest "
            f"{purge.keep} of all meant? Then write `and_beyond: {purge.keep}`."
        )
    if "--untagged" not in purge.flags:
        draft.ask(
            f"{name} has no --untagged: in Azure the manifest of a removed tag stays without one. "
            "Here it goes with its last tag (`jettison undo` brings it back). Is that right?"
        )
    if "--include-locked" not in purge.flags:
        draft.ask(f"{name} leaves locked tags; name them in `protect`. Are there any?")
    by_repository: dict[Pattern, list[Pattern]] = {}
    for one in purge.filters:
        repository, tags = _split(one, document)
        try:
            where = literal(repository) if _LITERAL.fullmatch(repository) else _path(repository)
            which = _search(tags)
        except Untranslatable as error:
            draft.keep(f"{name}: the filter {one!r}: {error}.")
            continue
        by_repository.setdefault(where, []).append(which)
    if purge.keep and any(len(patterns) > 1 for patterns in by_repository.values()):
        draft.ask(
            f"{name} has several filters of one repository: --keep {purge.keep} is for all of them "
            "together, in Azure and here. Was it meant for each? Then write a rule for each."
        )
    remove = Remove(older_than=period, leaving=purge.keep or None)
    for where, patterns in by_repository.items():
        tags_of = (ALL,) if ALL in patterns else tuple(dict.fromkeys(patterns))
        draft.add(name, repositories=(where,), tags=tags_of, clock=Clock.TAGGED, remove=remove)
    if "--untagged" in purge.flags and by_repository:
        draft.ask(
            f"{name}: older versions of acr purge did not heed --ago for untagged manifests. Here "
            "it counts, from when a manifest lost its tag."
        )
        draft.add(
            f"{name}, untagged",
            repositories=tuple(by_repository),
            state=State.UNTAGGED,
            remove=Remove(older_than=period),
        )


def _split(text: str, document: Node) -> tuple[str, str]:
    colons = [found.start(1) for found in _COLON.finditer(text) if found[1]]
    if len(colons) != 1 or not text[: colons[0]] or not text[colons[0] + 1 :]:
        raise Malformed(f"--filter {text!r} is not REPOSITORY:EXPRESSION", document.steps)
    return text[: colons[0]], text[colons[0] + 1 :]


def _path(expression: str) -> Pattern:
    """Return the pattern for ``^`` + ``expression`` + ``$``."""
    return anchored(_plain(expression))


def _search(expression: str) -> Pattern:
    return searched(_plain(expression))


def _plain(expression: str) -> str:
    if "-[" in expression:
        raise Untranslatable("a class less another class is not understood")
    return expression
