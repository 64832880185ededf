"""Failures below HTTP, as messages of one line with a next step.

No message contains a query string, a header or a body of a request: those can carry signatures and
tokens.
"""

import re
import ssl

import aiohttp
from yarl import URL

from jettison.errors import NotARegistry, RegistryError, Unreachable
from jettison.model.names import HUB

__all__ = ["plain_reason", "tidy", "translated"]

_NOT_TLS = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "UNKNOWN_PROTOCOL",
    }
)


def tidy(text: str, limit: int = 200) -> str:
    """Make a server's text fit for a message: one line, short, no user info or query in URLs."""
    text = re.sub(r"(\w+://)[^\s/@]*@", r"\1", text)
    text = re.sub(r"(\w+://[^\s?\"'<>]*)\?[^\s\"'<>]*", r"\1", text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plain_reason(error: BaseException) -> str:
    """Return the reason of a system or OpenSSL error, without codes, addresses and file names."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS error").replace("_", " ").lower()
    if isinstance(error, ConnectionRefusedError):
        # asyncio puts the address into the text, or several of them.
        return "connection refused"
    if isinstance(error, OSError) and error.strerror:
        text = re.sub(r"^\[.*?\]\s*", "", error.strerror)
        return re.sub(r"^Connect call failed.*", "no connection", text).lower()
    return "no valid content"


def translated(error: Exception, url: URL, host: str) -> RegistryError:
    """Return the error for an exception of aiohttp or the system on the way to ``url``.

    ``host`` is the registry. If the URL leads elsewhere (a token server, a redirect), the message
    says so.
    """
    here = {f"{url.host_subcomponent}:{url.port}", url.host_port_subcomponent or ""}
    if host not in here and not (host in HUB and here & HUB):
        return _elsewhere(translated(error, url, url.host_port_subcomponent or ""), host)
    where = host
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _bad_certificate(error.certificate_error, where)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _bad_certificate(error, where)
    for tls in (getattr(error, "os_error", None), error.__cause__, error):
        if isinstance(tls, ssl.SSLError):
            return _tls_failure(tls, where)
    plain = url.scheme == "http"
    if isinstance(error, aiohttp.ClientResponseError):
        hint = "Is it a registry's port?" + (_PERHAPS_TLS if plain else "")
        return NotARegistry(f"{where} does not answer in HTTP", hint=hint)
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
        return Unreachable(f"{where} gives no answer in time", hint="Try again, or give --timeout.")
    reason = _no_connection(error)
    if reason is not None:
        message = f"cannot reach {where}: {reason[0]}"
        return Unreachable(message, hint=reason[1])
    hint = "Try again, and check the registry's log." + (_PERHAPS_TLS if plain else _PERHAPS_CERT)
    return Unreachable(f"{where} broke off the connection", hint=hint)


def _elsewhere(error: RegistryError, host: str) -> RegistryError:
    """Name the host that the request went to, and why it went there."""
    message = f"{error.message}; {host} leads there, by a redirect or as its token server"
    return type(error)(message, hint=f"Is that address right, seen from here? {error.hint or ''}")


_PERHAPS_TLS = " If it speaks TLS, give --tls."
# With TLS 1.3 a server says so only after the handshake, and asyncio does not hand that on.
_PERHAPS_CERT = " If it asks for a client certificate, give it with --cert and --key."


def _no_connection(error: Exception) -> tuple[str, str] | None:
    """Return why there was no connection and what to do; None if a connection broke."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name cannot be resolved", "Check the spelling of the host."
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection in time", "Check host, port and firewall."
    if isinstance(error, aiohttp.ClientConnectorError):
        return plain_reason(error.os_error), "Is the registry running, and the port right?"
    return None


def _bad_certificate(error: Exception, where: str) -> Unreachable:
    message = f"the TLS certificate of {where} cannot be verified: {plain_reason(error)}"
    hint = "Give its authority with --ca-file FILE, or skip the check with --insecure."
    return Unreachable(message, hint=hint)


def _tls_failure(error: ssl.SSLError, where: str) -> Unreachable:
    reason = error.reason or ""
    if "ALERT" in reason and ("CERTIFICATE" in reason or "HANDSHAKE" in reason):
        message = f"{where} does not accept this client: {plain_reason(error)}"
        hint = "If it asks for a client certificate, give it with --cert and --key."
        return Unreachable(message, hint=hint)
    if reason in _NOT_TLS:
        message = f"{where} does not speak TLS"
        return Unreachable(message, hint="If it is meant to be without TLS, give --plain-http.")
    message = f"TLS with {where} failed: {plain_reason(error)}"
    return Unreachable(message)
