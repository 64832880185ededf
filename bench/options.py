"""What the benchmarks' command lines share."""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from bench.programs import removed

__all__ = ["positive", "say", "scratch", "sections_help", "shown_command", "terminated"]


def say(text: str) -> None:
    """Tell what goes on, beside the results."""
    print(f"{text} …", file=sys.stderr, flush=True)


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def sections_help(sections: Mapping[str, str]) -> str:
    """Return a line for each section, its name and what it is."""
    width = max(map(len, sections))
    return "".join(f"  {name:<{width}}  {text}\n" for name, text in sections.items())


def shown_command(script: str, given: Sequence[str], hidden: Sequence[str] = ("--dir",)) -> str:
    """Return the command as others can run it; where the files were is nobody's business."""
    shown = list(given)
    for option in hidden:
        stand_in = option.strip("-").upper()
        for place, one in enumerate(given):
            if one == option:
                shown[place + 1] = stand_in
            elif one.startswith(f"{option}="):
                shown[place] = f"{option}={stand_in}"
    return shlex.join([".venv/bin/python", script, *shown])


@contextmanager
def scratch(parent: Path | None) -> Iterator[Path]:
    """Yield a folder that is removed at the end, also after Ctrl-C."""
    folder = Path(tempfile.mkdtemp(prefix="jettison-bench-", dir=parent)).resolve()
    try:
        yield folder
    finally:
        say("removing the trees")
        removed(folder)


def terminated(*_: object) -> NoReturn:
    """End as SIGTERM asks for, through every ``finally``."""
    sys.exit(143)
