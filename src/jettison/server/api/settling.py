"""Asking again about what another program is writing at the moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from jettison.errors import Unsettled

__all__ = ["settled"]

_T = TypeVar("_T")

_SETTLE_SECONDS: Final = 1.5
"""So long a request waits; the writer may have to wait for a processor."""
_AGAIN_SECONDS: Final = 0.01


async def settled(look: Callable[[], Awaitable[_T]]) -> _T:
    """Await what ``look`` returns, again and again while something that it reads is unsettled.

    Raises :class:`~jettison.errors.Unsettled` where that does not come to an end in time.
    """
    end = time.monotonic() + _SETTLE_SECONDS
    while True:
        try:
            return await look()
        except Unsettled:
            if time.monotonic() > end:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)
