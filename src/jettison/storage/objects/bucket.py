"""A bucket as the storage asks it: pages of keys, contents, many at a time.

Keys are relative to the root of the storage. Whatever goes wrong is a
:class:`~jettison.errors.StorageError` with one line and the next step.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from jettison.configuration.buckets import StoreBucket
from jettison.errors import StorageError, StorageUnavailable
from jettison.storage.filesystem import layout
from jettison.storage.objects.clients import open_client
from jettison.storage.objects.failures import (
    StoreFailing,
    StoreLost,
    failure,
    is_absent,
    is_conflict,
)
from jettison.storage.protocol import Outcome, Stamp

if TYPE_CHECKING:
    import ssl

    from obstore import (
        HTTP_METHOD,
        Attributes,
        GetOptions,
        GetResult,
        ObjectMeta,
        PutMode,
        WritableFile,
    )

__all__ = ["AT_ONCE", "PATIENCE", "Bucket", "Entry", "Writer"]

AT_ONCE: Final = 32
"""So many requests are on their way at a time."""

PATIENCE: Final = 30.0
"""For so many seconds a store that failed is not asked again."""

_CLOCK: Final = f"{layout.OURS}/clock"
_PAGE: Final = 1000
_PART: Final = 8 * 1024 * 1024
_LARGE_PART: Final = 32 * 1024 * 1024
_MOST_STREAMED: Final = 4
"""So many objects that the store cannot copy itself go through this machine at a time."""
_CONFLICT_PAUSES: Final = (0.01, 0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds until an object is put again that met something else of its place, give or take half."""
_MOST_FAILURES: Final = 3
"""A store has failed where so many requests in a row did; one may be the fault of one object."""
_NOTED: Final = "jettisonstamp"
"""Whoever stores an object says what is noted beside it. Azure allows letters and digits alone."""
_MOST_DIGITS: Final = 19
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = 1_000_000_000


class Entry(NamedTuple):
    """An object in a listing: its size in bytes, when it was written, its ETag without quotes."""

    key: str
    size: int
    stamp: Stamp
    e_tag: str


