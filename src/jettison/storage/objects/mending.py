"""Moving objects for a repair, and writing them.

In a bucket nothing can be renamed. What moves is copied first, by the store itself; then copy and
original are looked at, and only then the original goes. A process that is killed in between leaves
both, and moving the same thing again, in either direction, ends it.

What is written to the same key between the last look and the removal would be lost, so nothing may
be pushed meanwhile. The jobs make sure of that (:mod:`jettison.jobs.quiescence`).
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, Protocol

from jettison.errors import StorageError, StorageUnavailable
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.repair import FileFingerprint
from jettison.storage.objects.bucket import Bucket, Entry
from jettison.storage.objects.failures import StoreFailing
from jettison.storage.objects.repository import LONGEST_LINK
from jettison.storage.protocol import InTheWayError, Stamp

__all__ = ["ObjectMending"]

_PIECE: Final = 1 << 20
_IDENTITY_DIGITS: Final = 15
_OF_CONTENT: Final = re.compile(r"[0-9a-f]{32}(?:-[0-9]+)?")
"""An ETag that is made of what is in the object, or in its parts."""


class _Mended(Protocol):
    """A storage of which a bucket keeps the content."""

    bucket: Bucket

    def look_again(self) -> None:
        """Forget what was listed."""


class ObjectMending:
    """Changes a bucket, for who holds its lease (:class:`~jettison.storage.protocol.Mending`).

    A place is an object, or all objects below it: ``place/…``.
    """

    def __init__(self, storage: _Mended) -> None:
        self._storage = storage
        self._bucket = storage.bucket

    # Looking.

    def fingerprint(self, place: str) -> FileFingerprint:
        """Return what is in a place; what was written anew differs by its ETag or its time."""
        one = self._bucket.look_noted(place)
        if one is not None:
            return FileFingerprint(place, _identity(one.e_tag), one.size, one.stamp)
        below = self._below(place)
        if not below:
            return FileFingerprint(place)
        told = (f"{one.key} {one.size} {one.stamp} {one.e_tag}" for one in below)
        size, stamp = sum(one.size for one in below), max(one.stamp for one in below)
        return FileFingerprint(place, _identity("\n".join(told)), size, stamp)

    def read(self, place: str) -> bytes | None:
        """Return the bytes of a small object, None if it is absent, larger, or cannot be read."""
        try:
            found = self._bucket.small(place, LONGEST_LINK)
        except (StoreFailing, StorageUnavailable):
            raise
        except StorageError:
            return None
        return None if isinstance(found, int) else found

    def has_digest(self, place: str, digest: BinaryDigest) -> bool:
        """Whether an object can be read and has a digest."""
        algorithm = Digest.from_binary(digest).algorithm
        try:
            return self._hashed(place, algorithm) == digest and self._bucket.look(place) is not None
        except StorageError:
            return False

    def missing(self, place: str) -> tuple[str, ...]:  # noqa: ARG002 - the same for any
        """Return none: an object needs nothing to be in."""
        return ()

    # Changing.

    def take(self, place: str, to: str, seen: Iterable[FileFingerprint]) -> bool:
        """Move something to a place of ours; False if it is not there.

        It is looked at when it is copied, and stays, with the copy removed, unless all of ``seen``
        that is at or below ``place`` is unchanged.
        """
        return self._move(place, to, [one for one in seen if _is_within(one.path, place)])

    def move(self, place: str, to: str) -> bool:
        """Move something to where nothing is, or the same; False if it is not there.

        That the same is there is what a killed process leaves.
        """
        return self._move(place, to, ())

    def _move(self, place: str, to: str, seen: Sequence[FileFingerprint]) -> bool:
        entries = self._entries(place)
        if not entries:
            return False
        made = self._copy_each(entries, place, to)
        if any(self.fingerprint(one.path) != one for one in seen) or (
            self._entries(place) != entries
        ):
            self._remove(made)
            raise InTheWayError("has changed just now, and is left")
        # A tag's link goes first, and comes last: where there is one, the tag is whole.
        self._remove([one.key for one in entries])
        return True

    def _copy_each(self, entries: Sequence[Entry], place: str, to: str) -> list[str]:
        """Copy objects, each of which is whole on return; return the keys that were made."""
        there = {one.key: one for one in self._entries(to)}
        targets = {one.key: to + one.key.removeprefix(place) for one in entries}
        left = [one for one in entries if targets[one.key] not in there]
        same = all(
            self._is_same(one, there[targets[one.key]])
            for one in entries
            if targets[one.key] in there
        )
        if not same or (left and not there.keys() <= set(targets.values())):
            raise InTheWayError(f"{to} is there already")

        def copy(one: Entry) -> None:
            self._copy(one, targets[one.key])

        made = [targets[one.key] for one in left]
        try:
            list(self._bucket.pool.map(copy, left[1:]))
            for one in left[:1]:
                copy(one)
        except StorageError:
            self._remove(made)
            raise
        finally:
            self._storage.look_again()
        return made

    def _copy(self, one: Entry, to: str) -> None:
        self._bucket.copy(one.key, to, one.size)
        found = self._bucket.look(to)
        if found is None or found.size != one.size:
            message = f"the copy of {self._bucket.location}/{one.key} is not whole"
            raise StorageError(message, hint="Look at the store's own log, and try again.")

    def _is_same(self, one: Entry, other: Entry) -> bool:
        if one.size != other.size:
            return False
        if one.e_tag == other.e_tag and _OF_CONTENT.fullmatch(one.e_tag):
            return True
        # Of an upload in parts, or encrypted by a key, a copy has another ETag. Elsewhere it is no
        # more than a time.
        return self._hashed(one.key, "sha256") == self._hashed(other.key, "sha256")

    def write(self, place: str, content: bytes, stamp: Stamp) -> None:
        """Write an object where there is none.

        The store dates what is written: ``stamp`` is kept as a note beside the object, and
        :meth:`fingerprint` tells that. A registry that writes the object anew writes no such note.
        """
        made = self._bucket.look(place) is None and self._bucket.put_noted(place, content, stamp)
        self._storage.look_again()
        if not made:
            raise InTheWayError(f"{place} is there already")

    def remove(self, place: str) -> None:
        """Remove an object that a repair wrote."""
        self._remove([place])

    def remove_empty(self, place: str) -> bool:  # noqa: ARG002 - the same for any
        """Return False: there is no place without an object."""
        return False

    # Requests.

    def _entries(self, place: str) -> list[Entry]:
        """Return the object of this key, or all objects below it, sorted."""
        one = self._bucket.look(place)
        return self._below(place) if one is None else [one]

    def _below(self, place: str) -> list[Entry]:
        found = chain.from_iterable(self._bucket.pages(place))
        return sorted(one for one in found if one.key.startswith(f"{place}/"))

    def _hashed(self, key: str, algorithm: str) -> bytes:
        content = hashlib.new(algorithm, usedforsecurity=False)
        for piece in self._bucket.pieces(key, _PIECE):
            content.update(piece)
        return content.digest()

    def _remove(self, keys: Sequence[str]) -> None:
        """Remove objects, the first of them before the others."""
        self._bucket.remove(keys[:1])
        self._bucket.remove(keys[1:])
        self._storage.look_again()


def _is_within(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def _identity(text: str) -> int:
    """Return a number for a text that is never 0, which means that nothing is there."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return int(digest[:_IDENTITY_DIGITS], 16) or 1
