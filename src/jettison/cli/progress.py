"""Progress on a terminal, lines of JSON for a log, silence elsewhere."""

import enum
import os
import sys
import time
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from jettison.cli.output import note, size, timestamp
from jettison.model.printable import ascii_json, printable
from jettison.progress import Progress, silent

if TYPE_CHECKING:
    from rich.progress import Task

__all__ = ["Log", "reporting"]

_REFRESH_SECONDS: Final = 0.1


class Log(enum.StrEnum):
    """The form of phases in a log."""

    JSON = "json"


@contextmanager
def reporting(
    *, wanted: bool = True, log: Log | None = None, in_bytes: AbstractSet[str] = frozenset()
) -> Iterator[Progress]:
    """Yield a progress report: on a terminal a bar with a rate and the time left, on stderr.

    The phases named in ``in_bytes`` count bytes. The bar disappears afterwards. It has no thread of
    its own, because a process with threads must not fork. With ``log``, each phase is a line of
    JSON instead, at its beginning and at its end.
    """
    if log is not None:
        phases = _Phases()
        try:
            yield phases
        finally:
            phases.end()
        return
    if not wanted or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
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

    current = ""

    class Amount(ProgressColumn):
        """The amount done, and the rate per second."""

        def render(self, task: "Task") -> Text:
            return Text(_amount(task, in_bytes=current in in_bytes))

    plain = not (sys.stderr.encoding or "").lower().startswith("utf")
    bars = Bars(
        SpinnerColumn("line" if plain else "dots"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        Amount(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=False,
    )
    with bars:
        task = bars.add_task("", total=None)
        shown = 0.0

        def show(phase: str, done: int, total: int | None = None) -> None:
            nonlocal current, shown
            if phase != current:
                current = phase
                shown = 0.0
                bars.reset(task, total=total, description=printable(phase), completed=done)
            bars.update(task, completed=done, total=total)
            now = time.monotonic()
            if now - shown >= _REFRESH_SECONDS:
                shown = now
                bars.refresh()

        yield show


def _amount(task: "Task", *, in_bytes: bool) -> str:
    done, total = int(task.completed), None if task.total is None else int(task.total)
    if in_bytes:
        speed = f", {size(int(task.speed))}/s" if task.speed else ""
        return f"{size(done)} of {size(total)}{speed}"
    speed = f", {task.speed:,.0f}/s" if task.speed else ""
    return f"{done:,}/{'?' if total is None else f'{total:,}'}{speed}"


class _Phases:
    """Logs the beginning and end of each phase, with the amount and the rate."""

    def __init__(self) -> None:
        self._phase = ""
        self._began = 0.0
        self._done = 0
        self._total: int | None = None

    def __call__(self, phase: str, done: int, total: int | None = None) -> None:
        if phase != self._phase:
            self.end()
            self._phase, self._began = phase, time.monotonic()
            self._write("begin", {"total": total})
        self._done, self._total = done, total

    def end(self) -> None:
        """Log the end of the phase, if there is one."""
        if self._phase:
            seconds = time.monotonic() - self._began
            rate = round(self._done / seconds, 1) if seconds > 0 else None
            figures = {"done": self._done, "total": self._total, "seconds": round(seconds, 3)}
            self._write("end", {**figures, "per_second": rate})
            self._phase = ""

    def _write(self, event: str, figures: dict[str, float | None]) -> None:
        line = {"time": timestamp(), "phase": self._phase, "event": event, **figures}
        note(ascii_json(line))
