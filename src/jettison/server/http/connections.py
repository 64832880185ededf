"""All connections of a process: their number, their clients, and whether these still read.

A connection counts from the moment that it is accepted, and so during the TLS handshake. At the
limit, the client with the most connections makes room: one that opens connections without end keeps
out itself and no other.
"""

import asyncio
from typing import Final, Protocol

from jettison.server.http.sharing import Buffers, client_key

__all__ = ["Connections", "Watched"]

_LOOK_SECONDS: Final = 1.0
_AHEAD: Final = 32 * 1024 * 1024
"""Bytes of requests that wait behind others, over all connections."""

_STEPS: Final = 4
"""The least number of checks before a client that reads nothing is ended."""


class Watched(Protocol):
    """A connection that is counted and watched."""

    @property
    def idle(self) -> bool:
        """Whether no request of it is being answered."""

    def abort(self) -> None:
        """End it at once."""

    def unsent(self) -> int:
        """Return the bytes that the client has not read yet."""


class Connections:
    """At most ``limit`` connections; one that reads nothing for ``patience`` seconds is ended."""

    def __init__(self, limit: int, patience: float) -> None:
        self._limit = limit
        self._patience = patience
        self.ahead = Buffers(_AHEAD)
        """Requests that arrived before the one in front of them was answered."""
        self._pause = min(_LOOK_SECONDS, patience / _STEPS)
        self._clients: dict[str, dict[Watched, None]] = {}
        self._count = 0
        self._stuck: dict[Watched, tuple[int, float]] = {}
        self._look: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return self._count

    def enter(self, connection: Watched, host: str) -> str | None:
        """Count a connection and return its client, or None if there is no room.

        If others have more connections than this client, an idle one of theirs is ended.
        """
        client = client_key(host)
        if self._count >= self._limit and not self._make_room(client):
            return None
        self._clients.setdefault(client, {})[connection] = None
        self._count += 1
        if self._look is None:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(self._pause, self._look_round, loop)
        return client

    def leave(self, connection: Watched, client: str) -> None:
        """Stop counting a connection."""
        own = self._clients.get(client)
        if own is None or connection not in own:
            return
        del own[connection]
        self._count -= 1
        self._stuck.pop(connection, None)
        if not own:
            del self._clients[client]

    def abort(self) -> None:
        """End all of them at once."""
        for connection in self._all():
            connection.abort()

    def _make_room(self, client: str) -> bool:
        heaviest = max(self._clients, key=lambda one: len(self._clients[one]))
        if len(self._clients[heaviest]) <= len(self._clients.get(client, ())) + 1:
            return False
        victim = next((one for one in self._clients[heaviest] if one.idle), None)
        if victim is None:
            return False
        self.leave(victim, heaviest)
        victim.abort()
        return True

    # An answer that its client does not read would be kept for ever: the transport only closes
    # once all is sent. One look at all of them a second costs less than a timer for each answer.

    def _look_round(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look = None
        if not self._count:
            return
        now = loop.time()
        for connection in self._all():
            unsent = connection.unsent()
            if not unsent:
                self._stuck.pop(connection, None)
                continue
            before = self._stuck.get(connection)
            if before is None or before[0] != unsent:
                self._stuck[connection] = unsent, now
            elif now - before[1] >= self._patience:
                del self._stuck[connection]
                connection.abort()
        self._look = loop.call_later(self._pause, self._look_round, loop)

    def _all(self) -> list[Watched]:
        return [one for own in self._clients.values() for one in own]
