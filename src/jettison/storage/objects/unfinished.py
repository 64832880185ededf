"""Uploads in parts that were begun and never ended: billed, and shown by no listing of objects.

Distribution keeps an upload so, at the key ``_uploads/<uuid>/data``, and its own purging removes
nothing but the objects beside it.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html, API_ListParts.html
and API_AbortMultipartUpload.html
"""

import html
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from jettison.errors import InvalidName, StorageError
from jettison.model.names import RepoName
from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.direct import OK, ask
from jettison.storage.objects.failures import StoreDenied, StoreFailing
from jettison.storage.objects.listing import PARTS
from jettison.storage.protocol import Stamp, stamp_at
from jettison.storage.protocol.probing import UnfinishedUploads

__all__ = [
    "Arrived",
    "Begun",
    "UploadsInParts",
    "begun_below",
    "end_upload",
    "look_at",
    "unfinished_uploads",
]

_DENIED: Final = 403
_NOT_FOUND: Final = 404
_MOST_PAGES: Final = 100
_MOST_SIZED: Final = 1000
_NEXT_UPLOADS: Final = {"NextKeyMarker": "key-marker", "NextUploadIdMarker": "upload-id-marker"}
_NEXT_PARTS: Final = {"NextPartNumberMarker": "part-number-marker"}
_UPLOAD: Final = re.compile(r"<Upload>(.*?)</Upload>", re.DOTALL)
_PART: Final = re.compile(r"<Part>(.*?)</Part>", re.DOTALL)
_FIELD: Final = re.compile(
    r"<(Key|UploadId|Initiated|LastModified|Size|"
    r"IsTruncated|NextKeyMarker|NextUploadIdMarker|NextPartNumberMarker)>([^<>]{0,4000})</\1>"
)
_REPOSITORIES: Final = f"{layout.REPOSITORIES}/"
_UPLOADS: Final = "_uploads"
_DEPTH: Final = 3
"""A key of an upload has the folder of uploads, the upload's, and what is in that."""


class Begun(NamedTuple):
    """An upload in parts that was begun: its key, and what the store calls it."""

    key: str
    id: str
    began: Stamp


class Arrived(NamedTuple):
    """What has arrived of an upload in parts: bytes, and when the last part did, or it began."""

    bytes: int
    moved: Stamp


def _list_begun(bucket: Bucket, below: str = "") -> tuple[list[Begun], bool]:
    """Return the uploads in parts to keys that begin with ``below``, and whether these are all.

    Raises :class:`~jettison.errors.StorageError` where the store does not tell.
    """
    root = f"{bucket.settings.root}/" if bucket.settings.root else ""
    found: list[Begun] = []
    begin: dict[str, str] = {}
    for _ in range(_MOST_PAGES):
        raw = _read(bucket, None, {"uploads": "", "prefix": root + below, **begin})
        for inner in _UPLOAD.findall(raw or ""):
            fields = _fields(inner)
            key, began = fields.get("Key", ""), _stamp(fields.get("Initiated", ""))
            if key.startswith(root + below):  # whatever the store was told
                found.append(Begun(key.removeprefix(root), fields.get("UploadId", ""), began))
        following = _next(_UPLOAD.sub("", raw or ""), _NEXT_UPLOADS)
        if following is None:
            return found, True
        begin = following
    return found, False


def begun_below(bucket: Bucket, place: str) -> list[Begun]:
    """Return the uploads in parts below a place; none where there is no way, or right, to see any.

    Raises :class:`~jettison.errors.StorageError` where the store fails.
    """
    if not bucket.tells_parts:
        return []
    try:
        return _list_begun(bucket, place)[0]
    except StoreFailing:
        raise
    except StorageError:
        return []


def look_at(bucket: Bucket, upload: Begun) -> Arrived | None:
    """Return what has arrived of an upload; None if it has ended meanwhile.

    Raises :class:`~jettison.errors.StorageError` where the store does not tell.
    """
    size, moved = 0, upload.began
    begin: dict[str, str] = {}
    for _ in range(_MOST_PAGES):
        raw = _read(bucket, upload.key, {"uploadId": upload.id, **begin})
        if raw is None:
            return None
        for inner in _PART.findall(raw):
            fields = _fields(inner)
            size += _number(fields.get("Size", ""))
            moved = max(moved, _stamp(fields.get("LastModified", "")))
        following = _next(_PART.sub("", raw), _NEXT_PARTS)
        if following is None:
            return Arrived(size, moved)
        begin = following
    raise _strange("more parts than there can be")


def end_upload(bucket: Bucket, upload: Begun) -> None:
    """End an upload in parts, which removes them.

    Raises :class:`~jettison.errors.StorageError` unless the store shows afterwards that it is gone.
    """
    answer = ask(bucket, "DELETE", upload.key, {"uploadId": upload.id})
    if answer.status not in OK and answer.status != _NOT_FOUND:
        raise _refused(bucket, f"end the upload to {bucket.location}/{upload.key}", answer.status)
    left, _ = _list_begun(bucket, upload.key)
    if any((one.key, one.id) == (upload.key, upload.id) for one in left):
        message = f"the upload to {bucket.location}/{upload.key} is still there after it was ended"
        raise StorageError(message, hint="A part may just have arrived. Collect again.")


