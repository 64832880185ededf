"""One repository of a storage in memory, looked at."""

from collections.abc import Collection, Sequence
from typing import Final, Self

from jettison.errors import InvalidName
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import Tag
from jettison.storage.filesystem.layout import MalformedLinkError, digests_in, parse_link
from jettison.storage.memory.state import (
    ASIDE,
    CONTENT,
    TAGS,
    UPLOADS,
    File,
    Memory,
    RepositoryState,
    Slot,
    locked,
)
from jettison.storage.protocol import (
    History,
    Layers,
    Leftover,
    LinkKind,
    Place,
    Problem,
    Revisions,
    Stamp,
    Tags,
    Upload,
    make_problem,
)

__all__ = ["MemoryLinks", "MemoryRepository"]

_EVER: Final = Stamp(2**63 - 1)
_NEVER: Final = RepositoryState(Stamp(0))
"""A repository that is not there: nothing is in it, and nothing ever was."""


def _link_in(memory: Memory, slot: Slot | None) -> File | None:
    """Return the link in a place; one that lies aside, too, while that is seen."""
    if slot is None:
        return None
    found = slot.files.get(CONTENT)
    return slot.files.get(ASIDE) if found is None and memory.sees_aside else found


class MemoryLinks:
    """The links of one kind in a repository, in a ``with`` block."""

    def __init__(self, memory: Memory, name: str, kind: LinkKind) -> None:
        self.memory = memory
        self._name = name
        self._kind = kind

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _slot(self, digest: BinaryDigest) -> Slot | None:
        state = self.memory.repositories.get(self._name, _NEVER)
        return state.links[self._kind].get(digest)

    @locked
    def stamp(self, digest: BinaryDigest) -> Stamp | None:
        """Return when a link was written, or None if there is none."""
        found = _link_in(self.memory, self._slot(digest))
        return None if found is None else found.stamp

    @locked
    def stamps(self, digests: Sequence[BinaryDigest]) -> list[Stamp | None]:
        """Return when each link was written."""
        return list(map(self.stamp, digests))

    @locked
    def place_stamps(self, digests: Sequence[BinaryDigest]) -> list[Stamp | None]:
        """Return when each link was last made or removed, None if never."""
        slots = map(self._slot, digests)
        return [None if slot is None else slot.changed for slot in slots]


