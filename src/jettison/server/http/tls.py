"""TLS: from the settings to a context of ``ssl``, and new certificates without a restart."""

import asyncio
import logging
import ssl
from typing import Final

from jettison.configuration.settings import Tls
from jettison.errors import ConfigurationError

__all__ = ["keep_certificate_fresh", "make_context"]

_LOOK_SECONDS: Final = 30.0
_VERSIONS: Final = {"tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}
_CLIENT_AUTH: Final = {
    "request-client-cert": ssl.CERT_NONE,
    "verify-client-cert-if-given": ssl.CERT_OPTIONAL,
    "require-and-verify-client-cert": ssl.CERT_REQUIRED,
}
_log: Final = logging.getLogger(__name__)


def make_context(tls: Tls) -> ssl.SSLContext:
    """Return the context for connections.

    Raises :class:`~jettison.errors.ConfigurationError`, naming the file that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.minimum_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if tls.openssl_ciphers is not None:
        context.set_ciphers(tls.openssl_ciphers)
    _load(context, tls)
    for authority in tls.client_cas:
        try:
            context.load_verify_locations(authority)
        except OSError as error:
            raise _unusable("clientcas", authority, error) from None
    if tls.client_auth is not None:
        context.verify_mode = _CLIENT_AUTH[tls.client_auth]
    return context


def _load(context: ssl.SSLContext, tls: Tls) -> None:
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_no_password)
    except (OSError, ValueError) as error:
        files = f"{tls.certificate} and {tls.key}"
        raise _unusable("certificate and key", files, error) from None


def _no_password() -> str:
    """Refuse a key with a password; OpenSSL would ask for it on the terminal."""
    raise ValueError("the key is encrypted")


def _unusable(key: str, path: object, error: Exception) -> ConfigurationError:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    message = f"http.tls: {key}: {path} cannot be used: {reason}"
    return ConfigurationError(message, hint="They are PEM files; the key has no password.")


async def keep_certificate_fresh(context: ssl.SSLContext, tls: Tls) -> None:
    """Load certificate and key again when their files change, unless they cannot be used."""
    before = _times(tls)
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        now = _times(tls)
        if now is None or now == before:
            continue
        before = now
        try:
            make_context(tls)  # a mistake must not reach the context that is in use
            _load(context, tls)
        except ConfigurationError as error:
            _log.error("%s; the old certificate stays in use", error)
        else:
            _log.info("the certificate was loaded again from %s", tls.certificate)


def _times(tls: Tls) -> tuple[int, int] | None:
    try:
        return tls.certificate.stat().st_mtime_ns, tls.key.stat().st_mtime_ns
    except OSError:
        return None
