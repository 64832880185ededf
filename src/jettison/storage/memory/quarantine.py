"""What a sweep has taken aside in memory, to be put back or removed."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Self

from jettison.model.digest import BinaryDigest, Digest
from jettison.storage.memory.state import ASIDE, CONTENT, Memory, Slot, locked
from jettison.storage.protocol import LinkKind, Outcome, Place, Stamp, outcomes_of

__all__ = ["MemoryAsideBlob", "MemoryLinkGroup", "MemoryLinkQuarantine", "MemoryQuarantine"]


class MemoryAsideBlob(NamedTuple):
    """A blob that lies aside; nothing else shows it."""

    stamp: Stamp
    shared: bool = False


class MemoryQuarantine:
    """Blobs that lie aside, in a ``with`` block."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def has_room(self) -> bool:
        """Whether many blobs can lie aside at once: always."""
        return True

    @locked
    def put(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Take blobs out of the registry's sight; False for one that was not there."""
        return list(map(self._put, digests))

    def _put(self, digest: BinaryDigest) -> bool:
        slot = self.memory.blobs.get(digest)
        file = None if slot is None else slot.take(CONTENT, self.memory.now())
        if file is None:
            return False
        self.memory.aside[digest] = file
        return True

    @locked
    def look(self, digests: Sequence[BinaryDigest]) -> list[MemoryAsideBlob | None]:
        """Look at blobs that lie aside; None where none does."""
        found = map(self.memory.aside.get, digests)
        return [None if file is None else MemoryAsideBlob(file.stamp) for file in found]

    @locked
    def remove(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Remove blobs that lie aside, for good; False where none does."""
        return [self.memory.aside.pop(digest, None) is not None for digest in digests]

    @locked
    def remove_places(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Remove the places that blobs came from, if nothing is in them; whether each is gone."""
        return list(map(self._remove_place, digests))

    def _remove_place(self, digest: BinaryDigest) -> bool:
        slot = self.memory.blobs.get(digest)
        if slot is None or slot.files:
            return False
        self.memory.remove_blob_slot(digest)
        return True

    @locked
    def put_back(self, digest: BinaryDigest) -> bool:
        """Undo :meth:`put`; False if a push has brought the blob again meanwhile."""
        file = self.memory.aside.pop(digest, None)
        if file is None:
            return False
        slot = self.memory.blob_slot(digest)
        if CONTENT in slot.files:
            return False
        now = self.memory.now()
        slot.put(CONTENT, file._replace(arrived=now), now)
        return True

    def put_back_each(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Undo :meth:`put` for blobs; what fails has its error."""
        return outcomes_of(self.put_back, digests)

    @locked
    def digests(self) -> Iterator[BinaryDigest]:
        """Return the blobs that lie aside."""
        return iter(list(self.memory.aside))


class MemoryLinkGroup:
    """Links of one repository and kind, or of one tag's history, in a ``with`` block.

    ``removed`` is called when the place of one has gone.
    """

    def __init__(
        self,
        memory: Memory,
        place: Place,
        slots: dict[BinaryDigest, Slot],
        removed: Callable[[], None],
    ) -> None:
        self.memory = memory
        self._place = place
        self._slots = slots
        self._removed = removed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def place(self, digest: Digest) -> Place:
        """Return where a link is, for messages."""
        return Place(f"{self._place}/{digest.hex}")

    def _stamp(self, digest: Digest, name: str) -> Stamp | None:
        slot = self._slots.get(digest.binary)
        found = None if slot is None else slot.files.get(name)
        return None if found is None else found.stamp

    @locked
    def stamp(self, digest: Digest) -> Stamp | None:
        """Return when a link was written, None if it is not in its place."""
        return self._stamp(digest, CONTENT)

    @locked
    def take(self, links: Sequence[tuple[Digest, Stamp | None]]) -> list[Outcome]:
        """Take links aside; False for one that was not there, or has another stamp."""
        return [self._take(digest, stamp) for digest, stamp in links]

    def _take(self, digest: Digest, stamp: Stamp | None) -> bool:
        found = self._stamp(digest, CONTENT)
        if found is None or stamp not in {None, found}:
            return False
        _rename(self._slots[digest.binary], CONTENT, ASIDE, self.memory.now())
        return True

    @locked
    def taken(self, digests: Sequence[Digest]) -> list[Stamp | None]:
        """Return when links that lie aside were written, None where none does."""
        return [self._stamp(digest, ASIDE) for digest in digests]

    @locked
    def put_back(self, digest: Digest) -> bool:
        """Undo :meth:`take`; False if none lies aside, or it was written again."""
        return _put_back(self._slots.get(digest.binary), self.memory.now())

    def put_back_each(self, digests: Sequence[Digest]) -> list[Outcome]:
        """Undo :meth:`take` for links; what fails has its error."""
        return outcomes_of(self.put_back, digests)

    @locked
    def remove(self, digests: Sequence[Digest]) -> list[Outcome]:
        """Remove links that lie aside, for good; False where none does."""
        slots = (self._slots.get(digest.binary) for digest in digests)
        now = self.memory.now()
        return [slot is not None and slot.take(ASIDE, now) is not None for slot in slots]

    @locked
    def remove_places(self, digests: Sequence[Digest]) -> list[Outcome]:
        """Remove the places of links if nothing is in them; whether each is gone."""
        return list(map(self._remove_place, digests))

    def _remove_place(self, digest: Digest) -> bool:
        slot = self._slots.get(digest.binary)
        if slot is None or slot.files:
            return False
        del self._slots[digest.binary]
        self._removed()
        return True


def _rename(slot: Slot, name: str, new: str, now: Stamp) -> None:
    file = slot.take(name, now)
    if file is not None:
        slot.put(new, file, now)


def _put_back(slot: Slot | None, now: Stamp) -> bool:
    if slot is None or ASIDE not in slot.files:
        return False
    if CONTENT in slot.files:
        slot.take(ASIDE, now)
        return False
    _rename(slot, ASIDE, CONTENT, now)
    return True


class MemoryLinkQuarantine:
    """Links that lie aside."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    @locked
    def begin(self, unlinked: Sequence[Digest] = ()) -> None:
        """Leave word that links are taken, and which blobs are to go with them."""
        self.memory.links_aside = list(unlinked)

    @locked
    def unlinked(self) -> list[Digest]:
        """Return the blobs that a sweep that did not come to its end was to remove."""
        return list(self.memory.links_aside or ())

    @locked
    def end(self) -> None:
        """Take that word back: none lies aside any more."""
        self.memory.links_aside = None

    @property
    def any_left(self) -> bool:
        """Whether links may lie aside, of a sweep that goes on or of one that was killed."""
        return self.memory.links_aside is not None

    @locked
    def group(self, kind: LinkKind, repository: str, algorithm: str) -> MemoryLinkGroup | None:
        """Open the links of a kind; None if there are none."""
        state = self.memory.repositories.get(repository)
        if state is None or not _any_of(algorithm, state.links[kind]):
            return None
        place = self.memory.places.links(kind, repository, algorithm)

        def removed() -> None:
            state.note(kind, self.memory.now())

        return MemoryLinkGroup(self.memory, place, state.links[kind], removed)

    @locked
    def history(self, repository: str, tag: str, algorithm: str) -> MemoryLinkGroup | None:
        """Open the history of a tag; None if there is none."""
        state = self.memory.repositories.get(repository)
        found = None if state is None else state.tags.get(tag)
        if found is None or not _any_of(algorithm, found.history):
            return None
        place = self.memory.places.history(repository, tag, algorithm)
        return MemoryLinkGroup(self.memory, place, found.history, lambda: None)

    @locked
    def recover(self) -> None:
        """Put back all that a killed sweep has left aside, wherever it is."""
        for state in self.memory.repositories.values():
            for slot in state.slots:
                _put_back(slot, self.memory.now())
        self.end()


def _any_of(algorithm: str, slots: dict[BinaryDigest, Slot]) -> bool:
    return any(Digest.from_binary(digest).algorithm == algorithm for digest in slots)
