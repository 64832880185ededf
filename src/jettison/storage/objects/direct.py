"""Requests to a store that obstore does not make, with URLs that are signed for them."""

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from jettison.storage.objects.failures import StoreFailing

__all__ = ["LARGEST", "Answer", "request"]

_TIMEOUT: Final = 30.0
_PAUSES: Final = (0.1, 0.5, 2.0)
LARGEST: Final = 4 * 1024 * 1024
"""Bytes that are read of an answer where nothing else is said."""
_FAILING: Final = 500
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Answer(NamedTuple):
    """A status, headers by their names in lower case, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def request(
    tls: Callable[[], ssl.SSLContext],
    method: str,
    url: str,
    headers: Mapping[str, str] = _NO_HEADERS,
    limit: int = LARGEST,
) -> Answer:
    """Make a request without a body, and again where the store does not answer or fails.

    ``tls`` makes what looks at a certificate. Reads one byte more than ``limit`` of the answer at
    most. Raises :class:`~jettison.storage.objects.failures.StoreFailing` where no answer comes.
    """
    for pause in (*_PAUSES, None):
        try:
            answer = _once(tls, method, url, headers, limit)
            if answer.status < _FAILING or pause is None:
                return answer
        except (OSError, http.client.HTTPException) as error:
            if pause is None:
                message = f"{urlsplit(url).netloc} does not answer: {type(error).__name__}"
                raise StoreFailing(message, hint="See that the store runs.") from error
        time.sleep(pause)
    raise AssertionError  # the last pause is None


def _once(
    tls: Callable[[], ssl.SSLContext], method: str, url: str, headers: Mapping[str, str], limit: int
) -> Answer:
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.netloc, timeout=_TIMEOUT, context=tls())
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", headers=dict(headers))
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, told, answer.read(limit + 1))
    finally:
        connection.close()
