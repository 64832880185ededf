"""The placeholder, for registries that cannot remove a tag.

Distribution 2.x answers 400 to DELETE of a tag, and DELETE of the digest would remove the sibling
tags. So the tag is first pointed to a manifest of its own, which is then deleted. That is an empty
index: valid wherever OCI is, needs no blob, and leaves one small file of garbage.
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
    """Return the bytes of the placeholder for a step of a run, the same for each call."""
    return msgspec.json.encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [],
            "annotations": {MARK: f"{run}/{step}", f"{MARK}.for": str(stands_for or "nothing")},
        }
    )


def is_untag_placeholder(raw: bytes) -> bool:
    """Whether these bytes are a placeholder, of any run."""
    try:
        manifest: Manifest = parse_manifest(raw)
    except InvalidManifest:
        return False
    return MARK in manifest.annotations and not manifest.children
