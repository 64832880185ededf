"""Manifests: read once from their bytes, never written again.

Jettison understands OCI image manifests, indexes and artifact manifests, Docker schema 2 and lists,
and Docker schema 1 for reading. A manifest of another type is *opaque*: its bytes and digest are
kept, its references are unknown, and a deletion must protect everything that it might reference.
"""

import base64
import enum
import re
from collections.abc import Iterator
from typing import Any, Final, Self

import msgspec

from jettison.errors import InvalidDigest, InvalidDocument, InvalidManifest
from jettison.model import mediatypes, strict_json
from jettison.model.digest import Digest

__all__ = [
    "Descriptor",
    "Manifest",
    "ManifestKind",
    "Platform",
    "parse_manifest",
    "referenced_digest",
    "signed_content",
]


class ManifestKind(enum.StrEnum):
    """The kind of a manifest."""

    IMAGE = "image"
    INDEX = "index"
    ARTIFACT = "artifact"
    SCHEMA1 = "schema1"
    OPAQUE = "opaque"


class Platform(msgspec.Struct, frozen=True):
    """The platform that an index gives for a child."""

    os: str = ""
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(msgspec.Struct, frozen=True):
    """A reference to content: type, digest, and size in bytes (None in schema 1)."""

    digest: Digest
    media_type: str
    size: int | None
    platform: Platform | None = None
    urls: tuple[str, ...] = ()

    @property
    def distributable(self) -> bool:
        """Whether the content is meant to be stored in the registry."""
        return mediatypes.is_distributable(self.media_type)


class Manifest(msgspec.Struct, frozen=True):
    """The content of a manifest.

    ``size`` is the length of those bytes. ``children`` are manifests, ``blobs`` everything else
    that the manifest needs in its repository: config, layers, artifact blobs, and members of an
    index that are not manifests (build caches). ``subject`` is a weak reference.
    """

    digest: Digest
    media_type: str
    size: int
    kind: ManifestKind
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    children: tuple[Descriptor, ...] = ()
    subject: Digest | None = None
    artifact_type: str | None = None
    annotations: dict[str, str] = {}

    @property
    def blobs(self) -> Iterator[Descriptor]:
        """Config and layers, each as often as it is listed."""
        if self.config is not None:
            yield self.config
        yield from self.layers


# The wire form. Everything is optional here: what is missing is judged in `parse_manifest`, where
# the error can name the digest. `null` is what is missing, as for all programs in Go.


class _WireDescriptor(msgspec.Struct, rename="camel"):
    digest: str
    media_type: str | None = None
    size: int | None = None
    platform: dict[str, Any] | None = None
    urls: list[str] | None = None

    def descriptor(self) -> Descriptor:
        platform = None
        if self.platform is not None:
            names = ("os", "architecture", "variant")
            platform = Platform(*(str(self.platform.get(name) or "") for name in names))
        if self.size is not None and self.size < 0:
            message = f"descriptor of {self.digest} has the size {self.size}"
            raise InvalidManifest(message)
        return Descriptor(
            Digest(self.digest), self.media_type or "", self.size, platform, tuple(self.urls or ())
        )


class _Layer1(msgspec.Struct, rename={"blob_sum": "blobSum"}):
    blob_sum: str


class _Wire(msgspec.Struct, rename="camel"):
    schema_version: int | None = None
    media_type: str | None = None
    config: _WireDescriptor | None = None
    layers: list[_WireDescriptor] | None = None
    manifests: list[_WireDescriptor] | None = None
    blobs: list[_WireDescriptor] | None = None
    subject: _WireDescriptor | None = None
    artifact_type: str | None = None
    annotations: dict[str, str | None] | None = None
    fs_layers: list[_Layer1] | None = None

    @classmethod
    def read(cls, raw: bytes) -> Self:
        return strict_json.decode(raw, cls)


