"""Asking again about what another program is writing at the moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from jettison.errors import SweptMeanwhile, Unsettled

__all__ = ["settled"]

_T = TypeVar("_T")

_SETTLE_SECONDS: Final = 1.5
"""So long a request waits; the writer may have to wait for a processor."""
_AGAIN_SECONDS: Final = 0.01
_MOST_SWEPT: Final = 10
"""So often a push is done again beside collections, each of which its storage has waited for."""


async def settled(look: Callable[[], Awaitable[_T]]) -> _T:
    """Await what ``look`` returns, again and again while something that it reads is unsettled.

    Raises :class:`~jettison.errors.Unsettled` where that does not come to an end in time, and
    :class:`~jettison.errors.SweptMeanwhile` where it was swept again and again.
    """
    end = time.monotonic() + _SETTLE_SECONDS
    swept = 0
    while True:
        try:
            return await look()
        except SweptMeanwhile:
            swept += 1
            if swept > _MOST_SWEPT:
                raise
            end = time.monotonic() + _SETTLE_SECONDS  # what was waited for until now is over
            continue
        except Unsettled:
            if time.monotonic() > end:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)
