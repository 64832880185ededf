"""What is in a storage in memory."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Final

from jettison.errors import InvalidManifest, InvalidName, StorageError
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.manifest_references import References, references_of
from jettison.model.names import RepoName
from jettison.storage.memory.places import MemoryPlaces
from jettison.storage.memory.repository import MemoryLinks, MemoryRepository
from jettison.storage.memory.state import CONTENT, Memory, group_of, idle_drafts, locked
from jettison.storage.protocol import (
    Absence,
    Blob,
    EmptyBlob,
    Features,
    LinkKind,
    Problem,
    Repositories,
    Stamp,
)

__all__ = ["MemoryScanning"]

LARGEST_MANIFEST: Final = 64 * 1024 * 1024
"""In bytes; what is larger is no manifest."""


class MemoryScanning:
    """Looks into a memory (:class:`~jettison.storage.protocol.Scanning`)."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.absence = Absence.NOTHING

    @property
    def location(self) -> str:
        """The name that it was given."""
        return self.memory.location

    @property
    def features(self) -> Features:
        """All but one: how much room is left is not known."""
        return Features(capacity=False)

    @property
    def places(self) -> MemoryPlaces:
        """The names of places in it."""
        return self.memory.places

    # Repositories.

    def look_again(self) -> None:
        """Do nothing: all is answered as it is."""

    @locked
    def scan_repositories(self) -> Repositories:
        """Return all repositories."""
        found = Repositories([], [], [], list(self.memory.problems))
        for name, state in sorted(self.memory.repositories.items()):
            if not state.changed:
                if self.memory.is_empty_name(name):
                    found.empty.append(name)
                continue
            try:
                found.names.append(RepoName(name))
            except InvalidName:
                found.misnamed.append(name)
        return found

    def repositories(self) -> list[RepoName]:
        """Return the names of all repositories, sorted."""
        return self.scan_repositories().names

    def repository(self, name: str) -> MemoryRepository:
        """Look into a repository."""
        return MemoryRepository(self.memory, name)

    def unseen_uploads(self) -> str | None:
        """Return None: all that there is of an upload is listed."""
        return None

    @locked
    def has_repository(self, name: str) -> bool:
        """Whether there is a repository of this name; a name above others is none."""
        state = self.memory.repositories.get(name)
        return state is not None and bool(state.changed)

    @locked
    def name_stamp(self, name: str) -> Stamp | None:
        """Return when something was last made or removed under a name of repositories."""
        state = self.memory.repositories.get(name)
        return None if state is None else max([state.made, *state.changed.values()])

    @locked
    def changes_each(self, names: Sequence[str], kind: LinkKind) -> list[tuple[Stamp, ...]]:
        """Return what :meth:`MemoryRepository.changes` says of each repository."""
        return [self.repository(name).changes(kind) for name in names]

    @locked
    def are_linked(self, kind: LinkKind, pairs: Sequence[tuple[str, BinaryDigest]]) -> list[bool]:
        """Tell of each repository and digest whether there is a link of that kind."""
        links = (MemoryLinks(self.memory, name, kind).stamp(digest) for name, digest in pairs)
        return [stamp is not None for stamp in links]

    # Blobs.

    @locked
    def blob_groups(self, problems: list[Problem] | None = None) -> list[str]:  # noqa: ARG002 - all are sound
        """Return the groups of blobs, sorted."""
        return sorted(set(map(group_of, self.memory.blobs)))

    @locked
    def blobs_in(self, group: str, problems: list[Problem] | None = None) -> list[BinaryDigest]:  # noqa: ARG002 - all are sound
        """Return the blobs that have a place in a group, sorted."""
        return sorted(digest for digest in self.memory.blobs if group_of(digest) == group)

    @locked
    def group_change(self, group: str) -> int:
        """Return how often a place was made or removed in a group."""
        return self.memory.blob_changes.get(group, 0)

    @locked
    def changed_blob_groups(self, seen: dict[str, int]) -> Iterator[tuple[str, list[BinaryDigest]]]:
        """Return the groups in which a blob was made or removed since the last call."""
        changed = []
        for group in self.blob_groups():
            changes = self.group_change(group)
            if seen.get(group) != changes:
                seen[group] = changes
                changed.append((group, self.blobs_in(group)))
        return iter(changed)

    @locked
    def blob(self, digest: BinaryDigest) -> Blob | None:
        """Return a blob's size and time, or None if there is none."""
        found = self.memory.blob(digest)
        if found is None:
            return None
        return Blob(digest, len(found.content), found.stamp, found.arrived)

    @locked
    def blobs_each(self, digests: Sequence[BinaryDigest]) -> list[Blob | None]:
        """Return the size and time of each blob."""
        return list(map(self.blob, digests))

    @locked
    def sizes_each(
        self,
        digests: Sequence[BinaryDigest],
        *,
        readable: bool = False,  # noqa: ARG002 - all are
    ) -> list[int | None]:
        """Return the size of each blob."""
        return [None if blob is None else blob.size for blob in self.blobs_each(digests)]

    @locked
    def blobs(self) -> Iterator[Blob]:
        """Return every blob with its size and time."""
        found = map(self.blob, sorted(self.memory.blobs))
        return iter([blob for blob in found if blob is not None])

    @locked
    def empty_blob(self, digest: BinaryDigest, before: Stamp) -> EmptyBlob | None:
        """Look at the place of a blob: temporary files, and whether it can go (idle ``before``)."""
        slot = self.memory.blobs.get(digest)
        if slot is None:
            return None
        left = idle_drafts(slot, self.places.blob(Digest.from_binary(digest)), before)
        drafts = [file.content for file in slot.drafts().values() if file.content]
        idle = len(left) == len(slot.files) and slot.changed <= before
        return EmptyBlob(left, idle, drafts)

    @locked
    def manifests(
        self, digests: Sequence[BinaryDigest]
    ) -> Iterator[tuple[BinaryDigest, References]]:
        """Return what manifests reference, those that are whole and understood."""
        found = []
        for digest, raw in self.whole_manifests(digests):
            with contextlib.suppress(InvalidManifest):
                references = references_of(raw)
                if references.edges is not None:
                    found.append((digest, references))
        return iter(found)

    @locked
    def whole_manifests(
        self, digests: Sequence[BinaryDigest]
    ) -> Iterator[tuple[BinaryDigest, bytes]]:
        """Return the bytes of manifests that have the digest asked for."""
        found = []
        for digest in digests:
            slot = self.memory.blobs.get(digest)
            file = None if slot is None else slot.files.get(CONTENT)
            if file is not None and Digest.from_binary(digest).matches(file.content):
                found.append((digest, file.content))
        return iter(found)

    @locked
    def read_manifest(self, digest: BinaryDigest) -> bytes | None:
        """Return a manifest's bytes, whatever they are and though they lie aside, or None."""
        found = self.memory.blob(digest) or self.memory.aside.get(digest)
        if found is not None and len(found.content) > LARGEST_MANIFEST:
            place = self.places.blob(Digest.from_binary(digest))
            raise StorageError(f"{self.location}/{place} is too large for a manifest")
        return None if found is None else found.content

    def read_blob(self, digest: BinaryDigest, chunk: int = 256 * 1024) -> Iterator[bytes]:
        """Yield a blob's bytes in pieces of ``chunk`` bytes; nothing if there is no such blob."""
        with self.memory.lock:
            slot = self.memory.blobs.get(digest)
            found = None if slot is None else slot.files.get(CONTENT)
        if found is not None:
            for first in range(0, len(found.content), chunk):
                yield found.content[first : first + chunk]

    def keeps_removed(self) -> bool:
        """Whether what is removed stays, hidden: no."""
        return False

    def free_bytes(self) -> None:
        """Return None: it is not known."""
