"""A whole bucket listed, with many requests at a time where it is large.

A store answers with a thousand keys, and with the next thousand only when it is told where the last
ended. A listing is made quick by beginning at several keys at once. Where those are is told by what
was listed so far: digests are spread evenly, so how far the last one has come tells how many more
there are; repositories are divided by their names, in the folder that the last key is in and in
those above it. A part that turns out to be long is divided again.
"""

import queue
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from jettison.errors import StorageError
from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import AT_ONCE, Bucket, Entry
from jettison.storage.objects.listing import PARTS, Listing
from jettison.storage.protocol import Stamp, stamp_at

__all__ = ["Splitting", "list_repository", "list_tree"]

_DIGITS: Final = 8
_SPACE: Final = 16**_DIGITS
_FIRST: Final = "!"
_LAST: Final = "~"
"""Ahead of, and behind, every part of a key that a registry makes."""
_END: Final = "\U0010ffff"
_WAITING: Final = AT_ONCE // 2
"""Pages, each of a thousand objects and half a megabyte."""


class Splitting(NamedTuple):
    """When a listing is divided: numbers of keys.

    One that goes on after ``after`` keys is divided, into ranges of ``least`` keys or more, as far
    as that can be told.
    """

    after: int = 4000
    least: int = 8000


class _Range(NamedTuple):
    """The keys below ``prefix/`` behind one key and up to another, without it."""

    prefix: str
    after: str | None = None
    until: str | None = None


_Page = list[Entry] | StorageError | None


def list_tree(bucket: Bucket, splitting: Splitting | None = None) -> Iterator[list[Entry]]:
    """Yield all objects of a registry's tree, in no promised order.

    Raises :class:`~jettison.errors.StorageError` for the first request that fails: what is not
    listed is not known.
    """
    return _Lister(bucket, splitting or Splitting()).run()


def list_repository(
    bucket: Bucket,
    name: str,
    parts: Sequence[str] = PARTS,
    taken: Mapping[str, Stamp] = MappingProxyType({}),
) -> Listing:
    """List one repository, and of it only these parts; what is ``taken`` is out of sight."""
    found = Listing()
    places = [f"{layout.repository(name)}/{part}" for part in parts]
    for pages in bucket.pool.map(lambda place: list(bucket.pages(place)), places):
        for page in pages:
            found.add(page, taken)
    found.settle(stamp_at(time.time()))
    return found


