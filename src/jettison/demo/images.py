"""Small real images, made from nothing but bytes: no network, no clock, no chance.

The same arguments give the same bytes and so the same digests. A :class:`Content` is what a
registry stores under one digest, an :class:`Image` or :class:`Index` is a manifest with everything
below it, and :func:`write_layout` puts them where skopeo and others read them.
"""

import base64
import hashlib
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from jettison.model.digest import Digest
from jettison.model.mediatypes import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

__all__ = [
    "EMPTY",
    "Content",
    "Flavour",
    "Image",
    "Index",
    "Layer",
    "cosign_tag",
    "fallback_index",
    "image",
    "index",
    "layer",
    "random_bytes",
    "referrer",
    "referrers_tag",
    "signature",
    "write_layout",
]

Flavour = Literal["oci", "docker"]
Compression = Literal["gzip", "zstd"]

OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
CREATED: Final = "2026-01-02T03:04:05Z"

ZSTD_BLOCK: Final = 128 * 1024


@dataclass(frozen=True)
class Content:
    """Bytes and their media type, as a descriptor names them."""

    media_type: str
    raw: bytes

    @cached_property
    def digest(self) -> Digest:
        """The sha256 digest of the bytes."""
        return Digest.of(self.raw)

    @property
    def size(self) -> int:
        """Their number."""
        return len(self.raw)

    def descriptor(self, **more: object) -> dict[str, object]:
        """Return the OCI descriptor, with ``more`` fields where they are not None."""
        found = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return found | {key: value for key, value in more.items() if value is not None}


@dataclass(frozen=True)
class Layer(Content):
    """A compressed tar, and the digest of the tar itself."""

    diff_id: Digest


EMPTY: Final = Content("application/vnd.oci.empty.v1+json", b"{}")
"""The empty descriptor's content, the config of artifacts that are not images."""


@dataclass(frozen=True)
class Image:
    """One manifest with its config and layers."""

    manifest: Content
    config: Content
    layers: tuple[Content, ...]

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return self.manifest.digest

    @property
    def platform(self) -> dict[str, str] | None:
        """What an index says about the image; None for an artifact."""
        config = json.loads(self.config.raw)
        found = {key: config[key] for key in ("architecture", "os", "variant") if key in config}
        return found or None

    def blobs(self) -> list[Content]:
        """Return config and layers, each once."""
        return _unique([self.config, *self.layers])

    def manifests(self) -> list[Content]:
        """Return the manifest alone."""
        return [self.manifest]


@dataclass(frozen=True)
class Index:
    """A manifest that lists others."""

    manifest: Content
    members: tuple["Image | Index", ...]

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return self.manifest.digest

    @property
    def platform(self) -> None:
        """An index has none of its own."""
        return

    def blobs(self) -> list[Content]:
        """Return the blobs of all members, to any depth, each once."""
        return _unique(blob for member in self.members for blob in member.blobs())

    def manifests(self) -> list[Content]:
        """Return all manifests, each once, children before their parents."""
        below = (manifest for member in self.members for manifest in member.manifests())
        return _unique([*below, self.manifest])


def random_bytes(seed: int | str, size: int) -> bytes:
    """Return ``size`` bytes that no compression makes smaller, always the same for a seed."""
    return hashlib.shake_256(str(seed).encode()).digest(size)


