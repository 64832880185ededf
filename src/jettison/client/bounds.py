"""Bounds on how long an answer may take and how large it may be, however it comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

__all__ = ["CHUNK", "STREAM_SLOWEST", "read_some", "seconds_for", "waiting"]

CHUNK: Final = 256 * 1024
_SLOWEST: Final = 256 * 1024
"""Bytes a second: the least speed of an answer that is read as a whole, after the wait for it."""
STREAM_SLOWEST: Final = 1024
"""Bytes a second: the least average speed of an answer that is read in pieces."""


def seconds_for(limit: int, patience: float) -> float:
    """Return how many seconds an answer of at most ``limit`` bytes may take in all."""
    return patience + limit / _SLOWEST


@asynccontextmanager
async def waiting(
    seconds: float, body: bytes | AsyncIterator[bytes] | None
) -> AsyncIterator[bytes | AsyncIterator[bytes] | None]:
    """Bound the wait for the head of an answer; yield the body that is sent before it.

    The wait ends for a head that drips or follows endless interim answers, and for a registry that
    does not accept the body. Reading the body from its source may take any time.
    """
    patience = 2 * seconds  # for connecting, and for the answer
    size = len(body) if isinstance(body, bytes) else 0
    is_over = False

    def allow(more: float | None) -> None:
        if not is_over:  # an answer may come before all is sent
            now = asyncio.get_running_loop().time()
            deadline.reschedule(None if more is None else now + more)

    async def paced(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            for start in range(0, len(chunk), CHUNK):
                piece = chunk[start : start + CHUNK]
                allow(patience + len(piece) / STREAM_SLOWEST)
                yield piece
            allow(None)
        allow(patience)

    async with asyncio.timeout(patience + size / STREAM_SLOWEST) as deadline:
        try:
            yield paced(body) if isinstance(body, AsyncIterator) else body
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
