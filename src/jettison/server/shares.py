"""How many threads ask a storage at once, and how many of them one client may have.

They wait for a disk, which answers one after another, or for a network, which answers many at a
time.
"""

from typing import Final, NamedTuple

from jettison.storage.protocol import Features

__all__ = ["Shares", "shares_of"]


class Shares(NamedTuple):
    """Threads in all and for each client; then how many of them may search, of all and each."""

    threads: int
    threads_each: int
    searches: int
    searches_each: int


_NEAR: Final = Shares(16, 12, 4, 2)
_FAR: Final = Shares(64, 48, 16, 8)


def shares_of(features: Features) -> Shares:
    """Return the shares for a storage with these features."""
    return _NEAR if features.local else _FAR
