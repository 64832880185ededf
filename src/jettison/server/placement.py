"""Threads that deal with small requests share a processor with the event loop.

Python runs one thread at a time, and each call of the system lets another go on. Where both run on
one processor, whoever calls goes on at once: the call is over before the other is there. On two
processors the other is awake at the same moment, so each of the hundred short calls of a push ends
with both threads waiting for one another, and that costs more than all the calls. What computes or
writes for long in a thread of its own goes to any processor, as ever.

Which processor that is the system says: once a second the loop is let go for a moment, and shares
the one that it is on then.
"""

import asyncio
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, ParamSpec, TypeVar

__all__ = ["Placement"]

P = ParamSpec("P")
T = TypeVar("T")

_HELD_SECONDS: Final = 1.0
_FREE_SECONDS: Final = 0.01
_ANYWHERE: Final = -1


_getcpu: Final = getattr(ctypes.CDLL(None), "sched_getcpu", None)


class _Thread(threading.local):
    """Where this thread was told to be; one that is new is where the one is that made it."""

    processor: int | None = None


class Placement:
    """Of the event loop that it is made in. Where the system cannot do this, nothing is done."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = threading.get_native_id()
        self._here = _Thread()
        self._all = _allowed()
        self._shared: int | None = None
        self._not_before = 0.0
        self._calls = 0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """While several calls of :meth:`near` are under way, let the loop stay where it is.

        One alone gains little, and whatever else its client does would lose: a large upload, say.
        """
        self._calls += 1
        try:
            if self._calls > 1:
                self._share()
            yield
        finally:
            self._calls -= 1

    def _share(self) -> None:
        if self._shared is not None or len(self._all) <= 1 or self._loop.time() < self._not_before:
            return
        found = _current()
        if found in self._all and self._move(self._main, {found}):
            self._shared = found
            self._timer = self._loop.call_later(_HELD_SECONDS, self.let_go)

    def let_go(self) -> None:
        """Let the loop go to any processor again, until it is to share one anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._shared is not None:
            self._shared = None
            self._not_before = self._loop.time() + _FREE_SECONDS
            self._move(self._main, self._all)

    def near(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that makes many short calls of the system, in a thread."""
        shared = self._shared
        if shared is not None and self._here.processor != shared and self._move(0, {shared}):
            self._here.processor = shared
        return function(*args, **kwargs)

    def anywhere(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that works for long, in a thread."""
        if self._here.processor != _ANYWHERE and len(self._all) > 1 and self._move(0, self._all):
            self._here.processor = _ANYWHERE
        return function(*args, **kwargs)

    def _move(self, thread: int, processors: set[int]) -> bool:
        try:
            os.sched_setaffinity(thread, processors)
        except OSError:  # not allowed here, or these are not ours any more
            self._all = set()
            return False
        return True


def _allowed() -> set[int]:
    """Return the processors that this process may run on; none where that cannot be said."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _current() -> int:
    """Return the processor that this thread is on; -1 if the system does not say."""
    return -1 if _getcpu is None else int(_getcpu())
