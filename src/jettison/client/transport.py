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
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import Final, Self

import aiohttp
import msgspec
from aiohttp.abc import ResolveResult
from yarl import URL

from jettison.client.answers import describe, is_page
from jettison.client.auth import NO_ACCESS, Access, Authenticator, Reply
from jettison.client.credentials import CredentialSource
from jettison.client.failures import plain_reason, tidy, translated
from jettison.client.proxies import Proxies, is_loopback, shown
from jettison.errors import (
    ConfigurationError,
    NotARegistry,
    RegistryError,
    RegistryFailing,
    UnexpectedResponse,
    Unreachable,
)
from jettison.model.names import HUB

__all__ = [
    "LIST_LIMIT",
    "MANIFEST_LIMIT",
    "ClientOptions",
    "Response",
    "Timing",
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
_CHUNK: Final = 256 * 1024
_MAX_REDIRECTS: Final = 5
_MAX_WAIT: Final = 60.0
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Not worth asking again: "not implemented" and "HTTP version not supported" stay so.
_FINAL_5XX: Final = frozenset({501, 505})
_DIGITS: Final = 18
"""The most digits of a length in bytes."""
_RETRIES_OF_500: Final = 2
_PATIENCE: Final = 120.0
"""The most seconds of pauses in one request, chosen by the client or the registry."""
_SLOWEST: Final = 256 * 1024
"""Bytes a second: the least speed of an answer that is read as a whole, after the wait for it."""
_STREAM_SLOWEST: Final = 1024
"""Bytes a second: the least average speed of an answer that is read in pieces."""


class ClientOptions(msgspec.Struct, frozen=True):
    """How to talk to a registry.

    ``plain_http`` None means no TLS for loopback hosts, unless one of the options for TLS is given,
    and TLS for all others.
    ``insecure`` skips the verification of certificates; it does not switch TLS off.
    ``jobs`` is how many requests run at once; uploads count separately, so that a copy within one
    registry cannot wait for itself. ``timeout`` is in seconds, for connecting and for each wait for
    more bytes, never for a whole blob. ``retries`` come on top of the first attempt. There are no
    ``proxies`` by default; the command line passes those of the environment.
    """

    plain_http: bool | None = None
    insecure: bool = False
    ca_file: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    jobs: int = 8
    timeout: float = 30.0
    retries: int = 4
    proxies: Proxies = Proxies()


@dataclass(frozen=True, slots=True)
class Timing:
    """Clock, sleep and chance, replaced in tests of retries. All times in seconds."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


def same_origin(one: URL, other: URL) -> bool:
    """Whether both have the same scheme, host and port (RFC 6454); ``:443`` may be left out."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def origin_of(host: str, options: ClientOptions) -> URL:
    """Return the scheme, host and port of requests to ``host``."""
    plain = options.plain_http
    if plain is None:
        wants_tls = options.insecure or options.ca_file or options.cert or options.key
        plain = is_loopback(host) and not wants_tls
    # Docker Hub goes by one name and is spoken to at another.
    address = "registry-1.docker.io" if host.lower() in HUB else host
    return URL(f"{'http' if plain else 'https'}://{address}/")


class Response:
    """An answer: its whole body, or (``body`` empty) a stream to be read with :meth:`chunks`.

    ``foreign``: a redirect led to another origin. ``uncertain``: an earlier attempt may have
    succeeded although its answer was lost.
    """

    __slots__ = (
        "_host",
        "_patience",
        "_raw",
        "body",
        "foreign",
        "headers",
        "status",
        "uncertain",
        "url",
    )

    def __init__(
        self,
        host: str,
        raw: aiohttp.ClientResponse,
        body: bytes,
        *,
        foreign: bool,
        patience: float,
    ) -> None:
        self._host = host
        self._patience = patience
        self._raw = raw
        self.status = raw.status
        self.url = raw.url
        self.headers = raw.headers
        self.body = body
        self.foreign = foreign
        self.uncertain = False

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case; empty if it is not ASCII.

        Other values can be stored neither in the cache nor in the journal.
        """
        value = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        return value if value.isascii() and value.isprintable() else ""

    @property
    def content_length(self) -> int | None:
        """The length that the headers claim, in bytes."""
        value = self.headers.get("Content-Length", "")
        plain = value.isascii() and value.isdigit() and len(value) <= _DIGITS
        return int(value) if plain else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; raise Unreachable if the connection breaks."""
        waited, size = 0.0, 0
        pieces = self._raw.content.iter_chunked(_CHUNK)
        try:
            while True:
                # The time counts that the registry takes, not what is done with the bytes.
                asked = time.monotonic()
                chunk = await anext(pieces, None)
                waited += time.monotonic() - asked
                if chunk is None:
                    return
                size += len(chunk)
                if size < (waited - self._patience) * _STREAM_SLOWEST:
                    raise aiohttp.ServerTimeoutError
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise translated(error, self.url, self._host) from None

    def close(self) -> None:
        """Drop the connection, unless the whole body was read."""
        self._raw.close()


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
            response = await self._fetch(method, url, complete, body, limit)
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
        response = await self._fetch(method, self.url(url), headers, body, _ERROR_LIMIT)
        return Reply(response.status, response.body, describe(response))

    # -- attempts ------------------------------------------------------------------------------

    async def _fetch(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | AsyncIterator[bytes] | None,
        limit: int | None,
    ) -> Response:
        """Send, and retry after failures that may pass, with growing pauses."""
        retries = 0 if isinstance(body, AsyncIterator) else self.options.retries
        uncertain = False
        patience = _PATIENCE
        for attempt in itertools.count():
            try:
                response = await self._in_slot(method, url, headers, body, limit)
            except _NotAnswered as failure:
                error = failure.error
                # Whoever had all the time there was does not need it five times.
                late = failure.seconds >= self.options.timeout
                if late or attempt >= min(retries, self._retries_after(error)):
                    await self._ask_without_head(method, url, error)
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
                few = self._retries_of(method, response.status)
                if attempt >= min(retries, few) or wait > patience:
                    raise self._out_of_patience(response)
                uncertain |= response.status != HTTPStatus.TOO_MANY_REQUESTS
            patience -= wait
            await self._timing.sleep(wait)
        raise AssertionError  # the loop ends by returning or raising

    async def _in_slot(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | AsyncIterator[bytes] | None,
        limit: int | None,
    ) -> Response:
        """Make one attempt in a slot for requests; a stream holds its slot until closed."""
        slots = self._upload_slots if isinstance(body, AsyncIterator) else self._slots
        handed_over = False
        await slots.acquire()
        asked = self._timing.monotonic()
        try:
            # Nothing that is read whole may take for ever, a byte at a time.
            whole = None if isinstance(body, AsyncIterator) else self._seconds_for(limit)
            async with asyncio.timeout(whole):
                response = await self._exchange(method, url, headers, body, limit)
            handed_over = limit is None and _is_live(response.status)
        except TimeoutError as error:
            raise _NotAnswered(error, url, self._timing.monotonic() - asked) from None
        except _NotAnswered as failure:
            failure.seconds = self._timing.monotonic() - asked
            raise
        else:
            return response
        finally:
            if not handed_over:
                slots.release()

    def _seconds_for(self, limit: int | None) -> float:
        """Return how many seconds an answer of at most ``limit`` bytes may take in all."""
        return self.options.timeout + (limit or _ERROR_LIMIT) / _SLOWEST

    async def _exchange(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | AsyncIterator[bytes] | None,
        limit: int | None,
    ) -> Response:
        """Make one attempt; GET and HEAD follow redirects, without credentials to other origins."""
        start = url
        sent = dict(headers)
        session = self._session or self._open_session()
        for _ in range(_MAX_REDIRECTS + 1):
            proxy = self.options.proxies.proxy_for(url)
            try:
                async with _waiting(self.options.timeout, body) as data:
                    raw = await session.request(
                        method, url, headers=sent, data=data, allow_redirects=False, proxy=proxy
                    )
            except (aiohttp.ClientError, OSError) as error:
                raise _NotAnswered(error, url) from None
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
        foreign = not same_origin(url, start)
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

    async def _body(self, raw: aiohttp.ClientResponse, limit: int | None) -> bytes:
        """Read a body that is not streamed; of an error's body only the beginning."""
        if not _is_live(raw.status):
            return await _read_some(raw, _ERROR_LIMIT, self.options.timeout)
        if limit is None:
            return b""
        content = await _read_some(raw, limit + 1, self.options.timeout)
        if len(content) > limit:
            message = f"{self.host} answers {raw.url.path} with more than {limit // 1024} KiB"
            raise UnexpectedResponse(message)
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

    async def _ask_without_head(self, method: str, url: URL, error: Exception) -> None:
        """Find the reason for an answer to HEAD that is not HTTP.

        Go's server on a TLS port answers a request without TLS with a text, which HEAD cannot show.
        """
        broken = isinstance(error, aiohttp.ClientResponseError)
        if broken and method == "HEAD" and url.scheme == "http":
            with suppress(_NotAnswered):
                self._refuse_wrong_scheme(await self._in_slot("GET", url, {}, None, MANIFEST_LIMIT))

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

    # -- set-up --------------------------------------------------------------------------------

    def _open_session(self) -> aiohttp.ClientSession:
        options = self.options
        # The semaphores count requests; the connector must not add a queue of its own.
        connector = aiohttp.TCPConnector(
            limit=0, ssl=_tls(options, self.origin.scheme), resolver=_Resolver()
        )
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=options.timeout, sock_read=options.timeout
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # A blob's digest is that of its bytes as stored, so they must not come compressed.
            headers={"User-Agent": user_agent(), "Accept-Encoding": "identity"},
            read_bufsize=_CHUNK,
            max_field_size=32 * 1024,
        )
        # Retrying is ours alone: a DELETE that was sent twice unseen would report "not there".
        session._retry_connection = False  # noqa: SLF001 - aiohttp has no public switch for it
        self._session = session
        return session


