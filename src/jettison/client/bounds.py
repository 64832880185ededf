"""Bounds on how long an answer may take and how large it may be, however it comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

__all__ = ["CHUNK", "STREAM_SLOWEST", "paced", "read_some", "seconds_for", "seconds_for_head"]

CHUNK: Final = 256 * 1024
_SLOWEST: Final = 256 * 1024
"""Bytes a second: the least speed of an answer that is read as a whole, after the wait for it."""
STREAM_SLOWEST: Final = 1024
"""Bytes a second: the least average speed of an answer that is read in pieces."""


def seconds_for(limit: int, patience: float) -> float:
    """Return how many seconds an answer of at most ``limit`` bytes may take in all."""
    return patience + limit / _SLOWEST


def seconds_for_head(body: bytes | None, patience: float) -> float:
    """Return how many seconds the head of an answer may take, with what is sent before it.

    The wait ends for a head that drips or follows endless interim answers, and for a registry that
    does not accept the body.
    """
    # For connecting, and for the answer.
    return 2 * patience + len(body or b"") / STREAM_SLOWEST


@asynccontextmanager
async def paced(body: AsyncIterator[bytes], patience: float) -> AsyncIterator[AsyncIterator[bytes]]:
    """Bound the wait for the head of an answer to a body that comes in pieces; yield that body.

    Reading the body from its source may take any time.
    """
    is_over = False

    def allow(more: float | None) -> None:
        # An answer may come before all is sent; the time may be over, and the end of it under way.
        if not (is_over or deadline.expired()):
            now = asyncio.get_running_loop().time()
            deadline.reschedule(None if more is None else now + more)

    async def pieces() -> AsyncIterator[bytes]:
        async for chunk in body:
            for start in range(0, len(chunk), CHUNK):
                piece = chunk[start : start + CHUNK]
                allow(seconds_for_head(piece, patience))
                yield piece
            allow(None)
        allow(seconds_for_head(None, patience))

    async with asyncio.timeout(seconds_for_head(None, patience)) as deadline:
        try:
            yield pieces()
        finally:
            is_over = True


async def read_some(raw: aiohttp.ClientResponse, limit: int, patience: float) -> bytes:
    """Read the body, or about its first ``limit`` bytes, and drop the rest.

    The time limit is ``patience`` seconds plus the time of the bytes at the speed ``_SLOWEST``.
    """
    parts: list[bytes] = []
    size = 0
    latest = asyncio.get_running_loop().time() + patience
    async with asyncio.timeout_at(latest) as deadline:
        async for chunk in raw.content.iter_chunked(CHUNK):
            parts.append(chunk)
            size += len(chunk)
            if size >= limit:
                raw.close()
                break
            deadline.reschedule(latest + size / _SLOWEST)
    return b"".join(parts)
