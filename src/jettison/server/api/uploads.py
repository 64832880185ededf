"""Uploads of blobs (distribution specification, end-4a to end-6, end-11, end-13 and end-14)."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Final, ParamSpec, TypeVar

from jettison.errors import Locked, NotFoundError, StorageError, VerificationFailed
from jettison.model.digest import ALGORITHMS, Digest
from jettison.server.allocation import give_memory_back
from jettison.server.api.context import Call, parse_digest
from jettison.server.api.mounts import mount
from jettison.server.api.sessions import Session
from jettison.server.api.settling import settled
from jettison.server.api.upload_writer import MOST_PIECES, UploadWriter
from jettison.server.http.answers import Answer, ApiError, Code, Header, shown
from jettison.server.http.requests import Disconnected
from jettison.storage.protocol import OpenUpload

__all__ = ["begin_upload", "cancel_upload", "finish_upload", "patch_upload", "upload_status"]

P = ParamSpec("P")
T = TypeVar("T")

_SMALL: Final = 1024 * 1024
"""Bytes of a body that is taken in as a whole before the disk has to do with it."""

_SOON: Final = 1.0
"""Seconds within which that has to come in."""

_LARGE: Final = 8 * 1024 * 1024
"""Bytes of a body after which memory is given back, if none is on its way."""

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
    pieces: list[bytes] = []
    if digest is not None:
        async with _gathered(call) as pieces:
            if request.finished and request.header(b"content-range") is None:
                await settled(partial(call.brief, _put_whole, call, pieces, digest))
                return _pushed(call, digest, sum(map(len, pieces)))
    call.reference = await call.brief(context.uploading.start, call.repository)
    context.sessions.add(call.reference, algorithm)
    if digest is None:
        return Answer(202, _progress(call, 0))
    try:
        return _pushed(call, digest, await _stream(call, pieces, digest))
    except BaseException:
        # Nobody was told its name, so nobody will go on with it.
        with contextlib.suppress(ApiError):
            await cancel_upload(call)
        raise


async def patch_upload(call: Call) -> Answer:
    """Append a chunk, or a stream of unknown length."""
    return Answer(202, _progress(call, await _receive(call, None)))


async def finish_upload(call: Call) -> Answer:
    """Append what is left, if anything, and make it a blob if it has the digest that is given."""
    given = call.request.query.get("digest", [])
    if len(given) != 1:
        message = "an upload is finished with one ?digest=<digest>"
        raise ApiError(400, Code.DIGEST_INVALID, message)
    digest = parse_digest(given[0])
    return _pushed(call, digest, await _receive(call, digest))


def _pushed(call: Call, digest: Digest, size: int) -> Answer:
    """Note that a blob was pushed, and say where it is."""
    call.context.note_pushed(call.repository, digest)
    call.context.events.blob(call, "push", digest, size)
    location = call.location(f"blobs/{digest}")
    return Answer(201, [location, (b"docker-content-digest", digest.encode())])


async def upload_status(call: Call) -> Answer:
    """Say how many bytes have arrived."""
    context = call.context
    size = await call.run(context.uploading.size, call.repository, call.reference)
    if size is None:
        raise ApiError(404, Code.BLOB_UPLOAD_UNKNOWN, _UNKNOWN)
    return Answer(204, _progress(call, size))


async def cancel_upload(call: Call) -> Answer:
    """Give an upload up, with what has arrived of it."""
    async with _opened(call) as (upload, session):
        await call.run(_give_up, upload, session)
        return Answer(204, [(b"docker-upload-uuid", call.reference.encode())])


async def _receive(call: Call, digest: Digest | None) -> int:
    """Append the body, and with a digest make the upload a blob; return its size in bytes.

    A small body that comes at once is dealt with in one go, in one thread; any other is written
    while it comes in.
    """
    async with _gathered(call) as pieces:
        if call.request.finished:
            async with _alone(call) as (session, deadline):
                size = await _patiently(call, deadline, _store, call, session, pieces, digest)
            if size is not None:
                return size
    return await _stream(call, pieces, digest)


async def _stream(call: Call, pieces: Sequence[bytes], digest: Digest | None) -> int:
    """Append a body that begins with ``pieces`` while it comes in; the rest is as above."""
    async with _opened(call) as (upload, session):
        before = upload.size
        await _append(call, upload, session, pieces)
        size = upload.size
        if digest is not None:
            # The file is only read where the digest so far is not known.
            run = call.run if session.knows(upload, digest.algorithm) else call.search
            await run(_complete, upload, session, digest)
    if size - before > _LARGE and not call.context.buffers.used:
        await call.run(give_memory_back)
    return size


@contextlib.asynccontextmanager
async def _gathered(call: Call) -> AsyncIterator[list[bytes]]:
    """Take in a body as long as it is small and comes soon; count what is here while it is held.

    Whoever sends slowly, or goes away, is waited for elsewhere: there little is held in memory.
    """
    request, buffers = call.request, call.context.buffers
    announced = request.content_length
    pieces: list[bytes] = []
    size = 0
    now = asyncio.get_running_loop().time
    end = now() + min(_SOON, call.context.configuration.limits.body_timeout)
    try:
        with contextlib.suppress(TimeoutError, Disconnected):
            while (
                not request.finished
                and max(size, announced or 0) <= _SMALL
                and len(pieces) < MOST_PIECES
                and not buffers.crowded
            ):
                piece = await request.piece(end - now())
                if piece:
                    pieces.append(piece)
                    size += len(piece)
                    buffers.take(len(piece))
        yield pieces
    finally:
        buffers.give(size)


def _put_whole(call: Call, pieces: Sequence[bytes], digest: Digest) -> None:
    """Store a blob that is here as a whole."""
    try:
        call.context.storage.put_blob(call.repository, digest, pieces)
    except VerificationFailed:
        raise _mismatch(digest, Digest.of(b"".join(pieces), digest.algorithm)) from None


def _store(
    call: Call, session: Session, pieces: Sequence[bytes], digest: Digest | None
) -> int | None:
    """Append a whole body, and with a digest make the upload a blob; return its size in bytes.

    None, with nothing done, where the file would have to be read for its digest.
    """
    # Where all of it was hashed here, and is what it should be, nothing else matters.
    written = session.written(digest) if digest is not None and not pieces else None
    with call.context.uploading.open(call.repository, call.reference, written) as upload:
        _forget_if_elsewhere(upload, session)
        if digest is not None and not session.knows(upload, digest.algorithm):
            return None
        with _given_up_if_full(upload, session):
            start = upload.size
            expected = _expected_length(call, start)
            if pieces:
                known = session.offset == start
                upload.append(pieces)
                if known:
                    session.update(pieces)
            _check_length(upload, session, start, expected)
            size = upload.size
            if digest is None:
                upload.flush()
            else:
                _complete(upload, session, digest)
            return size


def _forget_if_elsewhere(upload: OpenUpload, session: Session) -> None:
    """Let the digest so far be read again where it may not be that of what is there.

    What was hashed and then could not be written is no part of it.
    """
    if upload.elsewhere or session.offset != upload.size:
        session.forget()


def _complete(upload: OpenUpload, session: Session, digest: Digest) -> None:
    """Make an upload a blob if it has the digest; it is gone then, or else given up."""
    found = session.digest(upload, digest.algorithm)
    if found != digest:
        _give_up(upload, session)
        raise _mismatch(digest, found)
    try:
        upload.commit(digest)
    except NotFoundError:
        session.ended = True
        raise ApiError(404, Code.BLOB_UPLOAD_UNKNOWN, _UNKNOWN) from None
    session.ended = True


def _mismatch(expected: Digest, found: Digest) -> ApiError:
    message = "the bytes that came have another digest"
    detail = {"expected": str(expected), "found": str(found)}
    return ApiError(400, Code.DIGEST_INVALID, message, detail)


def _give_up(upload: OpenUpload, session: Session) -> None:
    upload.discard()
    session.ended = True


@contextlib.contextmanager
def _given_up_if_full(upload: OpenUpload, session: Session) -> Iterator[None]:
    """Remove what is left of an upload that the disk has no room for."""
    try:
        yield
    except StorageError as error:
        if error.is_full:
            _give_up(upload, session)
        raise


@contextlib.asynccontextmanager
async def _alone(call: Call) -> AsyncIterator[tuple[Session, float]]:
    """Keep other requests of this process from the upload; yield until when to wait for others."""
    sessions, name = call.context.sessions, call.reference
    session = sessions.get(name)
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    if session.lock.locked():
        try:
            async with asyncio.timeout_at(deadline):
                await session.lock.acquire()
        except TimeoutError:
            raise _busy(name) from None
    else:
        await session.lock.acquire()  # at once
    try:
        yield session, deadline
    finally:
        session.lock.release()
        if session.ended:
            sessions.remove(name)


@contextlib.asynccontextmanager
async def _opened(call: Call) -> AsyncIterator[tuple[OpenUpload, Session]]:
    """Open the upload for this request alone; what is left of a full disk's upload is removed."""
    async with _alone(call) as (session, deadline):
        uploading = call.context.uploading
        opened = await _patiently(call, deadline, uploading.open, call.repository, call.reference)
        with opened as upload:
            _forget_if_elsewhere(upload, session)
            try:
                yield upload, session
            except StorageError as error:
                if error.is_full:
                    await call.run(_give_up, upload, session)
                raise


