"""A registry in memory that keeps to Distribution's rules, and can be killed between two writes."""

from collections.abc import AsyncIterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from jettison.demo.images import Image, Index
from jettison.errors import NotFoundError, UnexpectedResponse, VerificationFailed
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.restoration import needs_of
from jettison.model.retention.evidence import Evidence
from jettison.model.snapshot import RepositorySnapshot
from jettison.registry import Capabilities, Deletion, RawManifest


class Killed(BaseException):
    """The process that writes ends here."""


@dataclass
class Repository:
    tags: dict[Tag, Digest] = field(default_factory=dict)
    manifests: dict[Digest, RawManifest] = field(default_factory=dict)
    blobs: dict[Digest, bytes] = field(default_factory=dict)


class MemoryRegistry:
    """`untag` tells whether DELETE of a tag works. `writes` are counted down; none left: killed.

    `drops_blobs`: as Gitea, a blob goes with the last manifest that needs it.
    """

    name = "memory.test"

    def __init__(
        self, *, untag: bool = True, product: str = "Distribution 3.x", drops_blobs: bool = False
    ) -> None:
        self.found: dict[RepoName, Repository] = {}
        self.writes: int | None = None
        self.sparse = False
        self._untag = untag
        self._product = product
        self._drops_blobs = drops_blobs

    # What tests do to it.

    def push(self, repository: RepoName, tag: str, made: Image | Index) -> Digest:
        here = self.found.setdefault(repository, Repository())
        here.blobs |= {blob.digest: blob.raw for blob in made.blobs()}
        for one in made.manifests():
            here.manifests[one.digest] = RawManifest(one.digest, one.media_type, one.raw)
        here.tags[Tag(tag)] = made.digest
        return made.digest

    def collect(self) -> None:
        """Remove the blobs that no manifest needs."""
        for here in self.found.values():
            needed = {
                blob
                for one in here.manifests.values()
                for blob in needs_of(one.raw, one.media_type).blobs
            }
            here.blobs = {digest: raw for digest, raw in here.blobs.items() if digest in needed}

    def is_whole(self, repository: RepoName, digest: Digest) -> bool:
        here = self.found[repository]
        if digest not in here.manifests:
            return False
        one = here.manifests[digest]
        needs = needs_of(one.raw, one.media_type)
        return needs.blobs.keys() <= here.blobs.keys() and all(
            self.is_whole(repository, child) for child in needs.children
        )

    def _write(self) -> None:
        if self.writes is not None:
            if self.writes == 0:
                raise Killed
            self.writes -= 1

    # The protocol.

    @property
    def clock_difference(self) -> float | None:
        return None

    async def repositories(self) -> AsyncIterator[RepoName]:
        for name in self.found:
            yield name

    async def tags(self, repository: RepoName) -> AsyncIterator[Tag]:
        if repository not in self.found:
            raise NotFoundError(f"there is no repository {repository}")
        for tag in list(self.found[repository].tags):
            yield tag

    async def resolve(self, repository: RepoName, tag: Tag) -> Digest | None:
        return self._at(repository).tags.get(tag)

    async def revisions(self, repository: RepoName) -> list[Digest] | None:  # noqa: ARG002 - the protocol's
        return None

    async def sound_blobs(
        self,
        repository: RepoName,  # noqa: ARG002 - the protocol's
        sizes: Mapping[Digest, int | None],  # noqa: ARG002 - the protocol's
    ) -> AbstractSet[Digest]:
        return frozenset()

    async def snapshot(self, repository: RepoName) -> RepositorySnapshot | None:  # noqa: ARG002 - the protocol's
        return None

    async def evidence(self, repository: RepoName) -> Evidence | None:  # noqa: ARG002 - as it is asked
        return None

    async def manifest(self, repository: RepoName, reference: Tag | Digest) -> RawManifest | None:
        here = self._at(repository)
        digest = reference if isinstance(reference, Digest) else here.tags.get(reference)
        return None if digest is None else here.manifests.get(digest)

    async def referrers(self, repository: RepoName, digest: Digest) -> list[Digest] | None:  # noqa: ARG002 - the protocol's
        return None

    async def blob_size(self, repository: RepoName, digest: Digest) -> int | None:
        raw = self._at(repository).blobs.get(digest)
        return None if raw is None else len(raw)

    async def blob_sizes(self) -> dict[Digest, int] | None:
        return None

    async def has_blob(
        self, repository: RepoName, digest: Digest, *, size: int | None = None
    ) -> bool:
        found = await self.blob_size(repository, digest)
        return found is not None and size in {None, found}

    async def read_blob(
        self, repository: RepoName, digest: Digest, *, size: int | None = None
    ) -> AsyncIterator[bytes]:
        raw = self._at(repository).blobs.get(digest)
        if raw is None:
            raise NotFoundError(f"there is no blob {digest}")
        if size is not None and len(raw) > size:
            raise VerificationFailed(f"the blob {digest} has more than {size} bytes")
        yield raw

    async def put_blob(
        self, repository: RepoName, digest: Digest, chunks: AsyncIterator[bytes]
    ) -> None:
        raw = b"".join([chunk async for chunk in chunks])
        assert digest.matches(raw)
        self._write()
        self._at(repository).blobs[digest] = raw

    async def put_manifest(
        self, repository: RepoName, reference: Tag | Digest, manifest: RawManifest
    ) -> None:
        assert manifest.digest.matches(manifest.raw)
        here = self._at(repository)
        needs = needs_of(manifest.raw, manifest.media_type)
        present = needs.blobs.keys() <= here.blobs.keys()
        if not present or not (self.sparse or here.manifests.keys() >= set(needs.children)):
            raise UnexpectedResponse(
                f"memory answers PUT of {reference} with MANIFEST_BLOB_UNKNOWN"
            )
        self._write()
        here.manifests[manifest.digest] = manifest
        if not isinstance(reference, Digest):
            here.tags[reference] = manifest.digest

    async def untag(self, repository: RepoName, tag: Tag, expected: Digest | None = None) -> bool:  # noqa: ARG002 - it does not look
        if not self._untag:
            raise UnexpectedResponse("memory cannot remove a tag by itself")
        self._write()
        return self._at(repository).tags.pop(tag, None) is not None

    async def delete_manifest(
        self,
        repository: RepoName,
        digest: Digest,
        only: AbstractSet[Tag] | None = None,  # noqa: ARG002 - it does not look
    ) -> bool:
        self._write()
        here = self._at(repository)
        here.tags = {tag: now for tag, now in here.tags.items() if now != digest}
        gone = here.manifests.pop(digest, None) is not None
        if self._drops_blobs:
            self.collect()
        return gone

    async def capabilities(self, repository: RepoName | None = None) -> Capabilities:  # noqa: ARG002 - the protocol's
        return Capabilities(Deletion.ENABLED, self._product, "none", untag=self._untag)

    async def aclose(self) -> None:
        pass

    def _at(self, repository: RepoName) -> Repository:
        return self.found.setdefault(repository, Repository())
