"""Digests with numbers beside each, packed into rows by the first byte of the digest.

A Python dictionary takes some 200 bytes for each of millions of digests. A row takes 32 and the
numbers, and only one row at a time is made a dictionary of.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

from jettison.model.digest import BinaryDigest

__all__ = ["ROWS", "DigestRows", "row_of"]

_SHA256_BYTES: Final = 32
_SHA512_BYTES: Final = 64
_FIRST_BYTES: Final = 256
ROWS: Final = 2 * _FIRST_BYTES
"""By the first byte: those of sha256, then those of sha512."""


def row_of(digest: BinaryDigest) -> int:
    """Return the row that a digest is in."""
    return digest[0] + _FIRST_BYTES * (len(digest) != _SHA256_BYTES)


class DigestRows:
    """Digests, each as often as it was added, with numbers as ``numbers`` says (:mod:`struct`)."""

    def __init__(self, numbers: str) -> None:
        lengths = (_SHA256_BYTES, _SHA512_BYTES)
        self._forms = [struct.Struct(f"<{length}s{numbers}") for length in lengths]
        self._rows = [bytearray() for _ in range(ROWS)]

    def add(self, digest: BinaryDigest, *numbers: int) -> None:
        """Add a digest and its numbers."""
        row = row_of(digest)
        self._rows[row] += self._forms[row >= _FIRST_BYTES].pack(digest, *numbers)

    def row(self, index: int) -> Iterator[tuple[Any, ...]]:
        """Yield what was added to a row: the digest, and its numbers."""
        return self._forms[index >= _FIRST_BYTES].iter_unpack(self._rows[index])
