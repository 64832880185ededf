"""The manifests of one repository, each read once, and what they need."""

import enum
from collections.abc import Iterable
from typing import Final, NamedTuple

from jettison.errors import InvalidManifest, StorageError, StorageUnavailable
from jettison.model.check_report import Remedy, RepairAction
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.graph import Edges
from jettison.model.manifest import parse_manifest
from jettison.model.manifest_references import references_of
from jettison.model.traversal import postorder
from jettison.storage.protocol import Scanning, Stamp

__all__ = ["Manifest", "Manifests", "State"]


class State(enum.Enum):
    """The state of a manifest's bytes."""

    SOUND = enum.auto()
    UNKNOWN = enum.auto()
    """The bytes match the digest, and cannot be understood."""
    UNREADABLE = enum.auto()
    ABSENT = enum.auto()
    DAMAGED = enum.auto()
    UNSETTLED = enum.auto()


_NO_EDGES: Final[Edges[BinaryDigest]] = Edges((), ())


class Manifest(NamedTuple):
    """A manifest: its state, with a reason, and what it references.

    ``pullable``: whether clients can use it, although Jettison does not understand it.
    """

    state: State
    reason: str = ""
    edges: Edges[BinaryDigest] = _NO_EDGES
    pullable: bool = True

    @property
    def is_whole(self) -> bool:
        """Whether its bytes are those that were pushed."""
        return self.state in {State.SOUND, State.UNKNOWN}

    @property
    def is_open(self) -> bool:
        """Whether its bytes are unknown, so that no repair may touch it."""
        return self.state in {State.UNREADABLE, State.UNSETTLED}

    @property
    def is_there(self) -> bool:
        """Whether its bytes may be those that were pushed."""
        return self.is_whole or self.is_open

    @property
    def why_open(self) -> str:
        """The reason why its bytes are unknown."""
        if self.state is State.UNREADABLE:
            return f"it cannot be read here ({self.reason})"
        return "it may still be being written"


class Manifests:
    """Reads manifests, and follows them from ``roots`` to any depth.

    ``order`` has children before parents, ``above`` the indexes that list a manifest, ``needed``
    the manifests that reference a config or layer. Content younger than ``idle`` may still be
    being written.
    """

    def __init__(self, storage: Scanning, idle: Stamp, roots: Iterable[BinaryDigest]) -> None:
        self._storage = storage
        self._idle = idle
        self._known: dict[BinaryDigest, Manifest] = {}
        self.order = postorder(sorted(roots), lambda digest: self[digest].edges.children)
        self._rank = {digest: rank for rank, digest in enumerate(self.order)}
        self.above: dict[BinaryDigest, list[BinaryDigest]] = {}
        self.needed: dict[BinaryDigest, list[BinaryDigest]] = {}
        for digest in self.order:
            edges = self[digest].edges
            for child in edges.children:
                self.above.setdefault(child, []).append(digest)
            for blob in edges.blobs:
                self.needed.setdefault(blob, []).append(digest)

    def __getitem__(self, digest: BinaryDigest) -> Manifest:
        """Return a manifest, reached or not."""
        found = self._known.get(digest)
        if found is None:
            found = self._known[digest] = self._read(digest)
        return found

    @property
    def any_open(self) -> bool:
        """Whether any manifest may need anything."""
        return any(manifest.is_open for manifest in self._known.values())

    def _read(self, digest: BinaryDigest) -> Manifest:
        try:
            raw = self._storage.read_manifest(digest)
        except StorageUnavailable:
            raise
        except StorageError as error:
            return Manifest(State.UNREADABLE, error.message)
        if raw is None:
            return Manifest(State.ABSENT)
        if not Digest.from_binary(digest).matches(raw):
            blob = self._storage.blob(digest)
            young = blob is not None and blob.stamp > self._idle
            return Manifest(State.UNSETTLED if young else State.DAMAGED, f"{len(raw):,} bytes")
        try:
            references = references_of(raw)
        except InvalidManifest as error:
            return Manifest(State.UNKNOWN, error.message, pullable=False)
        if references.edges is None:
            kind = references.media_type or "no known type"
            return Manifest(State.UNKNOWN, f"it is of {kind}")
        return Manifest(State.SOUND, edges=references.edges)

    def wanting(self, digest: BinaryDigest) -> list[BinaryDigest]:
        """Return the manifests that need a blob; layers that may be absent do not count."""
        return [one for one in self.needed.get(digest, ()) if not self._is_foreign(one, digest)]

    def _is_foreign(self, manifest: BinaryDigest, digest: BinaryDigest) -> bool:
        try:
            raw = self._storage.read_manifest(manifest)
            parsed = None if raw is None else parse_manifest(raw)
        except (InvalidManifest, StorageError):
            return False
        same = [one for one in parsed.blobs if one.digest.binary == digest] if parsed else []
        return bool(same) and not any(one.distributable for one in same)

    def link_to(
        self, digest: BinaryDigest, action: RepairAction, place: str, watched: tuple[str, ...] = ()
    ) -> Remedy:
        """Return the remedy that writes a link: children are linked before their indexes."""
        long = Digest.from_binary(digest)
        needs = (self._storage.places.blob(long),)
        return Remedy(action, place, str(long), needs, watched, self._rank.get(digest, 0))
