"""Uploads of blobs (distribution specification, end-4a to end-6, end-11, end-13 and end-14)."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Final, Self

from jettison.errors import Locked, StorageError
from jettison.model.digest import ALGORITHMS, Digest
from jettison.server.answers import Answer, ApiError, Code, Header, shown
from jettison.server.context import Call, parse_digest
from jettison.server.mounts import mount
from jettison.server.sessions import Session
from jettison.storage.filesystem.folder import is_disk_full
from jettison.storage.filesystem.uploads import UploadFile, start_upload, upload_size

__all__ = ["begin_upload", "cancel_upload", "finish_upload", "patch_upload", "upload_status"]

_PIECE: Final = 2 * 1024 * 1024
"""Bytes that are written and hashed in one go, in a thread."""

_LEAST: Final = 16 * 1024
"""Bytes below which more is waited for."""

_MOST_PIECES: Final = 512
"""The system writes no more than 1,024 of them in one go."""

_SYNCED: Final = 32 * 1024 * 1024
"""Bytes after which the disk is told to begin."""

_PATIENCE: Final = 10.0
"""Seconds to wait for an earlier request to the same upload, whose client may just be gone."""

_WAIT_SECONDS: Final = 0.1
_RANGE: Final = re.compile(r"(?:bytes[ =])?([0-9]{1,19})-([0-9]{1,19})(?:/(?:[0-9]+|\*))?")
_UNKNOWN: Final = "there is no such upload: it was finished, cancelled, or given up"


async def begin_upload(call: Call) -> Answer:
    """Begin an upload; or mount a blob, or take a whole one, if the query says so."""
    context, request = call.context, call.request
    wanted = request.parameter("mount")
    if wanted is not None:
        answer = await mount(call, parse_digest(wanted), request.parameter("from"))
        if answer is not None:
            return answer
    whole = request.parameter("digest")
    digest = None if whole is None else parse_digest(whole)
    algorithm = request.parameter("digest-algorithm") or (digest.algorithm if digest else "sha256")
    if algorithm not in ALGORITHMS:
        message = f"unknown digest algorithm {shown(algorithm)}; known are {', '.join(ALGORITHMS)}"
        raise ApiError(400, Code.UNSUPPORTED, message)
    call.reference = await call.run(start_upload, context.tree, call.repository)
    context.sessions.add(call.reference, algorithm)
    if digest is None:
        return Answer(202, _progress(call, 0))
    try:
        return await _finish(call, digest)
    except BaseException:
        # Nobody was told its name, so nobody will go on with it.
        with contextlib.suppress(ApiError):
            await cancel_upload(call)
        raise


async def patch_upload(call: Call) -> Answer:
    """Append a chunk, or a stream of unknown length."""
    async with _opened(call) as (upload, session):
        await _append(call, upload, session)
        return Answer(202, _progress(call, upload.size))


async def finish_upload(call: Call) -> Answer:
    """Append what is left, if anything, and make it a blob if it has the digest that is given."""
    given = call.request.query.get("digest", [])
    if len(given) != 1:
        message = "an upload is finished with one ?digest=<digest>"
        raise ApiError(400, Code.DIGEST_INVALID, message)
    return await _finish(call, parse_digest(given[0]))


async def upload_status(call: Call) -> Answer:
    """Say how many bytes have arrived."""
    context = call.context
    size = await call.run(upload_size, context.tree, call.repository, call.reference)
    if size is None:
        raise ApiError(404, Code.BLOB_UPLOAD_UNKNOWN, _UNKNOWN)
    return Answer(204, _progress(call, size))


async def cancel_upload(call: Call) -> Answer:
    """Give an upload up, with what has arrived of it."""
    async with _opened(call) as (upload, _):
        await _give_up(call, upload)
        return Answer(204, [(b"docker-upload-uuid", call.reference.encode())])


@contextlib.asynccontextmanager
async def _opened(call: Call) -> AsyncIterator[tuple[UploadFile, Session]]:
    """Open the upload for this request alone; what is left of a full disk's upload is removed."""
    context, name = call.context, call.reference
    session = context.sessions.get(name)
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    try:
        async with asyncio.timeout_at(deadline):
            await session.lock.acquire()
    except TimeoutError:
        raise _busy(name) from None
    try:
        with await _open(call, deadline) as upload:
            try:
                yield upload, session
            except StorageError as error:
                if is_disk_full(error):
                    await _give_up(call, upload)
                raise
    finally:
        session.lock.release()