@functools.cache
def user_agent() -> str:
    """``jettison/<version>``."""
    try:
        return f"jettison/{metadata.version('jettison')}"
    except metadata.PackageNotFoundError:
        return "jettison"


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


class _Resolver(aiohttp.ThreadedResolver):
    """The system's resolver; names below ``localhost`` always mean this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``."""
        return await super().resolve("localhost" if is_loopback(host) else host, port, family)


def _tls(options: ClientOptions, scheme: str) -> ssl.SSLContext | bool:
    """Return the TLS settings; raise ConfigurationError for a file that is missing or not PEM."""
    given = options.insecure or options.ca_file or options.cert or options.key
    if scheme == "http" and not given:
        return True
    context = ssl.create_default_context()
    if options.ca_file is not None:
        try:
            context.load_verify_locations(cafile=options.ca_file)
        except OSError as error:
            message = f"cannot use the certificates in {options.ca_file}: {plain_reason(error)}"
            raise ConfigurationError(message, hint="--ca-file needs a PEM file.") from None
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.key is not None and options.cert is None:
        message = "--key is given without --cert"
        raise ConfigurationError(message, hint="Give the client certificate too.")
    if options.cert is not None:
        try:
            context.load_cert_chain(options.cert, options.key, password=_no_password)
        except (OSError, ValueError) as error:
            message = f"cannot use the client certificate {options.cert}: {plain_reason(error)}"
            hint = "--cert and --key need PEM files, the key without a password."
            raise ConfigurationError(message, hint=hint) from None
    return context


