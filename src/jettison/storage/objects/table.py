"""Digests of a listing, each with a time and a number, in some 48 bytes each.

A Python dict of bytes takes about 200 bytes for each; a bucket has millions of links and blobs.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from operator import lt
from typing import Final, Literal, NamedTuple

from jettison.model.digest import BinaryDigest, in_a_row
from jettison.storage.protocol import Stamp

__all__ = ["BlobTable", "DigestTable", "Row"]

_LENGTH: Final = 32


class Row(NamedTuple):
    """What is known of a digest: when it was written, and a number."""

    stamp: Stamp
    number: int


class DigestTable:
    """A table by digest, filled in any order and then read; :meth:`settle` comes in between.

    ``kind`` is what an array calls its numbers: "b" for those of one byte.
    """

    def __init__(self, kind: Literal["b", "q"] = "q") -> None:
        self._filling = bytearray()
        self._row = b""
        self._stamps = array("q")
        self._numbers = array(kind)
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

    def add_row(self, row: bytes, stamps: Sequence[Stamp], numbers: Sequence[int]) -> None:
        """Add digests of sha256, one behind the other in ``row``."""
        if self._in_order:
            digests = in_a_row(self._filling[-_LENGTH:] + row)
            self._in_order = all(map(lt, digests, digests[1:]))
        self._filling += row
        self._stamps.extend(stamps)
        self._numbers.extend(numbers)

    def settle(self) -> None:
        """Put in order what was added."""
        self._row, self._filling = bytes(self._filling), bytearray()
        if self._in_order:
            # As long as they are, without the room for more.
            self._stamps, self._numbers = self._stamps[:], self._numbers[:]
            return
        row, stamps, numbers = bytearray(), array("q"), array(self._numbers.typecode)
        for at in self._youngest(range(len(self._stamps))):
            row += self._digest(at)
            stamps.append(self._stamps[at])
            numbers.append(self._numbers[at])
        self._row, self._stamps, self._numbers = bytes(row), stamps, numbers
        self._in_order = True

    def _youngest(self, places: Iterable[int]) -> list[int]:
        """Return places in the order of their digests, of each the youngest."""
        places = sorted(places, key=lambda at: (self._digest(at), self._stamps[at]))
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


class BlobTable:
    """A table of many digests: one for each first byte, which takes little more to put in order."""

    def __init__(self) -> None:
        self._parts: dict[int, DigestTable] = {}
        self._long = DigestTable()

    def _part(self, digest: BinaryDigest) -> DigestTable:
        if len(digest) != _LENGTH:
            return self._long
        return self._parts.get(digest[0], _EMPTY)

    def add(self, digest: BinaryDigest, stamp: Stamp, number: int) -> None:
        """Add a digest; of one that is added twice the younger counts."""
        if len(digest) == _LENGTH and digest[0] not in self._parts:
            self._parts[digest[0]] = DigestTable()
        self._part(digest).add(digest, stamp, number)

    def add_row(self, row: bytes, stamps: Sequence[Stamp], numbers: Sequence[int]) -> None:
        """Add digests of sha256 that begin with the same byte, one behind the other in ``row``."""
        if row:
            self._parts.setdefault(row[0], DigestTable()).add_row(row, stamps, numbers)

    def settle(self) -> None:
        """Put in order what was added."""
        self._parts = dict(sorted(self._parts.items()))
        for part in self._parts.values():
            part.settle()
        self._long.settle()

    def get(self, digest: BinaryDigest) -> Row | None:
        """Return what is known of a digest; None if it is not in the table."""
        return self._part(digest).get(digest)

    def __contains__(self, digest: BinaryDigest) -> bool:
        return self.get(digest) is not None

    def __len__(self) -> int:
        return sum(map(len, self._parts.values())) + len(self._long)

    def __iter__(self) -> Iterator[BinaryDigest]:
        """Yield the digests, those of sha256 first, sorted."""
        for part in (*self._parts.values(), self._long):
            yield from part

    def items(self) -> Iterator[tuple[BinaryDigest, Row]]:
        """Yield each digest with what is known of it, in the order of :meth:`__iter__`."""
        for part in (*self._parts.values(), self._long):
            yield from part.items()

    def first_bytes(self) -> list[int]:
        """Return with which bytes digests of sha256 begin, sorted."""
        return sorted(self._parts)

    def beginning_with(self, first: int) -> list[BinaryDigest]:
        """Return the digests of sha256 whose first byte is this, sorted."""
        return list(self._parts.get(first, ()))

    @property
    def long(self) -> list[BinaryDigest]:
        """The digests of another algorithm than sha256, sorted."""
        return list(self._long)


_EMPTY: Final = DigestTable()
