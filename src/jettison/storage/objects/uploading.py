"""Uploads in a bucket, with which any server can go on.

What one request brings becomes an object ``_uploads/<uuid>/jettison/<offset>-<random>``, beside
Distribution's ``startedat``; how far an upload has come follows from their sizes. Such an object is
never written again, so what was hashed when it was written is what becomes the blob: a server that
has written and hashed all of that needs no listing at the end, whatever others have done. Two
servers that were told to write to one place have left two objects there: then none goes on.
"""

import contextlib
import re
import secrets
import threading
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from jettison.errors import Locked, NotFoundError, StorageError
from jettison.model.digest import Digest
from jettison.model.names import RepoName

if TYPE_CHECKING:
    from jettison.storage.objects.bucket import Writer
    from jettison.storage.objects.writing import ObjectWriting

__all__ = ["ObjectUpload", "ObjectUploading"]

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CHUNK: Final = re.compile(r"([0-9]{16})-[0-9a-f]{16}")
_STARTED: Final = "startedat"
_OURS: Final = "jettison"
_PART: Final = 8 * 1024 * 1024
_LARGE_PART: Final = 32 * 1024 * 1024
_MOST_LARGE: Final = 4
"""So many uploads at a time gather more, which takes fewer requests."""
_MOST_KNOWN: Final = 10_000


class _Chunk(NamedTuple):
    key: str
    offset: int
    size: int


class ObjectUploading:
    """Begins uploads and goes on with them (:class:`~jettison.storage.protocol.Uploading`)."""

    def __init__(self, storage: "ObjectWriting") -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._open: dict[str, ObjectUpload | None] = {}
        self._written: dict[str, list[_Chunk]] = {}
        self._large = threading.BoundedSemaphore(_MOST_LARGE)

    def start(self, repository: RepoName) -> str:
        """Make an empty upload and return its id, a UUID."""
        upload = str(uuid.uuid4())
        # Like Distribution: in UTC, to the second.
        started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        place = self._storage.places.upload(repository, upload)
        self._storage.bucket.put(f"{place}/{_STARTED}", started.encode())
        self._storage.changed()
        self.note(upload, [])
        return upload

    def note(self, upload: str, chunks: list[_Chunk]) -> None:
        """Note what an upload consists of, as this process has written it."""
        with self._lock:
            self._written[upload] = chunks
            while len(self._written) > _MOST_KNOWN:
                del self._written[next(iter(self._written))]

    def forget(self, upload: str) -> None:
        """Forget an upload that is over."""
        with self._lock:
            self._written.pop(upload, None)

    def size(self, repository: RepoName, upload: str) -> int | None:
        """Return how many bytes an upload has so far; None: no such."""
        with self._lock:
            opened = self._open.get(upload)
        if opened is not None and opened.repository == repository:
            return opened.size
        found = self._list(repository, upload)
        return None if found is None else _size(found)

    def _list(self, repository: RepoName, upload: str) -> list[_Chunk] | None:
        if _ID.fullmatch(upload) is None:
            return None
        place = self._storage.places.upload(repository, upload)
        entries = [entry for page in self._storage.bucket.pages(place) for entry in page]
        if not entries:
            return None
        chunks = []
        for entry in entries:
            above, _, name = entry.key.rpartition("/")
            found = _CHUNK.fullmatch(name)
            if found is not None and above == f"{place}/{_OURS}":
                chunks.append(_Chunk(entry.key, int(found[1]), entry.size))
        chunks.sort(key=lambda one: one.offset)
        return chunks

    def open(self, repository: RepoName, upload: str, written: int | None = None) -> "ObjectUpload":
        """Open an upload, for the caller alone in this process.

        Raises :class:`~jettison.errors.Locked` also where two servers have written to one place.
        With ``written`` bytes of this process nothing is listed: their objects never change.
        """
        with self._lock:
            if upload in self._open:
                message = f"another request is writing to the upload {upload}"
                raise Locked(message, hint="Ask for its status, and go on there.")
            self._open[upload] = None
        with contextlib.ExitStack() as stack:
            stack.callback(self.close, upload)
            chunks = self._own(repository, upload, written) or self._whole(repository, upload)
            stack.pop_all()
        with self._lock:
            elsewhere = self._written.get(upload) != chunks
        opened = ObjectUpload(self._storage, self, repository, upload, chunks, elsewhere=elsewhere)
        with self._lock:
            self._open[upload] = opened
        return opened

    def _own(self, repository: RepoName, upload: str, written: int | None) -> list[_Chunk] | None:
        """Return what this process has written, if that is so many bytes of this repository."""
        with self._lock:
            chunks = list(self._written.get(upload, ()))
        place = f"{self._storage.places.upload(repository, upload)}/"
        ours = _size(chunks) == written and all(one.key.startswith(place) for one in chunks)
        return chunks if ours else None

    def listed(self, repository: RepoName, upload: str) -> list[_Chunk]:
        """Return what an upload consists of, in order; raises if it is not there."""
        chunks = self._list(repository, upload)
        if chunks is None:
            raise NotFoundError(f"{repository} has no upload of this id")
        return chunks

    def _whole(self, repository: RepoName, upload: str) -> list[_Chunk]:
        chunks = self.listed(repository, upload)
        if [one.offset for one in chunks] != _offsets(chunks):
            message = f"two servers have written to the upload {upload} at once"
            raise Locked(message, hint="Begin another upload.")
        return chunks

    def close(self, upload: str) -> None:
        """Let others open an upload."""
        with self._lock:
            self._open.pop(upload, None)

    def part(self) -> int:
        """Return how many bytes the caller may gather; to be given back."""
        return _LARGE_PART if self._large.acquire(blocking=False) else _PART

    def give_back(self, part: int) -> None:
        """Give that back."""
        if part == _LARGE_PART:
            self._large.release()


