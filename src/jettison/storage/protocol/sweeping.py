"""Taking things away beside a registry that serves: hide, look, restore, discard.

Whatever goes is first taken aside, out of the registry's sight, in one step; looked at when no push
finds it any more; then put back, or removed. A process that is killed in between leaves it aside,
and the next one puts it back. What there are many of is asked for, and done to, many at a time.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, Self

from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import RepoName
from jettison.storage.protocol.facts import Leftover, LinkKind, Outcome, Place, Stamp

__all__ = ["AsideBlob", "LinkGroup", "LinkQuarantine", "Quarantine", "Sweeping"]


class AsideBlob(Protocol):
    """A blob that lies aside, as it is now. ``shared``: the storage gets nothing back with it."""

    @property
    def stamp(self) -> Stamp:
        """When it was written or touched."""

    @property
    def shared(self) -> bool:
        """Whether a hard link shows it elsewhere too."""


class Quarantine(Protocol):
    """Blobs that lie aside, in a ``with`` block, for who holds the storage's lock."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def has_room(self) -> bool:
        """Whether many blobs can lie aside at once; False where one at a time is all there is."""

    def put(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Take blobs out of the registry's sight; False for one that was not there."""

    def look(self, digests: Sequence[BinaryDigest]) -> Sequence[AsideBlob | None]:
        """Look at blobs that lie aside; None where none does."""

    def remove(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Remove blobs that lie aside, for good; False where none does."""

    def remove_places(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Remove the places that blobs came from, if nothing is in them; whether each is gone."""

    def put_back(self, digest: BinaryDigest) -> bool:
        """Undo :meth:`put` for a blob; False if a push has brought the blob again meanwhile."""

    def put_back_each(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Undo :meth:`put` for blobs; what fails has its error."""

    def digests(self) -> Iterator[BinaryDigest]:
        """Yield the blobs that lie aside, of a sweep that goes on or of one that was killed."""


class LinkGroup(Protocol):
    """The links of one kind in one repository, or of one tag's history, in a ``with`` block."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def place(self, digest: Digest) -> Place:
        """Return where a link is, for messages."""

    def stamp(self, digest: Digest) -> Stamp | None:
        """Return when a link was written, None if it is not in its place."""

    def take(self, links: Sequence[tuple[Digest, Stamp | None]]) -> list[Outcome]:
        """Take links aside; False for one that was not there.

        With a stamp also for one that has another: then it is back.
        """

    def taken(self, digests: Sequence[Digest]) -> list[Stamp | None]:
        """Return when links that lie aside were written, None where none does."""

    def put_back(self, digest: Digest) -> bool:
        """Undo :meth:`take` for a link; False if none lies aside, or it was written again."""

    def put_back_each(self, digests: Sequence[Digest]) -> list[Outcome]:
        """Undo :meth:`take` for links; what fails has its error."""

    def remove(self, digests: Sequence[Digest]) -> list[Outcome]:
        """Remove links that lie aside, for good; False where none does."""

    def remove_places(self, digests: Sequence[Digest]) -> list[Outcome]:
        """Remove the places of links if nothing is in them; whether each is gone."""


class LinkQuarantine(Protocol):
    """Links that lie aside, for who holds the storage's lock."""

    def begin(self, unlinked: Sequence[Digest] = ()) -> None:
        """Leave word that links are taken, for who comes after this process is killed.

        ``unlinked`` are the blobs that are to go with them: they lose their links on purpose.
        """

    def unlinked(self) -> list[Digest]:
        """Return the blobs that a sweep that did not come to its end was to remove."""

    def end(self) -> None:
        """Take that word back: none lies aside any more."""

    @property
    def any_left(self) -> bool:
        """Whether links may lie aside, of a sweep that goes on or of one that was killed."""

    def group(self, kind: LinkKind, repository: str, algorithm: str) -> LinkGroup | None:
        """Open the links of a kind; None if there are none."""

    def history(self, repository: str, tag: str, algorithm: str) -> LinkGroup | None:
        """Open the history of a tag; None if there is none."""

    def recover(self) -> None:
        """Put back all that a killed sweep has left aside, wherever it is."""


class Sweeping(Protocol):
    """Removes what a plan lists."""

    def lease(
        self, purpose: str, *, quiescent: bool = False, hiding: bool = False
    ) -> AbstractContextManager[object]:
        """Hold the storage's lock: one collection or repair at a time.

        ``quiescent``: nothing is pushed until it is let go, so nobody has to heed what is removed.
        ``hiding``: nobody who pushes would heed it, so what lies aside has to be out of sight.
        Raises :class:`~jettison.errors.Locked` if another holds it.
        """

    def require_strong_listing(self) -> None:
        """Raise :class:`~jettison.errors.Refused` where listings are behind what was written.

        A collection would remove what has come into use, and a push not see a collection that is
        about to. It is tried anew each time.
        """

    def now(self) -> float:
        """Return the time of the clock that dates what is written, or a little less.

        In seconds since the epoch.
        """

    def quarantine(self) -> Quarantine:
        """Open where blobs lie aside."""

    def link_quarantine(self) -> LinkQuarantine:
        """Open where links lie aside."""

    def seeing_quarantine(self) -> AbstractContextManager[frozenset[BinaryDigest]]:
        """See what lies aside in its place meanwhile; yields the blobs of it."""

    def is_blob_gone(self, digest: BinaryDigest) -> bool:
        """Whether a blob is neither in its place nor aside."""

    def remove_upload(self, repository: RepoName, upload: str, moved: Stamp | None = None) -> bool:
        """Remove an unfinished upload; False if it was not there, or has moved since ``moved``."""

    def remove_leftover(self, leftover: Leftover) -> bool:
        """Remove a temporary file, unless it was written since it was listed; False if so."""

    def remove_empty(self, place: Place, names: Sequence[str]) -> Iterator[str]:
        """Remove the places ``names`` in a place, in which nothing is; yield those that went.

        ``place`` is a group of blobs, or all links of a kind and algorithm, and ``names`` are the
        hex of digests; or it is a repository, and they are the last parts of names below it.
        """

    def remove_repository(self, name: RepoName) -> bool:
        """Remove a repository in which nothing is, and parents that it leaves empty."""

    def remove_remains(self, before: float) -> None:
        """Remove what killed processes left among what is ours (seconds since the epoch)."""
