"""HTTP to one registry: connections, retries, redirects, limits, and errors with a next step.

This module knows nothing about manifests. :class:`Transport` sends requests. It gets the
``Authorization`` header from :class:`~jettison.client.auth.Authenticator`, and never sends it
beyond the registry's origin.
"""

import asyncio
import email.utils
import functools
import itertools
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NamedTuple, Self

import aiohttp
from yarl import URL

from jettison.client.answers import describe, is_disk_full, is_page
from jettison.client.auth import NO_ACCESS, Access, Authenticator, Reply
from jettison.client.bounds import paced, read_some, seconds_for, seconds_for_head
from jettison.client.clock import clock_difference
from jettison.client.connecting import ClientOptions, open_session, origin_of, same_origin
from jettison.client.credentials import CredentialSource
from jettison.client.failures import plain_reason, tidy, translated
from jettison.client.proxies import is_loopback, shown
from jettison.client.response import Response
from jettison.errors import (
    NotARegistry,
    RegistryError,
    RegistryFailing,
    UnexpectedResponse,
    Unreachable,
)

__all__ = [
    "LIST_LIMIT",
    "MANIFEST_LIMIT",
    "ClientOptions",
    "Response",
    "Timing",
    "TooLong",
    "Transport",
    "is_loopback",
    "origin_of",
    "same_origin",
]

MANIFEST_LIMIT: Final = 4 * 1024 * 1024
"""Bytes; the distribution specification asks registries to accept manifests up to this size."""
LIST_LIMIT: Final = 64 * 1024 * 1024
"""Bytes; a registry that does not page answers with all tags at once."""

_ERROR_LIMIT: Final = 64 * 1024
_MAX_REDIRECTS: Final = 5
_MAX_WAIT: Final = 60.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Not worth asking again: "not implemented" and "HTTP version not supported" stay so.
_FINAL_5XX: Final = frozenset({501, 505})
_RETRIES_OF_500: Final = 2
_PATIENCE: Final = 120.0
"""The most seconds of pauses in one request, chosen by the client or the registry."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Clock, sleep and chance, replaced in tests of retries. All times in seconds."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


class _Request(NamedTuple):
    """What is asked; ``limit`` bounds the bytes of the answer, None for one read in pieces."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | AsyncIterator[bytes] | None
    limit: int | None

    @property
    def is_upload(self) -> bool:
        """Whether the body comes piece by piece, and only once."""
        return isinstance(self.body, AsyncIterator)


class TooLong(UnexpectedResponse):
    """An answer has more bytes than were asked for at most."""


