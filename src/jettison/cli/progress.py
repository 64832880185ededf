"""Progress on a terminal, lines of JSON for a log, silence elsewhere."""

import enum
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from jettison.cli.output import note
from jettison.progress import Progress, silent

__all__ = ["Log", "reporting"]


class Log(enum.StrEnum):
    """How phases are told to a log."""

    JSON = "json"


@contextmanager
def reporting(*, wanted: bool = True, log: Log | None = None) -> Iterator[Progress]:
    """Yield a progress report: on a terminal a bar with a rate and the time left, on stderr.

    Nothing is left of it afterwards. With ``log`` each phase is told in a line of JSON instead,
    when it begins and when it has ended.
    """
    if log is not None:
        phases = _Phases()
        try:
            yield phases
        finally:
            phases.end()
        return
    if not wanted or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bars,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """How many things are done in a second."""

        def render(self, task: Task) -> Text:
            return Text("" if task.speed is None else f"{task.speed:,.0f}/s")

    bars = Bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        RateColumn(),
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


class _Phases:
    """Tells when each phase begins and ends, with how much was done and how fast."""

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
        """Tell that the phase has ended, if there is one."""
        if self._phase:
            seconds = time.monotonic() - self._began
            rate = round(self._done / seconds, 1) if seconds > 0 else None
            figures = {"done": self._done, "total": self._total, "seconds": round(seconds, 3)}
            self._write("end", {**figures, "per_second": rate})
            self._phase = ""

    def _write(self, event: str, figures: dict[str, float | None]) -> None:
        import msgspec

        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = {"time": moment, "phase": self._phase, "event": event, **figures}
        note(msgspec.json.encode(line).decode())
