"""HTTP connections: uvicorn's, bounded in what a client may send, and with fewer copies.

uvicorn reads headers of any length for any time, and as many requests ahead as come in: a client
that sends them slowly, or without end, would hold a connection, or memory, for ever. Here the next
request is only parsed when the one before is answered. uvicorn also writes the head and the body of
an answer by themselves, and copies what it receives three times; most of what a registry does is to
answer small requests and to take in large bodies.

What two programs could read in two ways is refused (RFC 9112): without exactly one ``Host``, or
with any ``Transfer-Encoding`` but ``chunked``.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGIReceiveEvent, ASGISendEvent, HTTPRequestEvent
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from jettison.configuration.settings import Limits
from jettison.server.http.answers import ENCODED, LENGTH, encode_headers
from jettison.server.http.connections import Connections
from jettison.server.http.requests import GONE, READY
from jettison.server.http.sharing import Buffers

__all__ = ["Connection", "limited_protocol"]

_BAD_REQUEST: Final = 400
_TOO_MANY: Final = 503
_TOO_LARGE: Final = 431
_MOST_WAITING: Final = 2 * 1024 * 1024
"""Bytes of a body that are taken in before the application has asked for them."""

_MOST_UNASKED: Final = 64 * 1024
"""The same before it has asked for any: the client may not be logged in."""

_MOST_HEADERS: Final = 200
_MOST_AHEAD: Final = 16
"""Requests that may come in the very piece that ends a body in chunks; others are parsed later."""

_CHUNKED: Final = -1
_DIGITS: Final = 20
_HEAD_END: Final = b"\r\n\r\n"
_FRAMING: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect"})
_HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2}){0,255}(?::[0-9]{0,5})?"
    rb"|\[[0-9A-Fa-f:.]{2,45}(?:%25[A-Za-z0-9._~-]{1,40})?\](?::[0-9]{0,5})?"
)
"""RFC 3986: a name, an IPv4 or an IPv6 address, and a port; or nothing."""

_JOINED: Final = 64 * 1024
"""Up to so many bytes it is quicker to copy a body behind its head than to write twice."""

_UPGRADE: Final = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class _Cycle(RequestResponseCycle):
    """A request and its answer.

    ``patience`` is how long a client may read nothing, in seconds; ``buffers`` counts what is here
    of the body and was not asked for yet.
    """

    patience = 60.0
    buffers: Buffers

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(**arguments)
        self._head = b""
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._window = _MOST_UNASKED

    # Receiving.

    def take(self, piece: bytes) -> None:
        """Keep a piece of the body until the application asks for it."""
        self._pieces.append(piece)
        self._waiting += len(piece)
        self.buffers.take(len(piece))
        if self._waiting > self._window or self.buffers.full:
            self.flow.pause_reading()
        self.message_event.set()

    def let_go(self) -> None:
        """Count no more what nobody will ask for, or too little to count."""
        self.buffers.give(self._waiting)
        self._waiting = 0

    def is_ready(self) -> bool:
        """Whether :meth:`receive` returns something without waiting."""
        return bool(self._pieces) or not (self.more_body or self.buffers.full)

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next piece of the body, as it came."""
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        self._window = _MOST_WAITING
        if not self.disconnected and not self.response_complete:
            if not self._pieces:
                if self.buffers.full:
                    await self.buffers.room()
                if self.more_body:
                    self.flow.resume_reading()
                    await self.message_event.wait()
                self.message_event.clear()
            elif self._waiting < _MOST_WAITING and self.more_body and not self.buffers.full:
                self.flow.resume_reading()
        if (self.disconnected and not self._pieces) or self.response_complete:
            return {"type": "http.disconnect"}
        body = self._pieces.popleft() if self._pieces else b""
        if self._waiting:
            self._waiting -= len(body)
            self.buffers.give(len(body))
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
        if self._pieces:
            self.let_go()
            self._pieces.clear()
        self.message_event.set()
        if self.expected_content_length != 0:
            # The client must not take what is too short, or too long, for the whole.
            self.transport.abort()
        elif not self.keep_alive:
            self.transport.close()
        self.on_response()


