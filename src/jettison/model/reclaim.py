"""Who needs which bytes, and what a removal frees: exact, for any set of removals.

A blob lies in a registry once, however many repositories link it. It is freed when the last
manifest that references it, in any repository, is gone; a manifest's own bytes are such a blob.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Set as AbstractSet

import msgspec

from jettison.model.digest import Digest
from jettison.model.graph import edges_of, reach
from jettison.model.manifest import Manifest, referenced_digest
from jettison.model.plan import Estimate, Freed, Shared
from jettison.model.reference import RepoName
from jettison.model.snapshot import Node, RepositorySnapshot, Snapshot

__all__ = ["Ledger", "Weight"]

_SHOWN_HOLDERS = 5


class Weight(msgspec.Struct, frozen=True):
    """What a manifest, with all that it lists, weighs, in bytes.

    ``size`` is everything it references; ``exclusive`` what removing it alone would free.
    """

    size: int
    exclusive: int


class Ledger:
    """The references of a whole snapshot, counted once; every question after that is cheap."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._sizes: dict[Digest, int] = dict(snapshot.sizes)
        self._holders: defaultdict[Digest, list[Node]] = defaultdict(list)
        for repository in snapshot.repositories.values():
            self._count(repository)
        self._owners: dict[RepoName, dict[Digest, Digest | None]] = {}
        self._names: dict[RepoName, dict[Digest, str]] = {}
        self._weak: dict[RepoName, dict[Digest, list[Digest]]] = {}

    def _count(self, repository: RepositorySnapshot) -> None:
        blind = set(repository.unreadable)
        seen: set[Digest] = set()
        for digest, manifest in repository.manifests.items():
            node = (repository.name, digest)
            self._size(digest, manifest.size)
            self._holders[digest].append(node)
            for blob in {blob.digest: blob for blob in manifest.blobs}.values():
                self._size(blob.digest, blob.size or 0)
                self._holders[blob.digest].append(node)
                seen.add(blob.digest)
            if edges_of(manifest) is None:
                blind.add(digest)
        # What cannot be understood holds whatever lies in its repository (design.md, rule 2).
        for digest in blind:
            node = (repository.name, digest)
            for held in (seen | set(repository.manifests)) - {digest}:
                self._holders[held].append(node)
            if digest in repository.unreadable:
                self._holders[digest].append(node)

    def _size(self, digest: Digest, size: int) -> None:
        # What was measured is the truth, and what a storage does not list takes no room.
        # Descriptors may lie; the larger of two is the one that is never too low.
        if not self.snapshot.stored and digest not in self.snapshot.sizes:
            self._sizes[digest] = max(size, self._sizes.get(digest, 0))

    def size_of(self, digest: Digest) -> int:
        """Return the bytes that a blob or manifest takes."""
        return self._sizes.get(digest, 0)

    def holders_of(self, digest: Digest) -> list[Node]:
        """Return the manifests that reference a blob, in all repositories."""
        return self._holders.get(digest, [])

    def estimate(self, removed: AbstractSet[Node]) -> Estimate:
        """Return what becomes garbage when all of ``removed`` goes, and what does not and why."""
        freed: list[Freed] = []
        shared: list[Shared] = []
        together = 0
        for digest in sorted(self._referenced(removed)):
            size = self.size_of(digest)
            left = [node for node in self._holders[digest] if node not in removed]
            if left:
                names = sorted({self.name(node) for node in left})
                shared.append(Shared(digest, size, tuple(names[:_SHOWN_HOLDERS]), len(names)))
                continue
            if self.snapshot.stored and digest not in self._sizes:
                continue
            freed.append(Freed(digest, size))
            if self._owner(digest) is None:
                together += size
        return Estimate(
            tuple(freed),
            tuple(shared),
            sum(item.size for item in freed),
            sum(item.size for item in shared),
            together,
            self.snapshot.unknown,
        )

    def _referenced(self, nodes: Iterable[Node]) -> set[Digest]:
        found = set()
        for repository, digest in nodes:
            found.add(digest)
            manifest = self.snapshot.repositories[repository].manifests.get(digest)
            if manifest is not None:
                found.update(blob.digest for blob in manifest.blobs)
        return found

    # Ownership: the one image whose removal alone would take a manifest along.

    def _owner(self, blob: Digest) -> Node | None:
        """Return the one image that a blob hangs on, or None if there are several."""
        owners = {
            (repository, self.owners(repository).get(digest))
            for repository, digest in self._holders[blob]
        }
        if len(owners) != 1:
            return None
        repository, digest = owners.pop()
        return None if digest is None else (repository, digest)

    def owners(self, repository: RepoName) -> Mapping[Digest, Digest | None]:
        """Return, for each manifest, the only root that keeps it, or None if several do.

        Roots are tagged digests, and untagged manifests that nothing lists. Referrers hang on
        their subject, unless they have a tag of their own.
        """
        found = self._owners.get(repository)
        if found is None:
            found = self._owners[repository] = self._find_owners(repository)
        return found

    def _find_owners(self, name: RepoName) -> dict[Digest, Digest | None]:
        repository = self.snapshot.repositories[name]
        weak = self.referrers(name)
        known = repository.manifests
        strong = {
            digest
            for tag, digest in repository.tags.items()
            if (subject := referenced_digest(tag)) is None or subject not in known
        }
        owners: dict[Digest, Digest | None] = {}

        def claim(root: Digest) -> None:
            for digest in reach([root], repository.edges, weak).manifests:
                owners[digest] = root if digest not in owners else None

        for root in sorted(strong):
            claim(root)
        # Untagged: those that nobody lists are roots too; a cycle of subjects has no such one.
        listed = {child.digest for manifest in known.values() for child in manifest.children}
        hanging = {referrer for subject, found in weak.items() if subject in known for referrer in found}
        loose = [digest for digest in known if digest not in owners]
        for root in sorted(d for d in loose if d not in listed and d not in hanging):
            claim(root)
        for root in sorted(loose):
            if root not in owners:
                claim(root)
        return owners

    def referrers(self, repository: RepoName) -> Mapping[Digest, list[Digest]]:
        """Return, by subject, the manifests of a repository that live with it."""
        found = self._weak.get(repository)
        if found is None:
            found = self._weak[repository] = self.snapshot.repositories[repository].referrers()
        return found

    def weights(self, repository: RepoName) -> dict[Digest, Weight]:
        """Return the weight of every tagged digest of a repository."""
        snapshot = self.snapshot.repositories[repository]
        exclusive: defaultdict[Digest, int] = defaultdict(int)
        candidates = self._referenced((repository, digest) for digest in snapshot.manifests)
        for blob in candidates:
            owner = self._owner(blob)
            if owner is not None and owner[0] == repository:
                exclusive[owner[1]] += self.size_of(blob)
        owners = self.owners(repository)
        for digest in set(snapshot.tags.values()):
            if owners.get(digest, digest) not in {digest, None}:
                # It hangs on a subject that has the bytes in its own figure; this is the part
                # that goes when it alone does.
                found = reach([digest], snapshot.edges, {}).manifests
                mine = {(repository, d) for d in found if owners.get(d) == owners[digest]}
                exclusive[digest] = self.estimate(mine).freed_bytes
        return {
            digest: Weight(self._total(snapshot, digest), exclusive[digest])
            for digest in set(snapshot.tags.values())
        }

    def _total(self, repository: RepositorySnapshot, digest: Digest) -> int:
        found = reach([digest], repository.edges, {})
        return sum(map(self.size_of, found.manifests | found.blobs))

    def total(self, keep: Callable[[RepoName], bool] = lambda _: True) -> int:
        """Return the bytes of everything that manifests of those repositories reference."""
        return sum(
            self.size_of(digest)
            for digest, holders in self._holders.items()
            if any(keep(repository) for repository, _ in holders)
        )

    # Names, for people.

    def name(self, node: Node) -> str:
        """Return how a person would call a manifest: by a tag, if need be its index's."""
        repository, digest = node
        names = self._names.get(repository)
        if names is None:
            names = self._names[repository] = self._find_names(repository)
        return names.get(digest) or f"{repository}@{digest.short} (untagged)"

    def _find_names(self, name: RepoName) -> dict[Digest, str]:
        repository = self.snapshot.repositories[name]
        names: dict[Digest, str] = {}
        # Longer tags first, so that the shortest one is what remains.
        for tag in sorted(repository.tags, key=lambda tag: (-len(tag), tag)):
            names[repository.tags[tag]] = f"{name}:{tag}"
        todo = list(names)
        while todo:
            digest = todo.pop()
            manifest: Manifest | None = repository.manifests.get(digest)
            for child in manifest.children if manifest is not None else ():
                if child.digest not in names:
                    platform = f" ({child.platform})" if child.platform else ""
                    names[child.digest] = names[digest] + platform
                    todo.append(child.digest)
        return names
