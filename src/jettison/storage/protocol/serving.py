"""Answering requests: the interface of the server.

Where :attr:`Features.local` says so, most methods answer at once, at a handful of calls of the
system, so that the event loop may call them; those that may take a while say so. Of any other
storage threads alone ask anything. Nothing is promised from memory: what somebody else has changed
is seen by the next question (decision 0005).
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.protocol.facts import Stamp

__all__ = ["ManifestContent", "OpenContent", "Serving", "TagNames"]


class ManifestContent(NamedTuple):
    """A manifest's bytes, and what they say of its type: "" where they say nothing."""

    raw: bytes
    media_type: str


class TagNames(NamedTuple):
    """The tags of a repository, sorted.

    ``stamp`` is what :meth:`Serving.tags_stamp` returns as long as no tag is added or removed; None
    where that cannot be relied on, as for what changed a moment ago.
    """

    names: list[str]
    stamp: Stamp | None


class OpenContent(Protocol):
    """A blob that is open to be sent, until it is closed. ``size`` is in bytes.

    What is open can be read to its end, also if the blob is removed meanwhile.
    """

    size: int

    def ready(self, offset: int, length: int) -> bytes | bytearray | None:
        """Return bytes from ``offset`` on that need not be waited for; None where none do."""

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes from ``offset`` on, none at the end. May take a while."""

    def close(self) -> None:
        """Let go of it."""


class Serving(Protocol):
    """What requests ask about; safe to use from several threads.

    A link that another program may be rewriting at the moment raises
    :class:`~jettison.errors.Unsettled`, one that is damaged
    :class:`~jettison.errors.StorageError`.
    """

    # Links.

    def tag(self, repository: RepoName, tag: Tag) -> Digest | None:
        """Return what a tag points to; None if there is no such tag."""

    def resolve(self, repository: RepoName, tag: Tag) -> Digest | None:
        """Return what a tag points to, if that manifest is part of the repository."""

    def layer(self, repository: RepoName, digest: Digest) -> Digest | None:
        """Return the blob that a repository's link of a digest leads to; None if it has none."""

    def has_revision(self, repository: RepoName, digest: Digest) -> bool:
        """Whether a manifest is part of a repository."""

    def has_manifests(self, repository: RepoName) -> bool:
        """Whether there ever was a manifest, or a tag, in a repository."""

    # Contents.

    def size(self, digest: Digest) -> int | None:
        """Return the size of a blob in bytes; None if there is none."""

    def small(self, digest: Digest) -> bytes | None:
        """Return a small blob's bytes; None if it is absent, or to be sent with :meth:`open`."""

    def manifest(self, digest: Digest) -> ManifestContent | None:
        """Return a small manifest; None if it is absent, or larger.

        Raises :class:`~jettison.errors.StorageError` for bytes that have another digest.
        """

    def large_type(self, digest: Digest) -> str | None:
        """Return the type of a larger manifest that :meth:`examine` has read; None for others."""

    def examine(self, digest: Digest) -> str | None:
        """Read a larger manifest and return its type; None if it is absent. Takes a while."""

    def open(self, digest: Digest) -> OpenContent | None:
        """Open a blob to be sent; None if there is none."""

    def url(self, digest: Digest) -> str | None:
        """Return a URL from which a client may fetch a blob itself for 20 minutes.

        None where the server sends contents. Whether there is such a blob is not looked at.
        """

    # Saying that somebody wants something (decision 0003).

    def touch_layer(self, repository: RepoName, digest: Digest, size: int | None = None) -> bool:
        """Note that a layer is wanted, so that no sweep takes it; False if it is not there.

        So is a blob that has another ``size`` in bytes than it should have, if that is known, or
        none at all: a power cut leaves such, and a push that is told so brings it again.
        """

    def touch_revision(self, repository: RepoName, digest: Digest) -> bool:
        """Note that a manifest is wanted, so that no sweep takes it; False if it is not there."""

    def is_aside(self, digest: Digest) -> bool:
        """Whether a sweep has taken a blob aside, and may put it back."""

    # Lists.

    def tags(self, repository: RepoName) -> TagNames | None:
        """Return all tags, sorted; None if there is no such repository. Takes a while."""

    def tags_stamp(self, repository: RepoName) -> Stamp | None:
        """Return when a tag was last added or removed; None if there are none."""

    def repositories_after(self, name: str) -> Iterator[str]:
        """Yield the repositories with manifests behind a name, in lexical order; takes a while."""