class _NotAnswered(Exception):
    """A request without an answer: the reason, its last URL, and the time that passed."""

    def __init__(self, error: Exception, url: URL, seconds: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.url = url
        self.seconds = seconds


class Transport:
    """Requests to one registry. The first request opens what it needs."""

    def __init__(
        self,
        host: str,
        options: ClientOptions,
        credentials: CredentialSource | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.host = host
        self.options = options
        self.origin = origin_of(host, options)
        self._timing = timing or Timing()
        self._slots = asyncio.Semaphore(max(1, options.jobs))
        self._upload_slots = asyncio.Semaphore(max(1, options.jobs))
        self._session: aiohttp.ClientSession | None = None
        # Whether anything has answered, and whether it was the registry and no gateway's error.
        self._reached = False
        self._serves = False
        self.clock_difference: float | None = None
        self.auth = Authenticator(
            host,
            credentials,
            self._fetch_for_auth,
            plain=self.origin.scheme == "http",
            clock=self._timing.monotonic,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def now(self) -> float:
        """This machine's time, in seconds since the epoch."""
        return self._timing.wall()

    # -- requests ------------------------------------------------------------------------------

    def url(self, target: str, base: URL | None = None) -> URL:
        """Resolve a path or a URL from the registry, and keep its encoding."""
        try:
            url = (base or self.origin).join(URL(target, encoded=True))
            (url.raw_host or "").encode("ascii")
        except ValueError:
            url = URL()
        if not _is_text(target) or url.scheme not in {"http", "https"} or not url.host:
            message = f"{self.host} gives a malformed address"
            raise UnexpectedResponse(message)
        return url.with_user(None)

    async def request(
        self,
        method: str,
        target: str | URL,
        access: Access = NO_ACCESS,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = MANIFEST_LIMIT,
    ) -> Response:
        """Send a request and read the answer, at most ``limit`` bytes of it.

        Returns an answer with any status but 401, 429 and 5xx (except 501 and 505), because its
        meaning depends on the request. Raises :class:`~jettison.errors.RegistryError`.
        """
        return await self._authorized(method, target, access, headers, body, limit)

    async def request_beside(
        self,
        target: str | URL,
        authorization: str | None,
        *,
        headers: Mapping[str, str],
        limit: int,
    ) -> Response:
        """GET from another API, of this host or another; 401 is an answer as others are.

        ``authorization`` is sent to the registry's own origin alone, and no other login is tried.
        """
        url = self.url(target) if isinstance(target, str) else target
        complete = dict(headers)
        if authorization is not None and same_origin(url, self.origin):
            complete["Authorization"] = authorization
        return await self._fetch(_Request("GET", url, complete, None, limit))

    @asynccontextmanager
    async def stream(
        self, target: str | URL, access: Access, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Response]:
        """GET something large. Read a 2xx answer with ``chunks()``; others have a body."""
        response = await self._authorized("GET", target, access, headers, None, None)
        try:
            yield response
        finally:
            response.close()
            if _is_live(response.status):
                self._slots.release()

    async def upload(
        self, method: str, target: str | URL, access: Access, chunks: AsyncIterator[bytes]
    ) -> Response:
        """Send a body as it comes. It can be read only once, so there are no retries."""
        headers = {"Content-Type": "application/octet-stream"}
        return await self._authorized(method, target, access, headers, chunks, _ERROR_LIMIT)

    async def _authorized(
        self,
        method: str,
        target: str | URL,
        access: Access,
        headers: Mapping[str, str] | None,
        body: bytes | AsyncIterator[bytes] | None,
        limit: int | None,
    ) -> Response:
        url = self.url(target) if isinstance(target, str) else target
        trusted = same_origin(url, self.origin)
        sent = await self.auth.header(access) if trusted else None
        for attempt in itertools.count():
            complete = dict(headers or {})
            if sent is not None:
                complete["Authorization"] = sent
            response = await self._fetch(_Request(method, url, complete, body, limit))
            if response.status != HTTPStatus.UNAUTHORIZED or response.foreign or not trusted:
                if not response.foreign:
                    self.auth.accepted(sent)
                return response
            challenges = filter(_is_text, response.headers.getall("WWW-Authenticate", []))
            sent = await self.auth.answer([*challenges], access, sent, attempt)
            if isinstance(body, AsyncIterator):
                message = f"{self.host} asks for a login in the middle of an upload"
                raise UnexpectedResponse(message, hint="Try again.")
        raise AssertionError  # the loop ends by returning, or by an error from `answer`

    async def _fetch_for_auth(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Reply:
        response = await self._fetch(_Request(method, self.url(url), headers, body, _ERROR_LIMIT))
        return Reply(response.status, response.body, describe(response))

    # -- attempts ------------------------------------------------------------------------------

    async def _fetch(self, asked: _Request) -> Response:
        """Send, and retry after failures that may pass, with growing pauses."""
        retries = 0 if asked.is_upload else self.options.retries
        uncertain = False
        patience = _PATIENCE
        for attempt in itertools.count():
            try:
                response = await self._in_slot(asked)
            except _NotAnswered as failure:
                error = failure.error
                # Whoever had all the time there was does not need it five times.
                late = failure.seconds >= self.options.timeout
                if late or attempt >= min(retries, self._retries_after(error)):
                    await self._ask_without_head(asked, error)
                    raise self._failed(error, failure.url) from None
                uncertain |= not isinstance(error, aiohttp.ClientConnectorError)
                wait = self._pause(attempt, 0.1)
            else:
                response.uncertain = uncertain
                if not _worth_retrying(response.status):
                    self._reached = True
                    self._serves |= same_origin(response.url, self.origin)
                    self._refuse_wrong_scheme(response)
                    self._refuse_proxy(response)
                    return response
                self._reached = True
                wait = self._asked_pause(response) or self._pause(attempt, 0.5)
                few = self._retries_of(asked.method, response.status)
                if attempt >= min(retries, few) or wait > patience:
                    raise self._out_of_patience(response)
                uncertain |= response.status != HTTPStatus.TOO_MANY_REQUESTS
            patience -= wait
            await self._timing.sleep(wait)
        raise AssertionError  # the loop ends by returning or raising

    async def _in_slot(self, asked: _Request) -> Response:
        """Make one attempt in a slot for requests; a stream holds its slot until closed."""
        slots = self._upload_slots if asked.is_upload else self._slots
        handed_over = False
        await slots.acquire()
        began = self._timing.monotonic()
        try:
            # Nothing that is read whole may take for ever, a byte at a time.
            limit = asked.limit or _ERROR_LIMIT
            whole = None if asked.is_upload else seconds_for(limit, self.options.timeout)
            async with asyncio.timeout(whole):
                response = await self._exchange(asked)
            handed_over = asked.limit is None and _is_live(response.status)
        except TimeoutError as error:
            raise _NotAnswered(error, asked.url, self._timing.monotonic() - began) from None
        except _NotAnswered as failure:
            failure.seconds = self._timing.monotonic() - began
            raise
        else:
            return response
        finally:
            if not handed_over:
                slots.release()

    async def _exchange(self, asked: _Request) -> Response:
        """Make one attempt; GET and HEAD follow redirects, without credentials to other origins."""
        method, url, headers, _, limit = asked
        sent = dict(headers)
        session = self._open_session()
        for _ in range(_MAX_REDIRECTS + 1):
            proxy = self.options.proxies.proxy_for(url)
            began = self._timing.wall()
            try:
                raw = await self._send(session, asked, url, sent, proxy)
            except (aiohttp.ClientError, OSError) as error:
                raise _NotAnswered(error, url) from None
            if same_origin(url, self.origin):
                self._compare_clocks(raw.headers, began)
            location = raw.headers.get("Location")
            if raw.status not in _REDIRECTS or not location or method not in {"GET", "HEAD"}:
                break
            raw.release()
            there = self.url(location, url)
            if not same_origin(there, url):
                sent.pop("Authorization", None)
            url = there
        else:
            message = f"{self.host} redirects in circles"
            raise UnexpectedResponse(message)
        foreign = not same_origin(url, asked.url)
        try:
            content = await self._body(raw, limit)
        except (aiohttp.ClientError, OSError) as error:
            raw.close()
            raise _NotAnswered(error, url) from None
        except BaseException:
            raw.close()
            raise
        patience = self.options.timeout
        return Response(self.host, raw, content, foreign=foreign, patience=patience)

    async def _send(
        self,
        session: aiohttp.ClientSession,
        asked: _Request,
        url: URL,
        headers: Mapping[str, str],
        proxy: URL | None,
    ) -> aiohttp.ClientResponse:
        """Send a request; return its answer once the head is there."""
        send = functools.partial(
            session.request, asked.method, url, headers=headers, allow_redirects=False, proxy=proxy
        )
        patience, body = self.options.timeout, asked.body
        if isinstance(body, AsyncIterator):
            async with paced(body, patience) as pieces:
                return await send(data=pieces)
        async with asyncio.timeout(seconds_for_head(body, patience)):
            return await send(data=body)

    def _compare_clocks(self, headers: Mapping[str, str], began: float) -> None:
        """Keep the largest difference: of several servers behind one name, one may be wrong."""
        found = clock_difference(headers, began, self._timing.wall())
        if found is not None and abs(found) >= abs(self.clock_difference or 0.0):
            self.clock_difference = found

    def _open_session(self) -> aiohttp.ClientSession:
        self._session = self._session or open_session(self.options, self.origin)
        return self._session

    async def _body(self, raw: aiohttp.ClientResponse, limit: int | None) -> bytes:
        """Read a body that is not streamed; of an error's body only the beginning."""
        if not _is_live(raw.status):
            return await read_some(raw, _ERROR_LIMIT, self.options.timeout)
        if limit is None:
            return b""
        content = await read_some(raw, limit + 1, self.options.timeout)
        if len(content) > limit:
            message = f"{self.host} answers {raw.url.path} with more than {limit // 1024} KiB"
            raise TooLong(message)
        return content

    def _retries_after(self, error: Exception) -> int:
        """Return the number of retries, for a failure that may pass."""
        if isinstance(error, ssl.SSLError | ssl.CertificateError | aiohttp.ClientSSLError):
            return 0
        if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL):
            return 0
        many = self.options.retries
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            # A wrong name or port should be said at once; a registry that answered before is
            # perhaps being restarted.
            return many if self._reached else 0
        return 0 if isinstance(error, TimeoutError) else many

    def _retries_of(self, method: str, status: int) -> int:
        """Return the number of retries after an answer that may pass."""
        if status == HTTPStatus.INTERNAL_SERVER_ERROR and self._serves:
            # What is damaged in a registry that serves other things stays so; and an answer to
            # HEAD does not say why, GET asks next.
            return 0 if method == "HEAD" else _RETRIES_OF_500
        return self.options.retries

    def _failed(self, error: Exception, url: URL) -> RegistryError:
        """Return the error for a request without an answer."""
        made = translated(error, url, self.host)
        proxy = self.options.proxies.proxy_for(url)
        if proxy is not None:
            made = _failed_proxy(error, made, shown(proxy))
        no_connection = isinstance(
            error, aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError
        )
        one_alone = isinstance(made, Unreachable | NotARegistry) and not no_connection
        if self._serves and one_alone:
            # The registry is there: it is this request that fails.
            message = f"{made.message} (asked for {url.path})"
            return RegistryFailing(message, hint=made.hint)
        return made

    def _out_of_patience(self, response: Response) -> RegistryError:
        """Return the error for a registry that goes on answering with 5xx, or its gateway."""
        status = response.status
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            said = describe(response).removeprefix("429").lstrip(", ") or "too many requests"
            message = f"{self.speaker(response)} keeps answering 429: {said}"
            hint = "Wait a while, or use fewer --jobs."
        else:
            said = f"{self.speaker(response)} keeps answering {describe(response)}"
            message = f"{said} to {response.url.path}"
            hint = "Check the log of the registry, or of the proxy in front of it."
            if is_disk_full(response):
                message = f"{message}: its disk is full"
                hint = "Free space where its storage is, which needs no room: jettison gc CONFIG."
            if status in {502, 503, 504} and not self._serves:
                return Unreachable(message, hint=hint)
        error = RegistryFailing(message, hint=hint)
        error.status = status
        return error

    def speaker(self, response: Response) -> str:
        """Return the author of an answer: the registry, another host, or something in front."""
        if not same_origin(response.url, self.origin):
            return f"{response.url.host_port_subcomponent} (where {self.host} leads)"
        if is_page(response) and "Docker-Distribution-Api-Version" not in response.headers:
            return f"something in front of {self.host}"
        return self.host

    def _pause(self, attempt: int, first: float) -> float:
        grown: float = min(first * 2**attempt, _MAX_WAIT)
        return grown * (0.5 + self._timing.chance() / 2)

    def _asked_pause(self, response: Response) -> float | None:
        """Return the seconds of ``Retry-After`` (RFC 9110, 10.2.3), at most a minute."""
        value = response.headers.get("Retry-After", "").strip()
        if value.isascii() and value.isdigit():
            return min(float(value), _MAX_WAIT)
        try:
            moment = email.utils.parsedate_to_datetime(value).timestamp()
        except (ValueError, OverflowError):
            return None
        return min(max(moment - self._timing.wall(), 0.0), _MAX_WAIT)

    async def _ask_without_head(self, asked: _Request, error: Exception) -> None:
        """Find the reason for an answer to HEAD that is not HTTP.

        Go's server on a TLS port answers a request without TLS with a text, which HEAD cannot show.
        """
        broken = isinstance(error, aiohttp.ClientResponseError)
        if broken and asked.method == "HEAD" and asked.url.scheme == "http":
            told = _Request("GET", asked.url, {}, None, MANIFEST_LIMIT)
            with suppress(_NotAnswered):
                self._refuse_wrong_scheme(await self._in_slot(told))

    def _refuse_wrong_scheme(self, response: Response) -> None:
        if response.status != HTTPStatus.BAD_REQUEST or response.url.scheme != "http":
            return
        said = response.body[:500].lower()
        if b"to an https server" in said or b"sent to https port" in said:
            message = f"{self.host} speaks TLS, and the request had none"
            hint = "Omit --plain-http."
            if is_loopback(self.host):
                hint = "Give --tls; and --ca-file FILE or --insecure if it has its own authority."
            raise Unreachable(message, hint=hint)

    def _refuse_proxy(self, response: Response) -> None:
        if response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            proxy = self.options.proxies.proxy_for(response.url)
            where = "a proxy" if proxy is None else f"the proxy {shown(proxy)}"
            message = f"{where} on the way to {self.host} requires a login: {describe(response)}"
            hint = "Write it into the variable: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT."
            raise Unreachable(message, hint=hint)


def _failed_proxy(error: Exception, made: RegistryError, proxy: str) -> RegistryError:
    """Return the error for a request through a proxy."""
    hint = "It is named by HTTP_PROXY or HTTPS_PROXY; what NO_PROXY lists is reached directly."
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return Unreachable(
            f"cannot reach the proxy {proxy}: {plain_reason(error.os_error)}", hint=hint
        )
    if isinstance(error, aiohttp.ClientHttpProxyError):
        message = f"the proxy {proxy} refuses to connect: {error.status} {tidy(error.message)}"
        return Unreachable(message, hint=hint)
    return type(made)(f"{made.message} (through the proxy {proxy})", hint=made.hint)


def _is_text(value: str) -> bool:
    """Whether a header's value is UTF-8; otherwise it contains surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_live(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _worth_retrying(status: int) -> bool:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return status not in _FINAL_5XX
    return status == HTTPStatus.TOO_MANY_REQUESTS