class Bucket:
    """The bucket that a configuration names; ``environment`` has credentials if that has none.

    Nothing is asked of the store before it has to be. Safe to use from several threads.
    """

    def __init__(self, settings: StoreBucket, environment: Mapping[str, str]) -> None:
        self.settings = settings
        self.location = settings.location
        self._prefix = f"{settings.root}/" if settings.root else ""
        self._client = open_client(settings, environment)
        self._store = self._client.store
        self.begins_anywhere = self._client.begins_anywhere
        self.tells_versions = self._client.tells_versions
        self.tells_parts = self._client.tells_parts
        self.parts_over = self._client.parts_over
        self._streaming = threading.Semaphore(_MOST_STREAMED)
        self._looked_elsewhere = False
        self._misplaced: str | None = None
        self._failed: StoreFailing | None = None
        self._failures = 0
        self._failed_at = 0.0
        self.pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="bucket")

    def pages(self, prefix: str, after: str | None = None) -> Iterator[list[Entry]]:
        """Yield the objects below ``prefix/``, a thousand in a request; those behind ``after``.

        An object that a program made to look like a folder has a key without the slash at its end.
        """
        start = self._prefix + after if after is not None and self.begins_anywhere else None
        with self._errors(f"list {self.location}/{prefix}"):
            empty = after is None
            for page in self._store.list(self._prefix + prefix, offset=start, chunk_size=_PAGE):
                empty = empty and not page
                entries = list(map(self._entry, page))
                if after is not None and start is None:
                    entries = [entry for entry in entries if entry.key > after]
                yield entries
            if empty:
                self._look_elsewhere()

    def _look_elsewhere(self) -> None:
        """Raise if the tree is where it cannot be reached: nothing was found where it should be."""
        if not self._looked_elsewhere:
            self._misplaced = self._client.misplaced()
            self._looked_elsewhere = True
        if self._misplaced is not None:
            message = f"{self.location} cannot be used: {self._misplaced}"
            hint = "Copy what is in it into a container without that, and name that one."
            raise StorageError(message, hint=hint)

    def _entry(self, found: "ObjectMeta") -> Entry:
        moment = (found["last_modified"] - _EPOCH) // _MICROSECOND * 1000
        if self._client.lists_finer:
            moment -= moment % _SECOND
        e_tag = (found["e_tag"] or "").strip('"')
        return Entry(found["path"][len(self._prefix) :], found["size"], Stamp(moment), e_tag)

    def folders(self, prefix: str) -> list[str]:
        """Return the names that keys below ``prefix/`` have up to the next slash, sorted."""
        with self._errors(f"list {self.location}/{prefix}"):
            found = self._store.list_with_delimiter(self._prefix + prefix)["common_prefixes"]
            if not found:
                self._look_elsewhere()
        return sorted(one.rpartition("/")[2] for one in found)

    def exists(self, key: str) -> bool:
        """Whether there is an object of this key, or any below it."""
        if any(entry.key.startswith(f"{key}/") for page in self.pages(key) for entry in page):
            return True
        above, _, _ = key.rpartition("/")
        return any(entry.key == key for page in self.pages(above) for entry in page)

    def _get(self, key: str) -> "GetResult | None":
        """Ask for an object; None if it is absent."""
        try:
            return self._store.get(self._prefix + key)
        except FileNotFoundError as error:
            if is_absent(error):
                return None
            raise

    def get(self, key: str, limit: int) -> bytes | None:
        """Return an object's bytes, None if it is absent; raises for more than ``limit``."""
        found = self.small(key, limit)
        if isinstance(found, int):
            raise StorageError(f"{self.location}/{key} has more than {limit:,} bytes")
        return found

    def beginning(self, key: str, size: int) -> bytes | None:
        """Return an object's first ``size`` bytes, None if it is absent."""
        with self._errors(f"read {self.location}/{key}"):
            found = self._get(key)
            return None if found is None else next(_pieces(found, size), b"")

    def get_each(
        self, keys: Sequence[str], limit: int
    ) -> Iterator[tuple[str, bytes | StorageError | None]]:
        """Yield each key with what :meth:`get` returns or raises, in order, many at once."""

        def get(key: str) -> bytes | StorageError | None:
            try:
                return self.get(key, limit)
            except StorageError as error:
                return error

        return zip(keys, self.pool.map(get, keys), strict=True)

    def pieces(self, key: str, size: int) -> Iterator[bytes]:
        """Yield an object's bytes in pieces of ``size``; nothing if it is absent."""
        with self._errors(f"read {self.location}/{key}"):
            found = self._get(key)
            if found is not None:
                yield from _pieces(found, size)

    def small(self, key: str, limit: int) -> bytes | int | None:
        """Return an object's bytes, or its size alone if it has more than ``limit``; one request.

        None if it is absent.
        """
        with self._errors(f"read {self.location}/{key}"):
            found = self._get(key)
            if found is None:
                return None
            size = found.meta["size"]
            return size if size > limit else bytes(found.bytes())

    def stream(self, key: str, offset: int, size: int) -> Iterator[bytes]:
        """Yield an object's bytes from ``offset`` on, about ``size`` at a time; one request."""
        with self._errors(f"read {self.location}/{key}"):
            options: GetOptions = {"range": {"offset": offset}} if offset else {}
            for piece in self._store.get(self._prefix + key, options=options).stream(size):
                yield bytes(piece)

    def part(self, key: str, offset: int, length: int) -> bytes:
        """Return ``length`` bytes of an object from ``offset`` on; raises if it is absent."""
        with self._errors(f"read {self.location}/{key}"):
            found = self._store.get_range(self._prefix + key, start=offset, length=length)
            return bytes(found)

    def url(self, method: "HTTP_METHOD", key: str, seconds: float) -> str:
        """Return a URL that lets whoever has it do one thing to an object, for so long.

        By the store's clock, from now on as this machine's clock has it. No request is made.
        """
        with self._errors(f"sign for {self.location}/{key}"):
            return self._client.url(method, self._prefix + key, seconds)

    def tls(self) -> "ssl.SSLContext":
        """Return how a request to a URL of :meth:`url` looks at the store's certificate."""
        return self._client.tls()

    def look(self, key: str) -> Entry | None:
        """Return what a listing says of one object, None if it is absent."""
        with self._errors(f"read {self.location}/{key}"):
            try:
                return self._entry(self._store.head(self._prefix + key))
            except FileNotFoundError:
                return None  # the answer to HEAD has no body that would tell more

    def look_noted(self, key: str) -> Entry | None:
        """Return what :meth:`look` does, with the time that :meth:`put_noted` has noted, if any."""
        with self._errors(f"read {self.location}/{key}"):
            try:
                found = self._store.get(self._prefix + key, options={"head": True})
            except FileNotFoundError:
                return None
            entry, noted = self._entry(found.meta), found.attributes.get(_NOTED, "")
            is_stamp = noted.isdecimal() and len(noted) <= _MOST_DIGITS
            return entry._replace(stamp=Stamp(int(noted))) if is_stamp else entry

    def has_version(self, key: str) -> bool:
        """Whether an object has a version: the bucket then keeps what is removed.

        False too where that cannot be told (``tells_versions``).
        """
        return self.tells_versions and self.version(key) is not None

    def version(self, key: str) -> str | None:
        """Return the version of an object; None if it has none, or is absent."""
        with self._errors(f"read {self.location}/{key}"):
            try:
                return self._store.head(self._prefix + key)["version"]
            except FileNotFoundError:
                return None

    def signed(self, method: str, key: str | None, query: Mapping[str, str]) -> str | None:
        """Return a URL for a request with a query, about an object or the bucket (None).

        None where that cannot be signed.
        """
        return self._client.signed(method, None if key is None else self._prefix + key, query)

    # Changing.

    def put(self, key: str, content: bytes) -> None:
        """Store an object in place of the one that may be there."""
        with self._errors(f"write {self.location}/{key}"):
            from obstore.exceptions import BaseError  # noqa: PLC0415 - see open_client

            for pause in _CONFLICT_PAUSES:
                try:
                    self._client.put(self._prefix + key, content)
                except BaseError as error:
                    if not is_conflict(error):
                        raise
                    time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
                else:
                    return
            self._client.put(self._prefix + key, content)

    def copy(self, key: str, to: str, size: int) -> None:
        """Store what an object of ``size`` bytes has under another key too; one request.

        The store does it by itself, but for one that is too large for that. Raises
        :class:`~jettison.errors.StorageError` if there is none.
        """
        largest = self._client.largest_copy
        if largest is not None and size > largest:
            with self._streaming:
                writer = self.writer(to, _LARGE_PART)
                for piece in self.stream(key, 0, _PART):
                    writer.write(piece)
                writer.close()
            return
        with self._errors(f"copy {self.location}/{key}"):
            self._client.copy(self._prefix + key, self._prefix + to)

    def writer(self, key: str, part: int = _PART) -> "Writer":
        """Return what stores an object piece by piece; it is there when that is closed.

        Up to ``part`` bytes take one request, else each part does, and two more.
        """

        def open_parts() -> "WritableFile":
            import obstore  # noqa: PLC0415 - see open_client

            return obstore.open_writer(
                self._store, self._prefix + key, buffer_size=part, max_concurrency=1
            )

        action = f"write {self.location}/{key}"
        return Writer(part, partial(self.put, key), open_parts, lambda: self._errors(action))

    def put_new(self, key: str, content: bytes) -> bool:
        """Store an object, unless there is one; whether it was stored."""
        return self._put_if(key, content, "create")

    def put_noted(self, key: str, content: bytes, stamp: Stamp) -> bool:
        """Do as :meth:`put_new`, and note a time beside the object, for :meth:`look_noted`.

        The note goes with it where the store copies it.
        """
        return self._put_if(key, content, "create", {_NOTED: str(stamp)})

    def put_over(self, key: str, content: bytes, old: Entry) -> bool:
        """Store an object in place of just this one; False if it is another by now.

        Some stores never can (Ceph 16), and answer as if it were another.
        """
        with self._errors(f"read {self.location}/{key}"):
            mode = self._client.just(
                self._prefix + key, old.e_tag, lambda found: self._entry(found) == old
            )
        return mode is not None and self._put_if(key, content, mode)

    def _put_if(
        self, key: str, content: bytes, mode: "PutMode", attributes: "Attributes | None" = None
    ) -> bool:
        from obstore.exceptions import (  # noqa: PLC0415 - see open_client
            AlreadyExistsError,
            PreconditionError,
        )

        with self._errors(f"write {self.location}/{key}"):
            try:
                self._store.put(self._prefix + key, content, mode=mode, attributes=attributes)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects, as :meth:`remove_each`; raises for the first that cannot be removed."""
        for outcome in self.remove_each(keys):
            if isinstance(outcome, StorageError):
                raise outcome

    def remove_each(self, keys: Sequence[str]) -> list[Outcome]:
        """Remove objects, a thousand in a request; True also for one that was not there.

        What cannot be removed has its error in place of True.
        """
        found: list[Outcome] = []
        for first in range(0, len(keys), _PAGE):
            some = keys[first : first + _PAGE]
            try:
                with self._errors(f"remove objects of {self.location}"):
                    self._store.delete([self._prefix + key for key in some])
                found += [True] * len(some)
            except (StoreFailing, StorageUnavailable) as error:
                found += [error] * len(some)
            except StorageError:
                found += self.pool.map(self._remove, some)  # which of them it was
        return found

    def _remove(self, key: str) -> Outcome:
        try:
            with self._errors(f"remove {self.location}/{key}"):
                try:
                    self._store.delete(self._prefix + key)
                except FileNotFoundError as error:
                    if not is_absent(error):
                        raise
        except StorageError as error:
            return error
        return True

    def now(self) -> Stamp:
        """Return the store's own time, as it dates what is stored; writes an object of ours."""
        self.put(_CLOCK, b"")
        found = self.look(_CLOCK)
        if found is None:
            raise StorageError(f"{self.location}/{_CLOCK} is not there right after it was written")
        return found.stamp

    @contextlib.contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - see open_client

        # Each would try for a minute, and there may be thousands to come.
        if self._failed is not None and self._failures >= _MOST_FAILURES:
            if time.monotonic() < self._failed_at + PATIENCE:
                raise StoreLost(self._failed.message, hint=self._failed.hint)
            self._failures = _MOST_FAILURES - 1  # the next one tells
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            found = failure(self.settings, action, error)
            if isinstance(found, StoreFailing):
                self._failures += 1
                self._failed, self._failed_at = found, time.monotonic()
                if self._failures >= _MOST_FAILURES:
                    raise StoreLost(found.message, hint=found.hint) from error
            raise found from error
        else:
            self._failures = 0


