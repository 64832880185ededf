"""Progress on a terminal, silence elsewhere."""

import sys
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jettison.progress import Progress, silent

if TYPE_CHECKING:
    from rich.progress import Task

__all__ = ["reporting"]

_REFRESH_SECONDS: Final = 0.1


@contextmanager
def reporting(
    *, wanted: bool = True, in_bytes: AbstractSet[str] = frozenset()
) -> Iterator[Progress]:
    """Yield a progress report: on a terminal a bar with the time left, on stderr.

    The phases named in ``in_bytes`` count bytes, and show how many there are in a second. Nothing
    is left of it afterwards. It has no thread of its own, since beside one nobody may fork.
    """
    if not wanted or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bars,
    )
    from rich.text import Text

    class Amount(ProgressColumn):
        """How much is done, and of bytes how much in a second."""

        def render(self, task: "Task") -> Text:
            return Text(_amount(task, in_bytes=task.description in in_bytes))

    bars = Bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        Amount(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
    )
    with bars:
        task = bars.add_task("", total=None)
        current = ""
        shown = 0.0

        def show(phase: str, done: int, total: int | None = None) -> None:
            nonlocal current, shown
            if phase != current:
                current = phase
                shown = 0.0
                bars.reset(task, total=total, description=phase, completed=done)
            bars.update(task, completed=done, total=total)
            now = time.monotonic()
            if now - shown >= _REFRESH_SECONDS:
                shown = now
                bars.refresh()

        yield show


def _amount(task: "Task", *, in_bytes: bool) -> str:
    from jettison.cli.output import size

    done, total = int(task.completed), None if task.total is None else int(task.total)
    if not in_bytes:
        return f"{done}/{'?' if total is None else total}"
    speed = f", {size(int(task.speed))}/s" if task.speed else ""
    return f"{size(done)} of {size(total)}{speed}"
