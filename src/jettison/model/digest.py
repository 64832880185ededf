"""Content digests (OCI image specification, "Digests")."""

import hashlib
import re
import struct
from collections.abc import Sequence
from typing import Final, NewType, Self

from jettison.errors import InvalidDigest

__all__ = [
    "ALGORITHMS",
    "BinaryDigest",
    "Digest",
    "binary_digest",
    "digest_row",
    "in_a_row",
    "plain_digests",
]

ALGORITHMS: Final = {"sha256": 64, "sha512": 128}
"""The registered algorithms and the length of their lower-case hex."""

_BY_LENGTH: Final = {length // 2: algorithm for algorithm, length in ALGORITHMS.items()}
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


BinaryDigest = NewType("BinaryDigest", bytes)
"""A digest as its bytes alone: 32 of sha256, 64 of sha512.

The collector holds and compares millions of digests; as bytes they take a third of the room and a
tenth of the time. The length tells the algorithm, so nothing is lost.
"""


def binary_digest(algorithm: str, encoded: str) -> BinaryDigest | None:
    """Return the digest of this algorithm and hex, or None if they do not form one."""
    try:
        raw = bytes.fromhex(encoded)
    except ValueError:
        return None
    # `fromhex` is lenient about case and white space; a digest is not.
    if ALGORITHMS.get(algorithm) != len(encoded) or raw.hex() != encoded:
        return None
    return BinaryDigest(raw)


_BYTES: Final = 32
_AT_ONCE: Final = 128
_PREFIX: Final = b"sha256:"
_LENGTH: Final = len(_PREFIX) + 2 * _BYTES


def in_a_row(digests: bytes | bytearray) -> list[BinaryDigest]:
    """Split concatenated sha256 digests, quickly enough for a million of them."""
    found: list[BinaryDigest] = []
    count = len(digests) // _BYTES
    for first in range(0, count, _AT_ONCE):
        some = min(_AT_ONCE, count - first)
        found += struct.unpack_from(f"{_BYTES}s" * some, digests, first * _BYTES)
    return found


def plain_digests(texts: Sequence[bytes]) -> list[BinaryDigest] | None:
    """Return the digests in these texts if each is exactly one of sha256, else None.

    No hex digit is an ``s``. So if each text has the length of a digest and begins with ``s``, and
    only digits remain without the prefixes, each text is a digest.
    """
    joined = b"".join(texts)
    count = len(texts)
    if not {*map(len, texts)} <= {_LENGTH} or joined[::_LENGTH] != b"s" * count:
        return None
    row = _row(joined.replace(_PREFIX, b"").decode("latin-1"), count)
    return None if row is None else in_a_row(row)


def digest_row(encoded: Sequence[str]) -> bytes | None:
    """Return sha256 digests of these hexes, concatenated; None if one of them is no digest's."""
    if not {*map(len, encoded)} <= {2 * _BYTES}:
        return None
    return _row("".join(encoded), len(encoded))


def _row(encoded: str, count: int) -> bytes | None:
    try:
        row = bytes.fromhex(encoded)
    except ValueError:
        return None
    # `fromhex` is lenient about case and white space; a digest is not.
    return row if len(row) == _BYTES * count and row.hex() == encoded else None


class Digest(str):
    """``algorithm:hex``, checked when it is made; apart from that a plain string.

    Raises :class:`InvalidDigest` for anything else: another algorithm, upper case, a wrong length.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check ``text`` and take it as it is."""
        if _DIGEST.fullmatch(text) is None:
            raise InvalidDigest(_reason(text), hint="A digest looks like sha256:<64 hex digits>.")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, raw: bytes, algorithm: str = "sha256") -> Self:
        """Return the digest of ``raw``."""
        if algorithm not in ALGORITHMS:
            message = f"unknown digest algorithm {algorithm!r}"
            raise InvalidDigest(message, hint=f"Known are {', '.join(ALGORITHMS)}.")
        return cls(f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}")

    @classmethod
    def from_binary(cls, raw: BinaryDigest) -> Self:
        """Return the digest that has these bytes."""
        # It needs no check: any bytes of that length are a digest.
        return super().__new__(cls, f"{_BY_LENGTH[len(raw)]}:{raw.hex()}")

    @property
    def binary(self) -> BinaryDigest:
        """The bytes of the hex."""
        return BinaryDigest(bytes.fromhex(self[7:]))

    @property
    def algorithm(self) -> str:
        """``sha256`` or ``sha512``."""
        return self[:6]

    @property
    def hex(self) -> str:
        """The part behind the colon."""
        return self[7:]

    @property
    def short(self) -> str:
        """The algorithm and the first twelve hex digits, for people."""
        return self[:19]

    def matches(self, raw: bytes) -> bool:
        """Whether ``raw`` has this digest."""
        return hashlib.new(self.algorithm, raw).hexdigest() == self.hex


def _reason(text: str) -> str:
    algorithm, colon, encoded = text.partition(":")
    if not colon:
        return f"invalid digest {text!r}: there is no algorithm before the hex"
    if algorithm not in ALGORITHMS:
        return f"invalid digest {text!r}: unknown algorithm {algorithm!r}"
    if len(encoded) != ALGORITHMS[algorithm]:
        wanted = ALGORITHMS[algorithm]
        return f"invalid digest {text!r}: {len(encoded)} hex digits instead of {wanted}"
    return f"invalid digest {text!r}: only 0-9 and a-f may follow the colon"
