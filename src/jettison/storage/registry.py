"""A storage as a :class:`~jettison.registry.Registry`: the same protocol, without a server."""

import hashlib
import time
from collections.abc import AsyncIterator, Container, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from jettison.errors import InvalidManifest, NotFoundError, StorageError, VerificationFailed
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.manifest import Descriptor, Manifest, parse_manifest
from jettison.model.names import RepoName, Tag
from jettison.model.retention.evidence import Evidence
from jettison.model.retention.pulls import KnownPulls, with_pulls
from jettison.model.snapshot import RepositorySnapshot
from jettison.registry import Capabilities, Deletion, RawManifest
from jettison.storage.evidence import read_evidence
from jettison.storage.protocol import Blob, LinkKind, Problem, Storage
from jettison.storage.pulls import read_book
from jettison.storage.snapshots import (
    UNKNOWN_TYPE,
    broken_link,
    no_repository,
    read_snapshot,
)
from jettison.storage.tag_index import TagIndexes

__all__ = ["StorageRegistry", "blob_sizes"]

_PULLS_SECONDS: Final = 60.0


def blob_sizes(storage: Storage) -> Iterator[tuple[BinaryDigest, int]]:
    """Yield every blob with its size in bytes, manifests included, linked or not."""
    for group in storage.blob_groups():
        digests = storage.blobs_in(group)
        for digest, size in zip(digests, storage.sizes_each(digests), strict=True):
            if size is not None:
                yield digest, size


