"""Changing a storage for a repair: what is there is moved, never overwritten."""

from collections.abc import Iterable
from typing import Protocol

from jettison.model.digest import BinaryDigest
from jettison.model.repair import FileFingerprint
from jettison.storage.protocol.facts import Stamp

__all__ = ["InTheWayError", "Mending"]


class InTheWayError(Exception):
    """Something is where a thing is to go, or is no longer what it was; the text says which."""


class Mending(Protocol):
    """Changes a storage, for who holds its lease."""

    def fingerprint(self, place: str) -> FileFingerprint:
        """Return what is in a place, to be compared with what is there later."""

    def read(self, place: str) -> bytes | None:
        """Return the bytes of a link or document, None if there is none in a place."""

    def has_digest(self, place: str, digest: BinaryDigest) -> bool:
        """Whether what is in a place can be read and has a digest."""

    def missing(self, place: str) -> tuple[str, ...]:
        """Return the places that have to be made for one, the innermost first."""

    def take(self, place: str, to: str, seen: Iterable[FileFingerprint]) -> bool:
        """Move something to a place of ours; False if it is not there.

        It is looked at when no registry sees it any more, and goes back, with
        :class:`InTheWayError`, unless all of ``seen`` that is at or below ``place`` is unchanged.
        """

    def move(self, place: str, to: str) -> bool:
        """Move something to where nothing is, else raise :class:`InTheWayError`.

        False if it is not there.
        """

    def write(self, place: str, content: bytes, stamp: Stamp) -> None:
        """Write a link or document with this stamp; it is whole, and on the disk on return.

        Raises :class:`InTheWayError` if something is there.
        """

    def remove(self, place: str) -> None:
        """Remove a link or document that a repair wrote."""

    def remove_empty(self, place: str) -> bool:
        """Remove a place that nothing is in, of ours with all empty ones in it; False otherwise."""
