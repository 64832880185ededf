"""Doing many small things at once, without a task for each of a hundred thousand items."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from asyncio import Future

__all__ = ["each"]

WORKERS: Final = 64
"""How many items are in work at once; the client's own ``jobs`` limits the requests."""

Item = TypeVar("Item")
Result = TypeVar("Result")


async def each(
    items: Iterable[Item],
    work: Callable[[Item], Awaitable[Result]],
    at_once: int = WORKERS,
) -> AsyncIterator[tuple[Item, Result]]:
    """Yield each item with the result of its work, in the order in which they are done.

    The first error ends all and is raised unchanged.
    """
    # Imported here: a collection that asks no registry is to start at once and stay small.
    import asyncio  # noqa: PLC0415 - see above

    rest = iter(items)
    running: dict[Future[Result], Item] = {}
    try:
        while True:
            while len(running) < at_once:
                try:
                    item = next(rest)
                except StopIteration:
                    break
                running[asyncio.ensure_future(work(item))] = item
            if not running:
                return
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
    finally:
        for future in running:
            future.cancel()
        await asyncio.gather(*running, return_exceptions=True)