class MemoryRepository:
    """The repository ``name``, as it is whenever it is asked, in a ``with`` block."""

    def __init__(self, memory: Memory, name: str) -> None:
        self.memory = memory
        self.name = name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def _state(self) -> RepositoryState:
        return self.memory.repositories.get(self.name, _NEVER)

    def _problem(self, place: Place, message: str) -> Problem:
        return make_problem(self.name, place, message)

    # Tags.

    @locked
    def tags(self) -> Tags:
        """Return what each tag points to."""
        found = Tags({}, {}, [], [], [])
        for name in self._state.tags:
            try:
                tag = Tag(name)
            except InvalidName:
                message = "is a tag whose name the specification does not allow"
                place = self.memory.places.tag(self.name, name)
                found.problems.append(self._problem(place, message))
                found.strange.append(name)
                continue
            link = self.tag(tag)
            if isinstance(link, Problem):
                found.broken[tag] = link
                found.problems.append(link)
            elif link is not None:
                found.current[tag] = link
        return found

    @locked
    def tag(self, tag: Tag) -> BinaryDigest | Problem | None:
        """Return what a tag points to; None if there is no such tag."""
        state = self._state.tags.get(tag)
        if state is None:
            return None
        place = self.memory.places.tag(self.name, tag)
        if state.link is None:
            return self._problem(place, "is missing, so nobody knows what the tag points to")
        return self._parsed(place, state.link)

    def _parsed(self, place: Place, content: bytes) -> BinaryDigest | Problem:
        try:
            return parse_link(content).binary
        except MalformedLinkError as error:
            return self._problem(place, str(error))

    @locked
    def meant_by_tag(self, name: str) -> set[BinaryDigest]:
        """Return what a tag's link and history name, whatever else is in them."""
        state = self._state.tags.get(name)
        return set() if state is None else _meant(state.link or b"").union(state.history)

    @locked
    def had_others(self, tag: Tag) -> bool:
        """Whether a tag may ever have pointed to anything else."""
        state = self._state.tags.get(tag)
        return state is not None and len(state.history) != 1

    @locked
    def history(self, tag: str) -> History:
        """Return what the tag's history names."""
        state = self._state.tags.get(tag)
        return History([] if state is None else list(state.history), [])

    @locked
    def tag_stamps(self, tags: Sequence[Tag]) -> list[Stamp | None]:
        """Return when each tag was last pushed; None for one without a link."""
        states = [self._state.tags.get(tag) for tag in tags]
        return [None if state is None else _stamp(state.current) for state in states]

    @locked
    def history_stamps(self, tag: Tag, digests: Sequence[BinaryDigest]) -> list[Stamp | None]:
        """Return when a tag was last pushed to point to each digest; None where it is not noted."""
        state = self._state.tags.get(tag)
        history = {} if state is None else state.history
        return [_stamp(history.get(digest)) for digest in digests]

    @locked
    def tags_stamp(self) -> Stamp | None:
        """Return when a tag was last new, or removed, or when the repository got a part."""
        state = self._state
        return state.changed.get(TAGS, max(state.parts.values(), default=None))

    # Links.

    @locked
    def revisions(self) -> Revisions:
        """Return the manifests linked into the repository, tagged or not."""
        found = Revisions([], set(), [], set(), [], set(), [])
        for digest, slot in self._state.links[LinkKind.REVISION].items():
            found.folders.append(digest)
            link = _link_in(self.memory, slot)
            if link is None:
                found.emptied.append(digest)
                continue
            place = self.memory.places.link(
                LinkKind.REVISION, self.name, Digest.from_binary(digest)
            )
            target = self._parsed(place, link.content)
            if target == digest:
                found.linked.add(digest)
                continue
            found.damaged.add(digest)
            if isinstance(target, Problem):
                found.problems.append(target)
                found.meant.update(_meant(link.content))
            else:
                found.damaged.add(target)
                message = (
                    f"points to {Digest.from_binary(target)} instead of what it is named after"
                )
                found.problems.append(self._problem(place, message))
        return found

    @locked
    def revision_names(self) -> list[BinaryDigest]:
        """Return the digests that have a place among the revisions, linked or not."""
        return list(self._state.links[LinkKind.REVISION])

    @locked
    def layers(self) -> Layers:
        """Return the blobs that have a place among the layers."""
        return Layers(set(self._state.links[LinkKind.LAYER]), [])

    @locked
    def has_layers(self) -> bool:
        """Whether there ever was a layer."""
        return LinkKind.LAYER in self._state.changed

    @locked
    def has_manifests(self) -> bool:
        """Whether there ever was a manifest, or a tag."""
        return not self._state.changed.keys().isdisjoint({LinkKind.REVISION, TAGS})

    @locked
    def layer_target(self, digest: BinaryDigest) -> BinaryDigest | Problem | None:
        """Return the blob that a layer's link leads to, or what is wrong with it; None: no link."""
        link = _link_in(self.memory, self._state.links[LinkKind.LAYER].get(digest))
        if link is None:
            return None
        place = self.memory.places.link(LinkKind.LAYER, self.name, Digest.from_binary(digest))
        return self._parsed(place, link.content)

    def links(self, kind: LinkKind) -> MemoryLinks:
        """Open the links of a kind."""
        return MemoryLinks(self.memory, self.name, kind)

    @locked
    def sound_links(self, kind: LinkKind, digests: Sequence[BinaryDigest]) -> set[BinaryDigest]:
        """Return those digests that have a link of that kind which leads just to them."""
        links = self._state.links[kind]
        found = {digest: _link_in(self.memory, links.get(digest)) for digest in digests}
        return {
            digest
            for digest, link in found.items()
            if link is not None and link.content == Digest.from_binary(digest).encode()
        }

    @locked
    def changes(self, kind: LinkKind) -> tuple[Stamp, ...]:
        """Return a stamp that changes when a place for a link of that kind is made or removed."""
        return (self._state.changed.get(kind, Stamp(0)),)

    # Everything else.

    @locked
    def uploads(self) -> list[Upload]:
        """Return the unfinished uploads."""
        return [
            Upload(name, one.started, one.moved, 1, len(one.content))
            for name, one in sorted(self._state.uploads.items())
        ]

    @locked
    def uploads_stamp(self) -> Stamp | None:
        """Return when an upload last began or ended, None if there never was one."""
        return self._state.changed.get(UPLOADS)

    @locked
    def is_being_linked(self, digest: BinaryDigest) -> bool:
        """Whether a revision's link is just being written beside its place."""
        slot = self._state.links[LinkKind.REVISION].get(digest)
        return slot is not None and bool(slot.drafts())

    @locked
    def leftovers(self, before: Stamp) -> list[Leftover]:
        """Return the temporary files in the repository that are idle since ``before``."""
        return self.memory.leftovers(self.name, before)

    @locked
    def is_idle(self, before: Stamp) -> bool:
        """Whether no part was made, and no upload made or removed, since ``before``."""
        state = self._state
        uploads = state.changed.get(UPLOADS, state.made)
        return max(state.made, uploads, *state.parts.values()) <= before

    @locked
    def has_others(self, going: Collection[Place]) -> bool:
        """Whether a temporary file is in the repository, but for those ``going``."""
        found = self.memory.leftovers(self.name, _EVER)
        return any(one.path not in going for one in found)


def _stamp(slot: Slot | None) -> Stamp | None:
    found = None if slot is None else slot.files.get(CONTENT)
    return None if found is None else found.stamp


def _meant(content: bytes) -> set[BinaryDigest]:
    return digests_in(content.decode("latin-1"))
