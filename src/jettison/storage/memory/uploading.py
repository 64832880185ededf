"""Taking in blobs piece by piece, in memory."""

import uuid
from collections.abc import Sequence
from typing import Self

from jettison.errors import Locked, NotFoundError, StorageError
from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.storage.memory.state import UPLOADS, Memory, UploadState, locked
from jettison.storage.protocol import LinkKind

__all__ = ["MemoryUpload", "MemoryUploading"]


class MemoryUploading:
    """Begins uploads and goes on with them (:class:`~jettison.storage.protocol.Uploading`)."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    @locked
    def start(self, repository: RepoName) -> str:
        """Make an empty upload and return its id, a UUID."""
        upload = str(uuid.uuid4())
        state, now = self.memory.repository(repository), self.memory.now()
        state.uploads[upload] = UploadState(bytearray(), now, now)
        state.note(UPLOADS, now)
        return upload

    @locked
    def size(self, repository: RepoName, upload: str) -> int | None:
        """Return how many bytes an upload has so far; None: no such."""
        state = self.memory.repositories.get(repository)
        found = None if state is None else state.uploads.get(upload)
        return None if found is None else len(found.content)

    @locked
    def open(
        self,
        repository: RepoName,
        upload: str,
        written: int | None = None,  # noqa: ARG002 - a look costs nothing
    ) -> "MemoryUpload":
        """Open an upload, for the caller alone."""
        state = self.memory.repositories.get(repository)
        found = None if state is None else state.uploads.get(upload)
        if found is None:
            raise NotFoundError(f"{repository} has no upload of this id")
        if upload in self.memory.open_uploads:
            message = f"another request is writing to the upload {upload}"
            raise Locked(message, hint="Ask for its status, and go on there.")
        self.memory.open_uploads.add(upload)
        return MemoryUpload(self.memory, repository, upload, found.content)


class MemoryUpload:
    """One upload, for its holder alone (:class:`~jettison.storage.protocol.OpenUpload`)."""

    elsewhere = False

    def __init__(self, memory: Memory, repository: RepoName, name: str, content: bytearray) -> None:
        self.memory = memory
        self._repository = repository
        self._name = name
        self._content = content
        self.size = len(content)

    def __enter__(self) -> Self:
        return self

    @locked
    def __exit__(self, *_: object) -> None:
        self.memory.open_uploads.discard(self._name)

    @locked
    def append(self, pieces: Sequence[bytes]) -> None:
        """Add pieces at the end."""
        for piece in pieces:
            self._content += piece
        self._moved()

    def sync(self) -> None:
        """Nothing is more durable than memory here."""

    def flush(self) -> None:
        """Nothing is held back."""

    @locked
    def truncate(self, size: int) -> None:
        """Take back what came after the first ``size`` bytes."""
        del self._content[size:]
        self._moved()

    def _moved(self) -> None:
        self.size = len(self._content)
        uploads = self.memory.repository(self._repository).uploads
        if self._name in uploads:
            uploads[self._name] = uploads[self._name]._replace(moved=self.memory.now())

    @locked
    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``; less at the end."""
        return bytes(self._content[offset : offset + length])

    @locked
    def commit(self, digest: Digest) -> None:
        """Make it a blob of the repository; that it has the digest is known. It is then gone."""
        memory, repository = self.memory, self._repository
        if self._name not in memory.repository(repository).uploads:
            raise StorageError(f"the upload {self._name} was removed meanwhile")
        memory.put_blob(digest.binary, memory.file(bytes(self._content)))
        memory.put_link(LinkKind.LAYER, repository, digest.binary, digest.encode())
        self.discard()

    @locked
    def discard(self) -> None:
        """Remove it, with all that has arrived."""
        state = self.memory.repositories.get(self._repository)
        if state is not None and state.uploads.pop(self._name, None) is not None:
            state.note(UPLOADS, self.memory.now())
