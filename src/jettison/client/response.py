"""An answer of a registry."""

import time
from collections.abc import AsyncIterator
from typing import Final

import aiohttp

from jettison.client.bounds import CHUNK, STREAM_SLOWEST
from jettison.client.failures import translated

__all__ = ["Response"]

_DIGITS: Final = 18
"""The most digits of a length in bytes."""


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
        pieces = self._raw.content.iter_chunked(CHUNK)
        try:
            while True:
                # The time counts that the registry takes, not what is done with the bytes.
                asked = time.monotonic()
                chunk = await anext(pieces, None)
                waited += time.monotonic() - asked
                if chunk is None:
                    return
                size += len(chunk)
                if size < (waited - self._patience) * STREAM_SLOWEST:
                    raise aiohttp.ServerTimeoutError
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise translated(error, self.url, self._host) from None

    def close(self) -> None:
        """Drop the connection, unless the whole body was read."""
        self._raw.close()
