"""Answers, and the errors of the distribution specification ("Error Codes")."""

import enum
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final

import msgspec

from jettison.model import preconditions
from jettison.model.printable import printable

__all__ = [
    "API_VERSION",
    "ENCODED",
    "JSON",
    "LENGTH",
    "Answer",
    "ApiError",
    "Code",
    "ErrorEntry",
    "Header",
    "Piece",
    "encode_headers",
    "encode_json",
    "json_answer",
    "problems_answer",
    "shown",
    "text_answer",
]

ENCODED: Final = "jettison.encoded"
LENGTH: Final = "jettison.length"
"""The headers of an answer as they go over the wire, and the length of its body: to whom it helps,
beside the usual list."""

Header = tuple[bytes, bytes]
Piece = bytes | bytearray

API_VERSION: Final = (b"docker-distribution-api-version", b"registry/2.0")
JSON: Final = (b"content-type", b"application/json")
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
_SHOWN: Final = 200
"""The most characters of a client's text that an error shows."""


class Code(enum.StrEnum):
    """The codes of errors: the specification's, Distribution's own, Harbor's for immutable tags."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    BLOB_UPLOAD_INVALID = "BLOB_UPLOAD_INVALID"
    BLOB_UPLOAD_UNKNOWN = "BLOB_UPLOAD_UNKNOWN"
    DENIED = "DENIED"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"
    MANIFEST_INVALID = "MANIFEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    PAGINATION_NUMBER_INVALID = "PAGINATION_NUMBER_INVALID"
    PRECONDITION = "PRECONDITION"
    RANGE_INVALID = "RANGE_INVALID"
    SIZE_INVALID = "SIZE_INVALID"
    TAGS_CHANGED = preconditions.TAGS_CHANGED
    TAG_INVALID = "TAG_INVALID"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    UNAUTHORIZED = "UNAUTHORIZED"
    UNAVAILABLE = "UNAVAILABLE"
    UNKNOWN = "UNKNOWN"
    UNSUPPORTED = "UNSUPPORTED"


class Answer:
    """A status, headers, and a body: bytes, or a stream of exactly ``length`` bytes.

    ``encoded`` are the headers as :func:`encode_headers` encodes them, if that is known already.
    """

    __slots__ = ("body", "encoded", "headers", "length", "status", "stream")

    def __init__(
        self,
        status: int,
        headers: list[Header],
        body: bytes = b"",
        stream: AsyncGenerator[Piece] | None = None,
        length: int | None = None,
        encoded: bytes = b"",
    ) -> None:
        self.encoded = encoded
        self.status = status
        self.headers = headers
        self.body = body
        self.stream = stream
        self.length = len(body) if length is None else length


class ErrorEntry(msgspec.Struct, omit_defaults=True):
    """One entry of an error's body."""

    code: str
    message: str
    detail: Any = None


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(
        self,
        status: int,
        code: Code,
        message: str,
        detail: object = None,
        headers: list[Header] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.headers = headers or []

    def answer(self) -> Answer:
        """Return the answer."""
        problem = ErrorEntry(self.code, self.message, self.detail)
        return problems_answer(self.status, [problem], self.headers)


def encode_headers(headers: Iterable[Header]) -> bytes:
    """Return headers as sent over the wire."""
    found: list[bytes] = []
    for name, value in headers:
        if b"\n" in value or b"\r" in value:
            raise ValueError(f"the header {name!r} has more than one line")
        found += (name, b": ", value, b"\r\n")
    return b"".join(found)


def encode_json(content: object) -> bytes:
    """Return JSON; names and digests are strings in it."""
    return msgspec.json.encode(content, enc_hook=str)


def problems_answer(status: int, problems: list[ErrorEntry], headers: list[Header]) -> Answer:
    """Return an error with these entries."""
    return json_answer({"errors": problems}, status, headers)


def json_answer(content: object, status: int = 200, headers: list[Header] | None = None) -> Answer:
    """Return a JSON document."""
    body = encode_json(content)
    return Answer(status, [JSON, *(headers or [])], body)


def text_answer(status: int, text: str, headers: list[Header] | None = None) -> Answer:
    """Return plain text, as Distribution answers requests outside of its API."""
    return Answer(status, [_TEXT, _NO_SNIFFING, *(headers or [])], f"{text}\n".encode())


def shown(text: str) -> str:
    """Return a client's text for an error: printable, and shortened."""
    clean = printable(text)
    return clean if len(clean) <= _SHOWN else f"{clean[:_SHOWN]}…"