def layer(files: Mapping[str, bytes], *, compression: Compression = "gzip") -> Layer:
    """Return a layer that holds ``files``, by path, and the folders that they need."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        paths = {str(PurePosixPath(name.lstrip("/"))): content for name, content in files.items()}
        folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
        for folder in sorted(folders - {"."}):
            tar.addfile(_entry(folder, mode=0o755, kind=tarfile.DIRTYPE))
        for path, content in sorted(paths.items()):
            tar.addfile(_entry(path, mode=0o644, size=len(content)), io.BytesIO(content))
    tarred = raw.getvalue()
    packed = _gzip(tarred) if compression == "gzip" else _zstd(tarred)
    media_type = f"application/vnd.oci.image.layer.v1.tar+{compression}"
    return Layer(media_type, packed, Digest.of(tarred))


def image(
    layers: Sequence[Layer],
    *,
    architecture: str = "amd64",
    os: str = "linux",
    variant: str | None = None,
    created: str = CREATED,
    env: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    flavour: Flavour = "oci",
    subject: "Image | Index | None" = None,
    artifact_type: str | None = None,
) -> Image:
    """Return an image that a container engine would run, had it a program in it.

    ``created`` is RFC 3339 in UTC. Docker's media types know neither zstd nor subject nor
    artifact type nor annotations.
    """
    if flavour == "docker":
        if any(one.media_type.endswith("+zstd") for one in layers):
            raise ValueError("a Docker schema 2 image has no zstd layers")
        if subject is not None or artifact_type is not None or annotations is not None:
            raise ValueError("subject, artifact_type and annotations need the OCI flavour")
        layers = [replace(one, media_type=DOCKER_LAYER) for one in layers]
    settings = {
        "Env": [f"{key}={value}" for key, value in (env or {}).items()] or None,
        "Labels": dict(labels) if labels else None,
    }
    config = {
        "created": created,
        "architecture": architecture,
        "os": os,
        "variant": variant,
        "config": _present(settings),
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
        "history": [
            {"created": created, "created_by": f"COPY layer-{number} /"}
            for number, _ in enumerate(layers, 1)
        ],
    }
    return _image(
        Content(OCI_CONFIG if flavour == "oci" else DOCKER_CONFIG, _json(_present(config))),
        layers,
        flavour=flavour,
        annotations=annotations,
        subject=subject,
        artifact_type=artifact_type,
    )


def index(
    members: Sequence[Image | Index],
    *,
    flavour: Flavour = "oci",
    annotations: Mapping[str, str] | None = None,
    subject: Image | Index | None = None,
    artifact_type: str | None = None,
) -> Index:
    """Return an index of images (with their platforms) and of other indexes."""
    if flavour == "docker" and (subject or artifact_type or annotations):
        raise ValueError("subject, artifact_type and annotations need the OCI flavour")
    descriptors = [one.manifest.descriptor(platform=one.platform) for one in members]
    return _index(
        members,
        descriptors,
        flavour=flavour,
        artifactType=artifact_type,
        subject=subject.manifest.descriptor() if subject else None,
        annotations=dict(annotations) if annotations else None,
    )


def cosign_tag(digest: Digest, suffix: Literal[".sig", ".att", ".sbom"] = ".sig") -> str:
    """Return the tag under which cosign looks for what belongs to ``digest``."""
    return referrers_tag(digest) + suffix


def referrers_tag(digest: Digest) -> str:
    """Return the tag of the fallback index of ``digest`` (OCI 1.1, "Referrers Tag Schema")."""
    return f"{digest.algorithm}-{digest.hex}"


def signature(subject: Image | Index) -> Image:
    """Return what ``cosign sign`` pushes to :func:`cosign_tag`; the signature itself is made up."""
    payload = {
        "critical": {
            "identity": {"docker-reference": ""},
            "image": {"docker-manifest-digest": subject.digest},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    signed = Content(SIMPLE_SIGNING, _json(payload))
    made_up = base64.b64encode(random_bytes(subject.digest, 71)).decode()
    config = {
        "architecture": "",
        "created": "0001-01-01T00:00:00Z",
        "history": [{"created": "0001-01-01T00:00:00Z"}],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [signed.digest]},
        "config": {},
    }
    return _image(
        Content(OCI_CONFIG, _json(config)),
        [signed],
        layer_annotations={"dev.cosignproject.cosign/signature": made_up},
    )


def referrer(
    subject: Image | Index,
    artifact_type: str,
    payload: bytes,
    *,
    media_type: str | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """Return an OCI 1.1 artifact about ``subject`` with one layer, ``payload``.

    ``media_type`` is that of the payload, by default ``artifact_type``.
    """
    return _image(
        EMPTY,
        [Content(media_type or artifact_type, payload)],
        annotations=annotations,
        subject=subject,
        artifact_type=artifact_type,
    )


def fallback_index(referrers: Sequence[Image]) -> Index:
    """Return what clients keep at :func:`referrers_tag` where a registry lists no referrers."""
    descriptors = []
    for one in referrers:
        manifest = json.loads(one.manifest.raw)
        kind = manifest.get("artifactType", one.config.media_type)
        about = manifest.get("annotations")
        descriptors.append(one.manifest.descriptor(artifactType=kind, annotations=about))
    return _index(referrers, descriptors)


def write_layout(path: Path, named: Mapping[str, Image | Index]) -> Path:
    """Write an OCI image layout to the folder ``path`` and return it.

    ``skopeo copy --all --preserve-digests oci:PATH:NAME docker://...`` reads it, unless
    it holds Docker's media types (skopeo finds only OCI's in a layout) or an index in an index.
    """
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for one in named.values():
        for content in [*one.blobs(), *one.manifests()]:
            (blobs / content.digest.hex).write_bytes(content.raw)
    entries = [
        one.manifest.descriptor(annotations={"org.opencontainers.image.ref.name": name})
        for name, one in named.items()
    ]
    top = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    (path / "index.json").write_bytes(_json(top))
    (path / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    return path


def _image(
    config: Content,
    layers: Sequence[Content],
    *,
    flavour: Flavour = "oci",
    annotations: Mapping[str, str] | None = None,
    layer_annotations: Mapping[str, str] | None = None,
    subject: Image | Index | None = None,
    artifact_type: str | None = None,
) -> Image:
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST if flavour == "oci" else DOCKER_MANIFEST,
        "artifactType": artifact_type,
        "config": config.descriptor(),
        "layers": [one.descriptor(annotations=layer_annotations) for one in layers],
        "subject": subject.manifest.descriptor() if subject else None,
        "annotations": dict(annotations) if annotations else None,
    }
    return Image(_manifest(manifest, flavour), config, tuple(layers))


def _index(
    members: Sequence[Image | Index],
    descriptors: Sequence[Mapping[str, object]],
    *,
    flavour: Flavour = "oci",
    **more: object,
) -> Index:
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX if flavour == "oci" else DOCKER_LIST,
        "manifests": descriptors,
        **more,
    }
    return Index(_manifest(manifest, flavour), tuple(members))


def _manifest(document: dict[str, Any], flavour: Flavour) -> Content:
    # Docker's own are indented by three, which nothing but their own bytes reproduces.
    indent = 3 if flavour == "docker" else None
    return Content(document["mediaType"], _json(_present(document), indent))


def _json(document: object, indent: int | None = None) -> bytes:
    separators = (",", ": ") if indent else (",", ":")
    return json.dumps(document, indent=indent, separators=separators).encode()


def _present(document: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in document.items() if value is not None}


def _unique(contents: Iterable[Content]) -> list[Content]:
    return list({content.digest: content for content in contents}.values())


def _entry(
    name: str, *, mode: int, size: int = 0, kind: bytes = tarfile.REGTYPE
) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.size, entry.type = mode, size, kind
    return entry


def _gzip(raw: bytes) -> bytes:
    # The header is written here because the standard library's differs between versions.
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    trailer = struct.pack("<II", zlib.crc32(raw), len(raw) & 0xFFFFFFFF)
    return header + packer.compress(raw) + packer.flush() + trailer


def _zstd(raw: bytes) -> bytes:
    """Wrap ``raw`` into a zstd frame of stored blocks (RFC 8878): valid, though no smaller."""
    frame = [b"\x28\xb5\x2f\xfd\xe0", struct.pack("<Q", len(raw))]
    starts = range(0, len(raw), ZSTD_BLOCK)
    for start in starts:
        block = raw[start : start + ZSTD_BLOCK]
        last = start == starts[-1]
        frame += [(len(block) << 3 | last).to_bytes(3, "little"), block]
    return b"".join(frame)
