"""What a removal in many repositories frees, seeing one repository after the other.

It gives the sums of :meth:`jettison.model.accounting.ByteAccounting.estimate` without a snapshot of
the whole registry: each content takes 44 bytes for each repository that references it. A property
test holds both to the same figures.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from jettison.model.digest import BinaryDigest, Digest
from jettison.model.digest_rows import ROWS, DigestRows
from jettison.model.names import RepoName
from jettison.model.plan import Freed
from jettison.model.snapshot import RepositorySnapshot

__all__ = ["Holder", "RemovalAccounting", "RemovedBytes", "contents_of", "sizes_of_contents"]

_SHOWN_HOLDERS: Final = 5
_LARGEST: Final = (1 << 64) - 1
"""A descriptor may give any size."""


class Holder(msgspec.Struct, frozen=True):
    """A repository in which ``bytes`` of what a removal names stay referenced."""

    repository: RepoName
    bytes: int


class RemovedBytes(msgspec.Struct, frozen=True):
    """What a removal amounts to, in bytes and in contents (blobs and manifests), each once.

    ``freed`` is what nothing references after it, ``shared`` what removed manifests reference and
    what stays. ``holders`` are the repositories in which most of that stays referenced, at most
    five of ``holder_count``; what two of them reference counts for both. ``total_bytes`` is
    everything that the manifests of all repositories reference before it.
    """

    freed: int = 0
    freed_bytes: int = 0
    shared: int = 0
    shared_bytes: int = 0
    total_bytes: int = 0
    holders: tuple[Holder, ...] = ()
    holder_count: int = 0

    @property
    def removed_bytes(self) -> int:
        """The bytes of everything that removed manifests reference."""
        return self.freed_bytes + self.shared_bytes


class RemovalAccounting:
    """The contents of the repositories seen so far, and which of them a removal names."""

    def __init__(self) -> None:
        # With each content, its size, and the number of a repository in which it stays referenced;
        # 0: a manifest that goes references it.
        self._contents = DigestRows("QI")
        self._repositories: list[RepoName] = []

    def add(self, repository: RepositorySnapshot, going: AbstractSet[Digest]) -> None:
        """Count a repository, from which the manifests ``going`` are removed.

        Each repository is added once, also if it loses nothing. What is unreadable or opaque in it,
        and stays, keeps everything that is referenced in it.
        """
        self._repositories.append(repository.name)
        present = repository.manifests.keys() | repository.unreadable
        removed = sizes_of_contents(repository, going)
        kept = sizes_of_contents(repository, present - going)
        if any(repository.lists(digest) is None for digest in present - going):
            kept |= removed
        for digest, size in removed.items():
            self._contents.add(digest.binary, size, 0)
        for digest, size in kept.items():
            self._contents.add(digest.binary, size, len(self._repositories))

    def counted(
        self, sizes: Iterable[tuple[BinaryDigest, int]] = (), *, stored: bool = False
    ) -> tuple[RemovedBytes, tuple[Freed, ...]]:
        """Return what the removal amounts to, all repositories taken together, and what it frees.

        ``sizes`` are sizes in bytes that were measured; descriptors give the others. With
        ``stored`` they are those of every blob in the storage: no other takes room.
        """
        known = DigestRows("Q")
        for digest, size in sizes:
            known.add(digest, size)
        contents: list[Freed] = []
        freed_bytes = shared = shared_bytes = total = 0
        held = [0] * (len(self._repositories) + 1)
        for index in range(ROWS):
            measured: dict[BinaryDigest, int] = dict(known.row(index))
            described: dict[BinaryDigest, int] = {}
            removed: set[BinaryDigest] = set()
            keepers: dict[BinaryDigest, list[int]] = {}
            for digest, size, keeper in self._contents.row(index):
                described[digest] = max(size, described.get(digest, 0))
                if keeper:
                    keepers.setdefault(digest, []).append(keeper)
                else:
                    removed.add(digest)
            for digest, most in described.items():
                size = measured.get(digest, 0 if stored else most)
                total += size
                if digest not in removed:
                    continue
                if digest in keepers:
                    shared += 1
                    shared_bytes += size
                    for keeper in keepers[digest]:
                        held[keeper] += size
                elif not stored or digest in measured:
                    contents.append(Freed(Digest.from_binary(digest), size))
                    freed_bytes += size
        holders = [
            Holder(name, count)
            for name, count in zip(self._repositories, held[1:], strict=True)
            if count
        ]
        holders.sort(key=lambda holder: (-holder.bytes, holder.repository))
        contents.sort(key=lambda content: content.digest)
        counted = RemovedBytes(
            len(contents),
            freed_bytes,
            shared,
            shared_bytes,
            total,
            tuple(holders[:_SHOWN_HOLDERS]),
            len(holders),
        )
        return counted, tuple(contents)


def contents_of(repository: RepositorySnapshot, digests: Iterable[Digest]) -> AbstractSet[Digest]:
    """Return all content that manifests of a repository reference, themselves too."""
    return sizes_of_contents(repository, digests).keys()


def sizes_of_contents(
    repository: RepositorySnapshot, digests: Iterable[Digest]
) -> dict[Digest, int]:
    """Return all content that these manifests reference, themselves too, and its size.

    Descriptors may lie; the largest size is the one that is never too low.
    """
    found: dict[Digest, int] = {}
    for digest in digests:
        manifest = repository.manifests.get(digest)
        if manifest is None:
            found.setdefault(digest, 0)
            continue
        found[digest] = max(manifest.size, found.get(digest, 0))
        for blob in manifest.blobs:
            size = min(blob.size or 0, _LARGEST)
            found[blob.digest] = max(size, found.get(blob.digest, 0))
    return found
