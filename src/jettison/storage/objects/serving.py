"""Answering requests from a bucket, with as few requests to it as each answer needs.

What a tag or a layer leads to is asked of the bucket each time, so what anybody does to it is seen
at once. Only the bytes of small contents are kept, by digest: they cannot change. A content is
removed after all that leads to it, so one that is led to is there.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.tag_names import sorted_tags
from jettison.storage.objects.manifests import LARGEST_MANIFEST
from jettison.storage.objects.names import is_repository, names_after
from jettison.storage.protocol import LinkKind, ManifestContent, Stamp, TagNames
from jettison.storage.served import SMALL, manifest_content

if TYPE_CHECKING:
    from jettison.storage.objects.bucket import Bucket
    from jettison.storage.objects.writing import ObjectWriting

__all__ = ["ObjectServing"]

_KEPT_BYTES: Final = 16 * 1024 * 1024
_KEPT_TYPES: Final = 4096
_STREAM: Final = 256 * 1024
_URL_SECONDS: Final = 20 * 60.0


class ObjectContent:
    """A blob that is open to be sent (:class:`~jettison.storage.protocol.OpenContent`).

    Pieces that follow one another are of one request.
    """

    def __init__(self, bucket: "Bucket", key: str, size: int) -> None:
        self._bucket = bucket
        self._key = key
        self.size = size
        self._stream: Iterator[bytes] = iter(())
        self._offset = -1
        self._left = b""

    def ready(self, offset: int, length: int) -> None:  # noqa: ARG002 - of none at all
        """Return None: all has to be waited for."""
        return

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes from ``offset`` on, none at the end."""
        if offset >= self.size or length <= 0:
            return b""
        if offset != self._offset:
            self._stream = self._bucket.stream(self._key, offset, _STREAM)
            self._offset, self._left = offset, b""
        parts, size = [self._left], len(self._left)
        while size < length and (more := next(self._stream, b"")):
            parts.append(more)
            size += len(more)
        found = b"".join(parts)
        self._left = found[length:]
        self._offset += min(length, len(found))
        return found[:length]

    def close(self) -> None:
        """Let go of it."""
        self._stream, self._offset, self._left = iter(()), -1, b""


