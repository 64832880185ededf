"""Requests to a store that obstore does not make, with URLs that are signed for them."""

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from jettison.errors import StorageError
from jettison.storage.objects.failures import StoreFailing

if TYPE_CHECKING:
    from jettison.storage.objects.bucket import Bucket

__all__ = ["LARGEST", "OK", "Answer", "ask", "request"]

OK: Final = range(200, 300)

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


def ask(
    bucket: "Bucket", method: str, key: str | None, query: Mapping[str, str], limit: int = LARGEST
) -> Answer:
    """Make a request with a query, about an object or the bucket (None), as :func:`request`.

    Raises :class:`~jettison.errors.StorageError` where such a request cannot be signed.
    """
    url = bucket.signed(method, key, query)
    if url is None:
        message = f"requests about versions and parts of {bucket.location} cannot be signed"
        hint = "Put accesskey and secretkey into the configuration, or the environment."
        raise StorageError(message, hint=hint)
    return request(bucket.tls, method, url, limit=limit)


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
