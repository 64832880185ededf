"""Connections with TLS, accepted here so that they count before the handshake.

A server of the event loop reports a connection only after its handshake. Until then the connection
takes a file and memory that would not be counted, and there could be any number of them.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

from jettison.server.http.connections import Connections
from jettison.server.http.protocol import Connection

__all__ = ["TlsServer"]

_AT_A_TIME: Final = 64
_PAUSE: Final = 0.5
"""Seconds without accepting, when the process has no file left."""

_Make = Callable[[Callable[[], None]], Connection]


class _Handshake:
    """A connection from the moment that it is accepted; ``make`` makes the protocol after TLS."""

    def __init__(self, every: Connections, make: _Make) -> None:
        self._every = every
        self._make = make
        self._owner: str | None = None
        self._made: Connection | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(
        self, accepted: socket.socket, host: str, context: ssl.SSLContext, seconds: float
    ) -> None:
        """Count it and start TLS; close it if there is no room."""
        self._owner = self._every.enter(self, host)
        if self._owner is None:
            accepted.close()  # nothing can be said before TLS is agreed on
            return
        coroutine = self._agree(accepted, context, seconds)
        self._task = asyncio.get_running_loop().create_task(coroutine)

    async def _agree(
        self, accepted: socket.socket, context: ssl.SSLContext, seconds: float
    ) -> None:
        made = self._made = self._make(self._leave)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: made, accepted, ssl=context, ssl_handshake_timeout=seconds
            )
        except (OSError, asyncio.CancelledError):  # also ssl.SSLError
            self._leave()

    def _leave(self) -> None:
        if self._owner is not None:
            self._every.leave(self, self._owner)

    @property
    def idle(self) -> bool:
        """Whether no request of it is being answered."""
        return self._made is None or self._made.idle

    def abort(self) -> None:
        """End it at once."""
        if self._made is not None and self._made.is_made:
            self._made.abort()
        elif self._task is not None:
            self._task.cancel()

    def unsent(self) -> int:
        """Return the bytes that the client has not read yet."""
        return self._made.unsent() if self._made is not None and self._made.is_made else 0


class TlsServer:
    """Accepts connections on a listening socket, as long as it is not closed.

    ``seconds`` is how long a client may take for the handshake.
    """

    def __init__(
        self,
        listening: socket.socket,
        every: Connections,
        make: _Make,
        context: ssl.SSLContext,
        seconds: float,
    ) -> None:
        self._listening = listening
        self._every = every
        self._make = make
        self._context = context
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        listening.settimeout(0)
        self._loop.add_reader(listening, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_A_TIME):
            try:
                accepted, address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._loop.remove_reader(self._listening)
                self._again = self._loop.call_later(_PAUSE, self._go_on)
                return
            accepted.settimeout(0)
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            host = address[0] if isinstance(address, tuple) else ""
            _Handshake(self._every, self._make).begin(accepted, host, self._context, self._seconds)

    def _go_on(self) -> None:
        self._again = None
        self._loop.add_reader(self._listening, self._accept)

    def close(self) -> None:
        """Accept no more."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        with contextlib.suppress(ValueError, OSError):  # closed twice
            self._loop.remove_reader(self._listening)
            self._listening.close()

    async def wait_closed(self) -> None:
        """Wait for nothing: the code that closes the server ends connections."""
