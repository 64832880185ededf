"""A relay before an object store whose answers get lost, and that lists and tags as others do.

    with FaultyStore(gateway, late=5.0) as store:
        settings = bucket.settings | {"regionendpoint": store.endpoint}

With `late` it answers no DELETE with a signed URL, and sends it on so many seconds later. With
`faults` a share of all DELETEs, signed or not, are answered late, sent on twice, lost, or sent on
when the client has given up; a listing has few keys a page; and ETags are no MD5 of anything, as
where a store encrypts with keys of a service. Everything else goes through at once.
"""

import asyncio
import hashlib
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote

import aiohttp
from aiohttp import web
from yarl import URL

from tests.support.buckets import Gateway
from tests.support.signing import signed_again, with_query

_SKIPPED = frozenset({"transfer-encoding", "connection", "content-length", "content-encoding"})
_LARGEST = 1 << 30
_LISTED: Final = re.compile(rb"<Contents>.*?</Contents>", re.DOTALL)
_KEY: Final = re.compile(rb"<Key>(.*?)</Key>", re.DOTALL)
_E_TAG: Final = re.compile(rb"<ETag>(.*?)</ETag>", re.DOTALL)
_ANNOUNCEMENT: Final = re.compile(r".*/jettison/sweeps/\d+")
_CONDITIONS: Final = ("If-Match", "If-None-Match")

Audit = Callable[[str], Callable[[], None]]
"""Called with what a signed DELETE deletes, before that; what it returns is called after it."""


About = Callable[[list[str]], None]
"""Called with the keys that a sweep is about to delete, while the store takes its time."""


@dataclass(frozen=True)
class Faults:
    """What goes wrong: with this `share` of the DELETEs, which come up to `latest` seconds late.

    `signed`: with this share of those that have an end, which sweeps send.
    """

    share: float = 0.2
    signed: float = 0.2
    latest: float = 6.0
    slowest: float = 0.0
    """An announcement takes up to so many seconds to be written, whether or not its sweep lives."""
    page: int = 10


@dataclass
class _Sent:
    """A request as it is sent on."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class _Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None


class OpaqueTags:
    """ETags that tell nothing of the bytes; each stands for one of the store's."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def of(self, path: str, e_tag: str) -> str:
        """Return that of an object, in quotes if the store's is."""
        bare = e_tag.strip('"')
        made = hashlib.md5(f"{path} {bare}".encode(), usedforsecurity=False).hexdigest()
        if int(made[0], 16) % 3 == 0:  # as of an object that came in parts
            made += "-2"
        self._real[made] = bare
        return e_tag.replace(bare, made)

    def real(self, e_tag: str) -> str:
        """Return the store's own."""
        bare = e_tag.strip('"')
        return e_tag.replace(bare, self._real.get(bare, bare))


