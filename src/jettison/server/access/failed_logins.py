"""How often one client may be wrong, so that passwords can only be guessed slowly."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["Guesses"]

_KEPT: Final = 8192


class _Allowance(NamedTuple):
    """So many at once, and one more after each ``seconds``."""

    most: int
    seconds: float


ONE_USER: Final = _Allowance(10, 6.0)
"""Wrong logins of one client with one user."""

ALL_USERS: Final = _Allowance(100, 1.0)
"""Wrong logins of one client with all users: people behind one proxy are one client."""


class Guesses:
    """The attempts that each client has left. A login counts when it begins, unless it is right.

    ``now`` returns the time in seconds. Of many clients, the latest are remembered.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._left: OrderedDict[tuple[str, ...], tuple[float, float]] = OrderedDict()

    def take(self, client: str, user: str) -> float:
        """Count a login before its check; return after how many seconds it may be made (0: now)."""
        now = self._now()
        keys = _keys(client, user)
        found = [(key, allowance, self._of(key, allowance, now)) for key, allowance in keys]
        wait = max((1 - left) * allowance.seconds for _, allowance, left in found)
        if wait > 0:
            return wait
        for key, _, left in found:
            self._put(key, left - 1, now)
        return 0.0

    def give(self, client: str, user: str) -> None:
        """Give a right login back, and forget the wrong ones before it."""
        self._left.pop((client, user), None)
        key, allowance, now = (client,), ALL_USERS, self._now()
        self._put(key, min(allowance.most, self._of(key, allowance, now) + 1), now)

    def _of(self, key: tuple[str, ...], allowance: _Allowance, now: float) -> float:
        left, since = self._left.get(key, (float(allowance.most), now))
        return min(allowance.most, left + (now - since) / allowance.seconds)

    def _put(self, key: tuple[str, ...], left: float, now: float) -> None:
        self._left[key] = left, now
        self._left.move_to_end(key)
        if len(self._left) > _KEPT:
            self._left.popitem(last=False)


def _keys(client: str, user: str) -> tuple[tuple[tuple[str, ...], _Allowance], ...]:
    return ((client, user), ONE_USER), ((client,), ALL_USERS)
