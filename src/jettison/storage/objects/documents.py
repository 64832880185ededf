"""Small documents of ours in a bucket: the journal, leases, notes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from jettison.errors import StorageError
from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.leases import hold

__all__ = ["ObjectDocuments"]

_LEASE: Final = ".lease"
_LARGEST: Final = 64 * 1024 * 1024


class ObjectDocuments:
    """Documents by name (:class:`~jettison.storage.protocol.Documents`)."""

    def __init__(self, bucket: Bucket, collection: str) -> None:
        self._bucket = bucket
        self._folder = f"{layout.OURS}/{collection}"

    @property
    def location(self) -> str:
        """Where they are, for messages."""
        return f"{self._bucket.location}/{self._folder}"

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def names(self) -> list[str]:
        """Return the names of all documents."""
        skipped = len(self._folder) + 1
        names = [one.key[skipped:] for page in self._bucket.pages(self._folder) for one in page]
        return [name for name in names if name and "/" not in name and not name.endswith(_LEASE)]

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a document, None if there is none; raises for more than ``limit`` bytes."""
        return self._bucket.get(self._key(name), limit)

    def beginning(self, name: str, size: int) -> bytes | None:
        """Return the first ``size`` bytes of a document, None if there is none."""
        return self._bucket.beginning(self._key(name), size)

    def write(self, name: str, content: bytes) -> None:
        """Store a document in place of the one that may be there."""
        self._bucket.put(self._key(name), content)

    def append(self, name: str, lines: Iterable[bytes]) -> None:
        """Add lines to a document, by one process at a time: an object is written as a whole.

        Raises where no document was ever stored: one of the same name belongs to it.
        """
        before = self.read(name, _LARGEST)
        if before is None and not self.names():
            raise StorageError(f"cannot write {self.location}/{name}: there is no such collection")
        self.write(name, (before or b"") + b"".join(line + b"\n" for line in lines))

    def remove(self, name: str) -> bool:
        """Remove a document; False if it was not there."""
        key = self._key(name)
        if self._bucket.look(key) is None:
            return False
        self._bucket.remove([key])
        return True

    def has_room(self, size: int) -> bool:  # noqa: ARG002 - a bucket has no bounds that are known
        """Whether a document of so many bytes could be stored: yes."""
        return True

    @contextmanager
    def lease(self, name: str, patience: float = 0.0) -> Iterator[bool]:
        """Hold what only one process may do at a time; False: another does."""
        key = self._key(name) + _LEASE
        with hold(self._bucket, key, name, patience) as held:
            yield held is not None
