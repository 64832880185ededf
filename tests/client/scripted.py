"""A server on loopback that answers what a test tells it to, and remembers what it was asked."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

MARK = {"Docker-Distribution-Api-Version": "registry/2.0"}

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    """With its query."""
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes | str = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    marked: bool = True
    """Whether it says that it is a registry's."""

    def response(self) -> web.Response:
        raw = self.body.encode() if isinstance(self.body, str) else self.body
        headers = {**(MARK if self.marked else {}), **self.headers}
        if raw[:1] in {b"{", b"["}:
            headers.setdefault("Content-Type", "application/json")
        return web.Response(status=self.status, body=raw, headers=headers)


class Drop:
    """Instead of an answer: close the connection."""


class Scripted:
    """Answers by method and path; without a script, 404 `MANIFEST_UNKNOWN` in JSON."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.port = 0
        self._scripts: dict[tuple[str, str], list[Answer | Drop | Handler]] = {}
        self._runner: web.ServerRunner | None = None
        self.on("GET", "/v2/", Answer(body="{}"))

    def on(self, method: str, path: str, *answers: Answer | Drop | Handler) -> None:
        """The answers to a request, in order; the last one stays.

        The query may be left out, and `*` stands for one part of the path.
        """
        self._scripts[method, path] = list(answers)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[str]:
        return [str(request) for request in self.seen]

    def sent(self, header: str) -> list[str | None]:
        return [request.headers.get(header) for request in self.seen]

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(Seen(request.method, request.raw_path, request.headers.copy(), body))
        wild = request.path.rpartition("/")[0] + "/*"
        for path in (request.raw_path, request.path, wild):
            if script := self._scripts.get((request.method, path)):
                answer = script.pop(0) if len(script) > 1 else script[0]
                break
        else:
            answer = Answer(404, '{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no"}]}')
        if isinstance(answer, Drop):
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if isinstance(answer, Answer):
            return answer.response()
        return await answer(request)