def _size(chunks: Sequence[_Chunk]) -> int:
    return sum(one.size for one in chunks)


def _offsets(chunks: Sequence[_Chunk]) -> list[int]:
    found, offset = [], 0
    for one in chunks:
        found.append(offset)
        offset += one.size
    return found


class ObjectUpload:
    """One upload, for its holder alone (:class:`~jettison.storage.protocol.OpenUpload`).

    What is appended is seen by others when it is flushed, and at the end of the block.
    """

    def __init__(
        self,
        storage: "ObjectWriting",
        uploading: ObjectUploading,
        repository: RepoName,
        name: str,
        chunks: list[_Chunk],
        *,
        elsewhere: bool,
    ) -> None:
        self._storage = storage
        self._bucket = storage.bucket
        self._uploading = uploading
        self.repository = repository
        self._name = name
        self._chunks = chunks
        self._place = storage.places.upload(repository, name)
        self._writer: Writer | None = None
        self._key = ""
        self._part = 0
        self._is_over = False
        self.elsewhere = elsewhere
        self.size = _size(chunks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[:1] == (None,) and not self._is_over:
                self.flush()
        finally:
            self._end_writer()
            self._uploading.close(self._name)

    def append(self, pieces: Sequence[bytes]) -> None:
        """Write pieces at the end."""
        if not any(pieces):
            return  # an object without bytes would have no place in the order
        if self._writer is None:
            self._part = self._uploading.part()
            name = f"{self.size:016d}-{secrets.token_hex(8)}"
            self._key = f"{self._place}/{_OURS}/{name}"
            self._writer = self._bucket.writer(self._key, self._part)
            self._chunks.append(_Chunk(self._key, self.size, 0))
        for piece in pieces:
            self._writer.write(piece)
        added = sum(map(len, pieces))
        last = self._chunks[-1]
        self._chunks[-1] = last._replace(size=last.size + added)
        self.size += added

    def flush(self) -> None:
        """Let what was appended be an object that any server sees."""
        if self._writer is not None:
            self._writer.close()
            self._end_writer()
            self._uploading.note(self._name, list(self._chunks))
            self._storage.changed()

    def _end_writer(self) -> None:
        if self._writer is not None:
            self._writer = None
            self._uploading.give_back(self._part)

    def sync(self) -> None:
        """Do nothing: what the store has answered for is durable."""

    def truncate(self, size: int) -> None:
        """Take back what came after the first ``size`` bytes."""
        self.flush()
        going = [one for one in self._chunks if one.offset + one.size > size]
        self._chunks = [one for one in self._chunks if one.offset + one.size <= size]
        kept = _size(self._chunks)
        self.size = kept
        if kept < size:
            self.append([self._read_chunk(going[0], 0, size - kept)])
            self.flush()
        self._bucket.remove([one.key for one in going])
        self._uploading.note(self._name, list(self._chunks))

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``; less at the end."""
        self.flush()
        found = b""
        for one in self._chunks:
            start = offset + len(found) - one.offset
            if len(found) < length and 0 <= start < one.size:
                found += self._read_chunk(one, start, length - len(found))
        return found

    def _read_chunk(self, chunk: _Chunk, start: int, length: int) -> bytes:
        return self._bucket.part(chunk.key, start, min(length, chunk.size - start))

    def commit(self, digest: Digest) -> None:
        """Make it a blob of the repository; that it has the digest is known. It is then gone."""
        self.flush()
        drafts = [(one.key, one.size) for one in self._chunks if one.size]
        if not drafts:
            self._uploading.listed(self.repository, self._name)
        try:
            self._storage.place_blob(self.repository, digest, drafts)
        except StorageError:
            self._uploading.listed(self.repository, self._name)  # it may have been removed
            raise
        with contextlib.suppress(StorageError):  # it is purged some day
            self.discard()

    def discard(self) -> None:
        """Remove it, with all that has arrived."""
        self._is_over = True
        self._end_writer()
        self._uploading.forget(self._name)
        self._bucket.remove([f"{self._place}/{_STARTED}", *(one.key for one in self._chunks)])
        self._storage.changed()
