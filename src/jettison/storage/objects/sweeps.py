"""Sweeps as a bucket announces them: which keys a collection is about to remove, and until when.

In a bucket nothing can be hidden in one step. So a collection first writes down what it wants to
remove, then looks at everything once more, and removes last; and a push looks at the end whether
anything that it relies on stands there. The numbers only grow, and no announcement is ever written
over: whoever knows that all sweeps up to a number are over needs to look at later ones alone. No
clock is compared with another: how long a sweep lasts is counted from when it was first seen.

Argued in ``docs/internals/collecting-in-buckets.md``.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

import msgspec

from jettison.errors import InvalidDocument, StorageError
from jettison.model import codec
from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import Bucket, Entry

__all__ = ["MOST_SECONDS", "MOST_WAITED", "Announcement", "Over", "Sweeps"]

_SLACK_SECONDS: Final = 60.0
"""How long after its end a request that was accepted may still take effect."""

_SWEEPS: Final = f"{layout.OURS}/sweeps"
_SHUT: Final = ".shut"
_DIGITS: Final = 16
_LARGEST: Final = 256 * 1024 * 1024
_MOST_KNOWN: Final = 64
_POLL_SECONDS: Final = 0.1
_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 10.0
"""Seconds until a sweep that met another is announced again: the first time, and at most."""
MOST_WAITED: Final = 600.0
"""So many seconds a push waits for a sweep; that of a killed collection is over in less."""
_DAY_NS: Final = 24 * 3600 * 1_000_000_000
MOST_SECONDS: Final = 12 * 3600.0
"""A sweep lasts no longer: its record is removed a day after it was made."""


class Announcement(msgspec.Struct, frozen=True):
    """What a sweep removes: ``keys``, within ``seconds`` after it was announced, or not at all."""

    by: str
    seconds: float
    keys: tuple[str, ...]


class Over(NamedTuple):
    """Sweeps that are over: all up to the number ``up_to``, and the later ones in ``beyond``."""

    up_to: int = 0
    beyond: frozenset[int] = frozenset()


def _key(number: int) -> str:
    return f"{_SWEEPS}/{number:0{_DIGITS}d}"


def _number(entry: Entry) -> int | None:
    name = entry.key.rpartition("/")[2].removesuffix(_SHUT)
    return int(name) if len(name) == _DIGITS and name.isascii() and name.isdecimal() else None


class Sweeps:
    """The sweeps of a bucket; safe to use from several threads."""

    def __init__(
        self,
        bucket: Bucket,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bucket = bucket
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._named: dict[int, frozenset[str]] = {}
        self._over_at: dict[int, float] = {}
        self._by: dict[int, str] = {}
        self._shut: set[int] = set()
        self._up_to = 0
        self._looked = False

    @property
    def over(self) -> Over:
        """Which sweeps are over, by the last look at them; asks for nothing."""
        now = self._clock()
        with self._lock:
            ended = {number for number, end in self._over_at.items() if now > end}
            return Over(self._up_to, frozenset(self._shut | ended))

    # Of a push.

    def known(self) -> Over:
        """Return which sweeps are over; asks for it if nothing is known yet.

        Else the first push of a server would read all that were announced for a day.
        """
        if not self._looked:
            self._look(0)
        return self.over

    def naming(self, keys: Collection[str], before: Over) -> list[int]:
        """Return the sweeps that were not over ``before`` and name any of these keys; one request.

        Those that are over by now are among them: what they have removed was there a moment ago.
        So is one whose record is removed by now, whatever it named.
        """
        wanted = frozenset(keys)
        later = self._look(before.up_to)
        read = {number: self._read(number) for number in later if number not in before.beyond}
        named = [
            number
            for number, keys_of_it in read.items()
            if keys_of_it is None or not wanted.isdisjoint(keys_of_it)
        ]
        # Numbers follow one another, and records go long after their ends, but for the last.
        all_later = range(before.up_to + 1, later[-1] + 1 if later else 0)
        told = read.keys() | before.beyond
        gone = next((number for number in all_later if number not in told), None)
        return named if gone is None else [gone, *named]

    def open_naming(self, keys: Collection[str]) -> bool:
        """Whether a sweep that goes on names any of these keys."""
        return any(not self._is_over(one) for one in self.naming(keys, self.over))

    def wait(self, sweeps: Iterable[int]) -> None:
        """Return when these sweeps are over.

        Raises :class:`~jettison.errors.StorageError` if one goes on for too long: what it names may
        go any moment until then.
        """
        waited, end = list(sweeps), self._clock() + MOST_WAITED
        while waited:
            self._look(min(waited) - 1)
            waited = [one for one in waited if not self._is_over(one)]
            if waited and self._clock() > end:
                raise self._too_long(min(waited))
            if waited:
                self._sleep(_POLL_SECONDS)

    def _too_long(self, number: int) -> StorageError:
        place = f"{self._bucket.location}/{_key(number)}"
        with self._lock:
            by = self._by.get(number, "a collection")
        message = f"{by} names what is pushed in {place}, and goes on for {MOST_WAITED:.0f} s"
        hint = (
            "Push again when that collection is over. If it was killed, remove that object a "
            "quarter of an hour later."
        )
        return StorageError(message, hint=hint)

    def _look(self, after: int) -> list[int]:
        """List the sweeps later than ``after``, and note which are over."""
        found: set[int] = set()
        shut: set[int] = set()
        # From the first that may go on: its end counts too.
        first = min(after, self._up_to)
        for page in self._bucket.pages(_SWEEPS, f"{_key(first)}{_SHUT}"):
            for entry in page:
                number = _number(entry)
                if number is not None and number > first:
                    (shut if entry.key.endswith(_SHUT) else found).add(number)
        with self._lock:
            self._shut.update(number for number in shut & found if number > self._up_to)
            self._looked = True
        self._count_over(sorted(found))
        return sorted(one for one in found if one > after)

    def _count_over(self, numbers: Iterable[int]) -> None:
        """Note up to which number all sweeps are over; ``numbers`` are those that are listed."""
        up_to = self._up_to
        for number in numbers:
            if number <= up_to:
                continue
            # One that is missing was removed a day later, and those before it are older. Or the
            # listing came by before it was made: a later one was made and listed meanwhile.
            if number > up_to + 1:
                if not self._is_over(number - 1):
                    break
                up_to = number - 1
            if not self._is_over(number):
                break
            up_to = number
        with self._lock:
            self._up_to = max(self._up_to, up_to)
            self._shut = {number for number in self._shut if number > self._up_to}
            for known in (self._over_at, self._by, self._named):
                for number in [one for one in known if one <= self._up_to]:
                    del known[number]

    def _is_over(self, number: int) -> bool:
        with self._lock:
            if number <= self._up_to or number in self._shut:
                return True
        if self._read(number) is None:
            with self._lock:
                self._shut.add(number)
            return True
        with self._lock:
            return number <= self._up_to or self._clock() > self._over_at[number]

    def _read(self, number: int) -> frozenset[str] | None:
        """Return what a sweep names; None if its record was removed, long after its end."""
        with self._lock:
            known = self._named.get(number)
        if known is not None:
            return known
        at = self._clock()
        raw = self._bucket.get(_key(number), _LARGEST)
        if raw is None:
            return None
        try:
            found: Announcement = codec.decode(raw, Announcement)
        except InvalidDocument as error:
            place = f"{self._bucket.location}/{_key(number)}"
            message = f"{place} is no announcement of a sweep: {error.message}"
            hint = "Remove it when no collection runs; until then nothing can be pushed."
            raise StorageError(message, hint=hint) from None
        with self._lock:
            # Kept when what it names is not, or its time would begin again.
            self._by[number] = found.by
            self._over_at.setdefault(number, at + found.seconds + _SLACK_SECONDS)
            while len(self._named) >= _MOST_KNOWN:
                del self._named[min(self._named)]
            return self._named.setdefault(number, frozenset(found.keys))

    # Of a collection.

    def announce(self, keys: Collection[str], seconds: float) -> int:
        """Announce that keys are removed within so many seconds, or not at all; return its number.

        The record is read by every push until then. Records that are over for a day are removed.
        """
        by = f"process {os.getpid()} on {socket.gethostname()}"
        raw = codec.encode(Announcement(by, seconds, tuple(sorted(keys))))
        number, pause = self._tidy(), _PAUSE
        while True:
            number += 1
            if not self._bucket.put_new(_key(number), raw):
                continue
            # Somebody who stood still for a day may have made one that nobody looks at any more.
            last = self._last(number)
            if last == number:
                return number
            self.shut(number)
            # Else two who announce at the same time go past one another for ever.
            self._sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)
            number = self._last(last)

    def shut(self, number: int) -> None:
        """Note that a sweep is over: all that it removes is removed, and nothing is on its way."""
        self._bucket.put(f"{_key(number)}{_SHUT}", b"")
        with self._lock:
            if number > self._up_to:
                self._shut.add(number)

    def _last(self, number: int) -> int:
        """Return the highest number, of which ``number`` is one, as they are now."""
        found = (one for page in self._bucket.pages(_SWEEPS, _key(number)) for one in page)
        return max([number, *(later for one in found if (later := _number(one)) is not None)])

    def _tidy(self) -> int:
        """Remove what is over for a day, but for the last number, and return that."""
        entries = [entry for page in self._bucket.pages(_SWEEPS) for entry in page]
        numbers = {number for entry in entries if (number := _number(entry)) is not None}
        last = max(numbers, default=0)
        newest = max((entry.stamp for entry in entries), default=0)
        old = [
            entry.key
            for entry in entries
            if newest - entry.stamp > _DAY_NS and _number(entry) not in {None, last}
        ]
        if old:
            self._bucket.remove_each(old)
        return last
