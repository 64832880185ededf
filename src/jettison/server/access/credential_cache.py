"""Credentials that were verified lately, and need not be verified for every request."""

import hashlib
import secrets
from typing import Final, Generic, TypeVar

__all__ = ["CredentialCache"]

CAPACITY: Final = 2048

_Value = TypeVar("_Value")


class CredentialCache(Generic[_Value]):
    """Up to ``capacity`` values by a secret, of which only a keyed hash is kept.

    The oldest go first.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._key = secrets.token_bytes(32)
        self._values: dict[bytes, _Value] = {}

    def __len__(self) -> int:
        return len(self._values)

    def name(self, secret: str) -> bytes:
        """Return the key of ``secret``, which tells nothing about it."""
        raw = secret.encode(errors="surrogatepass")
        return hashlib.blake2b(raw, key=self._key, digest_size=32).digest()

    def get(self, name: bytes) -> _Value | None:
        """Return the value of ``name``, or None."""
        return self._values.get(name)

    def put(self, name: bytes, value: _Value) -> None:
        """Remember ``value``; forget the oldest if there are too many."""
        if len(self._values) >= self._capacity and name not in self._values:
            del self._values[next(iter(self._values))]
        self._values[name] = value

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
