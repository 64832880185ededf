"""Receives the notifications of other registries, and keeps a book of pulls from them.

Distribution sends each event with POST, and again until the answer is 2xx. An event that says
nothing of use is therefore accepted too; what is no envelope at all is refused, and counts as
something lost. The sender is authenticated before anything is read.
"""

import asyncio
import contextlib
import hmac
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec
import uvloop

from jettison.configuration.settings import Limits, Log, PullRecords
from jettison.errors import InvalidDigest, InvalidDocument, InvalidName
from jettison.model import strict_json
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.retention.pulls import MOST_SOURCES, Batch, Terms
from jettison.server.http.answers import Answer, ApiError, text_answer
from jettison.server.http.requests import Disconnected, Receive, Request, Scope, Send
from jettison.server.http.sharing import Buffers
from jettison.server.messages import log_messages
from jettison.server.pulls import MOST_WAITING, Saver, ignoring
from jettison.server.running import http_server, listen_at, serve_until_told
from jettison.storage.pulls import PullBookFile

__all__ = ["Listener", "Terms", "listen"]

_MOST_BYTES: Final = 4 * 1024 * 1024
_MOST_PARTS: Final = 200_000
_LONGEST: Final = 200
"""Characters that are kept of what a sender calls itself."""

_LIMITS: Final = Limits(connections=64, body_timeout=30.0)
_BUFFERED: Final = 16 * 1024 * 1024
_DRAIN_SECONDS: Final = 5.0
_BLOB: Final = "application/octet-stream"

_log: Final = logging.getLogger(__name__)


class _Target(msgspec.Struct, rename="camel"):
    media_type: str = ""
    digest: str = ""
    repository: str = ""
    url: str = ""
    tag: str = ""


class _Request(msgspec.Struct):
    method: str = ""
    useragent: str = ""


class _Actor(msgspec.Struct):
    name: str = ""


class _Source(msgspec.Struct):
    addr: str = ""
    instance: str = msgspec.field(default="", name="instanceID")


class _Event(msgspec.Struct):
    action: str = ""
    target: _Target = msgspec.field(default_factory=_Target)
    request: _Request = msgspec.field(default_factory=_Request)
    actor: _Actor = msgspec.field(default_factory=_Actor)
    source: _Source = msgspec.field(default_factory=_Source)


class _Envelope(msgspec.Struct):
    events: list[_Event]


class Listener:
    """The application: notes events in the batch of ``saver``.

    ``secret`` is what senders have in ``Authorization: Bearer SECRET``; None: nobody is asked.
    Events count from when they arrive, which is never before they happened. ``clock`` returns
    seconds since the epoch.
    """

    def __init__(
        self,
        saver: Saver,
        secret: str | None,
        settings: PullRecords,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._saver = saver
        self._secret = None if secret is None else f"Bearer {secret}".encode()
        self._ignores = ignoring(settings)
        self._clock = clock
        self._refused = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            message = "only HTTP is spoken here"
            raise NotImplementedError(message)
        request = Request(scope, receive, _LIMITS.body_timeout)
        try:
            answer = await self._answer(request)
        except ApiError as error:
            answer = error.answer()
        except Disconnected:
            return
        headers = [*answer.headers, (b"content-length", b"%d" % answer.length)]
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await send(start)
        body = b"" if request.method == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, request: Request) -> Answer:
        if not self._is_known(request):
            if not self._refused:
                _log.warning("a sender without the secret is refused; see http.headers there")
            self._refused = True
            return text_answer(401, "the header Authorization is not: Bearer SECRET")
        if request.method in {"GET", "HEAD"}:
            return text_answer(200, "send notifications here with POST")
        if request.method != "POST":
            allow = [(b"allow", b"GET, HEAD, POST")]
            return text_answer(405, "send notifications with POST", allow)
        raw = await request.body(_MOST_BYTES)
        if raw is None:
            self._saver.batch.lost = True
            return text_answer(413, f"an envelope has at most {_MOST_BYTES} bytes")
        try:
            envelope = strict_json.decode(raw, _Envelope, max_parts=_MOST_PARTS)
        except InvalidDocument as error:
            _log.error("a notification cannot be read: %s", error)
            self._saver.batch.lost = True
            return text_answer(400, "this is no envelope of events")
        for event in envelope.events:
            self._note(event)
        return text_answer(200, "noted")

    def _is_known(self, request: Request) -> bool:
        if self._secret is None:
            return True
        given = (request.header(b"authorization") or "").encode("latin-1")
        return hmac.compare_digest(given, self._secret)

    def _note(self, event: _Event) -> None:
        now, batch = self._clock(), self._saver.batch
        self._hear(batch, event.source, now)
        target, request = event.target, event.request
        if target.media_type == _BLOB or "/blobs/" in target.url or not target.digest:
            return
        try:
            repository, digest = RepoName(target.repository), Digest(target.digest)
        except (InvalidDigest, InvalidName):
            return  # no retention of ours is about it
        if len(batch.pulls) + len(batch.pushes) >= MOST_WAITING:
            batch.pulls, batch.pushes, batch.lost = {}, {}, True
        if event.action == "push":
            batch.pushes[repository, digest] = now
            return
        if event.action != "pull" or request.method == "HEAD":
            return
        if not self._ignores(request.useragent[:_LONGEST], event.actor.name[:_LONGEST]):
            batch.pulls[repository, _tag(target.tag), digest] = now

    def _hear(self, batch: Batch, source: _Source, now: float) -> None:
        address = source.addr[:_LONGEST] or "an unnamed address"
        name = source.instance[:_LONGEST] or address
        known = batch.heard.get(name)
        if known is None and len(batch.heard) >= MOST_SOURCES:
            batch.lost = True
            return
        batch.heard[name] = (address, now if known is None else known[1], now)


def _tag(text: str) -> str:
    try:
        return Tag(text) if text else ""
    except InvalidName:
        return ""


def listen(
    addr: str,
    book: PullBookFile,
    terms: Terms,
    settings: PullRecords,
    secret: str | None,
    announce: Callable[[str], None],
) -> None:
    """Listen at HOST:PORT until SIGTERM or SIGINT; then write down the last, and return.

    ``announce`` is told the URL as soon as senders can connect. Raises
    :class:`~jettison.errors.JettisonError` if it cannot listen there, and
    :class:`~jettison.errors.StorageError` if the book cannot be written.
    """
    log_messages(Log())
    with contextlib.closing(listen_at(addr, "tcp", "--addr")) as listening:
        host, port = listening.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        saver = Saver(book, terms)

        async def serve() -> None:
            await saver.begin(_in_thread)
            saving = asyncio.create_task(saver.keep_saving(_in_thread))
            try:
                app = Listener(saver, secret, settings)
                server = http_server(app, _LIMITS, _DRAIN_SECONDS, None, Buffers(_BUFFERED))
                await serve_until_told([(server, listening)], lambda: announce(url))
            finally:
                saving.cancel()
                await asyncio.wait([saving])
                await saver.leave(_in_thread)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())


async def _in_thread(function: Callable[[], None]) -> None:
    await asyncio.to_thread(function)
