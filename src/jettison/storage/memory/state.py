"""The state of a storage in memory, and the lock that every access holds.

A :class:`Slot` is what has a place: a blob, a link, an entry of a tag's history. It may be empty,
as a DELETE leaves it, and it holds what lies aside and what is being written beside it.
"""

import functools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Concatenate, Final, NamedTuple, ParamSpec, Protocol, TypeVar

from jettison.model.digest import BinaryDigest, Digest
from jettison.storage.memory.places import MemoryPlaces
from jettison.storage.protocol import Leftover, LinkKind, Place, Problem, Stamp, stamp_at

__all__ = [
    "ASIDE",
    "CONTENT",
    "TAGS",
    "UPLOADS",
    "File",
    "HasMemory",
    "Memory",
    "RepositoryState",
    "Slot",
    "TagState",
    "UploadState",
    "group_of",
    "idle_drafts",
    "locked",
]

CONTENT: Final = "content"
ASIDE: Final = "aside"
TAGS: Final = "tags"
UPLOADS: Final = "uploads"

Part = LinkKind | str
"""What a repository consists of: links of a kind, tags, uploads."""

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")
Holder = TypeVar("Holder", bound="HasMemory")


class HasMemory(Protocol):
    """Whatever looks into a memory or changes it."""

    memory: "Memory"


def locked(
    method: Callable[Concatenate[Holder, Parameters], Answer],
) -> Callable[Concatenate[Holder, Parameters], Answer]:
    """Let a method look and act in one step, whatever other threads do."""

    @functools.wraps(method)
    def in_one_step(
        holder: Holder, /, *arguments: Parameters.args, **named: Parameters.kwargs
    ) -> Answer:
        with holder.memory.lock:
            return method(holder, *arguments, **named)

    return in_one_step


class File(NamedTuple):
    """Bytes, when they were written or touched, and when they came to where they are."""

    content: bytes
    stamp: Stamp
    arrived: Stamp


class Slot:
    """One place: files by name, and when one was last made or removed in it."""

    def __init__(self, now: Stamp) -> None:
        self.files: dict[str, File] = {}
        self.changed = now

    def put(self, name: str, file: File, now: Stamp) -> None:
        """Put a file, in place of the one that may be there."""
        if name not in self.files:
            self.changed = now
        self.files[name] = file

    def take(self, name: str, now: Stamp) -> File | None:
        """Remove a file and return it; None if there is none."""
        if name in self.files:
            self.changed = now
        return self.files.pop(name, None)

    def drafts(self) -> dict[str, File]:
        """Return what is being written, or was when its writer was killed."""
        return {name: file for name, file in self.files.items() if name not in {CONTENT, ASIDE}}


class TagState:
    """What a tag points to, as the very bytes of its link, and what it ever pointed to."""

    def __init__(self, now: Stamp) -> None:
        self.current = Slot(now)
        self.history: dict[BinaryDigest, Slot] = {}

    @property
    def link(self) -> bytes | None:
        """The content of its link, None if there is none."""
        file = self.current.files.get(CONTENT)
        return None if file is None else file.content


class UploadState(NamedTuple):
    """An unfinished upload; its content grows in place."""

    content: bytearray
    started: Stamp
    moved: Stamp


class RepositoryState:
    """One repository, or a name that only has others below it.

    ``parts`` tells of each part when it came into being, and ``changed`` when something in it last
    got a place or lost it; a part that is not in them never was there.
    """

    def __init__(self, now: Stamp) -> None:
        self.made = now
        self.parts: dict[Part, Stamp] = {}
        self.changed: dict[Part, Stamp] = {}
        self.links: dict[LinkKind, dict[BinaryDigest, Slot]] = {kind: {} for kind in LinkKind}
        self.tags: dict[str, TagState] = {}
        self.uploads: dict[str, UploadState] = {}

    def note(self, part: Part, now: Stamp) -> None:
        """Note that a part has changed, also by a clock that was put back."""
        self.parts.setdefault(part, now)
        self.changed[part] = max(now, Stamp(self.changed.get(part, now - 1) + 1))

    @property
    def slots(self) -> Iterator[Slot]:
        """All places in it."""
        for links in self.links.values():
            yield from links.values()
        for tag in self.tags.values():
            yield from tag.history.values()

    @property
    def holds_nothing(self) -> bool:
        """Whether nothing but empty places is in it."""
        return not self.tags and not self.uploads and not any(one.files for one in self.slots)

    def forget(self) -> None:
        """Let it have been no repository."""
        self.parts.clear()
        self.changed.clear()
        for links in self.links.values():
            links.clear()


