"""The ASGI application: admit, route, call the handler, send, and note what was done."""

import contextlib
import itertools
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote

from jettison.configuration.settings import Token
from jettison.errors import StorageError
from jettison.model.names import RepoName
from jettison.model.preconditions import BUCKET_HEADER, HEEDED
from jettison.server.access import AccessAction, Grant, Guard, TooManyLogins, Unauthorized, Wanted
from jettison.server.api import blobs, images, listings, manifests, referrers, uploads
from jettison.server.api.context import Call, Context, parse_name
from jettison.server.api.failures import answer_to_storage_error, unexpected_answer
from jettison.server.api.routes import Endpoint, Route, clean_path, find_route
from jettison.server.api.settling import settled
from jettison.server.http.answers import (
    API_VERSION,
    ENCODED,
    LENGTH,
    Answer,
    ApiError,
    Code,
    Header,
    Piece,
    encode_headers,
    json_answer,
    text_answer,
)
from jettison.server.http.requests import GONE, Disconnected, Receive, Request, Scope, Send
from jettison.server.http.sharing import Busy
from jettison.server.observing.exchange import Exchange

__all__ = ["Observer", "RegistryApp"]

_log: Final = logging.getLogger("jettison.server")

Handler = Callable[[Call], Awaitable[Answer]]


class _Operation(NamedTuple):
    """What a method does at an endpoint, and what one has to be allowed for it."""

    handler: Handler
    actions: tuple[AccessAction, ...]
    writes: bool = False


class Observer(Protocol):
    """Is told of each request: when it begins, and what became of it."""

    def begin(self, route: str, method: str) -> None:
        """A request begins."""

    def end(self, exchange: Exchange) -> None:
        """It has ended."""


_PULL: Final = (AccessAction.PULL,)
_PUSH: Final = (AccessAction.PULL, AccessAction.PUSH)
_DELETE: Final = (AccessAction.DELETE,)
_ALLOW_READING: Final = (b"allow", b"GET, HEAD")
_PLAIN: Final = frozenset({Endpoint.ROOT, Endpoint.OTHER})
_WITHOUT_REPOSITORY: Final = frozenset({Endpoint.BASE, Endpoint.CATALOG})
_WITHOUT_LENGTH: Final = frozenset({204, 304})
_READ_AGAIN: Final = frozenset({"GET", "HEAD", "DELETE"})
"""Methods without a body, which can begin anew where a link is just being rewritten."""
_LABELS: Final = {Endpoint.ROOT: "other", Endpoint.UPLOADS: "upload"}
_GONE: Final = 499
"""What the log says of a request whose client went away, as other servers do."""


