"""HTTP connections: uvicorn's, with bounds on what a client may send before it says anything.

uvicorn reads headers of any length for any time. A client that sends them slowly, or without end,
would hold a connection, or memory, for ever.
"""

import asyncio
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from jettison.server.app import GONE
from jettison.server.configuration import Limits

__all__ = ["limited_protocol"]

_TOO_MANY: Final = 503
_TOO_LARGE: Final = 431


def limited_protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return uvicorn's protocol class, with these limits."""

    class LimitedProtocol(HttpToolsProtocol):
        def __init__(
            self,
            config: Config,
            server_state: ServerState,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            super().__init__(config, server_state, app_state, _loop)
            self._deadline: asyncio.TimerHandle | None = None
            self._in_headers = 0
            self._extensions: dict[str, Any] = {}

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._extensions[GONE] = transport.is_closing
            if len(self.connections) > limits.connections:
                self._refuse(_TOO_MANY, b"Service Unavailable")
                return
            self._expect_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            # Bodies are bounded elsewhere; pipelined requests make this no more than a little lax.
            before, self._in_headers = self._in_headers, self._in_headers + len(data)
            if before > limits.header_bytes and self._deadline is not None:
                self._refuse(_TOO_LARGE, b"Request Header Fields Too Large")
                return
            super().data_received(data)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_headers = 0
            self.scope["extensions"] = self._extensions
            if self._deadline is None:
                self._expect_headers()

        def on_headers_complete(self) -> None:
            self._stop_waiting()
            super().on_headers_complete()

        def _expect_headers(self) -> None:
            self._deadline = self.loop.call_later(limits.header_timeout, self._too_slow)

        def _stop_waiting(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _too_slow(self) -> None:
            self._deadline = None
            if not self.transport.is_closing():
                self.transport.close()

        def _refuse(self, status: int, reason: bytes) -> None:
            self._stop_waiting()
            head = b"HTTP/1.1 %d %b\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head % (status, reason))
            self.transport.close()

    return LimitedProtocol
