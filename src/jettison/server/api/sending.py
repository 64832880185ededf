"""Answers with content: whole, in part, or not at all because the client has it already."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from jettison.errors import StorageError
from jettison.server.api.context import Call
from jettison.server.http.answers import Answer, Header, Piece
from jettison.server.http.conditions import etag_matches, requested_range
from jettison.server.http.requests import Request
from jettison.storage.protocol import OpenContent

__all__ = ["content_answer", "open_answer"]

_PIECE: Final = 256 * 1024
"""Bytes; larger pieces are no faster, and each download holds two."""

_MANY: Final = 256
_PIECE_OF_MANY: Final = 32 * 1024
"""The size with many downloads at once, because clients may read slowly, or never."""

_HAS_CHANGED: Final = (b"content-length", b"content-type", b"accept-ranges")
_CONDITIONS: Final = frozenset({b"range", b"if-none-match"})


def content_answer(
    request: Request, digest: str, headers: list[Header], raw: bytes, encoded: bytes = b""
) -> Answer:
    """Answer with bytes that are in memory; ``headers`` are those of the whole content.

    ``encoded`` are the same headers, if they are encoded already.
    """
    if _CONDITIONS.isdisjoint(request.fields):
        return Answer(200, headers, raw, encoded=encoded)
    part = _part(request, digest, len(raw))
    if part is None:
        return _not_modified(headers)
    first, length, partial_ = part
    if not partial_:
        return Answer(200, headers, raw)
    return Answer(206, _in_part(headers, first, length, len(raw)), raw[first : first + length])


async def open_answer(
    call: Call, digest: str, headers: list[Header], opened: OpenContent
) -> Answer:
    """Answer with an open file and its size; the file is closed when it is sent, or at once."""
    request = call.request
    size = opened.size
    try:
        part = _part(request, digest, size)
    except BaseException:
        await call.ask(opened.close)
        raise
    if part is None or request.method == "HEAD":
        await call.ask(opened.close)
    if part is None:
        return _not_modified(headers)
    first, length, partial_ = part
    status = 206 if partial_ else 200
    if partial_:
        headers = _in_part(headers, first, length, size)
    if request.method == "HEAD":
        return Answer(status, headers)
    return Answer(status, headers, stream=_stream(call, opened, first, length), length=length)


def _part(request: Request, digest: str, size: int) -> tuple[int, int, bool] | None:
    """Return the start, the length, and whether it is a part; None if nothing has changed."""
    none_match = request.header(b"if-none-match")
    if none_match is not None and etag_matches(none_match, digest):
        return None
    wanted = request.header(b"range") if request.method == "GET" else None
    if_range = request.header(b"if-range")
    if if_range is not None and if_range.strip() != f'"{digest}"':
        wanted = None
    found = requested_range(wanted, size)
    if found is None:
        return 0, size, False
    return found[0], found[1] - found[0] + 1, True


def _not_modified(headers: list[Header]) -> Answer:
    return Answer(304, [(name, value) for name, value in headers if name not in _HAS_CHANGED])


def _in_part(headers: list[Header], first: int, length: int, size: int) -> list[Header]:
    changed = [(name, value) for name, value in headers if name != b"content-length"]
    content_range = b"bytes %d-%d/%d" % (first, first + length - 1, size)
    return [*changed, (b"content-length", b"%d" % length), (b"content-range", content_range)]


async def _stream(
    call: Call, opened: OpenContent, offset: int, length: int
) -> AsyncGenerator[Piece]:
    """Yield a part of a file, and close it.

    Pieces in the system's memory are read at once; for others a thread waits for the disk, one
    piece ahead of the one being sent.
    """
    context = call.context
    ahead: asyncio.Future[bytes] | None = None
    waits = not context.local
    context.downloads += 1
    try:
        while length > 0:
            most = _PIECE if context.downloads <= _MANY else _PIECE_OF_MANY
            size = min(most, length) if ahead is None else 0
            piece: Piece | None = None if waits else opened.ready(offset, size)
            if piece is None:
                waits = True
                reading = ahead or call.run(opened.read, offset, size)
                piece, ahead = await reading, None
            if not piece:
                raise StorageError("a blob has become shorter while it was sent")
            offset += len(piece)
            length -= len(piece)
            if waits and length > 0:
                size = min(most, length)
                ahead = asyncio.ensure_future(call.run(opened.read, offset, size))
            yield piece
    finally:
        context.downloads -= 1
        if ahead is not None:
            await asyncio.wait([ahead])  # it uses what is open
        await call.ask(opened.close)