class RegistryApp:
    """The registry; ``failing`` tells whether a health check fails, and nobody is served then."""

    def __init__(
        self,
        context: Context,
        guard: Guard,
        observer: Observer,
        failing: Callable[[], bool] = lambda: False,
    ) -> None:
        self._context = context
        self._failing = failing
        self._guard = guard
        self._observer = observer
        http = context.configuration.http
        auth = context.configuration.auth
        self._is_open = auth is None
        self._tells_origin = isinstance(auth, Token) and auth.autoredirect
        self._prefix = http.prefix.rstrip("/")
        self._timeout = context.configuration.limits.body_timeout
        self._readonly = context.configuration.storage.readonly
        self._headers: list[Header] = [API_VERSION]
        bucket = context.configuration.storage.bucket
        if bucket is not None:
            # So a collection beside this server knows that it is of the same bucket.
            self._headers.append((BUCKET_HEADER.lower().encode(), bucket.identity.encode()))
        for name, values in http.headers.items():
            lower = name.lower().encode("latin-1")
            self._headers += [(lower, value.encode("latin-1")) for value in values]
        self._encoded = encode_headers(self._headers)
        # Several processes and restarts must not use the same.
        self._ids = map((secrets.token_hex(5) + "%08x").__mod__, itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            message = "only HTTP is spoken here"
            raise NotImplementedError(message)
        request = Request(scope, receive, self._timeout)
        path: str = scope["path"]
        if self._prefix:
            path = path.removeprefix(self._prefix) if path.startswith(self._prefix) else ""
        route = find_route(path)
        elsewhere = None
        if path.endswith("/") or "//" in path:
            elsewhere = clean_path(path)
            if elsewhere is not None:
                route = find_route(elsewhere)
        exchange = _exchange(request, route, next(self._ids))
        clock = time.perf_counter()
        self._observer.begin(exchange.route, exchange.method)
        try:
            answer = await self._answer(request, route, exchange, elsewhere)
            exchange.status = answer.status
            number = exchange.request_id.encode()
            headers = [*answer.headers, *self._headers, (b"x-request-id", number)]
            start = {"type": "http.response.start", "status": answer.status, "headers": headers}
            if answer.encoded:
                identified = b"x-request-id: %b\r\n" % number
                start[ENCODED] = answer.encoded + self._encoded + identified
                start[LENGTH] = answer.length
            await send(start)
            if answer.stream is None:
                exchange.sent = 0 if request.method == "HEAD" else answer.length
                await send({"type": "http.response.body", "body": answer.body})
            else:
                await _send_stream(answer, answer.stream, request, send, exchange)
        except Disconnected:
            exchange.status = _GONE
        finally:
            exchange.received = request.received
            exchange.seconds = time.perf_counter() - clock
            self._observer.end(exchange)

    async def _answer(
        self, request: Request, route: Route, exchange: Exchange, elsewhere: str | None
    ) -> Answer:
        """Return the answer to a request, whatever happens."""
        try:
            answer = await self._handle(request, route, exchange, elsewhere)
        except ApiError as error:
            answer = error.answer()
        except StorageError as error:
            answer = answer_to_storage_error(error, exchange.request_id)
        except Disconnected:
            raise
        except Busy:
            answer = _busy().answer()
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer
            _log.exception("request %s: %s %s", exchange.request_id, request.method, route)
            answer = unexpected_answer(exchange.request_id)
        if answer.encoded:
            return answer
        for name, _ in answer.headers:
            if name == b"content-length":
                return answer
        if answer.status not in _WITHOUT_LENGTH:
            answer.headers.append((b"content-length", b"%d" % answer.length))
        return answer

    async def _handle(
        self, request: Request, route: Route, exchange: Exchange, elsewhere: str | None
    ) -> Answer:
        if route.endpoint in _PLAIN:
            return _plain_answer(route.endpoint)
        if request.method == "OPTIONS" and (self._is_open or _is_preflight(request)):
            return _options(route.endpoint)
        operation = _operation(request, route)
        name = _name(route)
        grant = await self._admit(request, name, operation)
        exchange.user = grant.user
        if self._readonly and operation.writes:
            return text_answer(405, "the registry is read-only", [_ALLOW_READING])
        if elsewhere is not None:
            return self._redirect(request, elsewhere)
        if isinstance(name, ApiError):
            raise name  # only now: who may not come in learns nothing
        if self._failing():
            raise ApiError(503, Code.UNAVAILABLE, "the registry is not well; ask its operator")
        call = Call(self._context, request, grant, name, route.reference, exchange)
        if request.method not in _READ_AGAIN:
            return await operation.handler(call)
        return await settled(lambda: operation.handler(call))

    def _redirect(self, request: Request, path: str) -> Answer:
        """Send the client to the path with as many slashes as it should have."""
        query = request.scope["query_string"].decode("latin-1")
        target = f"{self._prefix}{quote(path)}{f'?{query}' if query else ''}"
        return Answer(301, [(b"location", target.encode("latin-1"))])

    async def _admit(
        self, request: Request, name: RepoName | ApiError | None, operation: _Operation
    ) -> Grant:
        repository = None if isinstance(name, ApiError) else name
        authorization = request.header(b"authorization")
        origin = (request.origin() or "") if self._tells_origin else ""
        try:
            grant = await self._guard.admit(
                authorization,
                (Wanted(repository, operation.actions),),
                origin=origin,
                client=request.client,
            )
        except TooManyLogins as error:
            retry = [(b"retry-after", b"%d" % error.seconds)]
            raise ApiError(429, Code.TOOMANYREQUESTS, error.message, headers=retry) from None
        except Unauthorized as error:
            challenge = [(b"www-authenticate", error.challenge.encode("latin-1"))]
            raise ApiError(401, Code.UNAUTHORIZED, error.message, headers=challenge) from None
        for action in operation.actions:
            if not grant.allows(repository, action):
                # The same whether it exists or not.
                who = grant.user or "without a login one"
                message = f"{who} may not {action} here"
                raise ApiError(403, Code.DENIED, message)
        return grant


def _exchange(request: Request, route: Route, number: str) -> Exchange:
    scope = request.scope
    headers = request.fields
    target, query, client = (
        scope["raw_path"].decode("latin-1"),
        scope["query_string"],
        scope["client"],
    )
    return Exchange(
        request_id=number,
        method=request.method,
        target=f"{target}?{query.decode('latin-1')}" if query else target,
        route=_LABELS.get(route.endpoint, route.endpoint),
        repository=route.repository,
        started=time.time(),
        client=client[0] if client else "",
        agent=headers.get(b"user-agent", b"").decode("latin-1"),
        referer=headers.get(b"referer", b"").decode("latin-1"),
        host=headers.get(b"host", b"").decode("latin-1"),
        version=scope["http_version"],
    )


async def _send_stream(
    answer: Answer,
    stream: AsyncGenerator[Piece],
    request: Request,
    send: Send,
    exchange: Exchange,
) -> None:
    """Send a body piece by piece, as long as somebody takes it."""
    gone: Callable[[], bool] | None = request.scope.get("extensions", {}).get(GONE)
    async with contextlib.aclosing(stream):
        async for piece in stream:
            if gone is not None and gone():
                raise Disconnected
            exchange.sent += len(piece)
            more = exchange.sent < answer.length
            await send({"type": "http.response.body", "body": piece, "more_body": more})


def _name(route: Route) -> RepoName | ApiError | None:
    """Return the repository that a route names, or what is wrong with its name."""
    if not route.repository and route.endpoint in _WITHOUT_REPOSITORY:
        return None
    try:
        return parse_name(route.repository)
    except ApiError as error:
        return error


def _operation(request: Request, route: Route) -> _Operation:
    methods = OPERATIONS[route.endpoint]
    found = methods.get(request.method)
    if found is None:
        allow = [(b"allow", ", ".join(sorted(methods)).encode())]
        message = f"{request.method} is not for this URL"
        raise ApiError(405, Code.UNSUPPORTED, message, headers=allow)
    return found


def _busy() -> ApiError:
    message = "too much is waiting already; try again later"
    retry = [(b"retry-after", b"1")]
    return ApiError(429, Code.TOOMANYREQUESTS, message, headers=retry)


def _is_preflight(request: Request) -> bool:
    """Whether a browser asks what a page of another origin may do here (CORS).

    It never sends a login along, and takes any answer but 2xx for a no.
    """
    fields = request.fields
    return b"origin" in fields and b"access-control-request-method" in fields


def _options(endpoint: Endpoint) -> Answer:
    """Say which methods there are. What pages of other origins may do, ``http.headers`` says."""
    allowed = ", ".join(sorted((*OPERATIONS[endpoint], "OPTIONS")))
    return Answer(200, [(b"allow", allowed.encode())])


async def _base(_: Call) -> Answer:
    """Say that this is a registry (end-1)."""
    return json_answer({}, headers=[(HEEDED.lower().encode(), b"tags")])


def _plain_answer(endpoint: Endpoint) -> Answer:
    """Answer outside of the API, as Distribution does: it is alive, or there is no such page."""
    if endpoint is Endpoint.ROOT:
        answer = Answer(200, [(b"cache-control", b"no-cache")])
    else:
        answer = text_answer(404, "404 page not found")
    return answer


def _reading(handler: Handler, actions: tuple[AccessAction, ...] = _PULL) -> dict[str, _Operation]:
    operation = _Operation(handler, actions)
    return {"GET": operation, "HEAD": operation}


OPERATIONS: Final[dict[Endpoint, dict[str, _Operation]]] = {
    Endpoint.BASE: _reading(_base, ()),
    Endpoint.CATALOG: _reading(listings.get_catalog),
    Endpoint.TAGS: _reading(listings.get_tags),
    Endpoint.REFERRERS: _reading(referrers.get_referrers),
    Endpoint.IMAGES: _reading(images.get_images),
    Endpoint.MANIFEST: {
        **_reading(manifests.get_manifest),
        "PUT": _Operation(manifests.put_manifest, _PUSH, writes=True),
        "DELETE": _Operation(manifests.delete_manifest, _DELETE, writes=True),
    },
    Endpoint.BLOB: {
        "GET": _Operation(blobs.get_blob, _PULL),
        "HEAD": _Operation(blobs.head_blob, _PULL),
        "DELETE": _Operation(blobs.delete_blob, _DELETE, writes=True),
    },
    Endpoint.UPLOADS: {"POST": _Operation(uploads.begin_upload, _PUSH, writes=True)},
    Endpoint.UPLOAD: {
        **_reading(uploads.upload_status, _PUSH),
        "PATCH": _Operation(uploads.patch_upload, _PUSH, writes=True),
        "PUT": _Operation(uploads.finish_upload, _PUSH, writes=True),
        "DELETE": _Operation(uploads.cancel_upload, _PUSH, writes=True),
    },
}
