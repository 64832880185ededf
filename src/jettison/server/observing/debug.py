"""The application at ``http.debug.addr``: ``/debug/health`` and the metrics.

It asks for no login, and its answers contain no name of a repository or a user.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from jettison.server.observing.health import Health
from jettison.server.observing.metrics import Metrics

__all__ = ["debug_app"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_PLAIN = "text/plain; charset=utf-8"
_JSON = "application/json; charset=utf-8"


def debug_app(
    health: Health, metrics: Metrics | None = None, metrics_path: str = "/metrics"
) -> Application:
    """Return the ASGI application for the debug address.

    ``/debug/health`` answers 200 and ``{}``, or 503 and the reason of each failing check.
    ``metrics`` is None if ``http.debug.prometheus`` is not enabled.
    """

    async def answer(path: str) -> tuple[int, str, bytes]:
        if path in {"/debug/health", "/debug/health/"}:
            failing = health.status()
            return (503 if failing else 200), _JSON, msgspec.json.encode(failing)
        if metrics is not None and path == metrics_path:
            media_type, text = await asyncio.to_thread(metrics.render)
            return 200, media_type, text
        return 404, _PLAIN, b"404 page not found\n"

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        headers: list[tuple[bytes, bytes]] = []
        if scope["method"] in {"GET", "HEAD"}:
            status, media_type, body = await answer(scope["path"])
        else:
            status, media_type, body = 405, _PLAIN, b"method not allowed\n"
            headers.append((b"allow", b"GET, HEAD"))
        headers.append((b"content-type", media_type.encode()))
        headers.append((b"content-length", str(len(body)).encode()))
        headers.append((b"cache-control", b"no-store"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        sent = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": sent})

    return application


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
