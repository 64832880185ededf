"""Prunes the storage by the schedule of ``jettison.retention``, and tells how that went.

The work is done by a process for each time (:mod:`jettison.server.prune_process`). A time that
comes while the server is down, or while a run is going on, is not made up for.
"""

import asyncio
import logging
import shlex
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, TypeVar

from jettison.configuration.settings import ScheduledRetention
from jettison.errors import JettisonError
from jettison.server.observing.metrics import RetentionFigures
from jettison.storage.protocol import Storage
from jettison.storage.scheduled_runs import RunResult, ScheduledRun, ScheduledRuns

__all__ = ["ELSEWHERE", "RetentionKeeper"]

T = TypeVar("T")

ELSEWHERE: Final = 75
"""The exit code of the process where another one prunes, or has pruned for that time."""
_MODULE: Final = "jettison.server.prune_process"

_LOOK_SECONDS: Final = 30.0
"""How long it may take until a clock that was set is noticed."""
_END_SECONDS: Final = 10.0
"""How long a run may take to end when the server stops; what is killed is finished next time.

After half of it, the step that is under way is not waited for.
"""

_LEVELS: Final = {
    RunResult.DONE: logging.INFO,
    RunResult.PARTLY: logging.WARNING,
    RunResult.REFUSED: logging.WARNING,
    RunResult.FAILED: logging.ERROR,
    RunResult.INTERRUPTED: logging.WARNING,
}

_log: Final = logging.getLogger(__name__)


class Run(Protocol):
    """Calls a function that waits for the disk, in a thread."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        """Return what it returns."""


class RetentionKeeper:
    """Prunes a storage by a schedule; ``clock`` returns seconds since the epoch.

    Any process of a server may be asked for :meth:`figures`; one is to :meth:`keep_pruning`.
    """

    def __init__(
        self,
        config: Path,
        settings: ScheduledRetention,
        storage: Storage,
        run: Run,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._settings = settings
        self._root = storage.location
        self._runs = ScheduledRuns(storage)
        self._run = run
        self._clock = clock

    def figures(self) -> RetentionFigures:
        """Return when it runs next, and how the last run went; reads a file."""
        return RetentionFigures(self._next(), self._runs.last())

    def _next(self) -> float:
        return self._settings.schedule.after(self._clock())

    async def keep_pruning(self) -> None:
        """Prune at each time of the schedule, without end; cancelled, end the run that goes on."""
        schedule = self._settings.schedule
        _log.info(
            "retention: the policy %s runs next at %s (%s, %s)",
            *(self._settings.file, schedule.shown(self._next()), schedule.text, schedule.time_zone),
        )
        while True:
            due = self._next()
            while (left := due - self._clock()) > 0:
                await asyncio.sleep(min(left, _LOOK_SECONDS))
                due = min(due, self._next())  # earlier, if the clock was set back
            try:
                await self._prune(due)
            except (JettisonError, OSError) as error:
                _log.error("retention: %s", error)

    async def _prune(self, due: float) -> None:
        code, said = await self._process(due)
        last = await self._run(self._runs.last)
        if code == ELSEWHERE:
            _log.info("retention: another process prunes, or has pruned for this time")
        elif last is not None and last.due == due:
            self._tell(last)
        elif code != 0:
            message = said or f"the process that prunes ended with {code}"
            if code < 0:
                message = f"the process that prunes was killed by {signal.strsignal(-code)}"
            failed = ScheduledRun(
                due=due,
                ended=self._clock(),
                result=RunResult.FAILED,
                message=message,
                hint="The next run goes on where it stopped.",
            )
            self._tell(failed)
            await self._run(lambda: self._note(failed))

    def _note(self, failed: ScheduledRun) -> None:
        with self._runs.claim(failed.due, failed.ended) as claimed:
            if claimed:
                self._runs.note(failed)

    async def _process(self, due: float) -> tuple[int, str]:
        """Prune in a process; return its exit code, and the last line that it said."""
        process = await asyncio.create_subprocess_exec(
            # -P: what lies in the folder that the server runs in is no part of the program.
            *(sys.executable, "-P", "-m", _MODULE, str(self._config), self._root, repr(due)),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
            start_new_session=True,  # Ctrl-C is for the server, which hands it on
        )
        try:
            _, raw = await process.communicate()
        finally:
            if process.returncode is None:
                await _end(process)
        lines = raw.decode(errors="replace").strip().splitlines()
        return process.returncode or 0, lines[-1] if lines else ""

    def _tell(self, run: ScheduledRun) -> None:
        """Log how a run ended, with the next step."""
        for note in run.notes:
            _log.info("retention: %s", note)
        what = f"retention: {run.result} by {self._settings.file}"
        if run.run:
            done = "was not finished"
            if run.result in {RunResult.DONE, RunResult.PARTLY}:
                done = (
                    f"removed {run.tags} tags and {run.manifests} manifests, {run.bytes} bytes to "
                    "be collected"
                )
            storage = shlex.quote(str(self._config.absolute()))
            undo = f"jettison undo {shlex.quote(run.run)} --storage {storage}"
            what += f": run {run.run} {done}; to take it back: {undo}"
        elif run.result is RunResult.DONE:
            what += ": there was nothing to remove"
        if run.freed:
            what += f"; a collection freed {run.freed} bytes"
        if run.message:
            what += f": {' '.join(run.message.split())}"
        if run.hint:
            what += f". {run.hint}"
        next_time = self._settings.schedule.shown(self._next())
        _log.log(_LEVELS[run.result], "%s; next at %s", what, next_time)


async def _end(process: Process) -> None:
    """End a process after the step that is under way, or at the latest after some seconds."""
    with suppress(ProcessLookupError):
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGKILL):
            process.send_signal(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS / 2):
                    await process.wait()
                    break
    if process.returncode != 0:
        _log.warning("retention: the run was interrupted; the next one finishes it")