def group_of(digest: BinaryDigest) -> str:
    """Return the group of a blob."""
    long = Digest.from_binary(digest)
    return f"{long.algorithm}/{long.hex[:2]}"


class Memory:
    """All that is in a storage. Its methods are for who holds ``lock``."""

    def __init__(self, location: str, clock: Callable[[], float]) -> None:
        self.location = location
        self.lock = threading.RLock()
        self.places = MemoryPlaces()
        self.blobs: dict[BinaryDigest, Slot] = {}
        self.blob_changes: dict[str, int] = {}
        self.aside: dict[BinaryDigest, File] = {}
        self.links_aside: list[Digest] | None = None
        self.kept: dict[str, File | TagState] = {}
        self.sees_aside = False
        self.repositories: dict[str, RepositoryState] = {}
        self.problems: list[Problem] = []
        self.documents: dict[str, dict[str, bytes]] = {}
        self.leases: set[tuple[str, str]] = set()
        self.leased_for: str | None = None
        self.open_uploads: set[str] = set()
        self.writing: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._clock = clock
        self._read = Stamp(0)
        self._ticks = 0

    def now(self) -> Stamp:
        """Return the clock's time, a nanosecond later each time as long as that stands still."""
        read = stamp_at(self._clock())
        self._ticks = self._ticks + 1 if read == self._read else 0
        self._read = read
        return Stamp(read + self._ticks)

    def file(self, content: bytes) -> File:
        """Return a file that is written now."""
        now = self.now()
        return File(content, now, now)

    # Blobs.

    def blob(self, digest: BinaryDigest) -> File | None:
        """Return a blob; one that lies aside, too, while that is seen."""
        slot = self.blobs.get(digest)
        found = None if slot is None else slot.files.get(CONTENT)
        return self.aside.get(digest) if found is None and self.sees_aside else found

    def blob_slot(self, digest: BinaryDigest) -> Slot:
        """Return the place of a blob, made if it is not there."""
        if digest not in self.blobs:
            self.blobs[digest] = Slot(self.now())
            self.note_blob(digest)
        return self.blobs[digest]

    def put_blob(self, digest: BinaryDigest, file: File) -> None:
        """Put a blob in its place."""
        self.blob_slot(digest).put(CONTENT, file, self.now())

    def note_blob(self, digest: BinaryDigest) -> None:
        """Note that the place of a blob was made or removed."""
        group = group_of(digest)
        self.blob_changes[group] = self.blob_changes.get(group, 0) + 1

    def remove_blob_slot(self, digest: BinaryDigest) -> None:
        """Remove the place of a blob."""
        del self.blobs[digest]
        self.note_blob(digest)

    # Repositories.

    def repository(self, name: str) -> RepositoryState:
        """Return a repository, made, with the names above it, where it is not there."""
        above = name.rpartition("/")[0]
        if above:
            self.repository(above)
        if name not in self.repositories:
            self.repositories[name] = RepositoryState(self.now())
            self._note_above(name)
        return self.repositories[name]

    def is_empty_name(self, name: str) -> bool:
        """Whether nothing at all is under a name of repositories, though it is there."""
        state = self.repositories.get(name)
        if state is None or state.changed:
            return False
        return not any(other.startswith(f"{name}/") for other in self.repositories)

    def remove_name(self, name: str) -> None:
        """Remove a name under which nothing is."""
        del self.repositories[name]
        self._note_above(name)

    def _note_above(self, name: str) -> None:
        above = self.repositories.get(name.rpartition("/")[0])
        if above is not None:
            above.made = self.now()

    def put_link(self, kind: LinkKind, name: str, digest: BinaryDigest, content: bytes) -> None:
        """Write a link."""
        self.put_in_link(kind, name, digest, CONTENT, content)

    def put_in_link(
        self, kind: LinkKind, name: str, digest: BinaryDigest, file: str, content: bytes
    ) -> None:
        """Write a link, or what is to become one."""
        self.link_slot(kind, name, digest).put(file, self.file(content), self.now())

    def link_slot(self, kind: LinkKind, name: str, digest: BinaryDigest) -> Slot:
        """Return the place of a link, made if it is not there."""
        state = self.repository(name)
        links = state.links[kind]
        if digest not in links:
            links[digest] = Slot(self.now())
            state.note(kind, self.now())
        return links[digest]

    def remove_link_slot(self, kind: LinkKind, name: str, digest: BinaryDigest) -> None:
        """Remove the place of a link."""
        state = self.repositories[name]
        del state.links[kind][digest]
        state.note(kind, self.now())

    def put_tag(self, name: str, tag: str, content: bytes | None) -> TagState:
        """Write the link of a tag, if there is to be one, and return it."""
        state = self.repository(name)
        if tag not in state.tags:
            state.tags[tag] = TagState(self.now())
            state.note(TAGS, self.now())
        found = state.tags[tag]
        if content is not None:
            found.current.put(CONTENT, self.file(content), self.now())
        return found

    def occupied(self) -> Iterator[Place]:
        """Yield every place in which something is."""
        places = self.places
        yield places.top
        for place, slot in self._slots():
            if CONTENT in slot.files:
                yield place
        yield from map(Place, self.kept)
        for digest in self.aside:
            yield places.aside_blob(Digest.from_binary(digest))
        for name, state in self.repositories.items():
            yield places.repository(name)
            for tag, found in state.tags.items():
                yield places.whole_tag(name, tag)
                if found.link is not None:
                    yield places.tag(name, tag)
                for digest, slot in found.history.items():
                    if CONTENT in slot.files:
                        yield places.history_link(name, tag, Digest.from_binary(digest))
            for upload in state.uploads:
                yield places.upload(name, upload)

    # Temporary files.

    def leftovers(self, name: str, before: Stamp) -> list[Leftover]:
        """Return the temporary files among a repository's links that are idle."""
        state = self.repositories.get(name)
        found: list[Leftover] = []
        for kind, links in ({} if state is None else state.links).items():
            for digest, slot in links.items():
                place = self.places.link(kind, name, Digest.from_binary(digest))
                found += idle_drafts(slot, place, before)
        return found

    def slot_of(self, leftover: Leftover) -> tuple[Slot, str] | None:
        """Return where a temporary file is, and its name there; None if it is not there."""
        above, _, name = leftover.path.rpartition("/")
        for place, slot in self._slots():
            if place == above and name in slot.drafts():
                return slot, name
        return None

    def link_in(self, place: str) -> bytes | None:
        """Return the content of the link in a place, be it a tag's; None if there is none."""
        for other, slot in self._slots():
            if other == place and CONTENT in slot.files:
                return slot.files[CONTENT].content
        for name, state in self.repositories.items():
            for tag, found in state.tags.items():
                if place == self.places.tag(name, tag):
                    return found.link
        return None

    def _slots(self) -> Iterator[tuple[Place, Slot]]:
        for digest, slot in self.blobs.items():
            yield self.places.blob(Digest.from_binary(digest)), slot
        for name, state in self.repositories.items():
            for kind, links in state.links.items():
                for digest, slot in links.items():
                    yield self.places.link(kind, name, Digest.from_binary(digest)), slot


def idle_drafts(slot: Slot, place: Place, before: Stamp) -> list[Leftover]:
    """Return the temporary files in a place that nobody has written to since ``before``."""
    return [
        Leftover(Place(f"{place}/{name}"), len(file.content), file.stamp)
        for name, file in slot.drafts().items()
        if file.stamp <= before
    ]