def _no_password() -> str:
    """Answer OpenSSL, which would otherwise ask for a password at the terminal."""
    return ""


@asynccontextmanager
async def _waiting(
    seconds: float, body: bytes | AsyncIterator[bytes] | None
) -> AsyncIterator[bytes | AsyncIterator[bytes] | None]:
    """Bound the wait for the head of an answer; yield the body that is sent before it.

    The wait ends for a head that drips or follows endless interim answers, and for a registry that
    does not accept the body. Reading the body from its source may take any time.
    """
    patience = 2 * seconds  # for connecting, and for the answer
    size = len(body) if isinstance(body, bytes) else 0
    is_over = False

    def allow(more: float | None) -> None:
        if not is_over:  # an answer may come before all is sent
            now = asyncio.get_running_loop().time()
            deadline.reschedule(None if more is None else now + more)

    async def paced(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            for start in range(0, len(chunk), _CHUNK):
                piece = chunk[start : start + _CHUNK]
                allow(patience + len(piece) / _STREAM_SLOWEST)
                yield piece
            allow(None)
        allow(patience)

    async with asyncio.timeout(patience + size / _STREAM_SLOWEST) as deadline:
        try:
            yield paced(body) if isinstance(body, AsyncIterator) else body
        finally:
            is_over = True


async def _read_some(raw: aiohttp.ClientResponse, limit: int, patience: float) -> bytes:
    """Read the body, or about its first ``limit`` bytes, and drop the rest.

    The time limit is ``patience`` seconds plus the time of the bytes at the speed ``_SLOWEST``.
    """
    parts: list[bytes] = []
    size = 0
    latest = asyncio.get_running_loop().time() + patience
    async with asyncio.timeout_at(latest) as deadline:
        async for chunk in raw.content.iter_chunked(_CHUNK):
            parts.append(chunk)
            size += len(chunk)
            if size >= limit:
                raw.close()
                break
            deadline.reschedule(latest + size / _SLOWEST)
    return b"".join(parts)


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
