"""The versions of a bucket: what hides an object, and taking that away.

In a bucket that keeps versions a DELETE removes nothing. It puts a *delete marker* above the
object's versions, itself a version, and the object is back once that one version is removed. What
was pushed meanwhile lies above the marker, and is not touched by that.
"""

import html
import re
from typing import Final

from jettison.errors import StorageError
from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.deleting import SignedDeletes, uptime
from jettison.storage.objects.direct import OK, ask

__all__ = ["Versions"]

_NOT_FOUND: Final = 404
_NONE: Final = "null"
"""The version of what was written while the bucket kept none; a DELETE removes it for good."""
_TRIED: Final = f"{layout.OURS}/tried"
_MARKER: Final = "DeleteMarker"
_VERSION: Final = re.compile(r"<(DeleteMarker|Version)>(.*?)</\1>", re.DOTALL)
_FIELDS: Final = re.compile(r"<(Key|VersionId|IsLatest)>([^<>]{1,1100})</\1>")


class Versions:
    """Looks at versions of objects, and removes some."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def can_undo(self, deletes: SignedDeletes) -> bool:
        """Whether a DELETE can be undone here: tried with an object of ours, which is removed.

        False without versions, without the right to remove one, and without a way to sign.
        """
        key = _TRIED
        if self._bucket.signed("GET", key, {}) is None:
            return False
        self._bucket.put(key, b"")
        version = self._bucket.version(key)
        if version in {None, _NONE}:
            self._bucket.remove([key])
            return False
        [deleted] = deletes.delete([key], uptime() + 2 * deletes.seconds)
        try:
            if deleted.outcome is not True or deleted.marker in {None, _NONE}:
                return False
            if self._bucket.look(key) is not None or self.marker(key) != deleted.marker:
                return False
            self.remove(key, deleted.marker or "")
            if self._bucket.version(key) != version:
                return False
            self.remove(key, version or "")
            if self._bucket.look(key) is not None:  # of one who was killed at this
                self._bucket.remove([key])
        except StorageError:
            return False
        return True

    def marker(self, key: str) -> str | None:
        """Return the delete marker that hides an object; None if none does."""
        found = [version for kind, version, last in self._list(key) if last and kind == _MARKER]
        return found[0] if found else None

    def unmark(self, key: str, marker: str | None = None) -> bool:
        """Remove the delete markers that hide an object; False if nothing lies below them.

        ``marker`` is the one to begin with. There are more where others have deleted it too.
        """
        marker = marker or self.marker(key)
        while marker is not None:
            refused: StorageError | None = None
            try:
                self.remove(key, marker)
            except StorageError as error:
                refused = error  # unless somebody has removed it before
            if self._bucket.look(key) is not None:
                return True
            before, marker = marker, self.marker(key)
            if marker == before:
                message = f"{self._bucket.location}/{key} is hidden by a delete marker that stays"
                reason = "" if refused is None else f": {refused.message}"
                hint = "Remove the marker by hand: it is the newest version of that object."
                raise StorageError(f"{message}{reason}", hint=hint)
        return False

    def below(self, key: str) -> str | None:
        """Return the newest version of a hidden object that has content; None if there is none."""
        found = [version for kind, version, _ in self._list(key) if kind != _MARKER]
        return found[0] if found else None

    def _list(self, key: str) -> list[tuple[str, str, bool]]:
        """Return what versions an object has, the newest first: kind, version, if it is the last.

        Of the first thousand: our keys have few.
        """
        prefix = self._bucket.settings.root
        name = f"{prefix}/{key}" if prefix else key
        # No other key of a registry begins with a whole key.
        answer = ask(self._bucket, "GET", None, {"versions": "", "prefix": name})
        if answer.status not in OK:
            raise self._refused("list the versions of", key, answer.status)
        found = []
        for kind, inner in _VERSION.findall(answer.body.decode("utf-8", "replace")):
            fields = dict(_FIELDS.findall(inner))
            if html.unescape(fields.get("Key", "")) == name and "VersionId" in fields:
                found.append((kind, fields["VersionId"], fields.get("IsLatest") == "true"))
        return found

    def remove(self, key: str, version: str) -> None:
        """Remove one version of an object for good, a marker or content."""
        answer = ask(self._bucket, "DELETE", key, {"versionId": version})
        if answer.status not in OK and answer.status != _NOT_FOUND:
            raise self._refused("remove a version of", key, answer.status)

    def read(self, key: str, version: str, limit: int) -> bytes | None:
        """Return the content of a version, None if it is absent or has more than ``limit``."""
        answer = ask(self._bucket, "GET", key, {"versionId": version}, limit)
        return answer.body if answer.status in OK and len(answer.body) <= limit else None

    def _refused(self, action: str, key: str, status: int) -> StorageError:
        hint = "It needs the rights s3:ListBucketVersions and s3:DeleteObjectVersion."
        message = f"cannot {action} {self._bucket.location}/{key}: the store answers {status}"
        return StorageError(message, hint=hint)
