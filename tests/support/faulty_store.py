"""A relay before an object store that answers no DELETE with a signed URL, and sends it on late.

    with FaultyStore(bucket, late=5.0) as store:
        settings = bucket.settings | {"regionendpoint": store.endpoint}

Everything else goes through at once. Of what was sent on late `landed` has the store's answers.
"""

import asyncio
import threading
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from tests.support.buckets import Gateway

_SKIPPED = frozenset({"transfer-encoding", "connection", "content-length", "content-encoding"})
_LARGEST = 1 << 30


class FaultyStore:
    """The relay; `late` is in seconds, after which a signed DELETE is sent on, unanswered."""

    def __init__(self, gateway: Gateway, *, late: float) -> None:
        self._gateway = gateway
        self._late = late
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self.endpoint = ""
        self.landed: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: "asyncio.Future[None] | object") -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)  # type: ignore[arg-type]

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=_LARGEST)
        app.router.add_route("*", "/{path:.*}", self._relay)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.endpoint = f"http://{host}:{port}"

    async def _stop(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._runner.cleanup()
        await self._session.close()

    async def _relay(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.method == "DELETE" and "X-Amz-Signature" in request.query:
            task = asyncio.ensure_future(self._send_late(request, body))
            self._tasks.add(task)
            assert request.transport is not None
            request.transport.close()
            return web.Response(status=500)
        status, headers, content = await self._send(request, body)
        return web.Response(status=status, headers=headers, body=content)

    async def _send_late(self, request: web.Request, body: bytes) -> None:
        await asyncio.sleep(self._late)
        status, _, _ = await self._send(request, body)
        self.landed.append(status)

    async def _send(
        self, request: web.Request, body: bytes
    ) -> tuple[int, dict[str, str], bytes | None]:
        from yarl import URL

        url = URL(f"{self._gateway.endpoint}{request.raw_path}", encoded=True)
        kept = {k: v for k, v in request.headers.items() if k.lower() not in _SKIPPED}
        async with self._session.request(
            request.method, url, headers=kept, data=body or None, allow_redirects=False
        ) as answer:
            content = await answer.read()
            headers = {k: v for k, v in answer.headers.items() if k.lower() not in _SKIPPED}
            if request.method == "HEAD":
                headers["Content-Length"] = answer.headers.get("Content-Length", "0")
                return answer.status, headers, None
            return answer.status, headers, content
