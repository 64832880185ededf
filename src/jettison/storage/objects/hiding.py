"""Taking objects out of the sight of a registry that knows nothing of us, so that they can return.

Distribution looks whether it has what a manifest needs, and writes the manifest later; nothing
keeps a collection from coming in between. So what a collection takes is first really removed from
its place, in a way that can be taken back, and everything is looked at once more when whatever was
under way has shown itself. That is what a rename does on a disk (decision 0003). Here it is one of
three, by what the object is and what the bucket can do:

- of a **link** the content is noted, and it is written again;
- a **blob** in a bucket that keeps versions is hidden by a delete marker, which is removed again;
- a **blob** in any other bucket is copied by the store to ``jettison/aside/`` first, and back.

What is noted, and the copies, lie in a folder of one collection alone, so that no request of
another that lands late meets them. The next collection after a kill brings all of it back.

No DELETE lands late: each is signed for some seconds, is sent once, and only as long as nobody else
can have begun to bring back what a killed collection left: while the lease is surely held. Nothing
is looked at, to bring it back, while one may still land.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from jettison.errors import StorageError
from jettison.model import codec
from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import PATIENCE, Bucket, Entry
from jettison.storage.objects.deleting import SignedDeletes, measure_clock, uptime
from jettison.storage.objects.failures import StoreFailing
from jettison.storage.objects.leases import Lease
from jettison.storage.objects.left_hidden import (
    ANY_BYTES,
    COPIES,
    LINKS,
    MARKERS,
    NotedBlobs,
    NotedLinks,
    copy_key,
    put_link,
)
from jettison.storage.objects.listing import is_sound
from jettison.storage.objects.repository import LONGEST_LINK
from jettison.storage.objects.versions import Versions
from jettison.storage.protocol import Outcome, outcomes_of

__all__ = ["Hiding", "begin_hiding"]

_AT_ONCE: Final = 256
"""So many objects are noted or copied, then deleted, before the next are."""
_TRIES: Final = 4
"""So many times a store that fails is asked to bring something back."""
_SECOND: Final = 1_000_000_000

T = TypeVar("T")


class _Keeper(Protocol):
    """What lets objects return once they are deleted."""

    def keep(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Make sure that objects can return; only those with True may be deleted then."""

    def hidden(self, key: str, marker: str | None) -> None:
        """Note that an object is deleted, by this marker where the bucket keeps versions."""

    def bring_back(self, key: str) -> None:
        """Let an object that is absent be in its place again, if anything leads to it."""

    def forget(self, keys: Sequence[str]) -> list[Outcome]:
        """Let go of what would let objects return."""

    def read(self, key: str, limit: int) -> bytes | None:
        """Return the content of an object that is hidden; None if it cannot be found."""


class _Notes(Generic[T]):
    """Documents that name what is hidden: each is written before that is, and gone after it."""

    def __init__(
        self, bucket: Bucket, folder: str, ending: str, make: Callable[[dict[str, T]], object]
    ) -> None:
        self._bucket = bucket
        self._folder = folder
        self._ending = ending
        self._make = make
        self._place_of: dict[str, str] = {}
        self._noted: dict[str, dict[str, T]] = {}

    def write(self, values: dict[str, T]) -> None:
        """Note keys, each with a value."""
        place = f"{self._folder}/{len(self._noted):06}{self._ending}"
        self._noted[place] = values
        self._place_of |= dict.fromkeys(values, place)
        self._bucket.put(place, codec.encode(self._make(values)))

    def value(self, key: str) -> T | None:
        """Return the value of a key that is noted."""
        place = self._place_of.get(key)
        return None if place is None else self._noted[place][key]

    def drop(self, keys: Sequence[str]) -> list[Outcome]:
        """Name these no more; what cannot be written has its error in place of True."""
        outcomes: dict[str, Outcome] = dict.fromkeys(keys, True)
        going: dict[str, set[str]] = {}
        for key in keys:
            if key in self._place_of:
                going.setdefault(self._place_of[key], set()).add(key)
        for place, some in going.items():
            left = {key: v for key, v in self._noted[place].items() if key not in some}
            try:
                if left:
                    self._bucket.put(place, codec.encode(self._make(left)))
                else:
                    self._bucket.remove([place])
            except StorageError as error:
                outcomes |= dict.fromkeys(some, error)
                continue
            self._noted[place] = left
            for key in some:
                del self._place_of[key]
        return [outcomes[key] for key in keys]


