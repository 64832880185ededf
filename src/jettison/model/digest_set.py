"""A set of millions of digests, in eight bytes each beyond the first.

A Python set of ``bytes`` takes about 130 bytes for each; a registry of a million images has five
million digests. The collector asks for them in the order of the storage tree, folder by folder. So
the set keeps rows by first byte, and makes a Python set of one row only when it is read.

Of a digest of sha256 nine bytes are kept, and another that begins with the same nine counts as
added: by chance, of ten million beside ten million, one time in fifty million. Somebody who looks
for two such contents can find them. So the set is for what is kept, never for what goes: all that
can happen is that garbage stays.
"""

import struct
from collections.abc import Iterable
from itertools import chain
from typing import Final

from jettison.model.digest import BinaryDigest

__all__ = ["DigestSet"]

_LENGTH: Final = 32
_KEPT: Final = slice(1, 9)
_WIDTH: Final = 8
_PARTS: Final = struct.Struct("B8s23x")
"""Of a digest of sha256 its first byte and what is kept of the others."""
_COMPACT: Final = 1 << 24


class DigestSet:
    """Digests by their first byte. Duplicates may be added; they are compacted later."""

    def __init__(self) -> None:
        self._rows = [bytearray() for _ in range(256)]
        self._size = 0
        self._limit = _COMPACT
        self._long: set[BinaryDigest] = set()

    def add(self, digest: BinaryDigest) -> None:
        """Add one digest, of any algorithm."""
        if len(digest) == _LENGTH:
            self.add_row(digest)
        else:
            self._long.add(digest)

    def add_row(self, digests: bytes) -> None:
        """Add concatenated sha256 digests."""
        rows = self._rows
        for first, part in _PARTS.iter_unpack(digests):
            rows[first] += part
        self._size += len(digests) // _LENGTH * _WIDTH
        if self._size > self._limit:
            for first in range(len(rows)):
                rows[first] = bytearray().join(self._row(first))
            self._size = sum(map(len, rows))
            self._limit = max(_COMPACT, 2 * self._size)

    def add_all(self, digests: Iterable[BinaryDigest]) -> None:
        """Add digests of any algorithm, all at once."""
        found = set(digests)
        long = {digest for digest in found if len(digest) != _LENGTH}
        self.add_row(b"".join(found - long))
        self._long |= long

    def _row(self, first: int) -> set[bytes]:
        return set(chain.from_iterable(struct.iter_unpack(f"{_WIDTH}s", self._rows[first])))

    def __len__(self) -> int:
        """Count them, each once."""
        return sum(len(self._row(first)) for first in range(256)) + len(self._long)

    def among(self, folder: str, digests: Iterable[BinaryDigest]) -> set[BinaryDigest]:
        """Return which of these digests are in the set.

        All are in ``folder`` of a storage tree: ``<algorithm>/<first two digits>``.
        """
        algorithm, _, prefix = folder.partition("/")
        if algorithm != "sha256":
            return self._long.intersection(digests)
        try:
            row = self._row(int(prefix, 16))
        except ValueError:
            return set()
        return {digest for digest in digests if digest[_KEPT] in row}