async def _open(call: Call, deadline: float) -> UploadFile:
    """Open the upload once no other process has it open; nobody waits for that in a thread."""
    context = call.context
    while True:
        try:
            return await call.run(UploadFile.open, context.tree, call.repository, call.reference)
        except (FileNotFoundError, NotADirectoryError):
            context.sessions.remove(call.reference)
            raise ApiError(404, Code.BLOB_UPLOAD_UNKNOWN, _UNKNOWN) from None
        except Locked:
            if asyncio.get_running_loop().time() > deadline:
                raise _busy(call.reference) from None
        await asyncio.sleep(_WAIT_SECONDS)


async def _give_up(call: Call, upload: UploadFile) -> None:
    await call.run(upload.remove)
    call.context.sessions.remove(call.reference)


class _Writer:
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
        if self._length < _LEAST and len(self._gathered) < _MOST_PIECES:
            return
        if self._writing is None or self._writing.done():
            self._begin()
        elif self._length >= _PIECE or len(self._gathered) >= _MOST_PIECES:
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


async def _append(call: Call, upload: UploadFile, session: Session) -> None:
    """Append the body, if ``Content-Range`` says that it goes where the file ends."""
    request, start = call.request, upload.size
    expected = _expected_length(call, upload)
    async with _Writer(call, upload, session) as writer:
        async for piece in request.pieces():
            await writer.add(piece)
    if expected is not None and upload.size - start != expected:
        message = f"Content-Range announced {expected} bytes, and {upload.size - start} came"
        await call.run(upload.truncate, start)
        session.forget()
        raise ApiError(400, Code.SIZE_INVALID, message)


def _expected_length(call: Call, upload: UploadFile) -> int | None:
    """Return how many bytes ``Content-Range`` announces; None where there is none.

    Raises 416 for a chunk that does not begin where the last one ended.
    """
    text = call.request.header(b"content-range")
    if text is None:
        return None
    found = _RANGE.fullmatch(text.strip())
    if found is None or int(found[1]) > int(found[2]):
        message = f"Content-Range {shown(text)} cannot be read; it is <first byte>-<last byte>"
        raise _out_of_order(call, upload, message)
    first, length = int(found[1]), int(found[2]) - int(found[1]) + 1
    if first != upload.size:
        message = f"the chunk begins at byte {first}, and the upload has {upload.size} bytes"
        raise _out_of_order(call, upload, message)
    announced = call.request.content_length
    if announced is not None and announced != length:
        message = f"Content-Range announces {length} bytes, Content-Length {announced}"
        raise ApiError(400, Code.SIZE_INVALID, message)
    return length


def _out_of_order(call: Call, upload: UploadFile, message: str) -> ApiError:
    headers = _progress(call, upload.size)
    return ApiError(416, Code.RANGE_INVALID, message, headers=headers)


async def _finish(call: Call, digest: Digest) -> Answer:
    context = call.context
    async with _opened(call) as (upload, session):
        await _append(call, upload, session)
        size = upload.size
        # The file is only read where the digest so far is not known.
        hashing = call.run if session.knows(upload, digest.algorithm) else call.search
        found = await hashing(session.digest, upload, digest.algorithm)
        if found != digest:
            await _give_up(call, upload)
            message = "the bytes that came have another digest"
            detail = {"expected": str(digest), "found": str(found)}
            raise ApiError(400, Code.DIGEST_INVALID, message, detail)
        await call.run(upload.commit, digest)
        context.note_pushed(call.repository, digest)
        context.sessions.remove(call.reference)
    context.events.blob(call, "push", digest, size)
    location = call.location(f"blobs/{digest}")
    return Answer(201, [location, (b"docker-content-digest", digest.encode())])


def _progress(call: Call, size: int) -> list[Header]:
    """Return the headers that say where to go on, and from which byte."""
    return [
        # Distribution's has a query too, and scripts add theirs with an &.
        call.location(f"blobs/uploads/{call.reference}?_state={call.reference}"),
        (b"range", b"0-%d" % max(0, size - 1)),
        (b"docker-upload-uuid", call.reference.encode()),
    ]


def _busy(name: str) -> ApiError:
    message = f"another request is still writing to the upload {shown(name)}"
    return ApiError(409, Code.BLOB_UPLOAD_INVALID, message)
