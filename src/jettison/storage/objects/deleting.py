"""Deleting objects with signed URLs that end soon, so that no request can land late.

A store takes a request that was long on its way as well as any other. What a collection removes may
be pushed anew a moment after it is over, so each of its deletes carries its own end, which the
store enforces. None is sent twice, or the first of two could land after the second was answered.
"""

import asyncio
import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

from jettison.errors import NotQuiescent, StorageError
from jettison.interrupts import uninterrupted
from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.failures import StoreFailing
from jettison.storage.protocol import age

if TYPE_CHECKING:
    import aiohttp

__all__ = [
    "ClockDifference",
    "Deleted",
    "SignedDeletes",
    "measure_clock",
    "require_signing",
    "uptime",
    "why_unsigned",
]

_NOTHING: Final = f"{layout.OURS}/nothing"
_AT_ONCE: Final = 64
_LASTS: Final = 10.0
_CONNECT_SECONDS: Final = 5.0
_GONE: Final = frozenset({200, 202, 204, 404})
_UPTIME: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_MOST_MOVED: Final = 1.0
"""So many seconds the clock may have been put forward or back since it was compared."""
_LEAVES_OPEN: Final = sys.version_info < (3, 12, 8)
"""Whether Python may leave a TLS connection open that was closed (CPython pull request 118960)."""
_DENIED: Final = 403
_REFUSED: Final = frozenset({400, 401, _DENIED, 405, 501})


class ClockDifference(NamedTuple):
    """How far this machine's clock is ahead of the store's (seconds): between these two.

    ``base`` is what it was ahead of :func:`uptime` then.
    """

    least: float
    most: float
    base: float


def uptime() -> float:
    """Return seconds that go on whatever is done to the clock, also while the machine sleeps."""
    return time.clock_gettime(_UPTIME)


def measure_clock(bucket: Bucket) -> ClockDifference:
    """Compare the clocks; writes an object. Stores tell the time of an object in whole seconds."""
    before = time.time()
    base = before - uptime()
    stamp = bucket.now()
    return ClockDifference(age(stamp, before) - 1.0, age(stamp, time.time()), base)


def why_unsigned(bucket: Bucket) -> str | None:
    """Return why no DELETE can be signed for a bucket; None if one can. Nothing is removed.

    A request or two, where the store makes the signature.
    """
    try:
        bucket.url("DELETE", _NOTHING, 1.0)
    except StoreFailing:
        raise
    except StorageError as error:
        return error.message
    return None


def require_signing(bucket: Bucket) -> None:
    """Raise :class:`~jettison.errors.NotQuiescent` where no DELETE can be made to end in time."""
    reason = why_unsigned(bucket)
    if reason is not None:
        message = f"beside pushes no DELETE may land late, and none can be signed: {reason}"
        hint = "Stop the registry, or make it read-only; or see `jettison check --probe CONFIG`."
        raise NotQuiescent(message, hint=hint)


class Deleted(NamedTuple):
    """What became of one: True, or its error; and until when it may still land (uptime).

    ``marker`` is the version that hides the object, in a bucket that keeps versions.
    """

    outcome: bool | StorageError
    lands_until: float = 0.0
    marker: str | None = None


async def _send_once(
    request: "aiohttp.ClientRequest", send: "aiohttp.ClientHandlerType"
) -> "aiohttp.ClientResponse":
    """Keep the client from sending a DELETE again whose connection was lost, which it does.

    The answer to the second one would tell nothing of the first, which may be on its way still.
    """
    import aiohttp  # noqa: PLC0415 - see below

    try:
        return await send(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientError("the connection was lost") from error


class SignedDeletes:
    """Deletes objects of a bucket, many at a time.

    ``lands_until`` is until when any that had no answer may still land (uptime).
    """

    def __init__(self, bucket: Bucket, clock: ClockDifference) -> None:
        self._bucket = bucket
        self.lands_until = 0.0
        # Long enough for the store to take it, and no longer.
        self._valid = _LASTS + max(0.0, math.ceil(-clock.least))
        # Signed by a clock that is behind, it ends by the store's so much before that.
        self._lands = self._valid + clock.most
        self._base = clock.base

    @property
    def seconds(self) -> float:
        """For how long after it is sent a delete may land."""
        return self._lands + _MOST_MOVED

    def delete(self, keys: Sequence[str], end: float) -> list[Deleted]:
        """Delete objects, none of which may be there after ``end`` (uptime) and be deleted then.

        What there is no time left for is not sent. True also for one that was not there. A signal
        ends it no earlier, so nobody goes on while it does.
        """
        if not keys:
            return []
        # In a thread of its own, as this one may have a loop that runs.
        with uninterrupted(), ThreadPoolExecutor(1, "deletes") as thread:
            return thread.submit(lambda: asyncio.run(self._delete(keys, end))).result()

    async def _delete(self, keys: Sequence[str], end: float) -> list[Deleted]:
        # Imported here: a collection of a folder does not need it.
        import aiohttp  # noqa: PLC0415 - see above

        connector = aiohttp.TCPConnector(
            limit=_AT_ONCE, ssl=self._bucket.tls(), enable_cleanup_closed=_LEAVES_OPEN
        )
        timeout = aiohttp.ClientTimeout(total=self.seconds, sock_connect=_CONNECT_SECONDS)
        turns = asyncio.Semaphore(_AT_ONCE)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, middlewares=[_send_once]
        ) as session:

            async def one(key: str) -> Deleted:
                async with turns:
                    deleted = await self._one(session, key, end)
                    self.lands_until = max(self.lands_until, deleted.lands_until)
                    return deleted

            return list(await asyncio.gather(*map(one, keys)))

    async def _one(self, session: "aiohttp.ClientSession", key: str, end: float) -> Deleted:
        import aiohttp  # noqa: PLC0415 - see above
        from yarl import URL  # noqa: PLC0415 - comes with it

        place = f"{self._bucket.location}/{key}"
        url = URL(self._bucket.url("DELETE", key, self._valid), encoded=True)
        # Only now: it lasts from when it was signed, however long this process then stands still.
        lands_until = uptime() + self._lands + _MOST_MOVED
        reason = ""
        if lands_until > end:
            reason = "the time of its sweep is over"
        if abs(time.time() - uptime() - self._base) > _MOST_MOVED:
            reason = "this machine's clock was put forward or back"
        if reason:
            message = f"{place} was not removed: {reason}"
            return Deleted(StorageError(message, hint="The next collection removes it."))
        try:
            async with session.delete(url, allow_redirects=False) as answer:
                status, headers = answer.status, answer.headers
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            message = f"{place}: whether it was removed is not known: {type(error).__name__}"
            return Deleted(StorageError(message, hint="The next collection looks."), lands_until)
        if status in _GONE:
            marks = headers.get("x-amz-delete-marker") == "true"
            return Deleted(outcome=True, marker=headers.get("x-amz-version-id") if marks else None)
        right = f"It needs the right {self._bucket.settings.deleting}."
        hint = right if status == _DENIED else "Try again later."
        refused = StorageError(f"{place} was not removed: the store answers {status}", hint=hint)
        # A refusal is the store's last word; anything else may be that of somebody in between.
        return Deleted(refused, 0.0 if status in _REFUSED else lands_until)
