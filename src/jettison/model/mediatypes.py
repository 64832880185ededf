"""Media types of manifests, and the complete ``Accept`` list.

A registry that stores a type which the request does not accept answers 404 or, worse, converts the
manifest into another with another digest. So every request for a manifest sends :data:`ACCEPT`.
"""

from typing import Final

__all__ = [
    "ACCEPT",
    "DOCKER_LIST",
    "DOCKER_MANIFEST",
    "IMAGES",
    "INDEXES",
    "MANIFESTS",
    "OCI_ARTIFACT",
    "OCI_INDEX",
    "OCI_MANIFEST",
    "SCHEMA1",
    "is_distributable",
    "is_manifest",
]

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT: Final = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
SCHEMA1_SIGNED: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"
SCHEMA1_PLAIN: Final = "application/vnd.docker.distribution.manifest.v1+json"

IMAGES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({OCI_INDEX, DOCKER_LIST})
SCHEMA1: Final = frozenset({SCHEMA1_SIGNED, SCHEMA1_PLAIN})
MANIFESTS: Final = IMAGES | INDEXES | SCHEMA1 | {OCI_ARTIFACT}

ACCEPT: Final = ", ".join(
    [
        OCI_INDEX,
        OCI_MANIFEST,
        DOCKER_LIST,
        DOCKER_MANIFEST,
        OCI_ARTIFACT,
        f"{SCHEMA1_SIGNED};q=0.2",
        f"{SCHEMA1_PLAIN};q=0.1",
        "*/*;q=0.05",
    ]
)
"""The value of ``Accept`` for every manifest request: all known types, then any other."""


def is_manifest(media_type: str) -> bool:
    """Whether a descriptor of this type points to a manifest (and not to a blob)."""
    return media_type in MANIFESTS


def is_distributable(media_type: str) -> bool:
    """Whether a layer of this type is meant to be stored in the registry.

    Non-distributable (OCI) and foreign (Docker) layers are fetched from their ``urls``; some
    clients push them all the same, so "no" means "perhaps absent", never "unreferenced".
    """
    return "nondistributable" not in media_type and ".foreign." not in media_type
