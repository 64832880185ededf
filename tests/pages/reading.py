"""What of a document can be run: its blocks of commands, and what their comments say of them.

A block of `console` has commands after `$ `, each followed by what it prints. A block of `sh` has
commands alone, which have to succeed. A command goes on in the next line after `\\` or `|`.

Comments, which no reader sees, say the rest; each stands on a line of its own:

    <!-- run: on STAGE -->           the following blocks find what STAGE of stages.py sets up, anew
    <!-- run: exit 4 -->             the last command of the next block ends with this code
    <!-- run: later 2h -->           from the next block on, Jettison's clock is ahead by so much
    <!-- run: first COMMAND -->      is run before the next block, and not shown
    <!-- run: not, REASON -->        the next block is not run
    <!-- run: none, REASON -->       no block is run from here on, until `on STAGE`
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from docs.build_site import ROOT, documents

__all__ = ["LATER", "Block", "Command", "blocks", "pages", "strays"]

_FENCE: Final = re.compile(
    r"(?P<before>(?:^ *<!-- run: (?:(?!-->).)*-->\n\s*)*)"
    r"^(?P<indent> *)```(?P<language>[a-z]*)\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)
_COMMENT: Final = re.compile(
    r"^ *<!-- run: (?P<said>(?:(?!-->).)*?) -->$", re.MULTILINE | re.DOTALL
)
_OURS: Final = {"console", "sh"}
_STRAY: Final = re.compile(r"^\s*(?:\$ |jettison ).*$", re.MULTILINE)
_GOES_ON: Final = ("\\", "|", "&&")
LATER: Final = {"h": 3600, "d": 86400}
_KINDS: Final = ("on ", "exit ", "later ", "first ", "not, ", "none, ")


@dataclass(frozen=True)
class Command:
    """A command of a block, and the lines that follow it there."""

    text: str
    shown: tuple[str, ...] = ()


@dataclass
class Block:
    """A block of commands of a document, and what its comments say."""

    page: Path
    line: int
    language: str
    body: str
    span: tuple[int, int]
    """Where the body stands in the document."""
    indent: str = ""
    stage: str | None = None
    """The stage that begins before this block."""
    exit: int = 0
    later: int = 0
    """Seconds."""
    first: list[str] = field(default_factory=list)
    reason: str | None = None
    """Why it is not run."""

    @property
    def name(self) -> str:
        page = self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page.name
        return f"{page}:{self.line}"

    @property
    def lines(self) -> list[str]:
        return [line.removeprefix(self.indent) for line in self.body.splitlines()]

    @property
    def commands(self) -> list[Command]:
        found = list[Command]()
        for line in self.lines:
            goes_on = bool(found) and not found[-1].shown and found[-1].text.endswith(_GOES_ON)
            if goes_on:
                found[-1] = Command(f"{found[-1].text}\n{line}")
            elif self.language == "sh":
                text = re.sub(r"(?:^|\s+)#\s.*$", "", line)
                found += [Command(text)] if text else []
            elif line.startswith("$ "):
                found.append(Command(line.removeprefix("$ ")))
            elif found:
                found[-1] = Command(found[-1].text, (*found[-1].shown, line))
            else:
                raise ValueError(f"{self.name}: the block does not begin with a command")
        return found


def pages() -> list[Path]:
    """Every document that has blocks of commands."""
    paths = [ROOT / path for path in documents()]
    return [path for path in paths if any(True for _ in blocks(path))]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of commands of a document, those that are not run too."""
    text = page.read_text("utf-8")
    outside, begins = None, None
    at = 0
    for match in _FENCE.finditer(text):
        for comment in _COMMENT.finditer(text[at : match.start("indent")]):
            kind, said = _kind(page, comment["said"])
            if kind == "none":
                outside = said
            elif kind == "on":
                outside, begins = None, said
        at = match.end()
        if match["language"] not in _OURS:
            continue
        block = Block(
            page,
            text[: match.start("indent")].count("\n") + 1,
            match["language"],
            match["body"],
            match.span("body"),
            match["indent"],
            reason=outside,
        )
        for comment in _COMMENT.finditer(match["before"]):
            _apply(block, *_kind(page, comment["said"]))
        if block.reason is None:
            block.stage, begins = begins, None
        yield block


def strays(page: Path) -> list[str]:
    """Commands that stand in blocks of another kind, and so would not be run."""
    others = [
        one for one in _FENCE.finditer(page.read_text("utf-8")) if one["language"] not in _OURS
    ]
    return [found[0].strip() for one in others for found in _STRAY.finditer(one["body"])]


def _kind(page: Path, said: str) -> tuple[str, str]:
    for kind in _KINDS:
        if said.startswith(kind) and said.removeprefix(kind).strip():
            text = said.removeprefix(kind).strip()
            return kind.strip(" ,"), text if kind == "first " else " ".join(text.split())
    raise ValueError(f"{page}: what is `run: {said}`?")


def _apply(block: Block, kind: str, said: str) -> None:
    match kind:
        case "exit":
            block.exit = int(said)
        case "later":
            block.later = int(said[:-1]) * LATER[said[-1]]
        case "first":
            block.first.append(said)
        case "not":
            block.reason = said
