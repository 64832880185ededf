"""Changing a storage in memory."""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Final, Self

from jettison.errors import PlanStale, TagsAppeared, VerificationFailed
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.memory.repository import MemoryRepository
from jettison.storage.memory.state import CONTENT, TAGS, Memory, Slot, locked
from jettison.storage.protocol import LinkKind, TagsByManifest
from jettison.storage.whole_blobs import WholeBlobs

__all__ = ["MemoryBlobWriter", "MemoryWriting"]

_HINT: Final = "Run the command again to see the new plan."


class MemoryWriting(WholeBlobs):
    """Puts and deletes (:class:`~jettison.storage.protocol.Writing`)."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    @property
    def writable(self) -> bool:
        """Whether this process may change the storage: always."""
        return True

    @contextlib.contextmanager
    def writing(self, repository: RepoName, *, make: bool = False) -> Iterator[None]:  # noqa: ARG002 - the lock is always there
        """Keep every other writer of a repository's manifests and tags out."""
        with self.memory.lock:
            held = self.memory.writing[repository]
        with held:
            yield

    def new_blob(self, repository: RepoName, digest: Digest) -> "MemoryBlobWriter":
        """Return a draft to write a blob into."""
        return MemoryBlobWriter(self.memory, repository, digest)

    @locked
    def put_manifest(
        self, repository: RepoName, digest: Digest, raw: bytes, tags: Iterable[Tag] = ()
    ) -> None:
        """Store a manifest and link it into the repository, then point ``tags`` to it."""
        if not digest.matches(raw):
            raise VerificationFailed(f"the manifest to store does not have the digest {digest}")
        self.memory.put_blob(digest.binary, self.memory.file(raw))
        self.link_revision(repository, digest)
        for tag in tags:
            state = self.memory.put_tag(repository, tag, digest.encode())
            slot = state.history.setdefault(digest.binary, Slot(self.memory.now()))
            slot.put(CONTENT, self.memory.file(digest.encode()), self.memory.now())

    @locked
    def link_layer(self, repository: RepoName, digest: Digest) -> None:
        """Make a blob readable through a repository."""
        self.memory.put_link(LinkKind.LAYER, repository, digest.binary, digest.encode())

    @locked
    def link_revision(self, repository: RepoName, digest: Digest) -> None:
        """Make a manifest part of a repository."""
        self.memory.put_link(LinkKind.REVISION, repository, digest.binary, digest.encode())

    @locked
    def touch(self, digest: Digest) -> bool:
        """Note that a blob is wanted, so that no sweep takes it; False: there is none."""
        slot = self.memory.blobs.get(digest.binary)
        if slot is None or CONTENT not in slot.files:
            return False
        slot.put(CONTENT, self.memory.file(slot.files[CONTENT].content), slot.changed)
        return True

    # Removing.

    @locked
    def untag(self, repository: RepoName, tag: Tag, expected: Digest | None = None) -> bool:
        """Remove a tag and nothing else; False if it was not there."""
        state = self.memory.repositories.get(repository)
        found = None if state is None else state.tags.get(tag)
        if state is None or found is None:
            return False
        if expected is not None and found.link != expected.encode():
            message = f"{repository}:{tag} does not point to {expected.short} any more"
            raise PlanStale(message, hint=_HINT)
        del state.tags[tag]
        state.note(TAGS, self.memory.now())
        return True

    @locked
    def unlink_layer(self, repository: RepoName, digest: Digest) -> bool:
        """Remove a blob from a repository, and nothing else; False if it was not there."""
        state = self.memory.repositories.get(repository)
        slot = None if state is None else state.links[LinkKind.LAYER].get(digest.binary)
        return slot is not None and slot.take(CONTENT, self.memory.now()) is not None

    @locked
    def delete_revision(
        self,
        repository: RepoName,
        digest: Digest,
        only: AbstractSet[Tag] | None = None,
        tagged: TagsByManifest | None = None,  # noqa: ARG002 - all tags are at hand
    ) -> bool:
        """Remove the tags that point to a manifest, then it itself from the repository.

        Its place stays, with nothing in it. With ``only``, raises
        :class:`~jettison.errors.TagsAppeared`, and removes nothing, if any other tag points to it,
        or one of these to anything else.
        """
        current = MemoryRepository(self.memory, repository).tags().current
        tags = {tag for tag, target in current.items() if target == digest.binary}
        for tag in sorted(() if only is None else (tags ^ only) & current.keys()):
            now = Digest.from_binary(current[tag]).short
            raise TagsAppeared(f"{repository}:{tag} points to {now} now", hint=_HINT)
        for tag in tags:
            self.untag(repository, tag)
        state = self.memory.repositories.get(repository)
        slot = None if state is None else state.links[LinkKind.REVISION].get(digest.binary)
        unlinked = slot is not None and slot.take(CONTENT, self.memory.now()) is not None
        return unlinked or bool(tags)


class MemoryBlobWriter:
    """A blob being written, in a ``with`` block; what was not committed is thrown away."""

    def __init__(self, memory: Memory, repository: RepoName, digest: Digest) -> None:
        self.memory = memory
        self._repository = repository
        self._digest = digest
        self._hash = hashlib.new(digest.algorithm)
        self._chunks: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._chunks.clear()

    def write(self, chunk: bytes) -> None:
        """Append to the blob."""
        self._hash.update(chunk)
        self._chunks.append(bytes(chunk))

    @locked
    def commit(self) -> None:
        """Put the blob in its place and link it, or raise if its digest is another."""
        digest = self._digest
        if self._hash.hexdigest() != digest.hex:
            message = f"the bytes written for blob {digest} do not have that digest"
            raise VerificationFailed(message)
        self.memory.put_blob(digest.binary, self.memory.file(b"".join(self._chunks)))
        self.memory.put_link(LinkKind.LAYER, self._repository, digest.binary, digest.encode())
