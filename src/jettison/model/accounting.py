"""Which manifests need which bytes, and what a removal frees: exact, for any set of removals.

A registry stores a blob once, however many repositories link it. The blob is freed when the last
manifest that references it, in any repository, is gone. A manifest's own bytes are such a blob.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import islice

import msgspec

from jettison.model.digest import Digest
from jettison.model.graph import edges_of, reach
from jettison.model.manifest import Manifest, referenced_digest
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Estimate, Freed, Shared
from jettison.model.snapshot import Node, RepositorySnapshot, Snapshot
from jettison.model.traversal import postorder

__all__ = ["ByteAccounting", "ImageSize"]

_SHOWN_HOLDERS = 5


class ImageSize(msgspec.Struct, frozen=True):
    """The size of a manifest with everything that it lists, in bytes.

    ``size`` counts everything it references, ``exclusive`` what removing it alone would free.
    """

    size: int
    exclusive: int


class _Owners:
    """The root that alone keeps a manifest or a blob; found for a repository on first use."""

    def __init__(
        self,
        find: Callable[[RepoName], dict[Digest, Digest | None]],
        blind: Mapping[RepoName, list[Node]],
    ) -> None:
        self._find = find
        self._blind = blind
        self._found: dict[RepoName, dict[Digest, Digest | None]] = {}
        self._blind_owners: dict[RepoName, set[tuple[RepoName, Digest | None]]] = {}

    def owners(self, repository: RepoName) -> dict[Digest, Digest | None]:
        found = self._found.get(repository)
        if found is None:
            found = self._found[repository] = self._find(repository)
        return found

    def owner(self, holders: Iterable[Node]) -> Node | None:
        """Return the one root that keeps all of these, or None if there are several."""
        owners = {(name, self.owners(name).get(digest)) for name, digest in holders}
        for repository in {name for name, _ in owners}:
            owners |= self._owners_of_blind(repository)
        if len(owners) != 1:
            return None
        repository, digest = owners.pop()
        return None if digest is None else (repository, digest)

    def _owners_of_blind(self, repository: RepoName) -> set[tuple[RepoName, Digest | None]]:
        found = self._blind_owners.get(repository)
        if found is None:
            nodes = self._blind.get(repository, ())
            owners = {(name, self.owners(name).get(digest)) for name, digest in nodes}
            # Two are as many as a thousand: there is no single one.
            found = self._blind_owners[repository] = set(islice(owners, 2))
        return found


class ByteAccounting:
    """The references of a whole snapshot, counted once; every question after that is cheap."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._sizes: dict[Digest, int] = dict(snapshot.sizes)
        self._holders: defaultdict[Digest, list[Node]] = defaultdict(list)
        # What cannot be understood holds everything in its repository (decision 0002).
        self._blind: dict[RepoName, list[Node]] = {}
        for repository in snapshot.repositories.values():
            self._count(repository)
        self._claims = _Owners(self._find_owners, self._blind)
        self._names: dict[RepoName, dict[Digest, str]] = {}
        self._weak: dict[RepoName, dict[Digest, list[Digest]]] = {}
        self._tags: dict[RepoName, dict[Digest, list[Tag]]] = {}

    def _count(self, repository: RepositorySnapshot) -> None:
        blind = sorted(repository.unreadable)
        for digest, manifest in repository.manifests.items():
            node = (repository.name, digest)
            self._size(digest, manifest.size)
            for blob in manifest.blobs:
                self._size(blob.digest, blob.size or 0)
            for held in {digest, *(blob.digest for blob in manifest.blobs)}:
                self._holders[held].append(node)
            if edges_of(manifest) is None:
                blind.append(digest)
        for digest in repository.unreadable:
            self._holders[digest].append((repository.name, digest))
        if blind:
            self._blind[repository.name] = [(repository.name, digest) for digest in blind]

    def _size(self, digest: Digest, size: int) -> None:
        # A measured size is the truth, and a blob that a storage does not list takes no room.
        # Descriptors may lie; the larger of two is the one that is never too low.
        if not self.snapshot.stored and digest not in self.snapshot.sizes:
            self._sizes[digest] = max(size, self._sizes.get(digest, 0))

    def size_of(self, digest: Digest) -> int:
        """Return the bytes that a blob or manifest takes."""
        return self._sizes.get(digest, 0)

    def holders_of(self, digest: Digest) -> list[Node]:
        """Return the manifests that reference a blob, in all repositories."""
        return self._holding(digest, self._blind)

    def _holding(self, digest: Digest, blind: Mapping[RepoName, list[Node]]) -> list[Node]:
        nodes = self._holders.get(digest, [])
        if not blind:
            return nodes
        repositories = dict.fromkeys(repository for repository, _ in nodes)
        more = [node for repository in repositories for node in blind.get(repository, ())]
        return list(dict.fromkeys([*nodes, *more]))

    def estimate(self, removed: AbstractSet[Node]) -> Estimate:
        """Return what becomes garbage when all of ``removed`` goes, and what stays and why."""
        freed: list[Freed] = []
        shared: list[Shared] = []
        together = 0
        claims = self._claims_within(removed)
        blind = {
            repository: [node for node in nodes if node not in removed]
            for repository, nodes in self._blind.items()
        }
        for digest in sorted(self._referenced(removed)):
            size = self.size_of(digest)
            left = [node for node in self._holding(digest, blind) if node not in removed]
            if left:
                names = sorted({self.name(node) for node in left})
                shared.append(Shared(digest, size, tuple(names[:_SHOWN_HOLDERS]), len(names)))
                continue
            if self.snapshot.stored and digest not in self._sizes:
                continue
            freed.append(Freed(digest, size))
            if claims.owner(self._holders[digest]) is None:
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

    def owners(self, repository: RepoName) -> Mapping[Digest, Digest | None]:
        """Return, for each manifest, the only root that keeps it, or None if several do.

        Roots are tagged digests, and untagged manifests that nothing lists. A subject keeps its
        referrers, unless they have a tag of their own.
        """
        return self._claims.owners(repository)

    def _claims_within(self, removed: AbstractSet[Node]) -> "_Owners":
        """Return the owners among the removed: what stays does not matter for what is freed."""
        within: defaultdict[RepoName, set[Digest]] = defaultdict(set)
        blind: defaultdict[RepoName, list[Node]] = defaultdict(list)
        for repository, digest in removed:
            within[repository].add(digest)
            if self.snapshot.repositories[repository].edges(digest) is None:
                blind[repository].append((repository, digest))
        return _Owners(lambda name: self._find_owners(name, within[name]), blind)

    def _find_owners(
        self, name: RepoName, within: AbstractSet[Digest] | None = None
    ) -> dict[Digest, Digest | None]:
        repository = self.snapshot.repositories[name]
        weak, tags_of = self.referrers(name), self._tags_of(name)
        if within is None:
            within = repository.manifests.keys() | repository.unreadable
        listed = _listed_by(repository, within)
        hanging = {referrer for subject in within | listed for referrer in weak.get(subject, ())}

        def is_strong(tag: Tag) -> bool:
            subject = referenced_digest(tag)
            if subject is None:
                return True
            # What is listed and stays keeps its signature; what is listed and absent does not.
            absent = subject in listed and not _is_there(repository, subject)
            return subject not in within and not absent

        owners: dict[Digest, Digest | None] = {}
        # Not entered: what is there but out of consideration, and what is known to have several
        # owners, for then so has all that it reaches. That keeps this linear.
        skip = {d for d in (listed | hanging) - within if _is_there(repository, d)}

        def claim(root: Digest) -> None:
            for digest in reach([root], repository.edges, weak, skip).manifests:
                if digest in owners:
                    owners[digest] = None
                    skip.add(digest)
                else:
                    owners[digest] = root

        for root in sorted(d for d in within if any(map(is_strong, tags_of.get(d, ())))):
            claim(root)
        # Untagged: those that nothing leads to are roots too, and one of a cycle of subjects.
        loose = within - owners.keys()
        for root in _from_above(repository, weak, loose):
            if root not in owners:
                claim(root)
        return owners

    def _tags_of(self, repository: RepoName) -> Mapping[Digest, list[Tag]]:
        found = self._tags.get(repository)
        if found is None:
            found = self._tags[repository] = self.snapshot.repositories[repository].tags_of()
        return found

    def referrers(self, repository: RepoName) -> Mapping[Digest, list[Digest]]:
        """Return, by subject, the manifests of a repository that live with it."""
        found = self._weak.get(repository)
        if found is None:
            found = self._weak[repository] = self.snapshot.repositories[repository].referrers()
        return found

    def weights(self, repository: RepoName) -> dict[Digest, ImageSize]:
        """Return the size of every tagged digest of a repository."""
        snapshot = self.snapshot.repositories[repository]
        exclusive: defaultdict[Digest, int] = defaultdict(int)
        present = snapshot.manifests.keys() | snapshot.unreadable
        for blob in self._referenced((repository, digest) for digest in present):
            owner = self._claims.owner(self._holders[blob])
            if owner is not None and owner[0] == repository:
                exclusive[owner[1]] += self.size_of(blob)
        owners = self.owners(repository)
        for digest in set(snapshot.tags.values()):
            if owners.get(digest, digest) not in {digest, None}:
                # It hangs on a subject that has the bytes in its own figure; this is the part
                # that goes when it alone does.
                found = reach([digest], snapshot.edges, {}).manifests
                mine = {(repository, d) for d in found if owners.get(d) == owners[digest]}
                exclusive[digest] = self._freed_bytes(mine)
        return {
            digest: ImageSize(self._total(snapshot, digest), exclusive[digest])
            for digest in set(snapshot.tags.values())
        }

    def _freed_bytes(self, removed: AbstractSet[Node]) -> int:
        """Return the bytes that :meth:`estimate` gives, without looking for holders of the rest."""
        if any(
            node not in removed
            for repository in {repository for repository, _ in removed}
            for node in self._blind.get(repository, ())
        ):
            return 0
        return sum(
            self.size_of(digest)
            for digest in self._referenced(removed)
            if all(node in removed for node in self._holders[digest])
        )

    def _total(self, repository: RepositorySnapshot, digest: Digest) -> int:
        found = reach([digest], repository.edges, {})
        return sum(map(self.size_of, found.manifests | found.blobs))

    def total(self, keep: Callable[[RepoName], bool] = lambda _: True) -> int:
        """Return the bytes of everything that manifests of the kept repositories reference."""
        return sum(
            self.size_of(digest)
            for digest, holders in self._holders.items()
            if any(keep(repository) for repository, _ in holders)
        )

    # Names, for people.

    def name(self, node: Node) -> str:
        """Return a manifest's name for people: by a tag, if need be that of its index."""
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


def _listed_by(repository: RepositorySnapshot, manifests: Iterable[Digest]) -> set[Digest]:
    """Return what these manifests list."""
    found: set[Digest] = set()
    for digest in manifests:
        edges = repository.edges(digest)
        found.update(edges.children if edges is not None else ())
    return found


def _is_there(repository: RepositorySnapshot, digest: Digest) -> bool:
    return digest in repository.manifests or digest in repository.unreadable


def _from_above(
    repository: RepositorySnapshot,
    referrers: Mapping[Digest, list[Digest]],
    within: AbstractSet[Digest],
) -> list[Digest]:
    """Sort manifests so that what leads to another one comes first."""

    def below(digest: Digest) -> list[Digest]:
        edges = repository.edges(digest)
        children = edges.children if edges is not None else ()
        return [d for d in (*children, *referrers.get(digest, ())) if d in within]

    return postorder(sorted(within), below)[::-1]
