"""Documents in memory."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from jettison.errors import StorageError
from jettison.storage.memory.state import Memory, locked

__all__ = ["MemoryDocuments"]

_PAUSE: Final = 0.01


class MemoryDocuments:
    """One collection of documents; it is there once something was written to it."""

    def __init__(self, memory: Memory, collection: str) -> None:
        self.memory = memory
        self._collection = collection

    @property
    def location(self) -> str:
        """The name of the collection."""
        return f"{self.memory.location}/{self.memory.places.ours}/{self._collection}"

    @property
    def _found(self) -> dict[str, bytes]:
        return self.memory.documents.get(self._collection, {})

    @locked
    def names(self) -> list[str]:
        """Return the names of all documents."""
        return list(self._found)

    @locked
    def read(self, name: str, limit: int) -> bytes | None:
        """Return a document of at most ``limit`` bytes, None if there is none."""
        found = self._found.get(name)
        if found is not None and len(found) > limit:
            raise StorageError(f"{self.location}/{name} has more than {limit} bytes")
        return found

    @locked
    def beginning(self, name: str, size: int) -> bytes | None:
        """Return the first ``size`` bytes of a document, None if there is none."""
        found = self._found.get(name)
        return None if found is None else found[:size]

    @locked
    def write(self, name: str, content: bytes) -> None:
        """Store a document in place of the one that may be there."""
        self.memory.documents.setdefault(self._collection, {})[name] = content

    @locked
    def append(self, name: str, lines: Iterable[bytes]) -> None:
        """Add lines to a document; raises where the collection is not there."""
        if self._collection not in self.memory.documents:
            raise StorageError(f"cannot write {self.location}/{name}: there is no such collection")
        added = b"".join(line + b"\n" for line in lines)
        self._found[name] = self._found.get(name, b"") + added

    @locked
    def remove(self, name: str) -> bool:
        """Remove a document; False if it was not there."""
        return self._found.pop(name, None) is not None

    @locked
    def has_room(self, size: int) -> bool:  # noqa: ARG002 - memory is not counted
        """Whether a document of so many bytes could be stored: always."""
        self.memory.documents.setdefault(self._collection, {})
        return True

    @contextmanager
    def lease(self, name: str, patience: float = 0.0) -> Iterator[bool]:
        """Hold what only one may do at a time; False: another does."""
        end = time.monotonic() + patience
        held = self._take(name)
        while not held and time.monotonic() < end:
            time.sleep(_PAUSE)
            held = self._take(name)
        try:
            yield held
        finally:
            if held:
                self.memory.leases.discard((self._collection, name))

    @locked
    def _take(self, name: str) -> bool:
        taken = (self._collection, name) in self.memory.leases
        self.memory.leases.add((self._collection, name))
        return not taken
