"""Storing a blob whose bytes are at hand, in any storage that takes them piece by piece."""

from collections.abc import Iterable
from typing import Protocol

from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.storage.protocol import BlobWriter

__all__ = ["WholeBlobs"]


class WholeBlobs(Protocol):
    """A storage that writes blobs, to inherit from."""

    def new_blob(self, repository: RepoName, digest: Digest) -> BlobWriter:
        """Return a draft to write a blob into."""

    def put_blob(self, repository: RepoName, digest: Digest, chunks: Iterable[bytes]) -> None:
        """Store a blob and link it into the repository.

        Raises :class:`~jettison.errors.VerificationFailed`, and stores nothing, if the bytes do
        not have the digest.
        """
        with self.new_blob(repository, digest) as draft:
            for chunk in chunks:
                draft.write(chunk)
            draft.commit()