async def _patiently(
    call: Call,
    deadline: float,
    function: Callable[P, T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Do something with an upload once no other process has it open; no thread waits for that."""
    while True:
        try:
            return await call.brief(function, *args, **kwargs)
        except NotFoundError:
            call.context.sessions.remove(call.reference)
            raise ApiError(404, Code.BLOB_UPLOAD_UNKNOWN, _UNKNOWN) from None
        except Locked:
            if asyncio.get_running_loop().time() > deadline:
                raise _busy(call.reference) from None
        await asyncio.sleep(_WAIT_SECONDS)


async def _append(
    call: Call, upload: OpenUpload, session: Session, pieces: Iterable[bytes]
) -> None:
    """Append the body, which begins with ``pieces``, if it goes where the file ends."""
    request, start = call.request, upload.size
    expected = _expected_length(call, start)
    try:
        async with UploadWriter(call, upload, session) as writer:
            for piece in pieces:
                await writer.add(piece)
            async for piece in request.pieces():
                await writer.add(piece)
    except (ApiError, Disconnected):
        await call.ask(upload.flush)  # the client can go on there
        raise
    if expected is not None and upload.size - start != expected:
        await call.run(_check_length, upload, session, start, expected)
    await call.ask(upload.flush)


def _check_length(upload: OpenUpload, session: Session, start: int, expected: int | None) -> None:
    """Take back what came, and raise 400, if it is not as long as ``Content-Range`` announced."""
    came = upload.size - start
    if expected is not None and came != expected:
        upload.truncate(start)
        session.forget()
        message = f"Content-Range announced {expected} bytes, and {came} came"
        raise ApiError(400, Code.SIZE_INVALID, message)


def _expected_length(call: Call, size: int) -> int | None:
    """Return how many bytes ``Content-Range`` announces to an upload that has ``size``, or None.

    Raises 416 for a chunk that does not begin where the last one ended.
    """
    text = call.request.header(b"content-range")
    if text is None:
        return None
    found = _RANGE.fullmatch(text.strip())
    if found is None or int(found[1]) > int(found[2]):
        message = f"Content-Range {shown(text)} cannot be read; it is <first byte>-<last byte>"
        raise _out_of_order(call, size, message)
    first, length = int(found[1]), int(found[2]) - int(found[1]) + 1
    if first != size:
        message = f"the chunk begins at byte {first}, and the upload has {size} bytes"
        raise _out_of_order(call, size, message)
    announced = call.request.content_length
    if announced is not None and announced != length:
        message = f"Content-Range announces {length} bytes, Content-Length {announced}"
        raise ApiError(400, Code.SIZE_INVALID, message)
    return length


def _out_of_order(call: Call, size: int, message: str) -> ApiError:
    headers = _progress(call, size)
    return ApiError(416, Code.RANGE_INVALID, message, headers=headers)


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
