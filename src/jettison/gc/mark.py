"""What lives in one repository of a storage tree.

Each repository is marked for itself and followed to any depth (design.md, rule 5): Distribution
takes a child marked in one repository for done in all, and loses its layers (defect 1). Whatever is
unreadable, malformed or missing protects everything that the repository links (rule 2): skipping
it, as Distribution does, makes its layers deletable (defects 2 and 3), and stopping at it frees
nothing anywhere (defect 4).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from jettison.errors import InvalidManifest, InvalidName, StorageError
from jettison.model.digest import Digest
from jettison.model.graph import Edges, Reached, edges_of, reach
from jettison.model.manifest import Kind, parse_manifest
from jettison.model.reference import RepoName, Tag
from jettison.store import layout
from jettison.store.reading import Layers, Problem, Revisions, Tags, TreeReader

__all__ = ["NOTHING_REMOVED", "HeldManifest", "RepositoryMark", "Without", "mark_repository"]


class HeldManifest(msgspec.Struct, frozen=True):
    """A manifest that run ``run`` removed and that can be brought back until ``until``.

    ``until`` is in seconds since the epoch (UTC); ``raw`` are the manifest's very bytes.
    """

    run: str
    until: float
    repository: RepoName
    digest: Digest
    raw: bytes


class Without(msgspec.Struct, frozen=True):
    """A removal to be treated as done already, to predict what a collection after it would free.

    ``manifests`` are removed as the API does it: with every tag that points to them.
    """

    tags: frozenset[tuple[RepoName, Tag]] = frozenset()
    manifests: frozenset[tuple[RepoName, Digest]] = frozenset()


NOTHING_REMOVED: Final = Without()


class RepositoryMark(NamedTuple):
    """The mark of one repository; digests of manifests and of blobs alike unless said otherwise.

    ``reached`` is what tags and kept revisions reach, ``held`` what else the undo window of a run
    (its id) reaches, ``protected`` what else is kept because of ``problems``. ``unlinked`` are the
    revisions to go, ``unused`` the names in ``_layers`` that nothing kept uses; both are empty
    where there are problems.
    """

    name: str
    reached: set[Digest]
    held: dict[Digest, str]
    protected: set[Digest]
    unlinked: dict[Digest, int]
    unused: list[Digest]
    problems: list[Problem]

    def wants(self, digest: Digest) -> bool:
        """Whether anything in this repository keeps a blob, manifest or link."""
        return digest in self.reached or digest in self.protected or digest in self.held


def mark_repository(
    tree: TreeReader,
    name: str,
    *,
    untagged_before_ns: int | None = None,
    held: Sequence[HeldManifest] = (),
    without: Without = NOTHING_REMOVED,
) -> RepositoryMark:
    """Mark one repository.

    Every tag and every linked manifest is a root. With ``untagged_before_ns``, linked manifests
    are roots only if their link was written after that moment; referrers then live with their
    subject. ``held`` are the manifests inside an undo window in this repository. A tag's history
    is no root. Raises :class:`~jettison.errors.StorageError` if a folder cannot be listed.
    """
    return _Marker(tree, name, untagged_before_ns, held, without).mark()


class _Marker:
    def __init__(
        self,
        tree: TreeReader,
        name: str,
        untagged_before_ns: int | None,
        held: Sequence[HeldManifest],
        without: Without,
    ) -> None:
        self._tree = tree
        self._name = name
        self._before = untagged_before_ns
        self._held = sorted(held, key=lambda one: one.until, reverse=True)
        self._raw = {one.digest: one.raw for one in held}
        self._edges: dict[Digest, Edges | None] = {}
        self._subjects: dict[Digest, list[Digest]] = {}
        self._why: dict[Digest, str] = {}

        # Tags before revisions: a manifest pushed in between has a tag that is not seen, which is
        # harmless, and a revision that is; the other way round it would have neither.
        tags: Tags = tree.tags(name)
        revisions: Revisions = tree.revisions(name)
        self._layers: Layers = tree.layers(name)
        gone = {digest for repository, digest in without.manifests if repository == name}
        untagged = {tag for repository, tag in without.tags if repository == name}
        removed = [tags.broken[tag] for tag in untagged & tags.broken.keys()]
        found = [*tags.problems, *revisions.problems, *self._layers.problems]
        self._problems = [*_stray(name), *(one for one in found if one not in removed)]
        self._tags = {
            tag: digest
            for tag, digest in tags.current.items()
            if digest not in gone and tag not in untagged
        }
        self._linked = {d: time for d, time in revisions.linked.items() if d not in gone}
        # A removal cannot get at a revision whose link is broken.
        self._damaged = revisions.damaged

    def mark(self) -> RepositoryMark:
        everything = self._damaged.union(self._linked)
        roots = self._damaged.union(self._tags.values())
        referrers: Mapping[Digest, list[Digest]] = {}
        if self._before is None:
            roots.update(self._linked)
        else:
            before = self._before
            roots.update(digest for digest, time in self._linked.items() if time > before)
            for digest in everything:
                self._read(digest)
            referrers = self._subjects
        first = reach(roots, self._read, referrers)
        reached = self._with_targets(first)

        held: dict[Digest, str] = {}
        kept_manifests = set(first.manifests)
        for run in dict.fromkeys(one.run for one in self._held):
            mine = [one.digest for one in self._held if one.run == run]
            found = reach(mine, self._read, referrers)
            kept_manifests |= found.manifests
            for digest in self._with_targets(found) - reached:
                held.setdefault(digest, run)

        problems = list(dict.fromkeys([*self._problems, *self._lost()]))
        if problems:
            protected = self._with_targets(reach(everything, self._read, {}))
            protected |= self._layers.named
            # Only here are layer links opened: one may lead to another digest than its name's.
            targets = (self._tree.layer_target(self._name, d) for d in self._layers.named)
            protected.update(target for target in targets if target is not None)
            protected -= reached
            return RepositoryMark(self._name, reached, held, protected, {}, [], problems)
        unlinked = {d: time for d, time in self._linked.items() if d not in kept_manifests}
        unused = [d for d in self._layers.named if d not in reached and d not in held]
        return RepositoryMark(self._name, reached, held, set(), unlinked, unused, [])

    def _read(self, digest: Digest) -> Edges | None:
        """Return what a manifest references, from the tree or from the journal; read once."""
        if digest in self._edges:
            return self._edges[digest]
        found: Edges | None = None
        try:
            raw = self._raw.get(digest)
            if raw is None or not digest.matches(raw):
                raw = self._tree.read_manifest(digest)
            if raw is None:
                self._why[digest] = "is missing"
            elif not raw:
                self._why[digest] = "is empty"
            elif not digest.matches(raw):
                self._why[digest] = "is damaged: its bytes have another digest"
            else:
                manifest = parse_manifest(raw)
                found = edges_of(manifest)
                if manifest.kind is Kind.OPAQUE:
                    kind = manifest.media_type or "no known type"
                    self._why[digest] = f"is of {kind}, and what it references is not understood"
                if manifest.subject is not None:
                    self._subjects.setdefault(manifest.subject, []).append(digest)
        except (InvalidManifest, StorageError) as error:
            self._why[digest] = f"cannot be read: {error.message}"
        self._edges[digest] = found
        return found

    def _with_targets(self, found: Reached) -> set[Digest]:
        """Return all digests reached, with what links of another algorithm lead to."""
        digests = found.manifests | found.blobs
        for digest in found.blobs:
            if digest.algorithm != "sha256":
                target = self._tree.layer_target(self._name, digest)
                if target is not None:
                    digests.add(target)
        return digests

    def _lost(self) -> Iterable[Problem]:
        """Yield a problem for each manifest of which nothing is known, with who holds it."""
        if not self._why:
            return
        holders: dict[Digest, str] = {}
        for digest, edges in self._edges.items():
            for child in edges.children if edges is not None else ():
                if child in self._why:
                    holders.setdefault(child, f", a child of index {digest}")
        for digest in self._why:
            if digest in self._linked:
                holders[digest] = ", which is linked in the repository"
        for tag, digest in self._tags.items():
            if digest in self._why:
                holders[digest] = f", which tag {tag} points to"
        for digest, why in sorted(self._why.items()):
            message = f"manifest {digest}{holders.get(digest, '')}: {why}"
            yield Problem(self._name, layout.blob_data(digest), message)


def _stray(name: str) -> list[Problem]:
    """No registry serves a repository of such a name, but nobody knows that it is not wanted."""
    try:
        RepoName(name)
    except InvalidName:
        message = "is a repository whose name the specification does not allow"
        return [Problem(name, layout.repository(name), message)]
    return []
