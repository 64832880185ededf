"""Where the book of pulls lies: among the documents of a storage, or in a file of a user's own.

The owner of a storage may have written it, so reading is bounded (docs/security.md), and a book
that cannot be read means that pulls are not known. What it says, and when it may be relied on, is
:mod:`jettison.model.retention.pulls`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from jettison.errors import InvalidDocument, StorageError
from jettison.model import strict_json
from jettison.model.retention.pulls import KnownPulls, PullBook
from jettison.storage.filesystem.documents import FolderDocuments
from jettison.storage.protocol import Documents, Storage

__all__ = ["PullBookFile", "book_at", "book_of", "read_book"]

_COLLECTION: Final = "pulls"
_NAME: Final = "book.json"
_MOST_BYTES: Final = 64 * 1024 * 1024
_MOST_PARTS: Final = 2_000_000
_PATIENCE: Final = 5.0


class PullBookFile:
    """The document that holds a book of pulls; several processes may write to it."""

    def __init__(self, documents: Documents, name: str = _NAME) -> None:
        self._documents = documents
        self._name = name

    @property
    def location(self) -> str:
        """Where it is, for messages."""
        return f"{self._documents.location}/{self._name}"

    def read(self, now: float) -> KnownPulls | None:
        """Return what can be relied on at a time (seconds since the epoch); None: no book.

        Of a book that cannot be read, that is nothing; it raises no error.
        """
        try:
            book = self._load()
        except (InvalidDocument, StorageError) as error:
            return KnownPulls(None, f"{self.location} cannot be read: {error}")
        return None if book is None else book.known(now)

    def change(self, edit: Callable[[PullBook], None]) -> None:
        """Let ``edit`` change the book, and write it: whole, and by one process at a time.

        One that cannot be read is begun anew. Raises :class:`~jettison.errors.StorageError` if it
        cannot be written, or others write to it all the time.
        """
        with self._documents.lease(self._name, _PATIENCE) as held:
            if not held:
                raise StorageError(f"cannot write {self.location}: another process does")
            try:
                book = self._load() or PullBook()
            except (InvalidDocument, StorageError):
                book = PullBook()
            edit(book)
            self._documents.write(self._name, msgspec.json.encode(book))

    def exists(self) -> bool:
        """Whether there is one, readable or not."""
        return self._documents.beginning(self._name, 1) is not None

    def _load(self) -> PullBook | None:
        raw = self._documents.read(self._name, _MOST_BYTES)
        if raw is None:
            return None
        book = strict_json.decode(raw, PullBook, max_bytes=_MOST_BYTES, max_parts=_MOST_PARTS)
        if book.schema_version != 1:
            raise InvalidDocument(f"its schema_version is {book.schema_version}; 1 is known")
        return book


def book_of(storage: Storage) -> PullBookFile:
    """Return the book of a storage, which our server keeps."""
    return PullBookFile(storage.documents(_COLLECTION))


def book_at(path: Path) -> PullBookFile:
    """Return the book in a file of a user's own."""
    path = path.absolute()
    return PullBookFile(FolderDocuments.at(path.parent), path.name)


def read_book(source: Storage | Path, now: float) -> KnownPulls | None:
    """Return what the book of a storage, or the one in a file, tells at a time; None: no book."""
    book = book_at(source) if isinstance(source, Path) else book_of(source)
    return book.read(now)
