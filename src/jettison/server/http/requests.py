"""A request as the handlers see it, over the messages of ASGI."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qsl

from jettison.server.http.answers import ApiError, Code
from jettison.server.http.sharing import client_key

__all__ = ["GONE", "READY", "Disconnected", "Receive", "Request", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

GONE: Final = "jettison.gone"
"""The extension of the scope that tells whether the client has closed the connection."""

READY: Final = "jettison.ready"
"""The extension of the scope that tells whether a piece of the body is there already."""

_MOST_PARAMETERS: Final = 200

_HOST: Final = re.compile(
    r"[A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?"
)
_FORWARDED: Final = re.compile(r'(?:^|;)\s*(host|proto)="?([^\s;,"]+)"?\s*(?=;|$)')


def _never() -> bool:
    return False


def _unheld(_: int) -> None:
    """Count nothing: the body is small."""


class Disconnected(Exception):
    """The client went away before it had sent the whole request."""


class Request:
    """One request: its headers, its query, its body piece by piece.

    ``fields`` are the headers by name; the last one of several with one name.
    ``received`` counts the bytes of the body so far.
    """

    __slots__ = (
        "_is_ready",
        "_query",
        "_receive",
        "_timeout",
        "fields",
        "finished",
        "headers",
        "method",
        "received",
        "scope",
    )

    def __init__(self, scope: Scope, receive: Receive, timeout: float) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.fields = dict(self.headers)
        self.received = 0
        self.finished = False
        self._receive = receive
        self._is_ready: Callable[[], bool] = scope.get("extensions", {}).get(READY, _never)
        self._timeout = timeout
        self._query: dict[str, list[str]] | None = None

    @property
    def client(self) -> str:
        """The client, by its address."""
        found = self.scope.get("client")
        return client_key(found[0]) if found else ""

    def header(self, name: bytes) -> str | None:
        """Return the value of a header, given in lower case; several are joined by commas."""
        found = self.fields.get(name)
        if found is not None and len(self.fields) != len(self.headers):
            found = b", ".join(value for key, value in self.headers if key == name)
        return None if found is None else found.decode("latin-1")

    @property
    def query(self) -> dict[str, list[str]]:
        """The parameters of the query, each with its values in order."""
        if self._query is None:
            self._query = {}
            raw = self.scope["query_string"]
            if raw:
                try:
                    pairs = parse_qsl(
                        raw.decode("ascii"),
                        keep_blank_values=True,
                        max_num_fields=_MOST_PARAMETERS,
                    )
                except ValueError:
                    reason = "the query of the URL cannot be read"
                    raise ApiError(400, Code.UNSUPPORTED, reason) from None
                for name, value in pairs:
                    self._query.setdefault(name, []).append(value)
        return self._query

    def parameter(self, name: str) -> str | None:
        """Return the first value of a parameter, or None."""
        values = self.query.get(name)
        return values[0] if values else None

    @property
    def content_length(self) -> int | None:
        """The length that the client announced, in bytes; None if the body comes in chunks."""
        text = self.header(b"content-length")
        # The HTTP parser lets nothing but digits through.
        return int(text) if text is not None and text.isdecimal() else None

    async def piece(self, patience: float | None = None) -> bytes:
        """Return the next piece of the body, unless it is ``finished``; may be empty.

        Raises :class:`Disconnected` if the client goes away, and :class:`ApiError` (408) if it
        sends nothing for too long; TimeoutError instead after ``patience`` seconds, if that is
        given. A call that ends so, or is cancelled, loses nothing.
        """
        try:
            if self._is_ready():
                message = await self._receive()
            else:
                async with asyncio.timeout(self._timeout if patience is None else patience):
                    message = await self._receive()
        except TimeoutError:
            if patience is not None:
                raise
            reason = f"nothing was received for {self._timeout:g} s"
            close = [(b"connection", b"close")]
            raise ApiError(408, Code.UNAVAILABLE, reason, headers=close) from None
        if message["type"] != "http.request":
            raise Disconnected
        self.finished = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        self.received += len(body)
        return body

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the rest of the body as it arrives; raises as :meth:`piece` does."""
        while not self.finished:
            body = await self.piece()
            if body:
                yield body

    async def body(self, limit: int, held: Callable[[int], None] = _unheld) -> bytes | None:
        """Return the whole body, or None as soon as it is longer than ``limit`` bytes.

        ``held`` is called with the bytes that are kept.
        """
        announced = self.content_length
        if announced is not None and announced > limit:
            return None
        found = bytearray()
        async for piece in self.pieces():
            held(len(piece))
            found += piece
            if len(found) > limit:
                return None
        return bytes(found)

    def origin(self) -> str | None:
        """Return ``scheme://host`` as the client knows it, even behind a proxy that sends it.

        A proxy's ``Forwarded`` (RFC 7239) counts for more than its ``X-Forwarded-…``.
        """
        host, scheme = self.header(b"host"), str(self.scope["scheme"])
        forwarded = self.header(b"forwarded")
        if forwarded is not None:
            # The first is what the proxy nearest to the client has seen.
            told = dict(_FORWARDED.findall(forwarded.partition(",")[0].lower()))
            host = told.get("host", host)
            scheme = told.get("proto", scheme)
        else:
            host = self.header(b"x-forwarded-host") or host
            scheme = self.header(b"x-forwarded-proto") or scheme
        host = (host or "").partition(",")[0].strip()
        if _HOST.fullmatch(host) is None:
            return None
        secure = scheme.partition(",")[0].strip() == "https"
        return f"{'https' if secure else 'http'}://{host}"
