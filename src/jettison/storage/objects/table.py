"""Digests of a listing, each with a time and a number, in 48 bytes each.

A Python dict of bytes takes about 200 bytes for each; a bucket has millions of links.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from jettison.model.digest import BinaryDigest, in_a_row
from jettison.storage.protocol import Stamp

__all__ = ["DigestTable", "Row"]

_LENGTH: Final = 32


class Row(NamedTuple):
    """What is known of a digest: when it was written, and a number."""

    stamp: Stamp
    number: int


class DigestTable:
    """A table by digest, filled in any order and then read; :meth:`settle` comes in between."""

    def __init__(self) -> None:
        self._filling = bytearray()
        self._row = b""
        self._stamps = array("q")
        self._numbers = array("q")
        self._long: dict[BinaryDigest, Row] = {}
        self._in_order = True

    def add(self, digest: BinaryDigest, stamp: Stamp, number: int) -> None:
        """Add a digest; of one that is added twice the younger counts."""
        if len(digest) != _LENGTH:
            before = self._long.get(digest)
            if before is None or before.stamp <= stamp:
                self._long[digest] = Row(stamp, number)
            return
        row = self._filling
        if self._in_order and row and digest <= row[-_LENGTH:]:
            self._in_order = False
        row += digest
        self._stamps.append(stamp)
        self._numbers.append(number)

    def settle(self) -> None:
        """Put in order what was added."""
        self._row, self._filling = bytes(self._filling), bytearray()
        if self._in_order:
            return
        # By the first byte, so that little more memory is needed meanwhile.
        groups = [array("q") for _ in range(256)]
        for at, first in enumerate(self._row[::_LENGTH]):
            groups[first].append(at)
        row, stamps, numbers = bytearray(), array("q"), array("q")
        for group in groups:
            for at in self._youngest(group):
                row += self._digest(at)
                stamps.append(self._stamps[at])
                numbers.append(self._numbers[at])
        self._row, self._stamps, self._numbers = bytes(row), stamps, numbers
        self._in_order = True

    def _youngest(self, group: Iterable[int]) -> list[int]:
        """Return the places of a group in the order of its digests, of each the youngest."""
        places = sorted(group, key=lambda at: (self._digest(at), self._stamps[at]))
        return list({self._digest(at): at for at in places}.values())

    def _digest(self, at: int) -> bytes:
        return self._row[at * _LENGTH : (at + 1) * _LENGTH]

    def get(self, digest: BinaryDigest) -> Row | None:
        """Return what is known of a digest; None if it is not in the table."""
        if len(digest) != _LENGTH:
            return self._long.get(digest)
        at = bisect_left(range(len(self._stamps)), bytes(digest), key=self._digest)
        if at == len(self._stamps) or self._digest(at) != digest:
            return None
        return Row(Stamp(self._stamps[at]), self._numbers[at])

    def __contains__(self, digest: BinaryDigest) -> bool:
        return self.get(digest) is not None

    def __len__(self) -> int:
        return len(self._stamps) + len(self._long)

    def __iter__(self) -> Iterator[BinaryDigest]:
        """Yield the digests, those of sha256 first, sorted."""
        yield from in_a_row(self._row)
        yield from sorted(self._long)

    def items(self) -> Iterator[tuple[BinaryDigest, Row]]:
        """Yield each digest with what is known of it, in the order of :meth:`__iter__`."""
        digests = in_a_row(self._row)
        for digest, stamp, number in zip(digests, self._stamps, self._numbers, strict=True):
            yield digest, Row(Stamp(stamp), number)
        yield from sorted(self._long.items())

    def beginning_with(self, first: int) -> list[BinaryDigest]:
        """Return the digests of sha256 whose first byte is this, sorted."""
        places = range(len(self._stamps))
        start = bisect_left(places, bytes([first]), key=self._digest)
        end = bisect_right(places, bytes([first]), key=lambda at: self._digest(at)[:1])
        return in_a_row(self._row[start * _LENGTH : end * _LENGTH])

    @property
    def long(self) -> list[BinaryDigest]:
        """The digests of another algorithm than sha256, sorted."""
        return sorted(self._long)
