"""Small named documents: the journal, the plans of repairs, the book of pulls."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

__all__ = ["Documents"]


class Documents(Protocol):
    """Documents by name, each whole or not there at all, and on the disk when a method returns.

    ``location`` is where they are, for messages. Names have no slash in them. Methods raise
    :class:`~jettison.errors.StorageError` for what cannot be read or written.
    """

    @property
    def location(self) -> str:
        """Where they are, for messages."""

    def names(self) -> list[str]:
        """Return the names of all documents."""

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a document, None if there is none.

        Raises for one that is longer than ``limit`` bytes.
        """

    def beginning(self, name: str, size: int) -> bytes | None:
        """Return the first ``size`` bytes of a document, None if there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Store a document in place of the one that may be there."""

    def append(self, name: str, lines: Iterable[bytes]) -> None:
        """Add lines to a document, which is made if it is not there.

        Raises for a collection that nothing was ever written to. An empty line means nothing.
        """

    def remove(self, name: str) -> bool:
        """Remove a document; False if it was not there."""

    def has_room(self, size: int) -> bool:
        """Whether a document of so many bytes could be stored; False on a disk that is full."""

    def lease(self, name: str, patience: float = 0.0) -> AbstractContextManager[bool]:
        """Hold what only one process may do at a time, in a ``with`` block; False: another does.

        It is waited for as long as ``patience`` seconds. The lease of a killed process ends with
        it. Names of leases are apart from those of documents.
        """
