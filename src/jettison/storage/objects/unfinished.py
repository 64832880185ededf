"""Uploads in parts that were begun and never ended: billed, and shown by no listing of objects.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html and API_ListParts.html
"""

import html
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from jettison.errors import StorageError
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.direct import request
from jettison.storage.protocol.probing import UnfinishedUploads

__all__ = ["unfinished_uploads"]

_OK: Final = range(200, 300)
_MOST_PAGES: Final = 100
_MOST_SIZED: Final = 1000
_NEXT_UPLOADS: Final = {"NextKeyMarker": "key-marker", "NextUploadIdMarker": "upload-id-marker"}
_NEXT_PARTS: Final = {"NextPartNumberMarker": "part-number-marker"}
_UPLOAD: Final = re.compile(r"<Upload>(.*?)</Upload>", re.DOTALL)
_PART: Final = re.compile(r"<Part>.*?<Size>(\d{1,15})</Size>.*?</Part>", re.DOTALL)
_FIELD: Final = re.compile(
    r"<(Key|UploadId|Initiated|IsTruncated|NextKeyMarker|NextUploadIdMarker|NextPartNumberMarker)>"
    r"([^<>]{0,4000})</\1>"
)


def unfinished_uploads(bucket: Bucket) -> UnfinishedUploads | None:
    """Return what unfinished uploads there are below the root of a bucket; nothing is changed.

    None where the store does not tell, or nothing can be signed for that (``Bucket.signed``). The
    parts of the first thousand are counted, one request each or more.
    """
    try:
        return _count(bucket)
    except (StorageError, ValueError):  # a time that is none
        return None


def _count(bucket: Bucket) -> UnfinishedUploads | None:
    found: list[tuple[str, str]] = []
    since: list[float] = []
    prefix = f"{bucket.settings.root}/" if bucket.settings.root else ""
    begin: dict[str, str] | None = {}
    for _ in range(_MOST_PAGES):
        if begin is None:
            break
        raw = _ask(bucket, None, {"uploads": "", "prefix": prefix, **begin})
        if raw is None:
            return None
        for inner in _UPLOAD.findall(raw):
            fields = _fields(inner)
            found.append((fields.get("Key", "").removeprefix(prefix), fields.get("UploadId", "")))
            since.append(datetime.fromisoformat(fields.get("Initiated", "")).timestamp())
        begin = _next(_UPLOAD.sub("", raw), _NEXT_UPLOADS)
    sizes = bucket.pool.map(lambda one: _size(bucket, *one), found[:_MOST_SIZED])
    whole = begin is None and len(found) <= _MOST_SIZED
    return UnfinishedUploads(len(found), sum(sizes), min(since, default=None), all_seen=whole)


def _size(bucket: Bucket, key: str, upload: str) -> int:
    """Return how many bytes the parts of an upload take; 0 if it has ended meanwhile."""
    size, begin = 0, dict[str, str]()
    for _ in range(_MOST_PAGES):
        raw = _ask(bucket, key, {"uploadId": upload, **begin})
        if raw is None:
            break
        size += sum(map(int, _PART.findall(raw)))
        following = _next(_PART.sub("", raw), _NEXT_PARTS)
        if following is None:
            break
        begin = following
    return size


def _ask(bucket: Bucket, key: str | None, query: Mapping[str, str]) -> str | None:
    url = bucket.signed("GET", key, query)
    if url is None:
        return None
    answer = request(bucket.tls, "GET", url)
    return answer.body.decode("utf-8", "replace") if answer.status in _OK else None


def _fields(text: str) -> dict[str, str]:
    return {name: html.unescape(value) for name, value in _FIELD.findall(text)}


def _next(text: str, markers: Mapping[str, str]) -> dict[str, str] | None:
    """Return what the next page is asked for with; None after the last."""
    fields = _fields(text)
    if fields.get("IsTruncated") != "true":
        return None
    return {asked: fields[told] for told, asked in markers.items() if fields.get(told)}
