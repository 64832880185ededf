"""Reachability: what lives in a repository, given its roots.

A mark is per (repository, digest): the same manifest may be whole in one repository and gone in
another, so :func:`reach` is called once for each repository (design.md, rule 5). It is the one
place that follows references; plans and the collector both stand on it.
"""

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from jettison.model.digest import Digest, RawDigest
from jettison.model.manifest import Manifest, ManifestKind

__all__ = ["Edges", "Reached", "edges_of", "reach"]


AnyDigest = TypeVar("AnyDigest", Digest, RawDigest)
"""Plans for people follow digests as text, the collector follows them as bytes."""


class Edges(NamedTuple, Generic[AnyDigest]):
    """What a manifest references strongly."""

    children: tuple[AnyDigest, ...]
    blobs: tuple[AnyDigest, ...]


class Reached(NamedTuple, Generic[AnyDigest]):
    """What the roots reach in one repository.

    ``lost`` are reached manifests of which nothing is known: unreadable, missing or opaque. They
    are in ``manifests`` too. Whoever deletes must keep everything they might reference.
    """

    manifests: set[AnyDigest]
    blobs: set[AnyDigest]
    lost: set[AnyDigest]


def edges_of(manifest: Manifest) -> Edges[Digest] | None:
    """Return a manifest's strong references, or None for one that nothing is known about."""
    if manifest.kind is ManifestKind.OPAQUE:
        return None
    return Edges(
        tuple(child.digest for child in manifest.children),
        tuple(blob.digest for blob in manifest.blobs),
    )


def reach(
    roots: Iterable[AnyDigest],
    edges: Callable[[AnyDigest], Edges[AnyDigest] | None],
    referrers: Mapping[AnyDigest, Collection[AnyDigest]],
    skip: Container[AnyDigest] = frozenset(),
) -> Reached[AnyDigest]:
    """Follow strong references from ``roots``, to any depth, within one repository.

    ``edges(digest)`` returns what the manifest references, or None if that cannot be known; it is
    called once for each digest. ``referrers`` maps a subject to the manifests that live with it:
    those naming it as ``subject``, and those that a cosign or referrers tag puts to it. They are
    weak in that they never keep their subject, and are followed only from it. Cycles are fine.
    What is in ``skip`` is not entered, and not in the result.
    """
    reached: Reached[AnyDigest] = Reached(set(), set(), set())
    manifests, blobs, lost = reached
    todo = list(roots)
    while todo:
        digest = todo.pop()
        if digest in manifests or digest in skip:
            continue
        manifests.add(digest)
        todo.extend(referrers.get(digest, ()))
        found = edges(digest)
        if found is None:
            lost.add(digest)
            continue
        todo.extend(found.children)
        blobs.update(found.blobs)
    return reached
