"""The referrers of manifests, and the indexes that list them, by repository.

The manifests are the truth, and the index only keeps what they say. It is brought up to date by
listing the revisions and reading those that are new, so it is right even if another program has
written them. A large repository has a snapshot in ``jettison/relations/``, which saves reading all
of it after a restart; the snapshot may be removed at any time.
"""

import hashlib
import threading
from collections import defaultdict
from typing import Final

import msgspec

from jettison.errors import InvalidDocument, InvalidManifest, StorageError
from jettison.model import strict_json
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.manifest_references import references_of
from jettison.model.names import RepoName
from jettison.storage.protocol import LinkKind, RepositoryScan, Storage
from jettison.storage.recent import Recent

__all__ = ["ReferrersIndex", "ReferrersIndexes"]

SNAPSHOT_EVERY: Final = 512
"""How many manifests are read before a snapshot is written again."""

_COLLECTION: Final = "relations"
_SNAPSHOT: Final = "_snapshot"
"""No part of a repository's name begins with _, so this cannot be a repository's folder."""

_VERSION: Final = 1
_CHECK_BYTES: Final = 32
_LARGEST: Final = 1 << 30

Pairs = dict[bytes, list[bytes]]


class _Snapshot(msgspec.Struct):
    version: int
    known: list[bytes]
    listed: Pairs
    subjects: Pairs


class ReferrersIndex:
    """The relations of one repository; safe to use from several threads."""

    def __init__(self, storage: Storage, repository: RepoName, *, save: bool = True) -> None:
        self._storage = storage
        self._documents = storage.documents(f"{_COLLECTION}/{repository}")
        self._repository = repository
        self._saves = save
        self._lock = threading.Lock()
        self._known: set[BinaryDigest] = set()
        self._listed: defaultdict[BinaryDigest, list[BinaryDigest]] = defaultdict(list)
        self._subjects: defaultdict[BinaryDigest, list[BinaryDigest]] = defaultdict(list)
        self._times: tuple[int, ...] = ()
        self._unread: set[BinaryDigest] = set()
        self._no_manifests: set[BinaryDigest] = set()
        self._unsaved = 0
        self._load()

    def indexes_with(self, child: BinaryDigest) -> list[BinaryDigest]:
        """Return the indexes that are linked into the repository and list ``child``."""
        return self._linked(self._listed, child)

    def unread(self) -> list[BinaryDigest]:
        """Return the manifests that are linked into the repository and cannot be read.

        Their references are unknown. Damaged and missing ones are among them.
        """
        with self._lock, self._storage.repository(self._repository) as reader:
            self._refresh(reader)
            with reader.links(LinkKind.REVISION) as links:
                unread = self._unread | self._no_manifests
                return sorted(one for one in unread if links.stamp(one) is not None)

    def referrers(self, subject: BinaryDigest) -> list[BinaryDigest]:
        """Return the linked manifests of the repository whose subject is ``subject``."""
        return self._linked(self._subjects, subject)

    def _linked(
        self, relation: defaultdict[BinaryDigest, list[BinaryDigest]], digest: BinaryDigest
    ) -> list[BinaryDigest]:
        with self._lock, self._storage.repository(self._repository) as reader:
            self._refresh(reader)
            found = relation.get(digest)
            if not found:
                return []
            # A DELETE leaves the folder that a revision's link was in.
            with reader.links(LinkKind.REVISION) as links:
                return [one for one in found if links.stamp(one) is not None]

    def _refresh(self, reader: RepositoryScan) -> None:
        times = reader.changes(LinkKind.REVISION)
        if times and times == self._times:
            return
        self._times = times
        self._unread.clear()
        for digest in reader.revision_names():
            if digest not in self._known and digest not in self._no_manifests:
                self._read(digest)
        if self._saves and self._unsaved >= SNAPSHOT_EVERY:
            self._save()

    def _read(self, digest: BinaryDigest) -> None:
        try:
            raw = self._storage.read_manifest(digest)
            if raw is None or not Digest.from_binary(digest).matches(raw):
                # It is being put, was collected, or is damaged: look again next time.
                self._not_read(digest)
                return
            found = references_of(raw)
        except InvalidManifest:
            self._no_manifests.add(digest)  # and never will be: its bytes are right
            return
        except StorageError:
            self._not_read(digest)
            return
        self._known.add(digest)
        self._unsaved += 1
        if found.subject is not None:
            self._subjects[found.subject].append(digest)
        for child in found.edges.children if found.edges is not None else ():
            self._listed[child].append(digest)

    def _not_read(self, digest: BinaryDigest) -> None:
        self._times = ()
        self._unread.add(digest)

    # The snapshot.

    def _load(self) -> None:
        try:
            raw = self._documents.read(_SNAPSHOT, _LARGEST)
        except StorageError:
            return
        packed = (raw or b"")[_CHECK_BYTES:]
        if raw is None or raw[:_CHECK_BYTES] != _check(packed):
            return
        try:
            found = strict_json.unpack(packed, _Snapshot)
        except InvalidDocument:
            return
        if found.version == _VERSION:
            self._known.update(map(BinaryDigest, found.known))
            for relation, pairs in ((self._listed, found.listed), (self._subjects, found.subjects)):
                for key, values in pairs.items():
                    relation[BinaryDigest(key)] = [BinaryDigest(value) for value in values]

    def _save(self) -> None:
        snapshot = _Snapshot(
            _VERSION, list[bytes](self._known), _plain(self._listed), _plain(self._subjects)
        )
        packed = msgspec.msgpack.encode(snapshot)
        try:
            self._documents.write(_SNAPSHOT, _check(packed) + packed)
        except StorageError:
            return  # read-only or full: everything is read again next time
        self._unsaved = 0


def _check(packed: bytes) -> bytes:
    """Return the checksum of a snapshot: a single wrong bit would hide a referrer."""
    return hashlib.sha256(packed).digest()


def _plain(relation: dict[BinaryDigest, list[BinaryDigest]]) -> Pairs:
    return {bytes(key): list[bytes](values) for key, values in relation.items()}


class ReferrersIndexes(Recent[ReferrersIndex]):
    """The relations of the latest repositories; ``save`` lets it write snapshots."""

    def __init__(self, storage: Storage, *, save: bool = True) -> None:
        super().__init__(lambda repository: ReferrersIndex(storage, repository, save=save))
