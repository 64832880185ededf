"""The referrers of a manifest: signatures, attestations and the like (end-12a and end-12b).

They are found in the tree itself, see :mod:`jettison.store.relations`, so those that were pushed
while another program served it are among them.
"""

from typing import Any, Final

import msgspec

from jettison.errors import InvalidManifest, StorageError
from jettison.model.digest import Digest, RawDigest
from jettison.model.manifest import parse_manifest
from jettison.model.mediatypes import OCI_INDEX
from jettison.model.reference import RepoName
from jettison.server.answers import Answer, Header
from jettison.server.context import Call, Context, parse_digest

__all__ = ["get_referrers"]

_TYPE: Final = (b"content-type", OCI_INDEX.encode())


async def get_referrers(call: Call) -> Answer:
    """Send an index of the manifests whose subject is a digest, which need not exist itself."""
    digest = parse_digest(call.reference)
    wanted = call.request.query.get("artifactType", [])
    found = await call.context.run(_descriptors, call.context, call.repository, digest)
    headers: list[Header] = [_TYPE]
    if wanted:
        found = [one for one in found if one.get("artifactType") in wanted]
        headers.append((b"oci-filters-applied", b"artifactType"))
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
    return Answer(200, headers, msgspec.json.encode(body))


def _descriptors(context: Context, repository: RepoName, subject: Digest) -> list[dict[str, Any]]:
    referrers = context.relations.of(repository).referrers(subject.raw)
    found = (_descriptor(context, digest) for digest in sorted(referrers))
    return [one for one in found if one is not None]


def _descriptor(context: Context, digest: RawDigest) -> dict[str, Any] | None:
    try:
        raw = context.tree.read_manifest(digest)
        manifest = None if raw is None else parse_manifest(raw)
    except (InvalidManifest, StorageError):
        return None
    if manifest is None:
        return None
    long = Digest.from_raw(digest)
    found: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": str(long),
        "size": manifest.size,
    }
    kind = manifest.artifact_type or (manifest.config and manifest.config.media_type)
    if kind:
        found["artifactType"] = kind
    if manifest.annotations:
        found["annotations"] = manifest.annotations
    return found
