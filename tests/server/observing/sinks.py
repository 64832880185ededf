"""Somebody to notify: a real HTTP server that can refuse, hang and recover."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class Sink:
    """Keeps what it accepted; answers ``status``, and not at all while ``hanging``."""

    def __init__(self) -> None:
        self.status = 200
        self.hanging = False
        self.tries = 0
        self.requests: list[web.BaseRequest] = []
        self.events: list[dict[str, Any]] = []
        self.url = ""
        self._changed = asyncio.Condition()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.tries += 1
        hung = self.hanging
        while self.hanging:  # noqa: ASYNC110 - a test just says so
            await asyncio.sleep(0.01)
        if hung:
            return web.Response(status=500)
        if self.status < 400:
            self.requests.append(request)
            self.events += json.loads(body)["events"]
        async with self._changed:
            self._changed.notify_all()
        return web.Response(status=self.status)

    async def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Wait until that many events were accepted."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(self.events) >= count)
        return self.events


@asynccontextmanager
async def serving(sink: Sink) -> AsyncIterator[Sink]:
    """Serve it on a free loopback port."""
    runner = web.ServerRunner(web.Server(sink.handle), shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [(host, port)] = runner.addresses
    sink.url = f"http://{host}:{port}/events?x=1"
    try:
        yield sink
    finally:
        await runner.cleanup()
