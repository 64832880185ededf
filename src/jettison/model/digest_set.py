"""A set of millions of digests in 32 bytes each.

A Python set of ``bytes`` takes about 130 bytes for each; a registry of a million images has five
million digests. The collector reads them in the order of the storage tree, folder by folder. So the
set keeps rows by first byte, and makes a Python set of one row only when it is read.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from jettison.model.digest import BinaryDigest, in_a_row

__all__ = ["DigestSet"]

_LENGTH: Final = 32
_COMPACT: Final = 1 << 26


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
        for digest in in_a_row(digests):
            rows[digest[0]] += digest
        self._size += len(digests)
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

    def _row(self, first: int) -> set[BinaryDigest]:
        return set(in_a_row(self._rows[first]))

    def __len__(self) -> int:
        """Count them, each once."""
        return sum(len(self._row(first)) for first in range(256)) + len(self._long)

    def in_folder(self, folder: str) -> AbstractSet[BinaryDigest]:
        """Return those in the folder ``<algorithm>/<first two digits>`` of a storage tree."""
        algorithm, _, prefix = folder.partition("/")
        if algorithm != "sha256":
            return self._long
        try:
            return self._row(int(prefix, 16))
        except ValueError:
            return frozenset()
