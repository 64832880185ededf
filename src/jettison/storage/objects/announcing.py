"""What a collection beside pushes has announced, and what of that it may remove now.

A key may go if it was announced, and if everything was listed after that. Each announcement is shut
when all of its keys are removed or spared and no delete is on its way; one that is never shut, as
of a process that was killed, ends by itself.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Final

from jettison.errors import StorageError
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.deleting import SignedDeletes, measure_clock, uptime
from jettison.storage.objects.sweeps import MOST_SECONDS, Sweeps
from jettison.storage.protocol import Outcome

__all__ = ["AnnouncedKeys"]

_LEAST_SECONDS: Final = 90.0
_LISTINGS: Final = 10
"""A sweep may last as long as so many listings, and :data:`_LEAST_SECONDS` more."""


class _Open:
    """An announcement that is not shut: what of it may still go, until when, and if it was looked.

    Times are those of :func:`~jettison.storage.objects.deleting.uptime`. ``lands_until``: a delete
    may be on its way until then.
    """

    def __init__(self, number: int, keys: Iterable[str], end: float) -> None:
        self.number = number
        self.keys = set(keys)
        self.end = end
        self.looked = False
        self.lands_until = 0.0


class AnnouncedKeys:
    """The announcements of one collection."""

    def __init__(
        self,
        bucket: Bucket,
        sweeps: Sweeps,
        *,
        clock: Callable[[], float] = uptime,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sweeps = sweeps
        self._clock = clock
        self._sleep = sleep
        self._bucket = bucket
        self._by_key: dict[str, _Open] = {}
        self._listing = 0.0

    @cached_property
    def _deletes(self) -> SignedDeletes:
        return SignedDeletes(self._bucket, measure_clock(self._bucket))

    @contextlib.contextmanager
    def looking(self, aside: Iterable[str]) -> Iterator[None]:
        """Announce what is aside and was not announced; everything is listed in the block."""
        new = [key for key in aside if key not in self._by_key]
        if new:
            wanted = _LEAST_SECONDS + self._deletes.seconds + _LISTINGS * self._listing
            seconds = min(wanted, MOST_SECONDS)
            began = self._clock()
            one = _Open(self._sweeps.announce(new, seconds), new, began + seconds)
            self._by_key.update(dict.fromkeys(new, one))
        waiting = set(self._by_key.values())
        before = self._clock()
        yield
        self._listing = self._clock() - before
        for one in waiting:
            one.looked = True

    def remove(self, keys: Sequence[str]) -> list[Outcome]:
        """Delete objects; what may not be deleted has its error in place of True."""
        outcomes: dict[str, Outcome] = {}
        by_end: dict[float, list[str]] = {}
        for key in keys:
            one = self._by_key.get(key)
            if one is None or not one.looked:
                message = f"{key} was not looked at since it was announced, so it stays"
                outcomes[key] = StorageError(message)
            else:
                by_end.setdefault(one.end, []).append(key)
        for end, some in by_end.items():
            for key, deleted in zip(some, self._deletes.delete(some, end), strict=True):
                one = self._by_key[key]
                one.lands_until = max(one.lands_until, deleted.lands_until)
                outcomes[key] = deleted.outcome
                if deleted.outcome is True:
                    self.drop(key)
        return [outcomes[key] for key in keys]

    def drop(self, key: str) -> None:
        """Note that a key is removed, or spared; the last one of an announcement shuts that."""
        one = self._by_key.pop(key, None)
        if one is not None:
            one.keys.discard(key)
            if not one.keys:
                self._shut(one)

    def _shut(self, one: _Open) -> None:
        while (left := one.lands_until - self._clock()) > 0:
            self._sleep(left)
        self._sweeps.shut(one.number)

    def end(self) -> None:
        """Remove nothing more: spare what is left."""
        left, self._by_key = set(self._by_key.values()), {}
        for one in left:
            with contextlib.suppress(StorageError):  # it ends by itself
                self._shut(one)
