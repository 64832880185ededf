"""Connections to a registry: where it is, with or without TLS, by which names and authorities."""

import functools
import socket
import ssl
from importlib import metadata
from pathlib import Path

import aiohttp
import msgspec
from aiohttp.abc import ResolveResult
from yarl import URL

from jettison.client.bounds import CHUNK
from jettison.client.failures import plain_reason
from jettison.client.proxies import Proxies, is_loopback
from jettison.errors import ConfigurationError
from jettison.model.names import HUB

__all__ = ["ClientOptions", "open_session", "origin_of", "same_origin", "user_agent"]


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


def open_session(options: ClientOptions, origin: URL) -> aiohttp.ClientSession:
    """Open a session for requests to ``origin``, without limits of its own on how many."""
    # The semaphores count requests; the connector must not add a queue of its own.
    connector = aiohttp.TCPConnector(
        limit=0, ssl=_tls(options, origin.scheme), resolver=_Resolver()
    )
    session = aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=options.timeout, sock_read=options.timeout
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        # A blob's digest is that of its bytes as stored, so they must not come compressed.
        headers={"User-Agent": user_agent(), "Accept-Encoding": "identity"},
        read_bufsize=CHUNK,
        max_field_size=32 * 1024,
    )
    # Retrying is ours alone: a DELETE that was sent twice unseen would report "not there".
    session._retry_connection = False  # noqa: SLF001 - aiohttp has no public switch for it
    return session


@functools.cache
def user_agent() -> str:
    """``jettison/<version>``."""
    try:
        return f"jettison/{metadata.version('jettison')}"
    except metadata.PackageNotFoundError:
        return "jettison"


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