class ObjectServing:
    """What is in a bucket, as requests ask for it (:class:`~jettison.storage.protocol.Serving`)."""

    def __init__(self, storage: "ObjectWriting") -> None:
        self._storage = storage
        self._bucket = storage.bucket
        self._places = storage.places
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._types: dict[Digest, str] = {}
        self._lock = threading.Lock()

    # Links.

    def tag(self, repository: RepoName, tag: Tag) -> Digest | None:
        """Return what a tag points to; None if there is no such tag."""
        return self._storage.read_link(self._places.tag(repository, tag))

    def resolve(self, repository: RepoName, tag: Tag) -> Digest | None:
        """Return what a tag points to: a manifest goes after its tags, so it is there."""
        return self.tag(repository, tag)

    def layer(self, repository: RepoName, digest: Digest) -> Digest | None:
        """Return the blob that a repository's link of a digest leads to; None if it has none."""
        return self._storage.read_link(self._places.link(LinkKind.LAYER, repository, digest))

    def has_revision(self, repository: RepoName, digest: Digest) -> bool:
        """Whether a manifest is part of a repository: its link is there, and as long as a digest.

        What a link of that length says is not read: nobody writes another than its key's name.
        """
        found = self._bucket.look(self._places.link(LinkKind.REVISION, repository, digest))
        return found is not None and found.size == len(digest)

    def has_manifests(self, repository: RepoName) -> bool:
        """Whether there is a manifest, or a tag, in a repository."""
        return "_manifests" in self._bucket.folders(layout.repository(repository))

    # Contents.

    def size(self, digest: Digest) -> int | None:
        """Return the size of a blob in bytes; None if there is none."""
        found = self._bucket.look(self._places.blob(digest))
        return None if found is None else found.size

    def small(self, digest: Digest) -> bytes | None:
        """Return a content of at most :data:`SMALL` bytes; None if it is absent or larger."""
        return self._read(digest, SMALL)

    def _read(self, digest: Digest, limit: int) -> bytes | None:
        with self._lock:
            kept = self._kept.get(digest)
            if kept is not None:
                self._kept.move_to_end(digest)
                return kept
        found = self._bucket.small(self._places.blob(digest), limit)
        if not isinstance(found, bytes):
            return None
        # What is damaged is not kept: it may be put right at any moment.
        if len(found) <= SMALL and digest.matches(found):
            self._keep(digest, found)
        return found

    def _keep(self, digest: Digest, content: bytes) -> None:
        with self._lock:
            if digest not in self._kept:
                self._kept[digest] = content
                self._kept_bytes += len(content)
            while self._kept_bytes > _KEPT_BYTES:
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= len(oldest)

    def manifest(self, digest: Digest) -> ManifestContent | None:
        """Return a small manifest, its type known; None if it is absent or larger.

        Raises :class:`~jettison.errors.StorageError` for bytes that have another digest.
        """
        found = self._read(digest, SMALL)
        return None if found is None else manifest_content(digest, found)

    def large_type(self, digest: Digest) -> str | None:
        """Return the type of a larger manifest that :meth:`examine` has read; None for others."""
        return self._types.get(digest)

    def examine(self, digest: Digest) -> str | None:
        """Read a larger manifest and return its type; None if it is absent. Takes a while."""
        found = self._read(digest, LARGEST_MANIFEST)
        if found is None:
            return None
        kind = manifest_content(digest, found).media_type
        if len(self._types) >= _KEPT_TYPES:
            self._types.clear()
        self._types[digest] = kind
        return kind

    def open(self, digest: Digest) -> ObjectContent | None:
        """Open a blob to be sent; None if there is none."""
        key = self._places.blob(digest)
        found = self._bucket.look(key)
        return None if found is None else ObjectContent(self._bucket, key, found.size)

    def url(self, digest: Digest) -> str | None:
        """Return a URL from which a client may fetch a blob itself for 20 minutes."""
        return self._bucket.url("GET", self._places.blob(digest), _URL_SECONDS)

    # Saying that somebody wants something.

    def touch_layer(self, repository: RepoName, digest: Digest, size: int | None = None) -> bool:
        """Write a layer's link anew, so that no sweep takes it; False if it is not there.

        So is a blob that has another ``size`` in bytes than it should have, if that is known. A
        push that writes what leads to it (:meth:`ObjectWriting.writing`) need not make it young.
        """
        link = self._places.link(LinkKind.LAYER, repository, digest)

        def touch() -> bool:
            target = self._storage.read_link(link)
            if target is None:
                return False
            data = self._places.blob(target)
            self._storage.reliance.on(data)
            found = self._bucket.look(data)
            if found is None or (size is not None and found.size != size):
                return False
            if not found.size and not target.matches(b""):
                return False
            if not self._storage.reliance.is_part:
                self._bucket.put(link, target.encode())
            return True

        return self._rely(link, touch)

    def touch_revision(self, repository: RepoName, digest: Digest) -> bool:
        """Write a revision's link anew, so that no sweep takes it; False if it is not there."""
        link = self._places.link(LinkKind.REVISION, repository, digest)
        data = self._places.blob(digest)

        def touch() -> bool:
            self._storage.reliance.on(data)
            if not self.has_revision(repository, digest) or self._bucket.look(data) is None:
                return False
            if not self._storage.reliance.is_part:
                self._bucket.put(link, digest.encode())
            return True

        return self._rely(link, touch)

    def _rely(self, link: str, touch: Callable[[], bool]) -> bool:
        reliance = self._storage.reliance

        def rely() -> bool:
            found = touch()
            if not found:
                reliance.on_nothing()  # "no" makes a client send it, which is right at any time
            return found

        return reliance.again((link,), rely)

    def is_aside(self, digest: Digest) -> bool:
        """Whether a sweep that goes on names a blob."""
        return self._storage.sweeps.open_naming((self._places.blob(digest),))

    # Lists.

    def tags(self, repository: RepoName) -> TagNames | None:
        """Return all tags, sorted; None if there is no such repository."""
        names = self._bucket.folders(f"{layout.repository(repository)}/{layout.TAGS}")
        if not names and not is_repository(self._bucket.folders(layout.repository(repository))):
            return None
        return TagNames(sorted_tags(names), None)

    def tags_stamp(self, repository: RepoName) -> Stamp | None:  # noqa: ARG002 - of none it can be told
        """Return None: a tag that went has left no trace."""
        return None

    def repositories_after(self, name: str) -> Iterator[str]:
        """Yield the repositories with manifests behind a name, in lexical order."""
        return names_after(self._bucket, name, "_manifests")
