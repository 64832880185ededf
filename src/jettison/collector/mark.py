"""What lives in one repository of a storage tree.

Each repository is marked for itself and followed to any depth (decision 0001): Distribution
takes a child marked in one repository for done in all, and loses its layers (defect 1). Whatever is
unreadable, malformed or missing protects everything that the repository links (decision 0002):
skipping it, as Distribution does, makes its layers deletable (defects 2 and 3), and stopping at it
frees nothing anywhere (defect 4). tests/e2e/test_defects.py has the defects.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby
from typing import Final, NamedTuple

import msgspec

from jettison.errors import InvalidManifest, InvalidName, StorageError, StorageUnavailable
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.graph import Edges, Reached, reach
from jettison.model.manifest_references import references_of
from jettison.model.names import RepoName, Tag
from jettison.storage.protocol import (
    Absence,
    Layers,
    LinkKind,
    Problem,
    RepositoryScan,
    Revisions,
    Scanning,
    Stamp,
    Tags,
    make_problem,
)

__all__ = [
    "NOTHING_REMOVED",
    "AssumedRemoval",
    "HeldManifest",
    "RepositoryMark",
    "mark_repository",
    "names_sum",
    "without",
]


class HeldManifest(msgspec.Struct, frozen=True):
    """A manifest that run ``run`` removed and that can be brought back until ``until``.

    ``until`` is in seconds since the epoch (UTC); ``raw`` are the manifest's very bytes.
    """

    run: str
    until: float
    repository: RepoName
    digest: Digest
    raw: bytes


class AssumedRemoval(msgspec.Struct, frozen=True):
    """A removal to be treated as done already, to predict what a collection after it would free.

    ``manifests`` are removed as the API does it: with every tag that points to them.
    """

    tags: frozenset[tuple[RepoName, Tag]] = frozenset()
    manifests: frozenset[tuple[RepoName, Digest]] = frozenset()


NOTHING_REMOVED: Final = AssumedRemoval()
_NOTHING_KNOWN: Final = Edges[BinaryDigest]((), ())
_SHA256_BYTES: Final = 32
_SUMS: Final = 2**62


class RepositoryMark(NamedTuple):
    """The mark of one repository; digests of manifests and of blobs alike unless said otherwise.

    ``reached`` is what tags and kept revisions reach, ``held`` what else the undo window of a run
    (its id) reaches, ``protected`` what else is kept because of ``problems``. ``unlinked`` are the
    revisions to go, ``unused`` the names in ``_layers`` that nothing kept uses; both are empty
    where there are problems. ``emptied`` are the folders that a DELETE left of revisions, and
    ``names`` is :func:`names_sum` of all folders of revisions. ``traced`` are the manifests kept
    and what each references, if that was asked for. ``foreign`` is what no registry has made.
    ``untagged`` counts the manifests that are kept and that nothing holds but their link, and
    ``untagged_only`` is what those alone reach.
    """

    reached: set[BinaryDigest]
    held: dict[BinaryDigest, str]
    protected: set[BinaryDigest]
    unlinked: list[BinaryDigest]
    unused: list[BinaryDigest]
    emptied: list[BinaryDigest]
    tags: list[Tag]
    names: int
    problems: list[Problem]
    traced: list[tuple[BinaryDigest, list[BinaryDigest]]] | None = None
    foreign: Sequence[Problem] = ()
    untagged: int = 0
    untagged_only: AbstractSet[BinaryDigest] = frozenset()

    def wants(self, digest: BinaryDigest) -> bool:
        """Whether anything in this repository keeps a blob, manifest or link."""
        return digest in self.reached or digest in self.protected or digest in self.held


def mark_repository(
    storage: Scanning,
    repository: RepositoryScan,
    *,
    untagged_before: Stamp | None = None,
    held: Sequence[HeldManifest] = (),
    without: AssumedRemoval = NOTHING_REMOVED,
    also: Collection[BinaryDigest] = (),
    trace: bool = False,
) -> RepositoryMark:
    """Mark one repository.

    Every tag and every linked manifest is a root. With ``untagged_before``, linked manifests
    are roots only if their link was written after that moment; referrers then live with their
    subject. ``held`` are the manifests inside an undo window in this repository. A tag's history
    is no root; ``also`` are more roots. Raises :class:`~jettison.errors.StorageError` if a folder
    cannot be listed.
    """
    marker = _Marker(storage, repository, untagged_before, held, without)
    marked = marker.mark(also)._replace(foreign=marker.foreign)
    return marked._replace(traced=marker.trace(marked)) if trace else marked


class _Marker:
    def __init__(
        self,
        storage: Scanning,
        repository: RepositoryScan,
        untagged_before: Stamp | None,
        held: Sequence[HeldManifest],
        without: AssumedRemoval,
    ) -> None:
        self._storage = storage
        self._repository = repository
        self._name = name = repository.name
        self._before = untagged_before
        self._held = sorted(held, key=lambda one: (one.until, one.run), reverse=True)
        self._raw = {one.digest.binary: one.raw for one in held}
        self._edges: dict[BinaryDigest, Edges[BinaryDigest] | None] = {}
        self._subjects: dict[BinaryDigest, list[BinaryDigest]] = {}
        self._why: dict[BinaryDigest, str] = {}

        # Tags before revisions: a manifest pushed in between has a tag that is not seen, which is
        # harmless, and a revision that is; the other way round it would have neither.
        tags: Tags = repository.tags()
        revisions: Revisions = repository.revisions()
        self._layers: Layers = repository.layers()
        gone = {digest.binary for where, digest in without.manifests if where == name}
        untagged = {tag for where, tag in without.tags if where == name}
        removed = [tags.broken[tag] for tag in untagged & tags.broken.keys()]
        found = [*tags.problems, *revisions.problems, *self._layers.problems]
        self.foreign = [*tags.foreign, *revisions.foreign]
        self._problems = [*_misnamed(name, storage), *(one for one in found if one not in removed)]
        self._tags = {
            tag: digest
            for tag, digest in tags.current.items()
            if digest not in gone and tag not in untagged
        }
        self._linked = revisions.linked - gone
        self._revisions = revisions
        # A removal cannot get at a revision whose link is broken.
        self._damaged = revisions.damaged.union(self._meant(tags, untagged))

    def _meant(self, tags: Tags, untagged: set[Tag]) -> set[BinaryDigest]:
        """Return what is there of all that damaged links and names may have been meant to be."""
        meant = set(self._revisions.meant)
        for name in (*tags.strange, *(tags.broken.keys() - untagged)):
            meant |= self._repository.meant_by_tag(name)
        return {digest for digest in meant if self._storage.blob(digest) is not None}

    def mark(self, also: Collection[BinaryDigest]) -> RepositoryMark:
        """Follow the roots."""
        everything = self._damaged | self._linked
        roots = self._damaged.union(self._tags.values(), also)
        if self._before is not None:
            roots |= self._young(self._linked - roots, self._before)
        # In the order of the listing: what was written together lies together.
        needed = everything | roots
        ordered = [digest for digest in self._revisions.folders if digest in needed]
        self._read_all([*ordered, *needed.difference(ordered)])
        for digest in everything - self._edges.keys():
            self._read(digest)
        referrers = self._subjects
        first = reach(roots, self._read, referrers)
        reached = self._with_targets(first)
        # All other manifests are kept for nothing but their link.
        untagged = self._linked - first.manifests if self._before is None else set[BinaryDigest]()
        untagged_only: set[BinaryDigest] = set()
        if untagged:
            others = reach(untagged, self._read, referrers, skip=first.manifests)
            first.manifests.update(others.manifests)
            untagged_only = self._with_targets(others) - reached
            reached |= untagged_only

        held: dict[BinaryDigest, str] = {}
        kept_manifests = set(first.manifests)
        for run, some in groupby(self._held, key=lambda one: one.run):
            found = reach([one.digest.binary for one in some], self._read, referrers)
            kept_manifests |= found.manifests
            for digest in self._with_targets(found) - reached:
                held.setdefault(digest, run)

        problems = list(dict.fromkeys([*self._problems, *self._lost()]))
        tags, emptied = sorted(self._tags), self._revisions.emptied
        names = names_sum(self._revisions.folders)
        if problems:
            protected = self._with_targets(reach(everything, self._read, {}))
            protected |= self._layers.named
            # Only here are layer links opened: one may lead to another digest than its name's.
            targets = (self._repository.layer_target(d) for d in self._layers.named)
            protected.update(target for target in targets if isinstance(target, bytes))
            protected -= reached
            return RepositoryMark(reached, held, protected, [], [], emptied, tags, names, problems)
        unlinked = sorted(self._linked - kept_manifests)
        unused = sorted(self._layers.named - reached - held.keys())
        mark = RepositoryMark(reached, held, set(), unlinked, unused, emptied, tags, names, [])
        return mark._replace(untagged=len(untagged), untagged_only=untagged_only)

    def trace(self, marked: RepositoryMark) -> list[tuple[BinaryDigest, list[BinaryDigest]]]:
        """Return what each manifest that is kept references, by digest; nothing is read again."""
        kept = sorted(
            digest
            for digest, edges in self._edges.items()
            if marked.wants(digest) and (edges is not None or digest in self._linked)
        )
        found = [(digest, self._edges[digest] or _NOTHING_KNOWN) for digest in kept]
        return [(digest, [*edges.children, *edges.blobs]) for digest, edges in found]

    def _young(self, candidates: set[BinaryDigest], before: int) -> set[BinaryDigest]:
        """Return the revisions linked after that moment; one that has vanished is none."""
        with self._repository.links(LinkKind.REVISION) as links:
            times = [(digest, links.stamp(digest)) for digest in candidates]
        return {digest for digest, time in times if time is not None and time > before}

    def _read_all(self, digests: Sequence[BinaryDigest]) -> None:
        """Read those manifests that are as manifests are, many at a time, which is quicker.

        The others are left to :meth:`_read`.
        """
        linked, known = self._linked, self._edges
        for digest, (edges, subject, _) in self._storage.manifests(digests):
            if edges is not None:
                usual = linked.isdisjoint(edges.blobs)
                known[digest] = edges if usual else self._with_members(edges)
            if subject is not None:
                self._subjects.setdefault(subject, []).append(digest)

    def _read(self, digest: BinaryDigest) -> Edges[BinaryDigest] | None:
        """Return what a manifest references, from the tree or from the journal; read once."""
        if digest in self._edges:
            return self._edges[digest]
        found: Edges[BinaryDigest] | None = None
        try:
            raw = self._content(digest)
            if raw is None:
                found = self._absent(digest)
            elif not raw:
                self._why[digest] = "is empty"
            elif not _matches(raw, digest):
                self._why[digest] = "is damaged: its bytes have another digest"
            else:
                found, subject, media_type = references_of(raw)
                if found is None:
                    kind = media_type or "no known type"
                    self._why[digest] = f"is of {kind}, and what it references is not understood"
                if subject is not None:
                    self._subjects.setdefault(subject, []).append(digest)
        except StorageUnavailable:
            raise
        except (InvalidManifest, StorageError) as error:
            self._why[digest] = f"cannot be read: {error.message}"
        if found is not None:
            found = self._with_members(found)
        self._edges[digest] = found
        return found

    def _content(self, digest: BinaryDigest) -> bytes | None:
        """Return a manifest's bytes as they are in the journal, else in the storage."""
        raw = self._raw.get(digest)
        return raw if raw and _matches(raw, digest) else self._storage.read_manifest(digest)

    def _absent(self, digest: BinaryDigest) -> Edges[BinaryDigest] | None:
        """Return no edges for a manifest that has lawfully never come, or has gone again."""
        known = digest in self._linked or digest in self._damaged or digest in self._raw
        tagged = digest in self._tags.values()
        lawful = Absence.ANYTHING if tagged else Absence.CHILDREN
        if not known and self._storage.absence >= lawful:
            return _NOTHING_KNOWN
        self._why[digest] = "is missing"
        return None

    def _with_members(self, found: Edges[BinaryDigest]) -> Edges[BinaryDigest]:
        """Follow what an index calls a layer and is a manifest here: clients ask for it as one."""
        if self._linked.isdisjoint(found.blobs):
            return found
        members = (digest for digest in found.blobs if digest in self._linked)
        return Edges((*found.children, *members), found.blobs)

    def _with_targets(self, found: Reached[BinaryDigest]) -> set[BinaryDigest]:
        """Return all digests reached, with what links of another algorithm lead to."""
        digests = found.manifests | found.blobs
        for digest in [digest for digest in found.blobs if len(digest) != _SHA256_BYTES]:
            target = self._repository.layer_target(digest)
            if isinstance(target, Problem):
                self._problems.append(target)
            elif target is not None:
                digests.add(target)
        return digests

    def _lost(self) -> Iterable[Problem]:
        """Yield a problem for each manifest of which nothing is known, with who holds it."""
        if not self._why:
            return
        holders: dict[BinaryDigest, str] = {}
        for digest, edges in self._edges.items():
            for child in edges.children if edges is not None else ():
                if child in self._why:
                    index = Digest.from_binary(digest)
                    holders.setdefault(child, f", a child of index {index}")
        for digest in self._why:
            if digest in self._linked:
                holders[digest] = ", which is linked in the repository"
        for tag, digest in self._tags.items():
            if digest in self._why:
                holders[digest] = f", which tag {tag} points to"
        for raw, why in sorted(self._why.items()):
            manifest = Digest.from_binary(raw)
            message = f"manifest {manifest}{holders.get(raw, '')}: {why}"
            yield make_problem(self._name, self._storage.places.blob(manifest), message)


def names_sum(digests: Iterable[BinaryDigest]) -> int:
    """Return a number for a set of digests that changes when one comes or goes.

    It means something to this process and those forked from it.
    """
    return sum(map(hash, digests)) % _SUMS


def without(total: int, digest: BinaryDigest) -> int:
    """Return the :func:`names_sum` of a set that a digest is taken out of."""
    return (total - hash(digest)) % _SUMS


def _matches(raw: bytes, digest: BinaryDigest) -> bool:
    algorithm = hashlib.sha256 if len(digest) == _SHA256_BYTES else hashlib.sha512
    return algorithm(raw, usedforsecurity=False).digest() == digest


def _misnamed(name: str, storage: Scanning) -> list[Problem]:
    """No registry serves a repository of such a name, but nobody knows that it is not wanted."""
    try:
        RepoName(name)
    except InvalidName:
        message = "is a repository whose name the specification does not allow"
        return [make_problem(name, storage.places.repository(name), message)]
    return []