class _Links:
    """Links, of which the contents are noted."""

    def __init__(self, bucket: Bucket, folder: str) -> None:
        self._bucket = bucket
        self._notes = _Notes[str](bucket, folder, LINKS, NotedLinks)

    def keep(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Note what is in the links, but of those that were written again since they were listed.

        Whoever wrote one was told that it is there.
        """
        contents: dict[str, str] = {}

        def keep(entry: Entry) -> bool:
            now = self._bucket.look(entry.key)
            # Times of objects that were asked for have whole seconds.
            if now is None or now.stamp // _SECOND != entry.stamp // _SECOND:
                return False
            text = self._text(now)
            if text is not None:
                contents[entry.key] = text
            return text is not None

        outcomes = outcomes_of(keep, entries, self._bucket.pool.map)
        if contents:
            self._notes.write(contents)
        return outcomes

    def _text(self, entry: Entry) -> str | None:
        """Return what is in a link; only one of which the ETag does not tell it is read."""
        digest = layout.digest_of(*entry.key.split("/")[-3:-1])
        if digest is not None and is_sound(entry, digest.binary):
            return digest
        raw = self._bucket.get(entry.key, LONGEST_LINK)
        return None if raw is None else raw.decode(ANY_BYTES)

    def hidden(self, key: str, marker: str | None) -> None:
        """Do nothing: what is noted is enough."""

    def bring_back(self, key: str) -> None:
        """Write a link again."""
        content = self._notes.value(key)
        if content is None:
            raise StorageError(f"{self._bucket.location}/{key} is not noted, so it stays away")
        put_link(self._bucket, key, content)

    def forget(self, keys: Sequence[str]) -> list[Outcome]:
        """Note them no more."""
        return self._notes.drop(keys)

    def read(self, key: str, limit: int) -> bytes | None:  # noqa: ARG002 - links are short
        """Return the content of a link."""
        content = self._notes.value(key)
        return None if content is None else content.encode(ANY_BYTES)


class _MarkedBlobs:
    """Blobs that delete markers hide."""

    def __init__(self, bucket: Bucket, folder: str, versions: Versions) -> None:
        self._bucket = bucket
        self._versions = versions
        self._notes = _Notes[tuple[int, int]](bucket, folder, MARKERS, NotedBlobs)
        self._markers: dict[str, str] = {}

    def keep(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Note which blobs they are: a marker takes nothing away."""
        self._notes.write({entry.key: (entry.size, entry.stamp) for entry in entries})
        return [True] * len(entries)

    def hidden(self, key: str, marker: str | None) -> None:
        """Note the marker, if the store has told it."""
        if marker is not None:
            self._markers[key] = marker

    def bring_back(self, key: str) -> None:
        """Remove the marker of a blob."""
        if not self._versions.unmark(key, self._markers.get(key)):
            message = f"{self._bucket.location}/{key} is gone: nothing is below its delete marker"
            raise StorageError(message, hint="See what rules the bucket has for versions.")

    def forget(self, keys: Sequence[str]) -> list[Outcome]:
        """Let the markers stay: a rule of the bucket ends what lies below them."""
        return self._notes.drop(keys)

    def read(self, key: str, limit: int) -> bytes | None:
        """Return the content below the marker."""
        version = self._versions.below(key)
        return None if version is None else self._versions.read(key, version, limit)


class _CopiedBlobs:
    """Blobs of which copies lie aside."""

    def __init__(self, bucket: Bucket, folder: str) -> None:
        self._bucket = bucket
        self._folder = folder
        self._copies: dict[str, tuple[str, int]] = {}
        self._count = 0

    def keep(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Let the store copy them, and see that the copies are there."""
        self._count += 1
        folder = f"{self._folder}/{COPIES}/{self._count:06}"
        copies = [copy_key(entry.key, folder) for entry in entries]
        for entry, copy in zip(entries, copies, strict=True):
            self._copies[entry.key] = (copy, entry.size)
        done = list(self._bucket.pool.map(self._copy, entries, copies))
        there = {one.key: one.size for page in self._bucket.pages(folder) for one in page}
        return [
            outcome
            if outcome is not True or there.get(copy) == entry.size
            else StorageError(f"{self._bucket.location}/{copy} is not there after it was copied")
            for entry, copy, outcome in zip(entries, copies, done, strict=True)
        ]

    def _copy(self, entry: Entry, to: str) -> Outcome:
        try:
            self._bucket.copy(entry.key, to, entry.size)
        except StorageError as error:
            return False if self._is_gone(entry.key) else error
        return True

    def _is_gone(self, key: str) -> bool:
        try:
            return self._bucket.look(key) is None
        except StorageError:
            return False

    def hidden(self, key: str, marker: str | None) -> None:
        """Do nothing: the copy is enough."""

    def bring_back(self, key: str) -> None:
        """Let the store copy a blob back."""
        copy, size = self._copies[key]
        self._bucket.copy(copy, key, size)

    def forget(self, keys: Sequence[str]) -> list[Outcome]:
        """Remove the copies."""
        copied = [key for key in keys if key in self._copies]
        gone = self._bucket.remove_each([self._copies[key][0] for key in copied])
        outcomes = dict(zip(copied, gone, strict=True))
        for key, outcome in outcomes.items():
            if outcome is True:
                del self._copies[key]
        return [outcomes.get(key, True) for key in keys]

    def read(self, key: str, limit: int) -> bytes | None:
        """Return the content of a copy."""
        return self._bucket.get(self._copies[key][0], limit) if key in self._copies else None


class Hiding:
    """What one collection has taken out of sight.

    By delete markers, which ``versions`` removes again, or without it by copies.
    """

    def __init__(
        self,
        bucket: Bucket,
        lease: Lease,
        deletes: SignedDeletes,
        versions: Versions | None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bucket = bucket
        self._lease = lease
        self._deletes = deletes
        self._sleep = sleep
        folder = f"{layout.SET_ASIDE}/{secrets.token_hex(8)}"
        self._links = _Links(bucket, folder)
        self._blobs: _Keeper = (
            _CopiedBlobs(bucket, folder)
            if versions is None
            else _MarkedBlobs(bucket, folder, versions)
        )

    def _keeper(self, key: str) -> _Keeper:
        return self._blobs if key.startswith(f"{layout.BLOBS}/") else self._links

    def hide(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Take objects of one kind out of sight; False for one that is gone, or has changed.

        What could not be taken, and is in its place, has its error.
        """
        found: list[Outcome] = []
        for first in range(0, len(entries), _AT_ONCE):
            some = entries[first : first + _AT_ONCE]
            try:
                found += self._hide(some)
            except StorageError as error:
                found += [error] * len(some)
        return found

    def _hide(self, entries: Sequence[Entry]) -> list[Outcome]:
        keeper = self._keeper(entries[0].key)
        outcomes = dict(zip((one.key for one in entries), keeper.keep(entries), strict=True))
        going = [key for key, outcome in outcomes.items() if outcome is True]
        unsure: dict[str, StorageError] = {}
        for key, deleted in zip(going, self._deletes.delete(going, self._lease.until), strict=True):
            if isinstance(deleted.outcome, StorageError):
                unsure[key] = deleted.outcome
            else:
                keeper.hidden(key, deleted.marker)
        self._wait()
        outcomes |= {key: error for key, error in unsure.items() if self._is_there(key)}
        keeper.forget([key for key, outcome in outcomes.items() if outcome is not True])
        return list(outcomes.values())

    def _wait(self) -> None:
        """Wait until no delete can land any more, so that what is seen stays so."""
        if (left := self._deletes.lands_until - uptime()) > 0:
            self._sleep(left)

    def _is_there(self, key: str) -> bool:
        """Whether an object was not deleted; what cannot be seen may be, so it has to come back."""
        try:
            return self._bucket.look(key) is not None
        except StorageError:
            return False

    def bring_back(self, keys: Sequence[str]) -> list[Outcome]:
        """Let objects of one kind be in their places again; False for what was pushed meanwhile.

        While the store fails it is asked again, for some minutes: what does not come back now is
        away until the next collection.
        """
        if not keys:
            return []
        self._wait()
        outcomes = dict(zip(keys, self._bring_back(keys), strict=True))
        for _ in range(1, _TRIES):
            failed = [key for key, one in outcomes.items() if isinstance(one, StoreFailing)]
            if not failed:
                break
            self._sleep(PATIENCE)
            outcomes |= zip(failed, self._bring_back(failed), strict=True)
        return list(outcomes.values())

    def _bring_back(self, keys: Sequence[str]) -> list[Outcome]:
        keeper = self._keeper(keys[0])

        def one(key: str) -> bool:
            absent = self._bucket.look(key) is None
            if absent:
                keeper.bring_back(key)
            return absent

        outcomes = dict(zip(keys, outcomes_of(one, keys, self._bucket.pool.map), strict=True))
        back = [key for key, outcome in outcomes.items() if not isinstance(outcome, StorageError)]
        forgotten = zip(back, keeper.forget(back), strict=True)
        outcomes |= {key: one for key, one in forgotten if isinstance(one, StorageError)}
        return list(outcomes.values())

    def forget(self, keys: Sequence[str]) -> list[Outcome]:
        """Let objects of one kind be away for good."""
        return self._keeper(keys[0]).forget(keys) if keys else []

    def read(self, key: str, limit: int) -> bytes | None:
        """Return the content of an object that is out of sight."""
        return self._keeper(key).read(key, limit)


def begin_hiding(bucket: Bucket, lease: Lease) -> Hiding:
    """Find out how a bucket can hide blobs, and begin."""
    deletes = SignedDeletes(bucket, measure_clock(bucket))
    versions = Versions(bucket)
    return Hiding(bucket, lease, deletes, versions if versions.can_undo(deletes) else None)
