"""The headers of answers with contents; those of a content that is asked for often are kept."""

from functools import lru_cache
from typing import Final, NamedTuple

from jettison.model.digest import Digest
from jettison.server.http.answers import Header, encode_headers

__all__ = ["Prepared", "blob_headers", "manifest_headers", "prepared_blob", "prepared_manifest"]

_KEPT: Final = 4096
_UNKNOWN_TYPE: Final = b"application/octet-stream"


class Prepared(NamedTuple):
    """Headers, and the same as they go over the wire."""

    headers: list[Header]
    encoded: bytes


def blob_headers(digest: Digest, size: int) -> list[Header]:
    """Return the headers of a blob's answer, but for its range."""
    encoded = digest.encode()
    return [
        (b"content-length", b"%d" % size),
        (b"content-type", _UNKNOWN_TYPE),
        (b"docker-content-digest", encoded),
        (b"etag", b'"%b"' % encoded),
        (b"accept-ranges", b"bytes"),
        (b"cache-control", b"max-age=31536000"),
    ]


def manifest_headers(digest: Digest, size: int, media_type: str) -> list[Header]:
    """Return the headers of a manifest's answer, but for its range."""
    kind = media_type.encode("latin-1", "replace") or _UNKNOWN_TYPE
    return [
        (name, kind if name == b"content-type" else value)
        for name, value in blob_headers(digest, size)
        if name != b"cache-control"  # a tag may lead elsewhere the next moment
    ]


@lru_cache(_KEPT)
def prepared_blob(digest: Digest, size: int) -> Prepared:
    """Return the headers of a small blob's answer."""
    headers = blob_headers(digest, size)
    return Prepared(headers, encode_headers(headers))


@lru_cache(_KEPT)
def prepared_manifest(digest: Digest, size: int, media_type: str) -> Prepared:
    """Return the headers of a small manifest's answer."""
    headers = manifest_headers(digest, size, media_type)
    return Prepared(headers, encode_headers(headers))
