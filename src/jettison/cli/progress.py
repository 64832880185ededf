"""Progress on a terminal, silence elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from jettison.progress import Progress, silent

__all__ = ["reporting"]


@contextmanager
def reporting(*, wanted: bool = True) -> Iterator[Progress]:
    """Yield a progress report: on a terminal a bar with the time left, on stderr.

    Nothing is left of it afterwards.
    """
    if not wanted or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bars,
    )

    bars = Bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bars:
        task = bars.add_task("", total=None)
        current = ""

        def show(phase: str, done: int, total: int | None = None) -> None:
            nonlocal current
            if phase != current:
                current = phase
                bars.reset(task, total=total, description=phase, completed=done)
            bars.update(task, completed=done, total=total)

        yield show
