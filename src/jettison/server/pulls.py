"""Writes down the pulls that this process serves, in the book of the storage.

A pull costs an entry in a dictionary. Every ten seconds or so the entries go to the book, in a
thread. A process that is killed takes at most those along, and the book, which knows each process
that keeps it, then begins anew (:mod:`jettison.model.retention.pulls`).
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from jettison.configuration.settings import PullRecords
from jettison.errors import StorageError
from jettison.model.retention.pulls import Batch, PullBook, Terms
from jettison.server.observing.exchange import Exchange
from jettison.storage.pulls import PullBookFile

__all__ = ["MOST_WAITING", "PullKeeper", "Saver", "ignoring"]

_OWN_AGENT: Final = "jettison"
"""A prune reads every manifest, and must not keep every image by that."""

_SAVE_SECONDS: Final = 10.0
_QUIET_SECONDS: Final = 60.0
"""How long the book may go without a word, so that others know that it is kept."""
_SHARE: Final = 50
"""A save that takes a second is followed by this many seconds of rest, within the bounds above."""
MOST_WAITING: Final = 200_000
_MOST_AGENTS: Final = 4096

_log: Final = logging.getLogger(__name__)

Run = Callable[[Callable[[], None]], Awaitable[None]]
"""Calls a function that waits for the disk, in a thread."""


def ignoring(settings: PullRecords) -> Callable[[str, str], bool]:
    """Return a function that tells whether the pulls of an agent, or of a user, do not count."""
    agents, users = _matching(settings.ignore_agents), _matching(settings.ignore_users)
    known: dict[tuple[str, str], bool] = {}

    def ignores(agent: str, user: str) -> bool:
        found = known.get((agent, user))
        if found is None:
            if len(known) >= _MOST_AGENTS:
                known.clear()
            own = agent == _OWN_AGENT or agent.startswith(f"{_OWN_AGENT}/")
            found = known[agent, user] = own or agents(agent) or bool(user and users(user))
        return found

    return ignores


def _matching(patterns: Sequence[str]) -> Callable[[str], bool]:
    if not patterns:
        return lambda _: False
    # Imported here: a server is not to load RE2 unless a pattern asks for it.
    from jettison.model.retention.patterns import matcher  # noqa: PLC0415 - see above

    return matcher(patterns)


class Saver:
    """Brings batches to a book, as a keeper of its own; ``clock`` returns seconds since the epoch.

    What cannot be written is kept for the next time, as far as there is room for it.
    """

    def __init__(
        self, book: PullBookFile, terms: Terms, clock: Callable[[], float] = time.time
    ) -> None:
        self.batch = Batch()
        self._book = book
        self._terms = terms
        self._clock = clock
        self._name = secrets.token_hex(8)
        self._saved = 0.0
        self._failing = False

    async def begin(self, run: Run) -> None:
        """Say that this process keeps the book from now on, or raise if that cannot be written."""
        await run(lambda: self._book.change(self._joining()))
        self._saved = self._clock()

    async def join(self, run: Run) -> None:
        """Say the same; where it cannot be written, the first save that can be says it."""
        await self._change(run, self._joining())

    def _joining(self) -> Callable[[PullBook], None]:
        now = self._clock()
        return lambda book: book.join(self._name, now, self._terms)

    async def save(self, run: Run) -> None:
        """Write down what there is."""
        await self._save(run, PullBook.note)

    async def leave(self, run: Run) -> None:
        """Write down the last, and say that it is all."""
        await self._save(run, PullBook.leave)

    async def keep_saving(self, run: Run) -> None:
        """Save now and then, without end."""
        pause = _SAVE_SECONDS
        while True:
            await asyncio.sleep(pause)
            batch = self.batch
            waiting = batch.pulls or batch.pushes or batch.heard or batch.lost
            if not waiting and self._clock() - self._saved < _QUIET_SECONDS - _SAVE_SECONDS:
                continue
            began = time.monotonic()
            await self.save(run)
            took = time.monotonic() - began
            pause = min(max(_SAVE_SECONDS, took * _SHARE), _QUIET_SECONDS)

    async def _save(
        self, run: Run, edit: Callable[[PullBook, str, float, Batch, Terms], None]
    ) -> None:
        now, batch = self._clock(), self.batch
        self.batch = Batch()

        def write(book: PullBook) -> None:
            edit(book, self._name, now, batch, self._terms)

        written = False
        try:
            written = await self._change(run, write)
        finally:
            if not written:  # or perhaps it was: to write it twice changes nothing
                self.batch = _together(batch, self.batch)

    async def _change(self, run: Run, edit: Callable[[PullBook], None]) -> bool:
        try:
            await run(lambda: self._book.change(edit))
        except StorageError as error:
            if not self._failing:
                _log.error("pulls are not written down: %s", error)
            self._failing = True
            return False
        if self._failing:
            _log.warning("pulls are written down again")
        self._failing = False
        self._saved = self._clock()
        return True


class PullKeeper:
    """Keeps the pulls of one process, as ``jettison.pulls`` says."""

    def __init__(
        self, settings: PullRecords, book: PullBookFile, clock: Callable[[], float] = time.time
    ) -> None:
        self._enabled = settings.enabled
        self._book = book
        self._ignores = ignoring(settings)
        self._saver = Saver(book, Terms(settings.across_restarts), clock)
        self._task: asyncio.Task[None] | None = None

    def note(self, exchange: Exchange, repository: str, digest: str, tag: str) -> None:
        """Note that a manifest was pulled, by a tag or ("") by its digest; never waits."""
        if self._enabled and not self._ignores(exchange.agent, exchange.user):
            pulls = self._saver.batch.pulls
            pulls[repository, tag, digest] = exchange.started

    async def start(self, run: Run) -> None:
        """Begin to keep the book, before anything is served."""
        if self._enabled:
            await self._saver.join(run)
            self._task = asyncio.create_task(self._saver.keep_saving(run))
            return
        # Whoever reads it is not to take what is not written down for what was not pulled.
        try:
            await run(self._end_watch)
        except StorageError as error:
            _log.error("the book of pulls still says that it is kept: %s", error)

    def _end_watch(self) -> None:
        if self._book.exists():
            self._book.change(PullBook.end_watch)

    async def stop(self, run: Run) -> None:
        """Write down the last pulls; none may be served after that."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._saver.leave(run)


def _together(before: Batch, after: Batch) -> Batch:
    """Return two batches as one, or what remains of them where that is too much."""
    pulls, pushes = before.pulls | after.pulls, before.pushes | after.pushes
    heard = dict(before.heard)
    for source, (address, first, last) in after.heard.items():
        heard[source] = (address, heard.get(source, (address, first, last))[1], last)
    lost = before.lost or after.lost
    if len(pulls) + len(pushes) > MOST_WAITING:
        return Batch(heard=heard, lost=True)
    return Batch(pulls, pushes, heard, lost)
