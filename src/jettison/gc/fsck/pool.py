"""Looking at many things side by side, in processes that are forked and change nothing.

Reading a tree is mostly system calls, which one Python process does one at a time.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, ClassVar, Final, TypeVar

from jettison.errors import StorageError

__all__ = ["side_by_side"]

Result = TypeVar("Result")

WORTH_FORKING: Final = 8
"""So few are looked at sooner than a process is made."""

MOST_WORKERS: Final = 8
_ROUNDS: Final = 16
_MOST_AT_ONCE: Final = 64


class _Worker:
    """What a forked process does, handed down to it by its parent's memory."""

    work: ClassVar[Callable[[str], Any]]


def side_by_side(
    work: Callable[[str], Result], names: Sequence[str], processes: int | None = None
) -> Iterator[Result]:
    """Yield what ``work`` makes of each name, in their order.

    ``processes`` None: as many as there are processors, but none beside other threads, which a
    fork would cut off in the middle of whatever they hold. Raises what ``work`` raises.
    """
    if processes is None:
        alone = threading.active_count() == 1
        processes = min(len(os.sched_getaffinity(0)), MOST_WORKERS) if alone else 1
    if processes < 2 or len(names) < WORTH_FORKING:  # noqa: PLR2004 - two are side by side
        yield from map(work, names)
        return
    at_once = max(1, min(_MOST_AT_ONCE, len(names) // (processes * _ROUNDS)))
    context = multiprocessing.get_context("fork")
    pool = ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(work,))
    try:
        yield from pool.map(_do, names, chunksize=at_once)
    except BrokenProcessPool:
        raise StorageError("a process that was reading the storage was killed") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(work: Callable[[str], Any]) -> None:
    # Ctrl-C is for the parent, which then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _Worker.work = staticmethod(work)


def _do(name: str) -> Any:  # noqa: ANN401 - whatever the work makes of it
    return _Worker.work(name)
