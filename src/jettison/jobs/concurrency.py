"""Doing many small things at once, without a task for each of a hundred thousand items."""

from collections import deque
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
    # Not asyncio.wait, which looks at all that run each time that one of them is done.
    done: deque[Future[Result]] = deque()
    one_is_done = asyncio.Event()

    def note(future: "Future[Result]") -> None:
        done.append(future)
        one_is_done.set()

    try:
        while True:
            while len(running) < at_once:
                try:
                    item = next(rest)
                except StopIteration:
                    break
                begun = asyncio.ensure_future(work(item))
                running[begun] = item
                begun.add_done_callback(note)
            if not running:
                return
            await one_is_done.wait()
            while done:
                future = done.popleft()
                yield running.pop(future), future.result()
            one_is_done.clear()
    finally:
        for future in running:
            future.cancel()
        await asyncio.gather(*running, return_exceptions=True)