class _Lister:
    def __init__(self, bucket: Bucket, splitting: Splitting) -> None:
        self._bucket = bucket
        # A store that begins at the first key whatever it is told is listed in one go.
        self._splitting = splitting if bucket.begins_anywhere else Splitting(sys.maxsize)
        self._found: queue.Queue[_Page] = queue.Queue(_WAITING)
        self._todo: list[_Range] = [_Range(layout.REPOSITORIES), _Range(layout.BLOBS)]
        self._ended = False
        self._names: dict[str, list[str]] = {}

    def run(self) -> Iterator[list[Entry]]:
        running = 0
        try:
            while self._todo or running:
                while self._todo and running < AT_ONCE:
                    self._bucket.pool.submit(self._list, self._todo.pop())
                    running += 1
                page = self._found.get()
                if isinstance(page, StorageError):
                    raise page
                if page is None:
                    running -= 1
                else:
                    yield page
        finally:
            self._ended = True
            while running:  # none is to be left waiting for room
                running -= self._found.get() is None

    def _list(self, asked: _Range) -> None:
        try:
            self._list_range(asked)
        except StorageError as error:
            self._found.put(error)
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for it
            self._found.put(StorageError(f"cannot list {self._bucket.location}: {error}"))
        finally:
            self._found.put(None)

    def _list_range(self, asked: _Range) -> None:
        count, limit, last = 0, self._splitting.after, ""
        begin, named = asked.after, limit
        for page in self._bucket.pages(asked.prefix, asked.after):
            if self._ended:
                return
            if asked.after is not None:
                last = self._in_order(page, last)
            # Some stores begin at the first key whatever they are told.
            within = [one for one in page if asked.after is None or one.key > asked.after]
            ends = asked.until is not None and any(one.key >= asked.until for one in within)
            if ends:
                within = [one for one in within if one.key < (asked.until or "")]
            self._found.put(within)
            count += len(within)
            if begin is None and within:
                begin = min(one.key for one in within)
            if ends:
                return
            if count >= limit and within:
                after = max(one.key for one in within)
                starts: list[str] = []
                if asked.prefix == layout.REPOSITORIES and count >= named:
                    starts = self._by_name(begin or "", after, asked.until, count)
                    named = 2 * count  # each try takes requests
                rest = _between(asked, after, starts or self._by_digest(within, after))
                if rest:
                    # Before the end of this one is told, so that it is not taken for the last.
                    self._todo += rest
                    return
                limit += self._splitting.after

    def _in_order(self, page: list[Entry], last: str) -> str:
        """Return the last key of a page; raise if a store lists in no order, and ranges lie."""
        for entry in page:
            # What looks like a folder is told without the slash that its place is by.
            if entry.size:
                if entry.key < last:
                    message = f"{self._bucket.location} is not listed in the order of its keys"
                    raise StorageError(message, hint="Only general purpose buckets are supported.")
                last = entry.key
        return last

    def _by_name(self, begin: str, last: str, until: str | None, count: int) -> list[str]:
        """Divide what is left by names, in the folder of the last key's repository and above it.

        ``count`` keys have come since ``begin``: so many a name are expected of those to come.
        """
        above, later, passed = layout.REPOSITORIES, list[str](), 0
        for part in last.removeprefix(f"{above}/").split("/"):
            if part in PARTS:
                break
            starts = [f"{above}/{name}/{_FIRST}" for name in self._folders(above)]
            later += [one for one in starts if last < one < (until or _END)]
            passed = sum(begin < one <= last for one in starts)
            above = f"{above}/{part}"
        left = count * len(later) // max(1, passed)
        parts = min(AT_ONCE, left * 2 // max(1, self._splitting.least))
        later.sort()
        return [later[len(later) * number // parts] for number in range(1, parts)]

    def _folders(self, above: str) -> list[str]:
        """Return the names in a folder of repositories; one that was listed is not again."""
        if above not in self._names:
            self._names[above] = [one for one in self._bucket.folders(above) if one not in PARTS]
        return self._names[above]

    def _by_digest(self, page: list[Entry], last: str) -> list[str]:
        """Divide what is left of the folder of digests that the last key is in."""
        above, found, _ = last.partition("/sha256/")
        folder, grouped = f"{above}/sha256/", above == layout.BLOBS
        keys = [one.key for one in page if one.key.startswith(folder)]
        if not found or not keys:
            return []
        skipped = len(folder) + (3 if grouped else 0)  # its folder comes first
        try:
            first, come = (int(key[skipped : skipped + _DIGITS], 16) for key in (keys[0], last))
        except ValueError:
            return []
        left = len(keys) * (_SPACE - come) // max(1, come - first)
        parts = min(AT_ONCE, left // max(1, self._splitting.least))
        if parts < 2:  # noqa: PLR2004 - one is what there is already
            return []
        starts = [come + (_SPACE - come) * part // parts for part in range(1, parts)]
        return [*(_digest_key(folder, start, grouped=grouped) for start in starts), folder + _LAST]


def _digest_key(folder: str, start: int, *, grouped: bool) -> str:
    digits = f"{start:0{_DIGITS}x}"
    return f"{folder}{digits[:2]}/{digits}" if grouped else f"{folder}{digits}"


def _between(asked: _Range, last: str, starts: list[str]) -> list[_Range]:
    starts = sorted(one for one in starts if one > last and one < (asked.until or _END))
    if not starts:
        return []
    keys = [last, *starts]
    ends: list[str | None] = [*starts, asked.until]
    # A range begins behind a key, which none of the starts but the first is.
    return [_Range(asked.prefix, key, end) for key, end in zip(keys, ends, strict=True)]
