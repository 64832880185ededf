"""Writing a body to an upload while it comes in."""

import asyncio
from typing import Final, Self

from jettison.server.context import Call
from jettison.server.sessions import Session
from jettison.storage.filesystem.uploads import UploadFile

__all__ = ["MOST_PIECES", "UploadWriter"]

_PIECE: Final = 2 * 1024 * 1024
"""Bytes that are written and hashed in one go, in a thread."""

_LEAST: Final = 16 * 1024
"""Bytes below which more is waited for."""

_SYNCED: Final = 32 * 1024 * 1024
"""Bytes after which the disk is told to begin."""

MOST_PIECES: Final = 512
"""The system writes no more than 1,024 of them in one go."""


class UploadWriter:
    """Writes what has come in while more comes in, and lets the disk begin before all is there.

    What waits to be written is bounded, here and over all uploads (:class:`Buffers`); of a client
    that sends nothing for a while no more than ``_LEAST`` bytes wait.
    """

    def __init__(self, call: Call, upload: UploadFile, session: Session) -> None:
        self._call = call
        self._buffers = call.context.buffers
        self._upload = upload
        self._session = session
        self._gathered: list[bytes] = []
        self._length = 0
        self._ended = False
        self._writing: asyncio.Future[None] | None = None
        self._syncing: asyncio.Future[None] | None = None
        self._unsynced = 0

    async def __aenter__(self) -> Self:
        return self

    async def add(self, piece: bytes) -> None:
        """Take a piece; wait where the disk does not keep up."""
        self._gathered.append(piece)
        self._length += len(piece)
        self._buffers.take(len(piece))
        if self._length < _LEAST and len(self._gathered) < MOST_PIECES:
            return
        if self._writing is None or self._writing.done():
            self._begin()
        elif self._length >= _PIECE or len(self._gathered) >= MOST_PIECES:
            await self._writing

    def _begin(self) -> None:
        if self._writing is not None:
            self._writing.result()  # the disk's error ends the upload
        self._writing = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        """Write what is there, and what comes in meanwhile."""
        while self._gathered and (self._ended or self._length >= _LEAST):
            pieces, length = self._gathered, self._length
            self._gathered, self._length = [], 0
            try:
                await self._sync(length)
                await self._store(pieces)
            finally:
                self._buffers.give(length)

    async def _sync(self, length: int) -> None:
        if self._unsynced >= _SYNCED and (self._syncing is None or self._syncing.done()):
            if self._syncing is not None:
                await self._syncing  # the disk's error, if there was one, is told only once
            self._unsynced = 0
            self._syncing = asyncio.ensure_future(self._call.run(self._upload.sync))
        self._unsynced += length

    async def _store(self, pieces: list[bytes]) -> None:
        """Write and hash, side by side, unless the digest of what is there is not known."""
        known = self._session.offset == self._upload.size
        jobs = [self._call.run(self._upload.append, pieces)]
        if known:
            jobs.append(self._call.run(self._session.update, pieces))
        for one in await asyncio.gather(*jobs, return_exceptions=True):
            if isinstance(one, BaseException):
                raise one

    async def __aexit__(self, *_: object) -> None:
        """Write the rest and wait for all of it: it needs the file, which is closed next."""
        self._ended = True
        try:
            await self._finish()
        finally:
            self._buffers.give(self._length)
            self._gathered, self._length = [], 0

    async def _finish(self) -> None:
        if self._writing is not None:
            await asyncio.wait([self._writing])
        try:
            if self._gathered:
                self._begin()
        finally:
            pending = [one for one in (self._writing, self._syncing) if one is not None]
            if pending:
                await asyncio.wait(pending)
        for one in pending:
            one.result()
