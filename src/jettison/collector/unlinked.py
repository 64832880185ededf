"""Manifests on their way: stored, and not linked yet.

A registry that takes a manifest looks first whether the repository has what it references, then
stores it as a blob, then links it. Storing syncs the disk, which may take seconds. Until the link
is there no repository reaches the manifest; but whoever stored it was told already that all it
references is there. So a young blob that nothing reaches and that is a manifest wants all of that.
"""

import contextlib
from collections.abc import Iterable
from typing import Final

from jettison.errors import InvalidManifest, StorageError, StorageUnavailable
from jettison.model.digest import BinaryDigest
from jettison.model.graph import Edges, reach
from jettison.model.manifest_references import references_of
from jettison.storage.protocol import Scanning

__all__ = ["LARGEST", "drafted_references", "wanted_by", "wanted_by_unlinked"]

LARGEST: Final = 4 * 1024 * 1024
"""In bytes: no registry takes a larger manifest."""

_BEGINNING: Final = 64


def wanted_by_unlinked(storage: Scanning, young: Iterable[BinaryDigest]) -> set[BinaryDigest]:
    """Return those of the blobs that are manifests, and what they reference, to any depth.

    A blob that is no manifest, or only the beginning of one, references nothing.
    """
    return wanted_by(storage, [digest for digest in young if _may_be_manifest(storage, digest)])


def wanted_by(storage: Scanning, manifests: Iterable[BinaryDigest]) -> set[BinaryDigest]:
    """Return the manifests and what they reference, to any depth, as far as it can be read."""

    def edges(digest: BinaryDigest) -> Edges[BinaryDigest] | None:
        try:
            raw = storage.read_manifest(digest)
            return references_of(raw).edges if raw else None
        except StorageUnavailable:
            raise  # it would seem to need nothing
        except (StorageError, InvalidManifest):
            return None

    found = reach(manifests, edges, {})
    return found.manifests | found.blobs


def drafted_references(drafts: Iterable[bytes]) -> set[BinaryDigest]:
    """Return what manifests reference that Distribution 3.x is just writing beside their places."""
    found: set[BinaryDigest] = set()
    for raw in drafts:
        with contextlib.suppress(InvalidManifest):
            edges = references_of(raw).edges
            if edges is not None:
                found.update(edges.children, edges.blobs)
    return found


def _may_be_manifest(storage: Scanning, digest: BinaryDigest) -> bool:
    try:
        blob = storage.blob(digest)
        if blob is None or blob.size > LARGEST:
            return False
        return next(storage.read_blob(digest, _BEGINNING), b"").lstrip()[:1] == b"{"
    except StorageUnavailable:
        raise
    except StorageError:
        return False
