"""Taking in blobs piece by piece: the interface of the server's uploads.

The storage alone says how far an upload has come, so it can be continued by any process, also after
a restart. What its digest so far is, who writes to it knows; else it is read again.
"""

from collections.abc import Sequence
from typing import Protocol, Self

from jettison.model.digest import Digest
from jettison.model.names import RepoName

__all__ = ["OpenUpload", "Uploading"]


class OpenUpload(Protocol):
    """One upload, open for its holder alone, in a ``with`` block.

    ``size`` is how many bytes it has so far. ``elsewhere``: whether another process may have
    written to it since this one last did. Others may see what is appended only when it is flushed;
    with nothing left to be flushed, the end of the block waits for nothing.
    """

    size: int
    elsewhere: bool

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def append(self, pieces: Sequence[bytes]) -> None:
        """Write pieces, 1,024 at most, at the end. If there is no room for them none stays."""

    def sync(self) -> None:
        """Let what has been written so far become durable; then the end has less to wait for.

        Raises :class:`~jettison.errors.NotSynced` where that fails: the upload is gone then, and
        the client has to begin again.
        """

    def flush(self) -> None:
        """Let every other process see what was appended so far."""

    def truncate(self, size: int) -> None:
        """Take back what came after the first ``size`` bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``, to compute a digest anew; less at the end."""

    def commit(self, digest: Digest) -> None:
        """Make it a blob of the repository; that it has the digest is known. It is then gone.

        When this returns, blob and link are durable. It is gone too where only the link could not
        be written: there is nothing left to go on with. Raises
        :class:`~jettison.errors.NotFoundError` or :class:`~jettison.errors.StorageError` where it
        was removed meanwhile.
        """

    def discard(self) -> None:
        """Remove it, with all that has arrived."""


class Uploading(Protocol):
    """Begins uploads and goes on with them."""

    def start(self, repository: RepoName) -> str:
        """Make an empty upload and return its id, a UUID."""

    def size(self, repository: RepoName, upload: str) -> int | None:
        """Return how many bytes an upload has so far, also while it is written to; None: no such.

        ``upload`` may be any text.
        """

    def open(self, repository: RepoName, upload: str, written: int | None = None) -> OpenUpload:
        """Open an upload, for the caller alone; ``upload`` may be any text.

        ``written``: it is to be committed as so many bytes that this process has written. What
        others have done to it since need not be looked at then, so ``size`` may leave that out.
        Raises :class:`~jettison.errors.NotFoundError` if there is none of that id, and
        :class:`~jettison.errors.Locked` if somebody else has it open.
        """
