"""The references of a manifest and nothing else, quickly enough for a million manifests.

:func:`parse_manifest` defines the meaning of a manifest. This module reads the two shapes that
nearly all manifests have on a short way, and leaves the rest to it. A property test holds that both
agree.
"""

from typing import Annotated, Any, Final, NamedTuple

import msgspec

from jettison.errors import InvalidDocument
from jettison.model import mediatypes, strict_json
from jettison.model.digest import BinaryDigest, plain_digests
from jettison.model.graph import Edges, edges_of
from jettison.model.manifest import parse_manifest

__all__ = ["References", "references_of"]


class References(NamedTuple):
    """The references of a manifest, and its subject.

    ``edges`` is None if the references are unknown; ``media_type`` tells why.
    """

    edges: Edges[BinaryDigest] | None
    subject: BinaryDigest | None
    media_type: str


class _Descriptor(msgspec.Struct, rename="camel", gc=False):
    digest: str
    media_type: str = ""
    size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    platform: dict[str, Any] | None = None
    urls: list[str] | None = None


class _Short(msgspec.Struct, rename="camel", gc=False):
    schema_version: int | None = None
    media_type: str = ""
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None
    blobs: Any = None
    subject: _Descriptor | None = None
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None
    fs_layers: Any = None


_IMAGE_TYPES: Final = mediatypes.IMAGES | {""}
_INDEX_TYPES: Final = mediatypes.INDEXES | {""}


class _LongWay(Exception):
    """This manifest does not have one of the usual shapes."""


def references_of(raw: bytes) -> References:
    """Return the references of the manifest with these bytes.

    Raises :class:`~jettison.errors.InvalidManifest` for bytes that are not a manifest.
    """
    try:
        return _on_the_short_way(strict_json.decode(raw, _Short), raw)
    except (InvalidDocument, _LongWay):
        pass
    manifest = parse_manifest(raw)
    subject = None if manifest.subject is None else manifest.subject.binary
    found = edges_of(manifest)
    if found is None:
        return References(None, subject, manifest.media_type)
    children = tuple(digest.binary for digest in found.children)
    blobs = tuple(digest.binary for digest in found.blobs)
    return References(Edges(children, blobs), subject, manifest.media_type)


def _on_the_short_way(wire: _Short, raw: bytes) -> References:
    subject = None if wire.subject is None else _raw([wire.subject])[0]
    read = len(wire.layers or ()) + len(wire.manifests or ())
    read += (wire.config is not None) + (subject is not None)
    if not strict_json.has_no_more(raw, read):
        raise _LongWay
    if wire.schema_version != 2 or wire.blobs is not None or wire.fs_layers is not None:  # noqa: PLR2004
        raise _LongWay
    if wire.layers is not None and wire.config is not None and wire.manifests is None:
        if wire.media_type in _IMAGE_TYPES:
            blobs = _raw([wire.config, *wire.layers])
            return References(Edges((), blobs), subject, wire.media_type)
    elif wire.manifests is not None and wire.layers is None and wire.config is None:
        usual = all(mediatypes.is_manifest(member.media_type) for member in wire.manifests)
        if usual and wire.media_type in _INDEX_TYPES:
            return References(Edges(_raw(wire.manifests), ()), subject, wire.media_type)
    raise _LongWay


def _raw(descriptors: list[_Descriptor]) -> tuple[BinaryDigest, ...]:
    """Return the digests; a text that is not plainly one raises :class:`_LongWay`."""
    try:
        found = plain_digests([descriptor.digest.encode() for descriptor in descriptors])
    except UnicodeEncodeError:
        raise _LongWay from None
    if found is None:
        raise _LongWay
    return tuple(found)