class UploadsInParts:
    """The uploads in parts among those of repositories, looked at when they are asked for.

    ``why_unseen`` says why some may not be seen; None if all were so far.
    """

    def __init__(self, bucket: Bucket, begun: Iterable[Begun], why_unseen: str | None) -> None:
        self._bucket = bucket
        self._begun: dict[str, dict[str, list[Begun]]] = {}
        self._looked: dict[str, dict[str, list[tuple[Begun, Arrived]]]] = {}
        self.why_unseen = why_unseen
        for one in begun:
            named = _named(one.key)
            if named is not None:
                repository, upload = named
                self._begun.setdefault(repository, {}).setdefault(upload, []).append(one)

    @classmethod
    def below(cls, bucket: Bucket, repository: str | None = None) -> "UploadsInParts":
        """Return those of one repository, or of all: a request for each thousand."""
        if not bucket.tells_parts:
            return cls(bucket, (), None)
        place = _REPOSITORIES if repository is None else f"{_REPOSITORIES}{repository}/{_UPLOADS}/"
        try:
            found, whole = _list_begun(bucket, place)
        except StorageError as error:
            return cls(bucket, (), error.message)
        return cls(bucket, found, None if whole else f"there are more than {len(found):,}")

    @property
    def repositories(self) -> Iterable[str]:
        """The repositories that they are in."""
        return self._begun.keys()

    def of(self, repository: str) -> dict[str, list[tuple[Begun, Arrived]]]:
        """Return what has arrived in a repository, by upload: a request for each, once.

        Nothing of one that cannot be looked at; one that has ended is not there.
        """
        if repository not in self._looked:
            uploads = self._begun.get(repository, {})
            looks = self._bucket.pool.map(self._look_at, uploads.values())
            looked = zip(uploads, looks, strict=True)
            self._looked[repository] = {n: found for n, found in looked if found is not None}
        return self._looked[repository]

    def _look_at(self, begun: Iterable[Begun]) -> list[tuple[Begun, Arrived]] | None:
        """Return those of one upload, none if one cannot be looked at; None if all have ended."""
        try:
            looks = [(one, look_at(self._bucket, one)) for one in begun]
        except StorageError as error:
            self.why_unseen = error.message
            return []
        return [(one, arrived) for one, arrived in looks if arrived is not None] or None


def _named(key: str) -> tuple[RepoName, str] | None:
    """Return the repository and the upload that a key is of; None for any other key."""
    if not key.startswith(_REPOSITORIES):
        return None
    parts = key[len(_REPOSITORIES) :].split("/")
    place = next((n for n, part in enumerate(parts) if n and part in PARTS), 0)
    if parts[place] != _UPLOADS or len(parts) - place < _DEPTH or {"", ".", ".."} & set(parts):
        return None
    try:
        return RepoName("/".join(parts[:place])), parts[place + 1]
    except InvalidName:
        return None


def unfinished_uploads(bucket: Bucket) -> UnfinishedUploads | None:
    """Return what unfinished uploads there are below the root of a bucket; nothing is changed.

    None where the store does not tell, or such requests cannot be signed. The parts of the first
    thousand are counted, one request each or more.
    """
    try:
        found, whole = _list_begun(bucket)
        looks = list(bucket.pool.map(lambda one: look_at(bucket, one), found[:_MOST_SIZED]))
    except StorageError:
        return None
    since = min((one.began / 1e9 for one in found), default=None)
    size = sum(one.bytes for one in looks if one is not None)
    whole = whole and len(found) <= _MOST_SIZED
    return UnfinishedUploads(len(found), size, since, all_seen=whole)


def _read(bucket: Bucket, key: str | None, query: Mapping[str, str]) -> str | None:
    """Return what the store tells; None if there is no such upload."""
    answer = ask(bucket, "GET", key, query)
    if key is not None and answer.status == _NOT_FOUND:
        return None
    if answer.status not in OK:
        raise _refused(bucket, f"list uploads in parts of {bucket.location}", answer.status)
    return answer.body.decode("utf-8", "replace")


def _refused(bucket: Bucket, action: str, status: int) -> StorageError:
    if status != _DENIED:
        message = f"cannot {action}: the store answers {status}"
        return StorageError(message, hint="Look at the store's own log, and try again.")
    rights = "s3:ListBucketMultipartUploads, s3:ListMultipartUploadParts, s3:AbortMultipartUpload"
    hint = f"It needs the rights {rights} on {bucket.settings.name} and what is in it."
    return StoreDenied(f"cannot {action}: the credentials have no right to do that", hint=hint)


def _strange(what: str) -> StorageError:
    message = f"the store tells of an upload in parts with {what}"
    return StorageError(message, hint="Look at the store's own log.")


def _stamp(text: str) -> Stamp:
    try:
        return stamp_at(datetime.fromisoformat(text).timestamp())
    except ValueError:
        raise _strange("a time that is none") from None


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise _strange("a size that is none")
    return int(text)


def _fields(text: str) -> dict[str, str]:
    return {name: html.unescape(value) for name, value in _FIELD.findall(text)}


def _next(text: str, markers: Mapping[str, str]) -> dict[str, str] | None:
    """Return what the next page is asked for with; None after the last."""
    fields = _fields(text)
    if fields.get("IsTruncated") != "true":
        return None
    return {asked: fields[told] for told, asked in markers.items() if fields.get(told)}