def parse_manifest(
    raw: bytes, content_type: str | None = None, digest: Digest | None = None
) -> Manifest:
    """Read a manifest from its bytes, which have this ``digest``; None: that of sha256.

    ``content_type`` is the type that the registry gave; the ``mediaType`` inside wins, and without
    either the members decide, as in the OCI image specification. An unknown type gives an opaque
    manifest. Raises :class:`InvalidManifest` for a known type with a broken body.
    """
    digest = Digest.of(raw) if digest is None else digest
    declared = (content_type or "").partition(";")[0].strip()
    try:
        wire = _Wire.read(raw)
    except InvalidDocument as error:
        # A body that only its own type understands is no error; a broken one of ours is.
        if declared and declared not in mediatypes.MANIFESTS and _is_foreign(raw, declared):
            return Manifest(digest, declared, len(raw), ManifestKind.OPAQUE)
        raise InvalidManifest(f"manifest {digest} cannot be read: {error}") from None
    media_type = wire.media_type or _known(declared) or _by_shape(wire) or declared
    try:
        return _with_all(_build(wire, digest, media_type, len(raw)), raw)
    except (InvalidDigest, InvalidManifest) as error:
        message = f"manifest {digest} cannot be read: {error}"
        raise InvalidManifest(message) from None


class _Signature(msgspec.Struct):
    protected: str


class _Signed(msgspec.Struct):
    signatures: list[_Signature]


class _Format(msgspec.Struct, rename="camel"):
    format_length: int
    format_tail: str


def signed_content(raw: bytes) -> bytes | None:
    """Return the signed part of a schema 1 manifest with signatures; None for other bytes.

    The digest is that of the signed part, which a registry stores; it adds signatures whenever it
    sends the manifest. They come before the last brace, and say what was there without them.
    """
    try:
        signatures = strict_json.decode(raw, _Signed).signatures
        protected = signatures[0].protected if signatures else ""
        form = strict_json.decode(_from_base64(protected), _Format)
        tail = _from_base64(form.format_tail)
    except (InvalidDocument, ValueError):
        return None
    return raw[: form.format_length] + tail if 0 < form.format_length <= len(raw) else None


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)


def _with_all(manifest: Manifest, raw: bytes) -> Manifest:
    """Add what others may read in the bytes: :func:`~jettison.model.strict_json.every_reading`.

    An opaque manifest protects everything anyway.
    """
    if manifest.kind is ManifestKind.OPAQUE:
        return manifest
    digests = len(manifest.children) + sum(1 for _ in manifest.blobs)
    if manifest.kind is not ManifestKind.SCHEMA1 and strict_json.has_no_more(
        raw, digests + (manifest.subject is not None)
    ):
        return manifest
    blobs, manifests, subjects = strict_json.every_reading(raw)
    if subjects - {manifest.subject}:
        raise InvalidManifest("read one way it has this subject, read another way that")
    known = {one.digest for one in (*manifest.blobs, *manifest.children)}
    more_blobs, more_children = sorted(blobs - known), sorted(manifests - known)
    return msgspec.structs.replace(
        manifest,
        layers=(*manifest.layers, *(Descriptor(Digest(one), "", None) for one in more_blobs)),
        children=(
            *manifest.children,
            *(Descriptor(Digest(one), "", None) for one in more_children),
        ),
    )


def _is_foreign(raw: bytes, declared: str) -> bool:
    """Whether a body that cannot be decoded belongs to an unknown type of manifest."""
    if declared in {"application/json", "text/plain", "application/octet-stream"}:
        return False
    try:
        body = strict_json.decode(raw, object)
    except InvalidDocument:
        return False
    return isinstance(body, dict) and body.get("mediaType", declared) not in mediatypes.MANIFESTS


def _known(declared: str) -> str:
    return declared if declared in mediatypes.MANIFESTS else ""


