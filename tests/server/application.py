"""The application without a network, and the threads that it asks."""

import asyncio
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from jettison.configuration import Configuration
from jettison.configuration.settings import Limits, Notifications, Storage
from jettison.server.access import Guard
from jettison.server.api.app import RegistryApp
from jettison.server.api.context import Context
from jettison.server.api.events import Events
from jettison.server.http.sharing import Buffers
from jettison.server.observing import Exchange, Notifier
from jettison.server.placement import Placement
from jettison.storage import protocol
from tests.server.asgi import scope

P = ParamSpec("P")
T = TypeVar("T")


class Counted(Executor):
    """Threads, and how often they were asked."""

    def __init__(self) -> None:
        self.calls = 0
        self._threads = ThreadPoolExecutor(4)

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        self.calls += 1
        return self._threads.submit(call, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


class Nothing:
    """Is told of each request, and does nothing."""

    def begin(self, route: str, method: str) -> None:
        pass

    def end(self, exchange: Exchange) -> None:
        pass


class Application:
    """The application on a storage; `settings` are those of the section `storage`."""

    def __init__(
        self,
        storage: protocol.Storage,
        settings: Storage = Storage(Path("nowhere")),  # noqa: B008 - it cannot be changed
        notifications: Notifications = Notifications(),  # noqa: B008 - same
    ) -> None:
        self.threads = Counted()
        self.buffers = Buffers(1_000_000)
        configuration = Configuration(settings, limits=Limits(body_timeout=5))
        self.notifier = Notifier(notifications, "127.0.0.1:5000")
        self.placement = Placement()
        self.context = Context(
            configuration,
            storage,
            Events(self.notifier),
            self.threads,
            self.buffers,
            self.placement,
        )
        self._app = RegistryApp(self.context, Guard(), Nothing())

    async def ask(
        self,
        method: str,
        target: str,
        pieces: Sequence[bytes | asyncio.Event | None] = (b"",),
        headers: Mapping[str, str] = {},
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        """Send a request; at a piece None the client goes away, at an event it waits."""
        path, _, query = target.partition("?")
        more = {
            "path": path,
            "raw_path": path.encode(),
            "http_version": "1.1",
            "client": ("::1", 1),
        }
        waiting, sent = list(pieces), list[MutableMapping[str, Any]]()

        async def receive() -> MutableMapping[str, Any]:
            while isinstance(waiting[0], asyncio.Event):
                await waiting[0].wait()
                waiting.pop(0)
            piece = waiting[0]
            if piece is None:
                return {"type": "http.disconnect"}
            waiting.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        asked = scope(method, headers, query.encode(), **more)
        await self._app(asked, receive, send)
        if not sent:
            return 499, {}, b""
        body = b"".join(one["body"] for one in sent[1:])
        return sent[0]["status"], dict(sent[0]["headers"]), body

    async def begin(self) -> str:
        """Begin an upload; return where it goes on."""
        status, headers, _ = await self.ask("POST", "/v2/app/blobs/uploads/")
        assert status == 202
        return headers[b"location"].decode()
