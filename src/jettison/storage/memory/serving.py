"""Answering requests from memory."""

from collections.abc import Iterator

from jettison.errors import InvalidName, StorageError
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem.layout import MalformedLinkError, parse_link
from jettison.storage.memory.state import CONTENT, TAGS, Memory, RepositoryState, locked
from jettison.storage.protocol import LinkKind, ManifestContent, Place, Stamp, TagNames
from jettison.storage.served import SMALL, manifest_content

__all__ = ["MemoryContent", "MemoryServing"]


class MemoryContent:
    """A blob that is open to be sent (:class:`~jettison.storage.protocol.OpenContent`)."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def ready(self, offset: int, length: int) -> bytes:
        """Return bytes from ``offset`` on: all are there."""
        return self._content[offset : offset + length]

    read = ready

    def close(self) -> None:
        """Nothing is held open."""


class MemoryServing:
    """What requests ask about (:class:`~jettison.storage.protocol.Serving`)."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._types: dict[Digest, str] = {}

    def _state(self, repository: RepoName) -> RepositoryState | None:
        return self.memory.repositories.get(repository)

    # Links.

    @locked
    def tag(self, repository: RepoName, tag: Tag) -> Digest | None:
        """Return what a tag points to; None if there is no such tag."""
        state = self._state(repository)
        found = None if state is None else state.tags.get(tag)
        if found is None or found.link is None:
            return None
        return self._parsed(self.memory.places.tag(repository, tag), found.link)

    @locked
    def resolve(self, repository: RepoName, tag: Tag) -> Digest | None:
        """Return what a tag points to, if that manifest is part of the repository."""
        found = self.tag(repository, tag)
        return found if found is not None and self.has_revision(repository, found) else None

    @locked
    def layer(self, repository: RepoName, digest: Digest) -> Digest | None:
        """Return the blob that a repository's link of a digest leads to; None if it has none."""
        link = self._link(LinkKind.LAYER, repository, digest)
        place = self.memory.places.link(LinkKind.LAYER, repository, digest)
        return None if link is None else self._parsed(place, link)

    @locked
    def has_revision(self, repository: RepoName, digest: Digest) -> bool:
        """Whether a manifest is part of a repository."""
        link = self._link(LinkKind.REVISION, repository, digest)
        return link is not None and len(link) == len(digest)

    @locked
    def has_manifests(self, repository: RepoName) -> bool:
        """Whether there ever was a manifest, or a tag, in a repository."""
        state = self._state(repository)
        return state is not None and not state.changed.keys().isdisjoint({LinkKind.REVISION, TAGS})

    def _link(self, kind: LinkKind, repository: RepoName, digest: Digest) -> bytes | None:
        state = self._state(repository)
        slot = None if state is None else state.links[kind].get(digest.binary)
        found = None if slot is None else slot.files.get(CONTENT)
        return None if found is None else found.content

    def _parsed(self, place: Place, link: bytes) -> Digest:
        try:
            return parse_link(link)
        except MalformedLinkError as error:
            message = f"{self.memory.location}/{place}: {error}"
            hint = "Push the image again, or look at `jettison fsck`."
            raise StorageError(message, hint=hint) from None

    # Contents.

    def _content(self, digest: Digest) -> bytes | None:
        slot = self.memory.blobs.get(digest.binary)
        found = None if slot is None else slot.files.get(CONTENT)
        return None if found is None else found.content

    @locked
    def size(self, digest: Digest) -> int | None:
        """Return the size of a blob in bytes; None if there is none."""
        found = self._content(digest)
        return None if found is None else len(found)

    @locked
    def small(self, digest: Digest) -> bytes | None:
        """Return a small blob's bytes; None if it is absent or larger."""
        found = self._content(digest)
        return None if found is None or len(found) > SMALL else found

    @locked
    def manifest(self, digest: Digest) -> ManifestContent | None:
        """Return a small manifest; None if it is absent or larger."""
        found = self.small(digest)
        return None if found is None else manifest_content(digest, found)

    @locked
    def large_type(self, digest: Digest) -> str | None:
        """Return the type of a larger manifest that :meth:`examine` has read; None for others."""
        return None if self._content(digest) is None else self._types.get(digest)

    @locked
    def examine(self, digest: Digest) -> str | None:
        """Read a larger manifest and return its type; None if it is absent."""
        found = self._content(digest)
        if found is None:
            return None
        kind = self._types[digest] = manifest_content(digest, found).media_type
        return kind

    @locked
    def open(self, digest: Digest) -> MemoryContent | None:
        """Open a blob to be sent; None if there is none."""
        found = self._content(digest)
        return None if found is None else MemoryContent(found)

    def url(self, digest: Digest) -> None:
        """Return None: nobody else can look in here."""

    # Saying that somebody wants something.

    @locked
    def touch_layer(self, repository: RepoName, digest: Digest, size: int | None = None) -> bool:
        """Note that a layer is wanted; False if it is not there, or has not the right size."""
        target = self.layer(repository, digest)
        found = None if target is None else self._content(target)
        if target is None or found is None or size not in {None, len(found)}:
            return False
        if not found and not target.matches(b""):
            return False
        return self._touch(LinkKind.LAYER, repository, digest, target)

    @locked
    def touch_revision(self, repository: RepoName, digest: Digest) -> bool:
        """Note that a manifest is wanted; False if it is not there."""
        if not self.has_revision(repository, digest) or self._content(digest) is None:
            return False
        return self._touch(LinkKind.REVISION, repository, digest, digest)

    def _touch(self, kind: LinkKind, repository: RepoName, digest: Digest, target: Digest) -> bool:
        memory = self.memory
        slots = (
            memory.repository(repository).links[kind][digest.binary],
            memory.blobs[target.binary],
        )
        for slot in slots:
            slot.put(CONTENT, memory.file(slot.files[CONTENT].content), slot.changed)
        return True

    @locked
    def is_aside(self, digest: Digest) -> bool:
        """Whether a sweep has taken a blob aside, and may put it back."""
        return digest.binary in self.memory.aside

    # Lists.

    @locked
    def tags(self, repository: RepoName) -> TagNames | None:
        """Return all tags, sorted; None if there is no such repository."""
        state = self._state(repository)
        if state is None or not self.has_manifests(repository):
            return None
        return TagNames(sorted(filter(_is_tag, state.tags)), state.changed.get(TAGS))

    @locked
    def tags_stamp(self, repository: RepoName) -> Stamp | None:
        """Return when a tag was last added or removed; None if there never was one."""
        state = self._state(repository)
        return None if state is None else state.changed.get(TAGS)

    @locked
    def repositories_after(self, name: str) -> Iterator[str]:
        """Return the repositories with manifests behind a name, in lexical order."""
        behind = [other for other in self.memory.repositories if other > name]
        names = [other for other in sorted(behind) if _is_repository(other)]
        return iter([other for other in names if self.has_manifests(RepoName(other))])


def _is_tag(name: str) -> bool:
    try:
        Tag(name)
    except InvalidName:
        return False
    return True


def _is_repository(name: str) -> bool:
    try:
        RepoName(name)
    except InvalidName:
        return False
    return True
