"""Taking away from a storage in memory."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from jettison.errors import Locked
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import RepoName
from jettison.storage.memory.quarantine import MemoryLinkQuarantine, MemoryQuarantine
from jettison.storage.memory.state import UPLOADS, Memory, locked
from jettison.storage.protocol import Leftover, Place, Stamp

__all__ = ["MemorySweeping"]


class MemorySweeping:
    """Removes what a plan lists (:class:`~jettison.storage.protocol.Sweeping`)."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    @contextlib.contextmanager
    def lease(
        self,
        purpose: str,
        *,
        quiescent: bool = False,  # noqa: ARG002 - what is aside is hidden
        hiding: bool = False,  # noqa: ARG002 - as above
    ) -> Iterator[None]:
        """Hold the storage's lock: one collection or repair at a time."""
        memory = self.memory
        with memory.lock:
            if memory.leased_for is not None:
                message = f"{memory.location} is locked by this process ({memory.leased_for})"
                raise Locked(message, hint="Wait until it is done.")
            memory.leased_for = purpose
        try:
            yield
        finally:
            memory.leased_for = None

    def now(self) -> float:
        """Return the time of its clock (seconds)."""
        return self.memory.now() / 1e9

    def quarantine(self) -> MemoryQuarantine:
        """Open where blobs lie aside."""
        return MemoryQuarantine(self.memory)

    def link_quarantine(self) -> MemoryLinkQuarantine:
        """Open where links lie aside."""
        return MemoryLinkQuarantine(self.memory)

    @contextlib.contextmanager
    def seeing_quarantine(self) -> Iterator[frozenset[BinaryDigest]]:
        """See what lies aside in its place meanwhile; yields the blobs of it."""
        self.memory.sees_aside = True
        try:
            yield frozenset(self.quarantine().digests())
        finally:
            self.memory.sees_aside = False

    @locked
    def is_blob_gone(self, digest: BinaryDigest) -> bool:
        """Whether a blob is neither in its place nor aside."""
        return self.memory.blob(digest) is None and digest not in self.memory.aside

    @locked
    def remove_upload(self, repository: RepoName, upload: str, moved: Stamp | None = None) -> bool:
        """Remove an unfinished upload; False if it was not there, or has moved since ``moved``."""
        state = self.memory.repositories.get(repository)
        found = None if state is None else state.uploads.get(upload)
        if state is None or found is None or moved not in {None, found.moved}:
            return False
        del state.uploads[upload]
        state.note(UPLOADS, self.memory.now())
        return True

    @locked
    def remove_leftover(self, leftover: Leftover) -> bool:
        """Remove a temporary file, unless it was written since it was listed; False if so."""
        found = self.memory.slot_of(leftover)
        if found is None:
            return False
        slot, name = found
        if slot.files[name].stamp != leftover.stamp:
            return False
        return slot.take(name, self.memory.now()) is not None

    @locked
    def remove_empty(self, place: Place, names: Sequence[str]) -> Iterator[str]:
        """Remove the places ``names`` in a place, in which nothing is; return those that went."""
        empty = self._empty_places()
        gone = [name for name in names if Place(f"{place}/{name}") in empty]
        for name in gone:
            empty[Place(f"{place}/{name}")]()
        return iter(gone)

    def _empty_places(self) -> dict[Place, Callable[[], None]]:
        """Return all places in which nothing is, each with what removes it."""
        memory = self.memory
        found: dict[Place, Callable[[], None]] = {}
        for digest, slot in memory.blobs.items():
            if not slot.files:
                place = memory.places.blob(Digest.from_binary(digest))
                found[place] = partial(memory.remove_blob_slot, digest)
        for name, state in memory.repositories.items():
            for kind, links in state.links.items():
                for digest, slot in links.items():
                    if not slot.files:
                        place = memory.places.link(kind, name, Digest.from_binary(digest))
                        found[place] = partial(memory.remove_link_slot, kind, name, digest)
            if memory.is_empty_name(name):
                found[memory.places.repository(name)] = partial(memory.remove_name, name)
        return found

    def remove_repository(self, name: RepoName) -> bool:
        """Remove a repository in which nothing is, and parents that it leaves empty."""
        with self.memory.writing[name], self.memory.lock:
            state = self.memory.repositories.get(name)
            if state is not None:
                if not state.holds_nothing:
                    return False
                state.forget()
            above: str = name
            while self.memory.is_empty_name(above):
                self.memory.remove_name(above)
                above = above.rpartition("/")[0]
        return True

    def require_strong_listing(self) -> None:
        """Return: what is there is shown."""

    def remove_remains(self, before: float) -> None:
        """Remove nothing: a killed process takes what is ours with it."""