class _Connection(HttpToolsProtocol):
    """A connection; ``limits`` and the rest are set by :func:`limited_protocol`.

    One that was counted while TLS was agreed on tells ``left`` when it ends.
    """

    limits: ClassVar[Limits]
    all: ClassVar[Connections]
    cycle_class: ClassVar[type[_Cycle]]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        left: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._left_tls = left
        self._owner: str | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._reading_headers = True
        self._between = True
        self._unparsed = False
        self._idle_since: float | None = None
        self._in_headers = 0
        self._left = 0  # bytes of the body that are to come, _CHUNKED where nobody knows
        self._hosts = 0
        self._well_framed = True
        self._known_host: bytes | None = None
        self._held = b""
        self._held_from = 0
        self._extensions: dict[str, Any] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions[GONE] = transport.is_closing
        if self._left_tls is None:  # or it is counted already
            self._owner = self.all.enter(self, self.client[0] if self.client else "")
            if self._owner is None:
                self._refuse(_TOO_MANY)
                return
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None
        if self._owner is not None:
            self.all.leave(self, self._owner)
        if self._left_tls is not None:
            self._left_tls()
        self._unheld()
        super().connection_lost(exc)
        for cycle in (self.cycle, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None:
                cast("_Cycle", cycle).let_go()
        self.pipeline.clear()

    @property
    def idle(self) -> bool:
        """Whether no request of it is being answered."""
        return not self._is_busy()

    def abort(self) -> None:
        """End it at once."""
        self.transport.abort()

    def unsent(self) -> int:
        """Return how many bytes the client has not taken yet."""
        return self.transport.get_write_buffer_size()

    @property
    def is_made(self) -> bool:
        """Whether it has begun: with TLS, once that is agreed on."""
        return cast("asyncio.Transport | None", self.transport) is not None

    def _is_busy(self) -> bool:
        cycle = cast("_Cycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._held:
            # It came in before reading was paused.
            self._hold(self._unheld() + data, 0)
            return
        self._feed(data, 0)

    def _feed(self, data: bytes, start: int) -> None:
        """Parse what came in, but no request behind one that is not answered yet."""
        length = len(data)
        while start < length:
            if self._between and self._is_busy():
                self._hold(data, start)
                return
            end = self._end_of_part(data, start, length)
            piece = data if not start and end == length else data[start:end]
            if self._unparsed:
                self._take_body(piece)
                start = end
                continue
            if self._left <= 0:
                # Trailers, which come behind a body in chunks, count like headers.
                before, self._in_headers = self._in_headers, self._in_headers + end - start
                if (before if self._left else self._in_headers) > self.limits.header_bytes:
                    self._refuse(_TOO_LARGE)
                    return
                if self._between and (b"pgrade" in piece or b"PGRADE" in piece):
                    piece = _without_upgrade(piece)
            super().data_received(piece)
            if self.transport.is_closing():
                return
            if self._left > 0 and not self._reading_headers:
                self._leave_body_unparsed()
            start = end
        if self._reading_headers and self._deadline is None and self._in_headers:
            self._expect_headers()

    # A body of a known length is taken as it comes: the parser would copy it.

    def _leave_body_unparsed(self) -> None:
        """Let a parser of its own begin behind the body."""
        self._unparsed = True
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

    def _take_body(self, piece: bytes) -> None:
        self.on_body(piece)
        if not self._left:
            self._unparsed = False
            self.on_message_complete()

    def _hold(self, data: bytes, start: int) -> None:
        """Keep requests that are to be parsed later, as long as there is room for such."""
        self._held, self._held_from = data, start
        self.all.ahead.take(len(data))
        self.flow.pause_reading()
        if self.all.ahead.full:
            self._refuse(_TOO_MANY)

    def _unheld(self) -> bytes:
        data, self._held = self._held, b""
        self.all.ahead.give(len(data))
        return data[self._held_from :]

    def _end_of_part(self, data: bytes, start: int, length: int) -> int:
        """Return where this head or body ends, as far as that can be told; later is never wrong."""
        if self._left > 0:
            return min(length, start + self._left)
        if self._left == _CHUNKED:
            return length
        found = data.find(_HEAD_END, start)
        return length if found < 0 else found + len(_HEAD_END)

    # The pause between two requests. uvicorn sets a timer after each answer and cancels it at the
    # next byte; one that looks when it is due costs nothing in between, and no stray byte stops it.

    def _unset_keepalive_if_required(self) -> None:
        pass

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        if self._held:
            data, self._held = self._held, b""
            self.all.ahead.give(len(data))
            self._feed(data, self._held_from)
            if self._held or self.transport.is_closing():
                return
        self.flow.resume_reading()
        if self._is_busy():
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

    # What the parser tells.

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._hosts = self._left = 0
        self._well_framed = True
        self._idle_since = None
        self._reading_headers = True
        self._between = False
        if len(self.pipeline) >= _MOST_AHEAD:
            self._refuse(_BAD_REQUEST)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._reading_headers:
            return  # a trailer is no header
        name = name.lower()
        if name in _FRAMING:
            self._read_framing(name, value)
        self.headers.append((name, value))

    def _read_framing(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            self._hosts += 1
            if value != self._known_host:
                if _HOST.fullmatch(value) is None:
                    self._well_framed = False
                else:
                    self._known_host = value
        elif name == b"content-length":
            # The parser lets nothing but digits through, and no second one.
            self._left = int(value) if self._left == 0 and len(value) < _DIGITS else 0
        elif name == b"transfer-encoding":
            if self._left == _CHUNKED or value.strip().lower() != b"chunked":
                self._well_framed = False
            self._left = _CHUNKED
        elif value.lower() == b"100-continue":
            self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        self._reading_headers = False
        self._in_headers = 0
        self._stop_waiting()
        if self.transport.is_closing():
            return
        version = self.parser.get_http_version()
        if (
            # An upgrade that was not seen in time: the parser would take the body for another
            # protocol.
            self.parser.should_upgrade()
            or not self._well_framed
            or self._hosts > 1
            or (not self._hosts and version == "1.1")
            or (self._left == _CHUNKED and version == "1.0")
        ):
            self._refuse(_BAD_REQUEST)
            return
        if len(self.headers) > _MOST_HEADERS:
            self._refuse(_TOO_LARGE)
            return
        parsed = httptools.parse_url(self.url)
        raw_path = cast("bytes | None", parsed.path) or b"/"  # none: CONNECT
        path = raw_path.decode("ascii")
        extensions = self._extensions.copy()
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
            "extensions": extensions,
        }
        before = cast("_Cycle | None", self.cycle)
        self.cycle = self.cycle_class(
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
        extensions[READY] = self.cycle.is_ready
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            # It came in one piece with the end of a body in chunks.
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self._in_headers = 0
        if self._left > 0:
            self._left -= len(body)
        cycle = cast("_Cycle | None", self.cycle)
        if cycle is not None and not cycle.response_complete:
            cycle.take(body)

    def on_message_complete(self) -> None:
        self._between = True
        self._left = 0
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
        self._unheld()
        cycle = cast("_Cycle | None", self.cycle)
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.close()  # a second answer would be taken for part of the first
            return
        head = _STATUS_LINES[status] + b"content-length: 0\r\nconnection: close\r\n\r\n"
        self.transport.write(head)
        self.transport.close()


Connection = _Connection


def _without_upgrade(data: bytes) -> bytes:
    """Rename the header that asks for another protocol, such as h2c: the parser would stop there.

    It is ignored, as the specification allows; some clients try it with each request.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest


def limited_protocol(
    limits: Limits, connections: Connections, buffers: Buffers
) -> type[HttpToolsProtocol]:
    """Return the class of connections that keep these limits, all of them together."""
    cycle = type("LimitedCycle", (_Cycle,), {"patience": limits.body_timeout, "buffers": buffers})
    own = {"limits": limits, "all": connections, "cycle_class": cycle}
    return type("LimitedProtocol", (_Connection,), own)
