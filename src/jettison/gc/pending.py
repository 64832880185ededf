"""Manifests on their way: stored, and not linked yet.

A registry that takes a manifest looks first whether the repository has what it references, then
stores it as a blob, then links it. Storing syncs the disk, which may take seconds. Until the link
is there no repository reaches the manifest; but whoever stored it was told already that all it
references is there. So a young blob that nothing reaches and that is a manifest wants all of that.
"""

from collections.abc import Iterable
from typing import Final

from jettison.errors import InvalidManifest, StorageError
from jettison.model.digest import RawDigest
from jettison.model.graph import Edges, reach
from jettison.model.references import references_of
from jettison.store.reading import TreeReader

__all__ = ["LARGEST", "wanted_by", "wanted_by_pending"]

LARGEST: Final = 4 * 1024 * 1024
"""In bytes: no registry takes a larger manifest."""


def wanted_by_pending(tree: TreeReader, young: Iterable[RawDigest]) -> set[RawDigest]:
    """Return what those of the blobs that are manifests reference, to any depth.

    A blob that is no manifest, or only the beginning of one, references nothing.
    """
    pending = [digest for digest in young if _may_be_manifest(tree, digest)]
    return wanted_by(tree, pending).difference(pending)


def wanted_by(tree: TreeReader, manifests: Iterable[RawDigest]) -> set[RawDigest]:
    """Return the manifests and what they reference, to any depth, as far as it can be read."""

    def edges(digest: RawDigest) -> Edges[RawDigest] | None:
        try:
            raw = tree.read_manifest(digest)
            return references_of(raw).edges if raw and raw[:1] == b"{" else None
        except (StorageError, InvalidManifest):
            return None

    found = reach(manifests, edges, {})
    return found.manifests | found.blobs


def _may_be_manifest(tree: TreeReader, digest: RawDigest) -> bool:
    blob = tree.blob(digest)
    return (
        blob is not None and blob.size <= LARGEST and next(tree.read_blob(digest, 1), b"") == b"{"
    )