class Writer:
    """An object that is being stored; one that is not closed is not there.

    Its parts so far are seen by nobody who lists, and the bucket's own rule ends them.
    """

    def __init__(
        self,
        part: int,
        put: Callable[[bytes], None],
        open_parts: Callable[[], "WritableFile"],
        errors: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._part = part
        self._put = put
        self._open_parts = open_parts
        self._errors = errors
        self._held = bytearray()
        self._parts: WritableFile | None = None

    def write(self, piece: bytes) -> None:
        """Append to the object."""
        if self._parts is None and len(self._held) + len(piece) <= self._part:
            self._held += piece  # stored as a whole, it can be put again
            return
        with self._errors():
            if self._parts is None:
                self._parts = self._open_parts()
                self._parts.write(bytes(self._held))
                self._held.clear()
            self._parts.write(piece)

    def close(self) -> None:
        """Let the object be there."""
        if self._parts is None:
            self._put(bytes(self._held))
            return
        with self._errors():
            self._parts.close()


def _pieces(found: "GetResult", size: int) -> Iterator[bytes]:
    """Yield the bytes of an object in pieces of ``size``, of which the last may be shorter."""
    rest = b""
    for piece in found.stream(min_chunk_size=size):
        rest += piece
        whole = len(rest) - len(rest) % size
        yield from (rest[first : first + size] for first in range(0, whole, size))
        rest = rest[whole:]
    if rest:
        yield rest
