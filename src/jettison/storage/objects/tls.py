"""Which certificates of a store are accepted.

Those of the system's authorities, or of the ones in ``SSL_CERT_FILE`` in place of them, which
OpenSSL, Go and the client of the store read by themselves; and those of ``AWS_CA_BUNDLE`` besides,
which Amazon's own programs read.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from jettison.configuration.buckets import StoreBucket
from jettison.errors import ConfigurationError

__all__ = ["authorities", "tls_context"]

_VARIABLE: Final = "AWS_CA_BUNDLE"


def authorities(environment: Mapping[str, str]) -> bytes | None:
    """Return the certificates of the authorities that are accepted besides, as PEM.

    None if there are none. Raises :class:`~jettison.errors.ConfigurationError` for a file that
    cannot be read, or has no certificate.
    """
    path = environment.get(_VARIABLE)
    if not path:
        return None
    hint = f"Name a file of PEM certificates in {_VARIABLE}, or unset it."
    try:
        found = Path(path).read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=found.decode("ascii"))
    except OSError as error:
        message = f"cannot read {path}, which {_VARIABLE} names: {error.strerror or error}"
        raise ConfigurationError(message, hint=hint) from None
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(f"{path} has no certificate", hint=hint) from None
    return found


def tls_context(settings: StoreBucket, besides: bytes | None) -> ssl.SSLContext:
    """Return how a request of our own looks at the store's certificate."""
    context = ssl.create_default_context()
    if besides is not None:
        context.load_verify_locations(cadata=besides.decode("ascii"))
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
