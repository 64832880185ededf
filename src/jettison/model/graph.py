"""Reachability: what lives in a repository, given its roots.

A mark is per (repository, digest): the same manifest may be whole in one repository and gone in
another, so :func:`reach` is called once for each repository (decision 0001). It is the one
place that follows references, for plans and for the collector.
"""

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from jettison.model.digest import BinaryDigest, Digest
from jettison.model.manifest import Manifest, ManifestKind

__all__ = ["Edges", "Reached", "edges_of", "reach"]


AnyDigest = TypeVar("AnyDigest", Digest, BinaryDigest)
"""Plans for people follow digests as text, the collector follows them as bytes."""


class Edges(NamedTuple, Generic[AnyDigest]):
    """What a manifest references strongly."""

    children: tuple[AnyDigest, ...]
    blobs: tuple[AnyDigest, ...]


class Reached(NamedTuple, Generic[AnyDigest]):
    """What the roots reach in one repository.

    ``lost`` are reached manifests whose references are unknown: unreadable, missing or opaque.
    They are in ``manifests`` too. A deletion must keep everything that they might reference.
    """

    manifests: set[AnyDigest]
    blobs: set[AnyDigest]
    lost: set[AnyDigest]


def edges_of(manifest: Manifest) -> Edges[Digest] | None:
    """Return a manifest's strong references, or None if they are unknown."""
    if manifest.kind is ManifestKind.OPAQUE:
        return None
    # Lists first: plans follow every manifest several times, and a generator takes twice as long.
    blobs = [layer.digest for layer in manifest.layers]
    if manifest.config is not None:
        blobs.insert(0, manifest.config.digest)
    return Edges(tuple([child.digest for child in manifest.children]), tuple(blobs))


def reach(
    roots: Iterable[AnyDigest],
    edges: Callable[[AnyDigest], Edges[AnyDigest] | None],
    referrers: Mapping[AnyDigest, Collection[AnyDigest]],
    skip: Container[AnyDigest] = frozenset(),
) -> Reached[AnyDigest]:
    """Follow strong references from ``roots``, to any depth, within one repository.

    ``edges(digest)`` returns the references of a manifest, or None if they are unknown; it is
    called once for each digest. ``referrers`` maps a subject to the manifests that live with it:
    those that name it as ``subject``, and those with a cosign or referrers tag for it. They are
    weak: they never keep their subject, and are followed only from it. Cycles are allowed.
    Digests in ``skip`` are neither entered nor in the result.
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