def _by_shape(wire: _Wire) -> str:
    if wire.schema_version == 1 or wire.fs_layers is not None:
        return mediatypes.SCHEMA1_SIGNED
    if wire.manifests is not None:
        return mediatypes.OCI_INDEX
    if wire.config is not None:
        return mediatypes.OCI_MANIFEST
    return ""


def _build(wire: _Wire, digest: Digest, media_type: str, size: int) -> Manifest:
    subject = Digest(wire.subject.digest) if wire.subject is not None else None
    common: dict[str, Any] = {
        "digest": digest,
        "media_type": media_type,
        "size": size,
        "subject": subject,
        "artifact_type": wire.artifact_type,
        "annotations": {name: said or "" for name, said in (wire.annotations or {}).items()},
    }
    if media_type in mediatypes.IMAGES:
        if wire.config is None:
            raise InvalidManifest("an image manifest needs config")
        if wire.manifests is not None:
            raise InvalidManifest(_AMBIGUOUS)
        return Manifest(
            kind=ManifestKind.IMAGE,
            config=wire.config.descriptor(),
            # Distribution takes `null`, and none at all, for an image without layers.
            layers=tuple(layer.descriptor() for layer in wire.layers or ()),
            **common,
        )
    if media_type in mediatypes.INDEXES:
        if wire.config is not None or wire.layers is not None:
            message = "an index needs manifests" if wire.manifests is None else _AMBIGUOUS
            raise InvalidManifest(message)
        members = [member.descriptor() for member in wire.manifests or ()]
        # A member without a type is taken for a manifest: following it can only keep more.
        return Manifest(
            kind=ManifestKind.INDEX,
            children=tuple(m for m in members if not _is_blob_member(m)),
            layers=tuple(m for m in members if _is_blob_member(m)),
            **common,
        )
    if media_type == mediatypes.OCI_ARTIFACT:
        blobs = wire.blobs or ()
        return Manifest(
            kind=ManifestKind.ARTIFACT, layers=tuple(blob.descriptor() for blob in blobs), **common
        )
    if media_type in mediatypes.SCHEMA1:
        if wire.fs_layers is None:
            message = "a schema 1 manifest needs fsLayers"
            raise InvalidManifest(message)
        # The same empty layer is usually listed many times.
        sums = dict.fromkeys(Digest(layer.blob_sum) for layer in wire.fs_layers)
        return Manifest(
            kind=ManifestKind.SCHEMA1,
            layers=tuple(Descriptor(blob, _SCHEMA1_LAYER, None) for blob in sums),
            **common,
        )
    return Manifest(kind=ManifestKind.OPAQUE, **common)


# Read one way it references this, read the other way that (CVE-2021-41190).
_AMBIGUOUS: Final = "it is an image manifest and an index at once"
_SCHEMA1_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def _is_blob_member(member: Descriptor) -> bool:
    """Whether a member of an index is a blob, as in the caches that builders push.

    A member that is not clearly a layer or a configuration counts as a manifest.
    """
    kind = member.media_type
    return not mediatypes.is_manifest(kind) and any(
        part in kind for part in (".layer.", ".rootfs.", ".image.config.", "cacheconfig")
    )


_REFERRER_TAG: Final = re.compile(
    r"(?P<algorithm>sha256|sha512)-(?P<hex>[0-9a-f]{64}(?:[0-9a-f]{64})?)"
    r"(?:\.(?:sig|att|sbom))?"
)


def referenced_digest(tag: str) -> Digest | None:
    """Return the digest that a tag refers to, or None for an ordinary tag.

    Such tags are cosign's ``sha256-<hex>.sig``, ``.att`` and ``.sbom``, and the referrers tag
    schema ``sha256-<hex>`` of the OCI distribution specification ("Unavailable Referrers API").
    """
    # Most tags are none, and plans ask of each several times.
    match = _REFERRER_TAG.fullmatch(tag) if tag.startswith("sha") else None
    if match is None:
        return None
    try:
        return Digest(f"{match['algorithm']}:{match['hex']}")
    except InvalidDigest:
        return None
