"""Writing a body to an upload while it comes in."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Self

from jettison.server.api.context import Call
from jettison.server.api.sessions import Session
from jettison.storage.protocol import OpenUpload

__all__ = ["MOST_PIECES", "UploadWriter"]

_LEAST: Final = 16 * 1024
"""Bytes below which more is waited for."""

_WINDOW: Final = 8 * 1024 * 1024
"""Bytes that may wait to be written and hashed."""

_TURN: Final = 16 * 1024 * 1024
"""Bytes after which a thread is left to others, if they wait for one."""

_SYNCED: Final = 32 * 1024 * 1024
"""Bytes after which the disk is told to begin."""

MOST_PIECES: Final = 512
"""The system writes no more than 1,024 of them in one go."""


class _Lane:
    """Pieces on their way to a thread, which does one thing with all that are there, in order.

    ``done`` counts the bytes; ``told`` is called in the thread whenever it has grown.
    """

    def __init__(self, work: Callable[[Sequence[bytes]], None], told: Callable[[], None]) -> None:
        self._work = work
        self._told = told
        self._lock = threading.Lock()
        self._pieces: list[bytes] = []
        self._busy = False
        self.done = 0

    def put(self, pieces: Sequence[bytes]) -> bool:
        """Add pieces; return whether no thread is at it, so that :meth:`drain` is to be called."""
        with self._lock:
            self._pieces += pieces
            idle, self._busy = not self._busy, True
        return idle

    def drain(self) -> bool:
        """Work until nothing is there; True where there is more, and others may have a turn."""
        end = self.done + _TURN
        while self.done < end:
            with self._lock:
                pieces = self._pieces[:MOST_PIECES]
                del self._pieces[:MOST_PIECES]
                if not pieces:
                    self._busy = False
                    return False
            self._work(pieces)
            self.done += sum(map(len, pieces))
            self._told()
        return True


class UploadWriter:
    """Writes and hashes what has come in while more comes in, side by side.

    The disk begins before all is there. What waits to be written is bounded, here and over all
    uploads (:class:`Buffers`); of a client that sends nothing for a while no more than ``_LEAST``
    bytes wait. Where the digest of what is there is not known, nothing is hashed.
    """

    def __init__(self, call: Call, upload: OpenUpload, session: Session) -> None:
        self._call = call
        self._buffers = call.context.buffers
        self._upload = upload
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._lanes = [_Lane(upload.append, self._told)]
        if session.offset == upload.size:
            self._lanes.append(_Lane(session.update, self._told))
        self._gathered: list[bytes] = []
        self._length = 0
        self._sent = 0
        self._given = 0
        self._unsynced = 0
        self._room: asyncio.Future[None] | None = None
        self._tasks: dict[_Lane | None, asyncio.Task[None]] = {}
        """What goes on in each lane; without a lane, the sync."""

    async def __aenter__(self) -> Self:
        return self

    async def add(self, piece: bytes) -> None:
        """Take a piece; wait where the disk does not keep up."""
        self._gathered.append(piece)
        self._length += len(piece)
        self._buffers.take(len(piece))
        if self._length >= _LEAST or len(self._gathered) >= MOST_PIECES:
            self._send()
            while self._waiting() > _WINDOW:
                self._room = self._loop.create_future()
                if self._waiting() > _WINDOW:  # still, now that it would be told
                    await self._room
                self._room = None
                self._check()

    def _send(self) -> None:
        """Let the lanes have what was gathered."""
        self._check()
        pieces, length = self._gathered, self._length
        self._gathered, self._length = [], 0
        self._sent += length
        self._unsynced += length
        if self._unsynced >= _SYNCED and self._is_over(None):
            self._unsynced = 0
            self._begin(None, self._call.run(self._upload.sync))
        for lane in self._lanes:
            if lane.put(pieces):
                self._begin(lane, self._drained(lane))

    def _begin(self, lane: "_Lane | None", work: Coroutine[None, None, None]) -> None:
        task = self._tasks[lane] = asyncio.ensure_future(work)
        task.add_done_callback(self._settle)

    async def _drained(self, lane: _Lane) -> None:
        while await self._call.run(lane.drain):
            pass

    def _is_over(self, lane: "_Lane | None") -> bool:
        return lane not in self._tasks or self._tasks[lane].done()

    def _check(self) -> None:
        """Raise what ended one of the lanes, or the sync: the disk's error ends the upload."""
        for task in self._tasks.values():
            if task.done():
                task.result()

    # How far it is.

    def _waiting(self) -> int:
        return self._sent - min(lane.done for lane in self._lanes)

    def _told(self) -> None:
        """In a thread: let the loop know that there is room, if it waits for that."""
        if self._room is not None and self._waiting() <= _WINDOW // 2:
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self, _: object = None) -> None:
        """Count no more what is dealt with, and let :meth:`add` go on."""
        done = self._sent - self._waiting()
        self._buffers.give(done - self._given)
        self._given = done
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def __aexit__(self, *_: object) -> None:
        """Write the rest and wait for all of it: it needs the file, which is closed next."""
        try:
            if self._gathered:
                self._send()
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks.values())
            self._buffers.give(self._sent - self._given + self._length)
            self._given = self._sent
            if self._session.offset != self._upload.size:
                # What is hashed and not written must not pass for the digest of what comes next.
                self._session.forget()
        self._check()
