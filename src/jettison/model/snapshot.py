"""The state of a registry at one moment: the input of every decision."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

import msgspec

from jettison.model.digest import Digest
from jettison.model.graph import Edges, edges_of
from jettison.model.listing_problems import ListingProblem, ProblemCode
from jettison.model.manifest import Manifest, ManifestKind, referenced_digest
from jettison.model.names import RepoName, Tag

__all__ = ["Node", "RepositorySnapshot", "Snapshot"]

Node = tuple[RepoName, Digest]
"""A manifest in a repository: the unit that is kept or removed."""

_LISTS_NOTHING: Final = Edges[Digest]((), ())


class RepositorySnapshot(msgspec.Struct, frozen=True):
    """One repository.

    ``manifests`` are those that could be read, tagged or not. ``unreadable`` manifests exist, and
    their references are unknown. ``dangling`` tags are listed, and have no manifest. ``complete``
    says that untagged manifests are included, which a storage lists, and few APIs do. ``problems``
    are listed tags that cannot be resolved: each may point to any manifest of the repository.
    """

    name: RepoName
    tags: Mapping[Tag, Digest]
    manifests: Mapping[Digest, Manifest]
    unreadable: frozenset[Digest] = frozenset()
    dangling: tuple[Tag, ...] = ()
    complete: bool = False
    problems: tuple[ListingProblem, ...] = ()

    @property
    def unresolved(self) -> frozenset[Tag]:
        """The listed tags that cannot be resolved, as far as their names are valid."""
        return frozenset(
            Tag(problem.subject)
            for problem in self.problems
            if problem.code not in {ProblemCode.INVALID_NAME, ProblemCode.CUT_SHORT}
        )

    def tags_of(self) -> dict[Digest, list[Tag]]:
        """Return the tags by the digest that they point to, each list sorted."""
        tags: defaultdict[Digest, list[Tag]] = defaultdict(list)
        for tag in sorted(self.tags):
            tags[self.tags[tag]].append(tag)
        return tags

    def edges(self, digest: Digest) -> Edges[Digest] | None:
        """Return what a manifest references, or None if that is unknown."""
        manifest = self.manifests.get(digest)
        return None if manifest is None else edges_of(manifest)

    def lists(self, digest: Digest) -> Edges[Digest] | None:
        """Return which manifests a manifest lists, without its blobs; None if that is unknown.

        It takes a fraction of the time of :meth:`edges`, for whoever follows manifests alone.
        """
        manifest = self.manifests.get(digest)
        if manifest is None or manifest.kind is ManifestKind.OPAQUE:
            return None
        if not manifest.children:
            return _LISTS_NOTHING
        return Edges(tuple([child.digest for child in manifest.children]), ())

    def children(self, digest: Digest) -> list[Digest]:
        """Return the manifests that an index lists; none for what is none, or cannot be read."""
        manifest = self.manifests.get(digest)
        if manifest is None or not manifest.children:
            return []
        return [child.digest for child in manifest.children]

    def referrers(self) -> dict[Digest, list[Digest]]:
        """Return, by subject, the manifests that live with it (decision 0001)."""
        found: defaultdict[Digest, list[Digest]] = defaultdict(list)
        for manifest in self.manifests.values():
            if manifest.subject is not None:
                found[manifest.subject].append(manifest.digest)
        for tag, digest in self.tags.items():
            subject = referenced_digest(tag)
            if subject is not None:
                found[subject].append(digest)
        return found

    def parents(self) -> dict[Digest, list[Digest]]:
        """Return, by child, the indexes that list it."""
        found: defaultdict[Digest, list[Digest]] = defaultdict(list)
        for manifest in self.manifests.values():
            for child in manifest.children:
                found[child.digest].append(manifest.digest)
        return found


class Snapshot(msgspec.Struct, frozen=True):
    """The repositories of a registry, as far as they were read.

    ``sizes`` has, in bytes, the sizes that no descriptor gives; with ``stored``, the true size of
    every blob in the storage. ``unknown`` are sentences about what could not be read; with any of
    them, bytes computed from the snapshot are upper bounds.
    """

    registry: str
    repositories: Mapping[RepoName, RepositorySnapshot]
    sizes: Mapping[Digest, int]
    stored: bool = False
    unknown: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether bytes computed from it are exact."""
        return not self.unknown
