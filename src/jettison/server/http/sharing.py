"""What all clients share, each with a bound, and shared out so that none keeps the others waiting.

Three things can run out: threads and processor time (:class:`Turns`), the memory of bodies that
come in (:class:`Buffers`), and the memory of bodies that are kept as a whole (:class:`Bodies`).
"""

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final

__all__ = ["Bodies", "Buffers", "Busy", "Turns", "client_key"]

_PIECE: Final = 256 * 1024
"""Bytes that are read from a connection in one go, at most."""

_NETWORK: Final = 8
"""Bytes of an IPv6 address that say whose it is: a network of 64 bits is one client's."""


class Busy(Exception):
    """More is waiting than there is room for; the client may try again."""


@lru_cache(1024)
def client_key(host: str) -> str:
    """Return what an address counts as: itself, or of IPv6 its network. "" is a local socket."""
    if ":" not in host:
        return host
    try:
        found = IPv6Address(host)
    except ValueError:
        return host
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return found.packed[:_NETWORK].hex()


class Turns:
    """At most ``slots`` at once, ``each`` of them for one client; whoever waits gets a turn.

    The clients that wait take turns, however many requests each of them has waiting: one more is
    refused where a client has ``most`` of them waiting already, or all clients together ``total``.
    0 is no bound, where each wait belongs to a connection, which are bounded.
    """

    def __init__(self, slots: int, each: int, most: int = 0, total: int = 0) -> None:
        self._slots = slots
        self._each = each
        self._most = most
        self._total = total
        self._running: Counter[str] = Counter()
        self._count = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.waiting = 0

    def __repr__(self) -> str:
        return f"Turns({self._count} of {self._slots} taken, {self.waiting} waiting)"

    @contextlib.asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn and hold it. Raises :class:`Busy` at once where too many wait."""
        await self.take(client)
        try:
            yield
        finally:
            self.give(client)

    async def take(self, client: str) -> None:
        """Wait for a turn, which is to be given back."""
        if self._count < self._slots and self._running[client] < self._each:
            self._begin(client)
            return
        line = self._waiting.get(client)
        if line is None:
            line = self._waiting[client] = deque()
        if (self._most and len(line) >= self._most) or (
            self._total and self.waiting >= self._total
        ):
            if not line:
                del self._waiting[client]
            raise Busy
        mine = asyncio.get_running_loop().create_future()
        line.append(mine)
        self.waiting += 1
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.give(client)
            else:
                self._leave(client, mine)
            raise

    def give(self, client: str) -> None:
        """Give a turn back; the next client that waits has it."""
        self._count -= 1
        self._running[client] -= 1
        if not self._running[client]:
            del self._running[client]
        self._go_on()

    def _begin(self, client: str) -> None:
        self._count += 1
        self._running[client] += 1

    def _go_on(self) -> None:
        while self._waiting and self._count < self._slots:
            client = next((one for one in self._waiting if self._running[one] < self._each), None)
            if client is None:
                return
            line = self._waiting[client]
            mine = line.popleft()
            self.waiting -= 1
            self._waiting.move_to_end(client)
            if not line:
                del self._waiting[client]
            if not mine.cancelled():
                self._begin(client)
                mine.set_result(None)

    def _leave(self, client: str, mine: asyncio.Future[None]) -> None:
        line = self._waiting.get(client)
        if line is not None and mine in line:
            line.remove(mine)
            self.waiting -= 1
            if not line:
                del self._waiting[client]


class Buffers:
    """The bytes that have come in and are not on the disk yet, over all connections.

    ``limit`` bounds them but for one piece that each connection may have read beside it. Past the
    limit nobody reads on; those who wait for room get it in the order in which they came.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.used = 0

    @property
    def full(self) -> bool:
        """Whether more may only be read when something has been given back."""
        return self.used >= self._limit

    @property
    def crowded(self) -> bool:
        """Whether so much is there that nothing should be held back without need."""
        return self.used > self._limit // 4

    def take(self, size: int) -> None:
        """Note that ``size`` bytes are there."""
        self.used += size

    def give(self, size: int) -> None:
        """Note that ``size`` bytes are gone."""
        self.used -= size
        # Whoever is told may have a silent client, so with much room all are told.
        left = self._limit - self.used
        count = len(self._waiting) if left > self._limit // 2 else left // _PIECE
        while self._waiting and count > 0:
            one = self._waiting.popleft()
            if not one.done():
                one.set_result(None)
                count -= 1

    async def room(self) -> None:
        """Wait until there is room for more."""
        while self.full:
            mine = asyncio.get_running_loop().create_future()
            self._waiting.append(mine)
            await mine


class _Body:
    """A body that is being taken in; ``patience`` ends it where others need the room."""

    __slots__ = ("given_up", "patience", "size")

    def __init__(self, patience: asyncio.Timeout) -> None:
        self.patience = patience
        self.size = 0
        self.given_up = False


class Bodies:
    """The bytes of bodies that are kept in memory as a whole until they are dealt with.

    Nobody waits for room: where ``limit`` bytes are reached, the body that has been coming in for
    longest is given up. So a client that sends slowly keeps nobody else from sending.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._coming: dict[int, _Body] = {}
        self._used = 0

    @contextlib.contextmanager
    def hold(self, patience: asyncio.Timeout) -> Iterator["Holding"]:
        """Hold room for one body; ``patience`` is the timeout within which it has to come in."""
        body = _Body(patience)
        self._coming[id(body)] = body
        try:
            yield Holding(self, body)
        finally:
            self._coming.pop(id(body), None)
            if not body.given_up:
                self._used -= body.size

    def _grow(self, body: _Body, size: int) -> None:
        if body.given_up:
            return
        body.size += size
        self._used += size
        while self._used > self._limit:
            oldest = next((one for one in self._coming.values() if one is not body), None)
            if oldest is None:
                raise Busy
            # It is gone in the loop's next turn, and counts no more from now on.
            del self._coming[id(oldest)]
            oldest.given_up = True
            self._used -= oldest.size
            if not oldest.patience.expired():  # or it goes by itself in this very turn
                oldest.patience.reschedule(asyncio.get_running_loop().time())

    def _settle(self, body: _Body) -> None:
        self._coming.pop(id(body), None)


class Holding:
    """The room of one body."""

    __slots__ = ("_bodies", "_body")

    def __init__(self, bodies: Bodies, body: _Body) -> None:
        self._bodies = bodies
        self._body = body

    def grow(self, size: int) -> None:
        """Note that ``size`` more bytes are there; raises :class:`Busy` where no room is left."""
        self._bodies._grow(self._body, size)  # noqa: SLF001 - two halves of one thing

    def settle(self) -> None:
        """Note that the body is there as a whole: it is dealt with, and not given up any more."""
        self._bodies._settle(self._body)  # noqa: SLF001 - same
