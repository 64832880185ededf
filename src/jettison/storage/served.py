"""What all storages have in common where they answer requests."""

from typing import Final

from jettison.errors import InvalidManifest, StorageError
from jettison.model.digest import Digest
from jettison.model.manifest import parse_manifest
from jettison.storage.protocol import ManifestContent

__all__ = ["SMALL", "manifest_content"]

SMALL: Final = 64 * 1024
"""Up to so many bytes a content is read at once and may be kept."""


def manifest_content(digest: Digest, raw: bytes) -> ManifestContent:
    """Return a manifest with what it says of its type.

    Raises :class:`~jettison.errors.StorageError` for bytes that have another digest.
    """
    if not digest.matches(raw):
        message = f"manifest {digest} is damaged: its bytes have another digest"
        raise StorageError(message, hint="Push the image again.")
    try:
        return ManifestContent(raw, parse_manifest(raw).media_type)
    except InvalidManifest:
        return ManifestContent(raw, "")
