"""Requests as uvicorn hands them over, for tests of the parts that need no server."""

import asyncio
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from jettison.server.http.requests import Request

TIMEOUT = 0.05
Headers = Mapping[str, str] | Sequence[tuple[str, str]]


def scope(
    method: str = "GET", headers: Headers = (), query: bytes = b"", **more: Any
) -> dict[str, Any]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    found = {
        "type": "http",
        "method": method,
        "headers": [(name.lower().encode(), value.encode()) for name, value in pairs],
        "query_string": query,
        "scheme": "http",
    }
    return found | more


def request(
    method: str = "GET",
    headers: Headers = (),
    query: bytes = b"",
    pieces: Sequence[bytes | None] = (b"",),
) -> Request:
    """A request whose body comes in pieces; None: the client goes away; after the last: silence."""
    waiting = list(pieces)

    async def receive() -> MutableMapping[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        piece = waiting.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

    return Request(scope(method, headers, query), receive, TIMEOUT)
