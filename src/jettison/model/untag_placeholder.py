"""The throw-away manifest, for registries that cannot remove a tag.

Distribution 2.x answers 400 to DELETE of a tag, and DELETE of the digest would take the sibling
tags along. So the tag is pointed to a manifest of its own first, and that one is deleted. It is an
empty index: valid everywhere OCI is, it needs no blob, and leaves one small file of garbage.
"""

from typing import Final

import msgspec

from jettison.errors import InvalidManifest
from jettison.model.digest import Digest
from jettison.model.manifest import Manifest, parse_manifest
from jettison.model.mediatypes import OCI_INDEX

__all__ = ["MARK", "is_untag_placeholder", "untag_placeholder"]

MARK: Final = "io.jettison.throwaway"


def untag_placeholder(run: str, step: int, stands_for: Digest | None) -> bytes:
    """Return the bytes of the manifest for a step of a run: the same each time it is asked for."""
    return msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [],
            "annotations": {MARK: f"{run}/{step}", f"{MARK}.for": str(stands_for or "nothing")},
        }
    )


def is_untag_placeholder(raw: bytes) -> bool:
    """Whether these bytes are such a manifest, of whatever run."""
    try:
        manifest: Manifest = parse_manifest(raw)
    except InvalidManifest:
        return False
    return MARK in manifest.annotations and not manifest.children
