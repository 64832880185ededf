"""Notifications: events of the registry, sent to HTTP endpoints in Distribution's form.

Each endpoint has its own queue and gets the events in order, one in each request, until it accepts
them. Events wait in memory only: those that an endpoint has not accepted when the server ends are
lost, and the log says how many.
"""

import asyncio
import logging
import secrets
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from jettison.configuration.settings import Endpoint, Notifications
from jettison.server.observing.exchange import Exchange
from jettison.server.observing.metrics import EndpointFigures

if TYPE_CHECKING:
    import aiohttp

__all__ = ["MEDIA_TYPE", "Event", "Notifier", "Referenced"]

MEDIA_TYPE: Final = "application/vnd.docker.distribution.events.v2+json"
"""Distribution 3.x's; 2.x calls the same fields v1."""

MOST_QUEUED: Final = 10_000
MOST_QUEUED_BYTES: Final = 16 * 1024 * 1024

Action = Literal["push", "pull", "mount", "delete"]

_log = logging.getLogger(__name__)


class Referenced(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """What a manifest references; ``size`` is in bytes."""

    media_type: str
    size: int
    digest: str


class Event(msgspec.Struct):
    """An event in ``repository``, caused by the request of ``exchange``.

    ``size`` is in bytes, ``url`` is the address of the content. ``from_repository`` is the source
    of a mount. A deleted manifest or blob has only a ``digest``, a removed tag only a ``tag``.
    """

    action: Action
    repository: str
    exchange: Exchange
    digest: str = ""
    media_type: str = ""
    size: int = 0
    url: str = ""
    tag: str = ""
    from_repository: str = ""
    references: tuple[Referenced, ...] = ()


class Notifier:
    """Sends events to every endpoint of the configuration that is not disabled.

    ``address`` is where the server listens, as ``HOST:PORT``; events name their source by this
    machine's name and that port. ``clock`` returns seconds since the epoch.
    """

    def __init__(
        self,
        notifications: Notifications,
        address: str = "",
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._senders = [_Sender(e) for e in notifications.endpoints if not e.disabled]
        self._include_references = notifications.include_references
        self._clock = clock
        self._source = _Source(_source_address(address), str(uuid.uuid4()))
        # Names and digests are strings in it.
        self._encode = msgspec.json.Encoder(enc_hook=str).encode
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def enabled(self) -> bool:
        """Whether there is any endpoint; without one, no event need be made."""
        return bool(self._senders)

    def figures(self) -> Iterator[EndpointFigures]:
        """The outcomes of the events, for each endpoint; a copy."""
        for sender in self._senders:
            yield sender.figures()

    def emit(self, event: Event) -> None:
        """Queue an event for each endpoint that does not ignore it; never waits, never raises."""
        wanting = [sender for sender in self._senders if sender.wants(event)]
        if not wanting:
            return
        try:
            body = self._envelope(event)
        except (TypeError, ValueError, OverflowError):
            _log.exception("an event of %s cannot be told", event.action)
            return
        for sender in wanting:
            sender.put(body)

    async def start(self) -> None:
        """Begin to send."""
        if not self._senders:
            return
        # Imported here: most registries notify nobody, and need not have the memory for it.
        import aiohttp  # noqa: PLC0415 - see above

        self._session = aiohttp.ClientSession(
            trust_env=True, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        self._tasks = [asyncio.create_task(s.run(self._session)) for s in self._senders]

    async def stop(self, timeout: float) -> None:  # noqa: ASYNC109 - the caller's own time limit
        """Wait up to ``timeout`` seconds until all queues are empty, then give up the rest."""
        if self._session is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                for sender in self._senders:
                    await sender.emptied()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sender in self._senders:
            sender.give_up()
        await self._session.close()
        self._session = None

    def _envelope(self, event: Event) -> bytes:
        exchange = event.exchange
        target = _Target(
            media_type=event.media_type,
            size=event.size,
            digest=event.digest,
            length=event.size,
            repository=event.repository,
            from_repository=event.from_repository,
            url=event.url,
            tag=event.tag,
            references=event.references if self._include_references else (),
        )
        request = _Request(
            exchange.request_id, exchange.client, exchange.host, exchange.method, exchange.agent
        )
        when = datetime.fromtimestamp(self._clock(), UTC)
        told = _Told(
            id=str(uuid.UUID(bytes=secrets.token_bytes(16), version=4)),
            timestamp=when,
            action=event.action,
            target=target,
            request=request,
            actor=_Actor(exchange.user),
            source=self._source,
        )
        return self._encode(_Envelope([told]))


class _Target(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    media_type: str = ""
    size: int = 0
    digest: str = ""
    length: int = 0
    repository: str = ""
    from_repository: str = ""
    url: str = ""
    tag: str = ""
    references: tuple[Referenced, ...] = ()


class _Request(msgspec.Struct, gc=False):
    id: str
    addr: str
    host: str
    method: str
    useragent: str


class _Actor(msgspec.Struct, omit_defaults=True, gc=False):
    name: str = ""


class _Source(msgspec.Struct, gc=False):
    addr: str
    instance: str = msgspec.field(name="instanceID")


class _Told(msgspec.Struct, gc=False):
    id: str
    timestamp: datetime
    action: str
    target: _Target
    request: _Request
    actor: _Actor
    source: _Source


class _Envelope(msgspec.Struct, gc=False):
    events: list[_Told]


class _Sender:
    """The queue of one endpoint, and the task that sends it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._ignored_types = frozenset(endpoint.ignored_media_types)
        self._ignored_actions = frozenset(endpoint.ignored_actions)
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._sending = False
        self._figures = EndpointFigures(endpoint.name)
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._failures = 0

    def wants(self, event: Event) -> bool:
        ignored = event.media_type in self._ignored_types or event.action in self._ignored_actions
        return not ignored

    def figures(self) -> EndpointFigures:
        statuses = dict(self._figures.statuses)
        return msgspec.structs.replace(self._figures, queued=len(self._queue), statuses=statuses)

    def put(self, body: bytes) -> None:
        self._queue.append(body)
        self._bytes += len(body)
        self._figures.accepted += 1
        # The first one may be on its way; the one after it is the oldest that can go.
        first = 1 if self._sending else 0
        while len(self._queue) > MOST_QUEUED or (
            self._bytes > MOST_QUEUED_BYTES and len(self._queue) > first + 1
        ):
            self._bytes -= len(self._queue[first])
            del self._queue[first]
            self._figures.dropped += 1
            if self._figures.dropped == 1:
                name = self._endpoint.name
                _log.error("the queue for endpoint %s is full: its oldest events are dropped", name)
        self._emptied.clear()
        self._filled.set()

    async def emptied(self) -> None:
        await self._emptied.wait()

    def give_up(self) -> None:
        if self._queue:
            count = len(self._queue)
            self._figures.dropped += count
            self._queue.clear()
            self._bytes = 0
            _log.error("events never sent to endpoint %s: %d", self._endpoint.name, count)

    async def run(self, session: "aiohttp.ClientSession") -> None:
        while True:
            await self._filled.wait()
            while self._queue:
                self._sending = True
                await self._deliver(session, self._queue[0])
                self._sending = False
                self._bytes -= len(self._queue.popleft())
            self._filled.clear()
            self._emptied.set()

    async def _deliver(self, session: "aiohttp.ClientSession", body: bytes) -> None:
        """Try until the endpoint accepts it; after ``threshold`` failures pause between tries."""
        while not await self._accepted(session, body):
            self._failures += 1
            if self._failures >= self._endpoint.threshold:
                await asyncio.sleep(self._endpoint.backoff)
        if self._failures >= self._endpoint.threshold:
            _log.warning("endpoint %s accepts events again", self._endpoint.name)
        self._failures = 0

    async def _accepted(self, session: "aiohttp.ClientSession", body: bytes) -> bool:
        endpoint = self._endpoint
        headers = [("Content-Type", MEDIA_TYPE)]
        headers += [(name, text) for name, texts in endpoint.headers.items() for text in texts]
        options: dict[str, Any] = {"data": body, "headers": headers}
        try:
            async with asyncio.timeout(endpoint.timeout):
                async with session.post(endpoint.url, **options) as answer:
                    status = answer.status
        except Exception as error:  # noqa: BLE001 - whatever it is, the queue must go on
            self._figures.errors += 1
            self._complain(f"does not answer ({type(error).__name__})")
            return False
        statuses = self._figures.statuses
        statuses[status] = statuses.get(status, 0) + 1
        if 200 <= status < 400:  # noqa: PLR2004 - the classes of HTTP's statuses
            self._figures.sent += 1
            return True
        self._figures.refused += 1
        self._complain(f"answers {status}")
        return False

    def _complain(self, what: str) -> None:
        """Log the first of several failures in a row, and when the pauses begin."""
        if self._failures == 0:
            _log.warning("endpoint %s %s; trying again", self._endpoint.name, what)
        elif self._failures == self._endpoint.threshold - 1:
            pause = self._endpoint.backoff
            _log.error("endpoint %s %s; trying every %g s", self._endpoint.name, what, pause)


def _source_address(address: str) -> str:
    port = address.rpartition(":")[2] if ":" in address else ""
    return f"{socket.gethostname()}:{port}" if port else socket.gethostname()