class FaultyStore:
    """The relay; `counts` has what it did to DELETEs, `landed` the answers to those sent late."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        late: float | None = None,
        faults: Faults | None = None,
        audit: Audit | None = None,
    ) -> None:
        self._gateway = gateway
        self._late = late
        self.faults = faults
        self.audit = audit
        self.about: About | None = None
        self._tags = OpaqueTags() if faults is not None else None
        self._random = random.Random(0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self.endpoint = ""
        self.landed: list[int] = []
        self.counts: Counter[str] = Counter()

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
        self._session = aiohttp.ClientSession(
            auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)
        )
        app = web.Application(client_max_size=_LARGEST)
        app.router.add_route("*", "/{path:.*}", self._relay)
        self._runner = web.AppRunner(app, access_log=None)
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
        kept = {k: v for k, v in request.headers.items() if k.lower() not in _SKIPPED}
        sent = _Sent(request.method, request.raw_path, kept, await request.read())
        signed = request.method == "DELETE" and "X-Amz-Signature" in request.query
        if signed and self._late is not None:
            self._later(sent, self._late)
            return self._hang_up(request)
        if signed or request.method == "DELETE" or "delete" in request.query:
            answer = await self._delete(sent, signed=signed)
            if answer is None:
                return self._hang_up(request)
        else:
            await self._announced(sent)
            answer = await self._send(self._changed(sent, request.query))
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    def _hang_up(self, request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=500)

    async def _announced(self, sent: _Sent) -> None:
        """Tell whoever wants to know what an announcement names, before it is there."""
        if self.faults is not None and sent.method == "PUT" and _ANNOUNCEMENT.fullmatch(sent.path):
            self._tell(json.loads(sent.body)["keys"])
            await asyncio.sleep(self._random.uniform(0.0, self.faults.slowest))

    def _tell(self, keys: list[str]) -> None:
        if self.about is not None:
            self.about(keys)

    # What goes wrong with a DELETE.

    async def _delete(self, sent: _Sent, *, signed: bool) -> _Answer | None:
        """Return the answer; None for none."""
        faults = self.faults
        if faults is None or self._random.random() >= (faults.signed if signed else faults.share):
            self.counts["DELETEs sent on at once"] += 1
            return await self._send(sent)
        kinds = [self._answer_late, self._send_twice, self._lose, self._lose_the_answer]
        # One that is not signed has no end, and whoever sends it again must not meet it later.
        kinds += [self._send_late] * 3 if signed else []
        seconds = self._random.uniform(0.3, faults.latest)
        return await self._random.choice(kinds)(sent, seconds)

    async def _answer_late(self, sent: _Sent, seconds: float) -> _Answer | None:
        self.counts["DELETEs answered late"] += 1
        answer = await self._send(sent)
        await asyncio.sleep(seconds / 3)
        return answer

    async def _send_twice(self, sent: _Sent, seconds: float) -> _Answer | None:
        self.counts["DELETEs sent on twice"] += 1
        await self._send(sent)
        await asyncio.sleep(seconds / 10)
        return await self._send(sent)

    async def _lose(self, sent: _Sent, seconds: float) -> _Answer | None:
        del sent, seconds
        self.counts["DELETEs lost"] += 1
        return None

    async def _lose_the_answer(self, sent: _Sent, seconds: float) -> _Answer | None:
        del seconds
        self.counts["DELETEs not answered"] += 1
        await self._send(sent)
        return None

    async def _send_late(self, sent: _Sent, seconds: float) -> _Answer | None:
        self._later(sent, seconds)
        return None

    def _later(self, sent: _Sent, seconds: float) -> None:
        self._tell([unquote(sent.path.partition("?")[0]).strip("/")])

        async def send() -> None:
            await asyncio.sleep(seconds)
            answer = await self._send(sent)
            self.landed.append(answer.status)
            self.counts[f"DELETEs sent on late, answered {answer.status}"] += 1

        task = asyncio.ensure_future(send())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What is changed.

    def _changed(self, sent: _Sent, query: Mapping[str, str]) -> _Sent:
        """Return a request with pages of few keys, and with the store's own ETags."""
        if self.faults is None or "Authorization" not in sent.headers:
            return sent
        path, headers = sent.path, dict(sent.headers)
        if "list-type" in query:
            path = with_query(path, **{"max-keys": str(self.faults.page)})
        for name in _CONDITIONS:
            if name in headers and self._tags is not None:
                headers[name] = self._tags.real(headers[name])
        if (path, headers) == (sent.path, sent.headers):
            return sent
        headers["Authorization"] = signed_again(sent.method, path, headers)
        return _Sent(sent.method, path, headers, sent.body)

    def _with_tags(self, sent: _Sent, answer: _Answer) -> _Answer:
        """Return an answer with ETags of ours."""
        tags, (path, _, query) = self._tags, sent.path.partition("?")
        if tags is None or "partNumber" in query:
            return answer
        if "ETag" in answer.headers:
            answer.headers["ETag"] = tags.of(unquote(path), answer.headers["ETag"])
        if not answer.body or b"<ETag>" not in answer.body or "uploadId=" in query:
            return answer

        def tagged(block: bytes, key: str) -> bytes:
            def tag(found: "re.Match[bytes]") -> bytes:
                text = found[1].decode().replace("&#34;", '"').replace("&quot;", '"')
                return f"<ETag>{tags.of(key, text)}</ETag>".encode().replace(b'"', b"&#34;")

            return _E_TAG.sub(tag, block)

        def listed(found: "re.Match[bytes]") -> bytes:
            key = _KEY.search(found[0])
            assert key is not None
            return tagged(found[0], f"{unquote(path).rstrip('/')}/{key[1].decode()}")

        if b"<Contents>" in answer.body:
            answer.body = _LISTED.sub(listed, answer.body)
        else:
            answer.body = tagged(answer.body, unquote(path))
        return answer

    async def _send(self, sent: _Sent) -> _Answer:
        url = URL(f"{self._gateway.endpoint}{sent.path}", encoded=True)
        deleted = self._audited(sent)
        async with self._session.request(
            sent.method, url, headers=sent.headers, data=sent.body or None, allow_redirects=False
        ) as found:
            content = await found.read()
            headers = {k: v for k, v in found.headers.items() if k.lower() not in _SKIPPED}
            if sent.method == "HEAD":
                headers["Content-Length"] = found.headers.get("Content-Length", "0")
            answer = _Answer(found.status, headers, None if sent.method == "HEAD" else content)
        if deleted is not None and answer.status in {200, 204}:
            deleted()
        return self._with_tags(sent, answer)

    def _audited(self, sent: _Sent) -> Callable[[], None] | None:
        path, _, query = sent.path.partition("?")
        if self.audit is None or sent.method != "DELETE" or "X-Amz-Signature" not in query:
            return None
        return self.audit(unquote(path).strip("/"))