class StorageRegistry:
    """The registry of a ``storage``.

    It shows what a registry serves: a manifest only if its repository has a revision link, a blob
    only if it has a layer link. Referrers are read once for each repository, and again after a
    write through this object. ``trust_times``: the times of pushes count even if they look like
    those of a copy.
    """

    def __init__(self, storage: Storage, *, trust_times: bool = False) -> None:
        self.storage = storage
        self._trust_times = trust_times
        self._referrers: dict[RepoName, dict[Digest, list[Digest]]] = {}
        self._tagged = TagIndexes(storage)
        self._pulls: KnownPulls | None = None
        self._pulls_until = 0.0

    @property
    def name(self) -> str:
        """The path of the storage."""
        return self.storage.location

    @property
    def clock_difference(self) -> None:
        """None: it has no clock of its own."""
        return None

    async def repositories(self) -> AsyncIterator[RepoName]:
        """Yield the names of all repositories, sorted."""
        for name in self.storage.repositories():
            yield name

    async def tags(self, repository: RepoName) -> AsyncIterator[Tag]:
        """Yield all tags, also those whose link is damaged, sorted."""
        self._check(repository)
        with self.storage.repository(repository) as reader:
            found = reader.tags()
        for tag in sorted([*found.current, *found.broken]):
            yield tag

    async def resolve(self, repository: RepoName, tag: Tag) -> Digest | None:
        """Return the digest that the tag points to; a damaged link raises StorageError."""
        with self.storage.repository(repository) as reader:
            found = reader.tag(tag)
        if isinstance(found, Problem):
            raise broken_link(self.storage, found)
        return None if found is None else Digest.from_binary(found)

    async def revisions(self, repository: RepoName) -> list[Digest] | None:
        """Return all manifests of the repository, sorted; damaged links are included."""
        self._check(repository)
        with self.storage.repository(repository) as reader:
            found = reader.revisions()
        return sorted(map(Digest.from_binary, found.damaged | found.linked))

    async def snapshot(self, repository: RepoName) -> RepositorySnapshot | None:
        """Return the tags of a repository, and all manifests that are linked into it."""
        return read_snapshot(self.storage, repository)

    async def evidence(self, repository: RepoName) -> Evidence | None:
        """Return when tags and manifests were pushed, lost their tags, and were pulled.

        Pulls are those of the storage's own book.
        """
        return self.read_evidence(repository)

    def read_evidence(self, repository: RepoName) -> Evidence:
        """Return the same for code without an event loop."""
        found = read_evidence(self.storage, repository, trust_times=self._trust_times)
        pulls = self._read_pulls()
        return found if pulls is None else with_pulls(found, pulls, repository)

    def _read_pulls(self) -> KnownPulls | None:
        """Return what the book of pulls tells, read again once a minute."""
        now = time.time()
        if now >= self._pulls_until:
            self._pulls = read_book(self.storage, now)
            self._pulls_until = now + _PULLS_SECONDS
        return self._pulls

    async def manifest(self, repository: RepoName, reference: Tag | Digest) -> RawManifest | None:
        """Return a manifest that is linked into the repository.

        Its type is the one in its body, or the one that its members show.
        """
        if isinstance(reference, Digest):
            digest: Digest | None = reference
        else:
            digest = await self.resolve(repository, reference)
        if digest is None:
            return None
        with (
            self.storage.repository(repository) as reader,
            reader.links(LinkKind.REVISION) as links,
        ):
            if links.stamp(digest.binary) is None:
                return None
        raw = self.storage.read_manifest(digest.binary)
        if raw is None:
            return None
        if not digest.matches(raw):
            message = f"{repository}@{digest} is damaged: its {len(raw)} bytes have another digest"
            raise InvalidManifest(message, hint="Push it again.")
        parsed = _parse(raw)
        return RawManifest(digest, (parsed and parsed.media_type) or UNKNOWN_TYPE, raw)

    async def referrers(self, repository: RepoName, digest: Digest) -> list[Digest] | None:
        """Return the manifests whose ``subject`` is ``digest``, sorted."""
        known = self._referrers.get(repository)
        if known is None:
            known = {}
            with self.storage.repository(repository) as reader:
                linked = sorted(reader.revisions().linked)
            for revision in linked:
                raw = self.storage.read_manifest(revision)
                parsed = _parse(raw) if raw else None
                if parsed is not None and parsed.subject is not None:
                    known.setdefault(parsed.subject, []).append(Digest.from_binary(revision))
            self._referrers[repository] = known
        return list(known.get(digest, ()))

    async def blob_size(self, repository: RepoName, digest: Digest) -> int | None:
        """Return the size in bytes of a blob that is linked into the repository."""
        blob = self._linked(repository, digest)
        return None if blob is None else blob.size

    async def blob_sizes(self) -> dict[Digest, int] | None:
        """Return the size in bytes of every blob file, linked or not, manifests included."""
        return {Digest.from_binary(digest): size for digest, size in blob_sizes(self.storage)}

    async def has_blob(
        self, repository: RepoName, digest: Digest, *, size: int | None = None
    ) -> bool:
        """Whether the blob is linked, has that size, and its first bytes can be read."""
        blob = self._linked(repository, digest)
        if blob is None or size not in {None, blob.size}:
            return False
        return blob.size == 0 or any(self.storage.read_blob(blob.digest, 1))

    async def sound_blobs(
        self, repository: RepoName, sizes: Mapping[Digest, int | None]
    ) -> AbstractSet[Digest]:
        """Return the blobs whose link and first bytes can be read, and whose size is right."""
        wanted = {digest.binary: digest for digest in sizes}
        with self.storage.repository(repository) as reader:
            linked = sorted(reader.sound_links(LinkKind.LAYER, list(wanted)))
        found = zip(linked, self.storage.sizes_each(linked, readable=True), strict=True)
        return {
            wanted[digest]
            for digest, size in found
            if size is not None and sizes[wanted[digest]] in {None, size}
        }

    async def read_blob(
        self, repository: RepoName, digest: Digest, *, size: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the blob's bytes; raise VerificationFailed if they differ or are too many."""
        blob = self._linked(repository, digest)
        if blob is None:
            message = f"{self.name}: {repository} has no blob {digest}"
            raise NotFoundError(message)
        if size is not None and blob.size > size:
            message = (
                f"{self.name}: blob {digest} has {blob.size:,} bytes, and should have {size:,}"
            )
            raise VerificationFailed(message)
        computed = hashlib.new(digest.algorithm)
        for chunk in self.storage.read_blob(blob.digest):
            computed.update(chunk)
            yield chunk
        if computed.hexdigest() != digest.hex:
            message = f"{self.name}: blob {digest} is damaged, its bytes have another digest"
            raise VerificationFailed(message, hint="Push it again.")

    async def put_blob(
        self, repository: RepoName, digest: Digest, chunks: AsyncIterator[bytes]
    ) -> None:
        """Store a blob and link it; VerificationFailed for a wrong digest."""
        with self.storage.new_blob(repository, digest) as draft:
            async for chunk in chunks:
                draft.write(chunk)
            draft.commit()

    async def put_manifest(
        self,
        repository: RepoName,
        reference: Tag | Digest,
        manifest: RawManifest,
        *,
        lacking: Container[Digest] = (),
    ) -> None:
        """Store a manifest under a tag or its digest.

        Everything that it references is touched first, so that no sweep beside it takes it
        (decision 0003). Raises :class:`~jettison.errors.StorageError` if one has taken it already.
        Digests in ``lacking`` may be absent: an undo restores an image as incomplete as it was.
        """
        if isinstance(reference, Digest) and reference != manifest.digest:
            message = f"manifest {manifest.digest} cannot be stored as {reference}"
            raise VerificationFailed(message)
        parsed = _parse(manifest.raw)
        tags = () if isinstance(reference, Digest) else (reference,)
        self._referrers.pop(repository, None)
        with self.storage.writing(repository, make=True):
            for one in () if parsed is None else self._missing(repository, parsed):
                if one.digest not in lacking and one.distributable:
                    message = f"{repository}: {one.digest} is not there any more"
                    raise StorageError(message, hint="It was collected just now; use a backup.")
            self.storage.put_manifest(repository, manifest.digest, manifest.raw, tags)

    def _missing(self, repository: RepoName, manifest: Manifest) -> Iterator[Descriptor]:
        """Touch all that a manifest needs; yield what is not there."""
        serving = self.storage.serving()
        for blob in manifest.blobs:
            if not serving.touch_layer(repository, blob.digest):
                yield blob
        for child in manifest.children:
            if not serving.touch_revision(repository, child.digest):
                yield child

    async def untag(self, repository: RepoName, tag: Tag, expected: Digest | None = None) -> bool:
        """Remove a tag and nothing else."""
        with self.storage.writing(repository):
            return self.storage.untag(repository, tag, expected)

    async def delete_manifest(
        self, repository: RepoName, digest: Digest, only: AbstractSet[Tag] | None = None
    ) -> bool:
        """Remove a manifest, and every tag of the repository that points to it."""
        self._referrers.pop(repository, None)
        with self.storage.writing(repository):
            return self.storage.delete_revision(
                repository, digest, only, self._tagged.of(repository)
            )

    async def capabilities(self, repository: RepoName | None = None) -> Capabilities:  # noqa: ARG002 - the protocol's
        """Return the capabilities: all, if this process may write."""
        return Capabilities(
            Deletion.ENABLED if self.storage.writable else Deletion.READ_ONLY,
            "storage tree",
            "storage",
            untag=True,
            referrers=True,
            paging=False,
            catalog=True,
            conditional=True,
        )

    async def aclose(self) -> None:
        """Do nothing: nothing is held open."""

    def _linked(self, repository: RepoName, digest: Digest) -> Blob | None:
        """Return the blob that the repository's link of this digest leads to."""
        with self.storage.repository(repository) as reader:
            target = reader.layer_target(digest.binary)
        return self.storage.blob(target) if isinstance(target, bytes) else None

    def _check(self, repository: RepoName) -> None:
        if not self.storage.has_repository(repository):
            raise no_repository(self.storage, repository)


def _parse(raw: bytes) -> Manifest | None:
    try:
        return parse_manifest(raw)
    except InvalidManifest:
        return None
