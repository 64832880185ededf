"""A bucket in memory, with the methods of the one that talks to a store.

Each request for one object is a step of a simulation, and so is each page of a listing, which is
no snapshot therefore. Like a store it tells times in whole seconds.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, TypeVar

from jettison.configuration.s3 import S3Bucket
from jettison.errors import StorageError
from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import Entry
from jettison.storage.protocol import Outcome, Stamp
from tests.interleavings.scheduling import Simulation

T = TypeVar("T")

_TREE: Final = f"{layout.MARKER}/"
_SECOND: Final = 1_000_000_000
_CLOCK = "jettison/clock"
_PRIVATE: Final = tuple(f"{layout.OURS}/{name}" for name in ("lease", "clock", "drafts", "links"))


class _Object(NamedTuple):
    content: bytes
    stamp: Stamp


class OneByOne:
    """What does at once and in order what a pool does in many threads."""

    def map(self, do: Callable[..., T], *each: Iterable[Any]) -> Iterator[T]:
        return iter([do(*some) for some in zip(*each, strict=True)])

    def submit(self, do: Callable[..., T], *given: Any) -> "Future[T]":
        future: Future[T] = Future()
        try:
            future.set_result(do(*given))
        except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(error)
        return future


class _Writer:
    """What stores an object piece by piece; it is there when that is closed."""

    def __init__(self, bucket: "SimulatedBucket", key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> None:
        self._pieces.append(bytes(piece))

    def close(self) -> None:
        self._bucket.put(self._key, b"".join(self._pieces))


class SimulatedBucket:
    """See :class:`jettison.storage.objects.bucket.Bucket`."""

    begins_anywhere = True
    tells_versions = True
    tells_parts = False
    parts_over = True

    def __init__(self, simulation: Simulation, page: int = 2) -> None:
        self.settings = S3Bucket("simulated", "http://localhost")
        self.location = self.settings.location
        self.pool = OneByOne()
        self.objects: dict[str, _Object] = {}
        self._simulation = simulation
        self._page = page

    def _step(self, action: str, key: str) -> None:
        if not key.startswith(_PRIVATE):  # what no other process looks at is no step
            self._simulation.step(f"{action} {key.removeprefix(_TREE)}")

    def _entry(self, key: str) -> Entry:
        content, stamp = self.objects[key]
        e_tag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return Entry(key, len(content), stamp, e_tag)

    # Reading.

    def pages(self, prefix: str, after: str | None = None) -> Iterator[list[Entry]]:
        last = after or ""
        while True:
            self._step("LIST", prefix)
            found = sorted(
                key for key in self.objects if key.startswith(f"{prefix}/") and key > last
            )
            if some := found[: self._page]:
                last = some[-1]
                yield [self._entry(key) for key in some]
            if len(found) <= self._page:
                return

    def folders(self, prefix: str) -> list[str]:
        self._step("LIST folders of", prefix)
        skipped = len(prefix) + 1
        below = (key[skipped:] for key in self.objects if key.startswith(f"{prefix}/"))
        return sorted({one.partition("/")[0] for one in below if "/" in one})

    def exists(self, key: str) -> bool:
        self._step("LIST", key)
        return key in self.objects or any(one.startswith(f"{key}/") for one in self.objects)

    def get(self, key: str, limit: int) -> bytes | None:
        self._step("GET", key)
        found = self.objects.get(key)
        if found is not None and len(found.content) > limit:
            raise StorageError(f"{key} has more than {limit} bytes")
        return None if found is None else found.content

    def beginning(self, key: str, size: int) -> bytes | None:
        found = self.get(key, 1 << 30)
        return None if found is None else found[:size]

    def get_each(
        self, keys: Sequence[str], limit: int
    ) -> Iterator[tuple[str, bytes | StorageError | None]]:
        return iter([(key, self.get(key, limit)) for key in keys])

    def pieces(self, key: str, size: int) -> Iterator[bytes]:
        found = self.get(key, 1 << 30) or b""
        return (found[first : first + size] for first in range(0, len(found), size))

    def stream(self, key: str, offset: int, size: int) -> Iterator[bytes]:
        found = self.part(key, offset, 1 << 30)
        return (found[first : first + size] for first in range(0, len(found), size))

    def part(self, key: str, offset: int, length: int) -> bytes:
        found = self.get(key, 1 << 30)
        if found is None:
            raise StorageError(f"{key} is absent")
        return found[offset : offset + length]

    def small(self, key: str, limit: int) -> bytes | int | None:
        found = self.get(key, 1 << 30)
        return len(found) if found is not None and len(found) > limit else found

    def look(self, key: str) -> Entry | None:
        self._step("HEAD", key)
        return self._entry(key) if key in self.objects else None

    def url(self, method: str, key: str, seconds: float) -> str:
        """Return what nobody asks for: what is deleted is not over HTTP here."""
        return f"{method} {key} {seconds}"

    def has_version(self, key: str) -> bool:
        self._step("HEAD", key)
        return False

    # Changing.

    def plant(self, key: str, content: bytes, seconds: float) -> None:
        """Let an object be there, written so many seconds ago."""
        self.objects[key] = _Object(content, Stamp(int(self._simulation.now - seconds) * _SECOND))

    def put(self, key: str, content: bytes) -> None:
        self._step("PUT", key)
        self.plant(key, content, 0)

    def put_new(self, key: str, content: bytes) -> bool:
        self._step("PUT if absent", key)
        if key in self.objects:
            return False
        self.plant(key, content, 0)
        return True

    def put_over(self, key: str, content: bytes, old: Entry) -> bool:
        self._step("PUT if the same", key)
        if key not in self.objects or self._entry(key).e_tag != old.e_tag:
            return False
        self.plant(key, content, 0)
        return True

    def copy(self, key: str, to: str, size: int) -> None:  # noqa: ARG002 - it copies what there is
        self._step("COPY to", to)
        if key not in self.objects:
            raise StorageError(f"{key} is absent")
        self.plant(to, self.objects[key].content, 0)

    def writer(self, key: str, part: int = 0) -> _Writer:  # noqa: ARG002 - there are no parts
        return _Writer(self, key)

    def remove_one(self, key: str) -> None:
        self._step("DELETE", key)
        self.objects.pop(key, None)

    def remove(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.remove_one(key)

    def remove_each(self, keys: Sequence[str]) -> list[Outcome]:
        self.remove(keys)
        return [True] * len(keys)

    def now(self) -> Stamp:
        self.put(_CLOCK, b"")
        return self.objects[_CLOCK].stamp
