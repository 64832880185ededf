"""What a push relies on, from when it looks until it is sure that no sweep has taken it.

A push looks at what it needs, writes, and at its end asks for the sweeps that were announced since
before it looked. If one of them names what it relied on, it waits until that is over and begins
again: so what was there when it looked is there when it ends, and a later sweep sees what it wrote.
A manifest asks before it writes its tags: until then they lead to what they led to before.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from jettison.errors import StorageError, SweptMeanwhile
from jettison.storage.objects.deleting import uptime
from jettison.storage.objects.sweeps import Over, Sweeps

__all__ = ["Reliance"]

T = TypeVar("T")

_MOST_TRIES: Final = 20


class _Relying(threading.local):
    """The keys that this thread relies on, in the block that it is in, and is not sure of.

    ``before``: the sweeps that were over when that began. ``depth``: of blocks in one another.
    """

    keys: set[str] | None = None
    before = Over()
    depth = 0


class Reliance:
    """Notes what pushes of this process rely on; each push is in one thread."""

    def __init__(self, sweeps: Sweeps) -> None:
        self.sweeps = sweeps
        self.clock = uptime
        self._here = _Relying()

    @property
    def is_part(self) -> bool:
        """Whether this thread is in a block of :meth:`sure` within another.

        Then the other one writes what leads to all that is relied on.
        """
        return self._here.depth > 1

    def on(self, *keys: str) -> None:
        """Note that the push of this thread relies on keys, before it looks whether they are."""
        if self._here.keys is not None:
            self._here.keys.update(keys)

    def on_nothing(self) -> None:
        """Note that this thread found nothing, so there is nothing to be sure of.

        Not in a part of a block: whatever else is in the block relies on what it has noted.
        """
        if self._here.keys is not None and not self.is_part:
            self._here.keys.clear()

    @contextlib.contextmanager
    def sure(self) -> Iterator[None]:
        """Make sure, at the end of a ``with`` block, that no sweep takes what is relied on in it.

        Raises :class:`~jettison.errors.SweptMeanwhile` as :meth:`make_sure` does: then the whole of
        the block is to be done again. A block in another is a part of that.
        """
        here = self._here
        here.depth += 1
        try:
            if here.depth > 1:
                yield
                return
            here.before, here.keys = self.sweeps.known(), set()
            yield
            self.make_sure()
        finally:
            here.depth -= 1
            if not here.depth:
                here.keys = None

    def make_sure(self) -> None:
        """Make sure that no sweep takes what this thread's block relies on until now.

        Else waits until that is over and raises :class:`~jettison.errors.SweptMeanwhile`. What is
        sure need not be asked for again.
        """
        here = self._here
        if not here.keys:
            return
        if found := self.sweeps.naming(here.keys, here.before):
            self.sweeps.wait(found)
            raise SweptMeanwhile("a collection has taken what is relied on")
        here.keys.clear()

    def again(self, keys: Sequence[str], act: Callable[[], T]) -> T:
        """Do what relies on keys until no sweep names them meanwhile; return what it returns.

        Raises :class:`~jettison.errors.StorageError` where that does not come to an end. In a block
        of :meth:`sure` it is done once: that begins again as a whole.
        """

        def once() -> T:
            with self.sure():
                self.on(*keys)
                return act()

        if self._here.depth:
            return once()
        for _ in range(_MOST_TRIES):
            with contextlib.suppress(SweptMeanwhile):
                return once()
        message = "collections go on taking what is pushed"
        raise StorageError(message, hint="Let fewer of them run, with a longer --grace.")
