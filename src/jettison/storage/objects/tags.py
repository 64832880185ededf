"""The tags of a listing: what is known of each, in little room where that is the usual.

A tag that was pushed once and never moved is a digest and two times. Nearly all are such, and there
are as many of them as of manifests.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import Final

from jettison.model.digest import BinaryDigest
from jettison.storage.protocol import Stamp

__all__ = ["TagListing", "TagTable"]

_PLAIN: Final = struct.Struct("<32sqq")
"""What a plain tag leads to, when its link was written, and when that of its history."""
_LENGTH: Final = 32


class TagListing:
    """A tag: when its link was written, None without one, and what it leads to, None if unread.

    ``history`` are the digests that its history names, each with the time of its link, and
    ``unread`` those of them whose links are not sound. ``strange`` are the keys of what else is in
    the history. ``e_tag`` is that of the link, as long as it is not known where this leads.
    """

    __slots__ = ("e_tag", "history", "stamp", "strange", "target", "unread")

    def __init__(self) -> None:
        self.stamp: Stamp | None = None
        self.target: BinaryDigest | None = None
        self.history: list[tuple[BinaryDigest, Stamp]] = []
        self.unread: tuple[BinaryDigest, ...] = ()
        self.strange: tuple[str, ...] = ()
        self.e_tag: str | None = None

    def add_link(self, stamp: Stamp, e_tag: str | None) -> None:
        """Add the link of the tag; without an ETag it has to be read."""
        self.stamp = stamp
        self.e_tag = e_tag

    def add_history(self, digest: BinaryDigest, stamp: Stamp, sound: str | None) -> None:
        """Add a link of its history, with its ETag if it is ``sound``."""
        self.history.append((digest, stamp))
        if sound is None:
            self.unread = (*self.unread, digest)
        elif sound == self.e_tag:
            # The tag's own link has the same bytes.
            self.target, self.e_tag = digest, None

    def settle(self, known: Mapping[str, BinaryDigest]) -> None:
        """Tell what the link leads to, of the manifests to which links have these ETags."""
        if self.e_tag is not None:
            self.target, self.e_tag = known.get(self.e_tag), None

    def pack(self) -> bytes | None:
        """Return all that is known of a tag that never moved; None of any other."""
        if self.target is None or self.stamp is None or len(self.target) != _LENGTH:
            return None
        if self.unread or self.strange or len(self.history) != 1:
            return None
        [(digest, written)] = self.history
        return _PLAIN.pack(digest, self.stamp, written) if digest == self.target else None

    @classmethod
    def unpack(cls, packed: bytes | bytearray) -> "TagListing":
        """Return the tag of which :meth:`pack` told all."""
        digest, stamp, written = _PLAIN.unpack(packed)
        found = cls()
        found.target, found.stamp = BinaryDigest(digest), Stamp(stamp)
        found.history = [(found.target, Stamp(written))]
        return found


class TagTable(Mapping[str, TagListing]):
    """Tags by name, in the order in which they came.

    What is got of it is not changed in it: :meth:`put` is for that.
    """

    def __init__(self) -> None:
        self._places: dict[str, int | TagListing] = {}
        self._packed = bytearray()

    def __getitem__(self, name: str) -> TagListing:
        found = self._places[name]
        if isinstance(found, TagListing):
            return found
        return TagListing.unpack(self._packed[found * _PLAIN.size : (found + 1) * _PLAIN.size])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def put(self, name: str, tag: TagListing) -> None:
        """Put a tag, in place of what was known of it."""
        packed = tag.pack()
        if packed is None:
            self._places[name] = tag
            return
        self._places[name] = len(self._packed) // _PLAIN.size
        self._packed += packed

    def is_open(self) -> bool:
        """Whether there is a tag of which it is not known yet where its link leads."""
        found = self._places.values()
        return any(isinstance(one, TagListing) and one.e_tag is not None for one in found)

    def settle(self, known: Mapping[str, BinaryDigest]) -> None:
        """Tell what links lead to, of the manifests to which links have these ETags."""
        for name, tag in self._places.items():
            if isinstance(tag, TagListing):
                tag.settle(known)
                self.put(name, tag)
