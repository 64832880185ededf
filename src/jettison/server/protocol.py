"""HTTP connections: uvicorn's, bounded in what a client may send, and with fewer copies.

uvicorn reads headers of any length for any time: a client that sends them slowly, or without end,
would hold a connection, or memory, for ever. It also writes the head and the body of an answer by
themselves, and copies what it receives three times; most of what a registry does is to answer small
requests and to take in large bodies.
"""

import asyncio
import re
from collections import deque
from http import HTTPStatus
from typing import Any, ClassVar, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent, HTTPRequestEvent
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from jettison.server.answers import encode_headers
from jettison.server.app import ENCODED, GONE, LENGTH
from jettison.server.configuration import Limits

__all__ = ["limited_protocol"]

_BAD_REQUEST: Final = 400
_TOO_MANY: Final = 503
_TOO_LARGE: Final = 431
_MOST_WAITING: Final = 2 * 1024 * 1024
"""Bytes of a body that are taken in before the application has asked for them."""

_JOINED: Final = 64 * 1024
"""Up to so many bytes it is quicker to copy a body behind its head than to write twice."""

_UPGRADE: Final = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class _Cycle(RequestResponseCycle):
    """A request and its answer; ``patience`` is how long a client may read nothing, in seconds."""

    patience = 60.0

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(**arguments)
        self._head = b""
        self._pieces: deque[bytes] = deque()
        self._waiting = 0

    # Receiving.

    def take(self, piece: bytes) -> None:
        """Keep a piece of the body until the application asks for it."""
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting > _MOST_WAITING:
            self.flow.pause_reading()
        self.message_event.set()

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next piece of the body, as it came."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not self.disconnected and not self.response_complete:
            if self._waiting < _MOST_WAITING:
                self.flow.resume_reading()
            if not self._pieces:
                await self.message_event.wait()
                self.message_event.clear()
        if (self.disconnected and not self._pieces) or self.response_complete:
            return {"type": "http.disconnect"}
        body = self._pieces.popleft() if self._pieces else b""
        self._waiting -= len(body)
        message: HTTPRequestEvent = {
            "type": "http.request",
            "body": body,
            "more_body": self.more_body or bool(self._pieces),
        }
        return message

    # Sending.

    async def send(self, message: ASGISendEvent) -> None:
        """Send the head together with the first of the body."""
        if self.flow.write_paused and not self.disconnected:
            await self._drain()
        if self.disconnected:
            return
        event = cast("dict[str, Any]", message)
        if not self.response_started:
            self._head = self._make_head(event)
            self.response_started = True
            return
        body: bytes = b"" if self.scope["method"] == "HEAD" else event.get("body", b"")
        self.expected_content_length -= len(body)
        if self._head:
            head, self._head = self._head, b""
            if len(body) <= _JOINED:
                self.transport.write(head + body)
            else:
                self.transport.write(head)
                self.transport.write(body)
        elif body:
            self.transport.write(body)
        if not event.get("more_body", False):
            self._complete()

    async def _drain(self) -> None:
        """Wait until the client has read what it was sent, but not for ever."""
        try:
            async with asyncio.timeout(self.patience):
                await self.flow.drain()
        except TimeoutError:
            self.disconnected = True
            self.transport.abort()

    def _make_head(self, event: dict[str, Any]) -> bytes:
        status: int = event["status"]
        self.waiting_for_100_continue = False
        encoded: bytes | None = event.get(ENCODED)
        closes = False
        if encoded is not None:
            self.expected_content_length = event[LENGTH]
        else:
            encoded = encode_headers(event["headers"])
            for name, value in event["headers"]:
                if name == b"content-length":
                    self.expected_content_length = int(value)
                elif name == b"connection":
                    closes, self.keep_alive = True, False
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
        usual = encode_headers(self.default_headers)
        close = b"" if self.keep_alive or closes else b"connection: close\r\n"
        return b"".join((_STATUS_LINES[status], usual, encoded, close, b"\r\n"))

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if self.expected_content_length != 0:
            # The client must not take what is too short, or too long, for the whole.
            self.transport.abort()
        elif not self.keep_alive:
            self.transport.close()
        self.on_response()


class _Connection(HttpToolsProtocol):
    """A connection; ``limits`` is set by :func:`limited_protocol`."""

    limits: ClassVar[Limits]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._deadline: asyncio.TimerHandle | None = None
        self._reading_headers = True
        self._between = True
        self._idle_since: float | None = None
        self._in_headers = 0
        self._extensions: dict[str, Any] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions[GONE] = transport.is_closing
        if len(self.connections) > self.limits.connections:
            self._refuse(_TOO_MANY)
            return
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        # Bodies are bounded elsewhere; trailers, which come behind them, are kept like headers.
        # Pipelined requests make this no more than a little lax.
        before, self._in_headers = self._in_headers, self._in_headers + len(data)
        if before > self.limits.header_bytes:
            self._refuse(_TOO_LARGE)
            return
        if self._between and (b"pgrade" in data or b"PGRADE" in data):
            data = _without_upgrade(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._reading_headers and self._deadline is None and self._in_headers:
            self._expect_headers()

    # The pause between two requests. uvicorn sets a timer after each answer and cancels it at the
    # next byte; one that looks when it is due costs nothing in between, and no stray byte stops it.

    def _unset_keepalive_if_required(self) -> None:
        pass

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again(self.timeout_keep_alive)

    def _look_again(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self._end_if_idle)

    def _end_if_idle(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            self._look_again(self.timeout_keep_alive)
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_again(left)
        else:
            self.timeout_keep_alive_handler()

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._in_headers = 1
        self._idle_since = None
        self._reading_headers = True
        self._between = False

    def on_headers_complete(self) -> None:
        self._reading_headers = False
        self._stop_waiting()
        if self.parser.should_upgrade():
            # Not seen in time, and the parser would take the body for another protocol.
            self._refuse(_BAD_REQUEST)
            return
        version = self.parser.get_http_version()
        parsed = httptools.parse_url(self.url)
        raw_path = cast("bytes | None", parsed.path) or b"/"  # none: CONNECT
        path = raw_path.decode("ascii")
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": cast("str", self.scheme),
            "method": self.parser.get_method().decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": parsed.query or b"",
            "headers": self.headers,
            "extensions": self._extensions,
        }
        before = cast("_Cycle | None", self.cycle)
        self.cycle = _Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        self.cycle.patience = self.limits.body_timeout
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            # The next request of a client that did not wait for the answer.
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self._in_headers = 0
        cycle = cast("_Cycle | None", self.cycle)
        if cycle is not None and not cycle.response_complete:
            cycle.take(body)

    def on_message_complete(self) -> None:
        self._between = True
        cycle = cast("_Cycle | None", self.cycle)
        if cycle is not None and not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def _expect_headers(self) -> None:
        self._deadline = self.loop.call_later(self.limits.header_timeout, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, status: int) -> None:
        self._stop_waiting()
        cycle = cast("_Cycle | None", self.cycle)
        if cycle is not None and cycle.response_started:
            self.transport.close()  # a second answer would be taken for part of the first
            return
        head = _STATUS_LINES[status] + b"content-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(head)
        self.transport.close()


def _without_upgrade(data: bytes) -> bytes:
    """Rename the header that asks for another protocol, such as h2c: the parser would stop there.

    It is ignored, as the specification allows; some clients try it with each request.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest


def limited_protocol(limits: Limits) -> type[asyncio.Protocol]:
    """Return the class of connections that keep these limits."""
    return type("LimitedProtocol", (_Connection,), {"limits": limits})
