"""Changing a storage: references come after what they lead to, and go before it (rule 3).

Whatever is put is whole or not there at all, and on the disk when a method returns.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from typing import Protocol, Self

from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import RepoName, Tag

__all__ = ["BlobWriter", "TagsByManifest", "Writing"]


class TagsByManifest(Protocol):
    """The tags of one repository by what they point to."""

    def tags(self, digest: BinaryDigest) -> list[Tag]:
        """Return the tags that point to a manifest, sorted."""


class BlobWriter(Protocol):
    """A blob being written, in a ``with`` block; what was not committed is thrown away."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def write(self, chunk: bytes) -> None:
        """Append to the blob."""

    def commit(self) -> None:
        """Put the blob in its place and link it.

        Raises :class:`~jettison.errors.VerificationFailed` if its digest is another.
        """


class Writing(Protocol):
    """Puts, links, untags and deletes."""

    @property
    def writable(self) -> bool:
        """Whether this process may change the storage."""

    def writing(self, repository: RepoName, *, make: bool = False) -> AbstractContextManager[None]:
        """Keep every other writer of a repository's manifests and tags out."""

    def new_blob(self, repository: RepoName, digest: Digest) -> BlobWriter:
        """Return a draft to write a blob into."""

    def put_blob(self, repository: RepoName, digest: Digest, chunks: Iterable[bytes]) -> None:
        """Store a blob and link it into the repository.

        Raises :class:`~jettison.errors.VerificationFailed`, and stores nothing, if the bytes do
        not have the digest.
        """

    def put_manifest(
        self, repository: RepoName, digest: Digest, raw: bytes, tags: Iterable[Tag] = ()
    ) -> None:
        """Store a manifest and link it into the repository, then point ``tags`` to it.

        What it references is not looked at: an undo puts children before parents.
        """

    def link_layer(self, repository: RepoName, digest: Digest) -> None:
        """Make a blob readable through a repository."""

    def link_revision(self, repository: RepoName, digest: Digest) -> None:
        """Make a manifest part of a repository."""

    def touch(self, digest: Digest) -> bool:
        """Note that a blob is wanted, so that no sweep takes it (rule 6); False: there is none."""

    def untag(self, repository: RepoName, tag: Tag, expected: Digest | None = None) -> bool:
        """Remove a tag and nothing else; False if it was not there.

        Raises :class:`~jettison.errors.PlanStale` for one that points to anything but ``expected``.
        """

    def unlink_layer(self, repository: RepoName, digest: Digest) -> bool:
        """Remove a blob from a repository, and nothing else; False if it was not there."""

    def delete_revision(
        self,
        repository: RepoName,
        digest: Digest,
        only: AbstractSet[Tag] | None = None,
        tagged: TagsByManifest | None = None,
    ) -> bool:
        """Remove the tags that point to a manifest, then it itself from the repository.

        False if nothing was there. With ``only``, raises :class:`~jettison.errors.TagsAppeared`,
        and removes nothing, if any other tag points to it. ``tagged`` spares reading all tags.
        """
