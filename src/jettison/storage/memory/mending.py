"""Moving things in memory for a repair, and writing them."""

from collections.abc import Iterable
from typing import Any

from jettison.model.digest import BinaryDigest, Digest
from jettison.model.repair import FileFingerprint
from jettison.storage.memory.state import CONTENT, File, Memory, Slot, TagState, locked
from jettison.storage.protocol import InTheWayError, Stamp

__all__ = ["MemoryMending"]


class MemoryMending:
    """Changes a memory, for who holds its lease: files in slots, and whole tags."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    @locked
    def fingerprint(self, place: str) -> FileFingerprint:
        """Return what is in a place; a thing is the same as long as it is only moved."""
        thing = self._get(place)
        if isinstance(thing, File):
            return FileFingerprint(place, id(thing), len(thing.content), thing.stamp)
        return FileFingerprint(place) if thing is None else FileFingerprint(place, id(thing))

    @locked
    def read(self, place: str) -> bytes | None:
        """Return the bytes in a place, None if there are none."""
        thing = self._get(place)
        return thing.content if isinstance(thing, File) else None

    def has_digest(self, place: str, digest: BinaryDigest) -> bool:
        """Whether what is in a place has a digest."""
        content = self.read(place)
        return content is not None and Digest.from_binary(digest).matches(content)

    @locked
    def missing(self, place: str) -> tuple[str, ...]:
        """Return the place of a link itself, if it has to be made."""
        is_link = self.memory.places.named(place) is not None
        return (place,) if is_link and self._slot(place) is None else ()

    @locked
    def take(self, place: str, to: str, seen: Iterable[FileFingerprint]) -> bool:
        """Move something that is unchanged; it need not be looked at again, under the lock."""
        if self._get(place) is None:
            return False
        if any(self.fingerprint(one.path) != one for one in seen if one.path.startswith(place)):
            raise InTheWayError("has changed just now, and is left")
        return self.move(place, to)

    @locked
    def move(self, place: str, to: str) -> bool:
        """Move something to where nothing is; False if it is not there."""
        thing = self._get(place)
        if thing is None:
            return False
        self._put_new(to, thing)
        self.remove(place)
        return True

    @locked
    def write(self, place: str, content: bytes, stamp: Stamp) -> None:
        """Write something where nothing is."""
        self._put_new(place, File(content, stamp, self.memory.now()))

    @locked
    def remove(self, place: str) -> None:
        """Remove what is in a place."""
        slot = self._slot(place)
        if slot is not None:
            slot.take(CONTENT, self.memory.now())
        else:
            things, key = self._things(place)
            things.pop(key, None)

    @locked
    def remove_empty(self, place: str) -> bool:
        """Remove the place of a link that nothing is in."""
        named, slot = self.memory.places.named(place), self._slot(place)
        if named is None or named.kind is None or slot is None or slot.files:
            return False
        self.memory.remove_link_slot(named.kind, named.repository, named.digest.binary)
        return True

    def _get(self, place: str) -> File | TagState | None:
        slot = self._slot(place)
        if slot is not None:
            return slot.files.get(CONTENT)
        things, key = self._things(place)
        found: File | TagState | None = things.get(key)
        return found

    def _put_new(self, place: str, thing: File | TagState) -> None:
        if self._get(place) is not None:
            raise InTheWayError(f"{place} is there already")
        slot = self._slot(place, make=True)
        if slot is not None and isinstance(thing, File):
            slot.put(CONTENT, thing, self.memory.now())
        else:
            things, key = self._things(place)
            things[key] = thing

    def _slot(self, place: str, *, make: bool = False) -> Slot | None:
        """Return the slot of a blob or link, be it a tag's."""
        named = self.memory.places.named(place)
        if named is None:
            whole, at, _ = place.partition("@current")
            things, key = self._things(whole)
            return things[key].current if at and isinstance(things.get(key), TagState) else None
        digest = named.digest.binary
        if named.kind is None:
            return self.memory.blob_slot(digest) if make else self.memory.blobs.get(digest)
        if make:
            return self.memory.link_slot(named.kind, named.repository, digest)
        state = self.memory.repositories.get(named.repository)
        return None if state is None else state.links[named.kind].get(digest)

    def _things(self, place: str) -> tuple[dict[Any, Any], Any]:
        """Return what holds a whole tag, a blob that lies aside, or what a repair keeps; a key."""
        name, _, tag = place.removeprefix("repositories/").partition(":")
        state = self.memory.repositories.get(name)
        if state is not None and "@" not in tag:
            return state.tags, tag
        for digest in self.memory.aside:
            if place == self.memory.places.aside_blob(Digest.from_binary(digest)):
                return self.memory.aside, digest
        return self.memory.kept, place
