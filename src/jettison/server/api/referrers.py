"""The referrers of a manifest: signatures, attestations and the like (end-12a and end-12b).

The index of the tree itself finds them (:mod:`jettison.storage.referrers_index`), including those
that were pushed while another program served it.
"""

from bisect import bisect_right
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from jettison.errors import InvalidManifest, StorageError
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.manifest import parse_manifest
from jettison.model.mediatypes import OCI_INDEX
from jettison.server.api.context import Call, Context, parse_digest
from jettison.server.http.answers import Answer, Header, encode_json

__all__ = ["get_referrers"]

_PAGE_BYTES: Final = 1024 * 1024
_PAGE_ENTRIES: Final = 5_000
_PAGE_READ: Final = 16 * 1024 * 1024
"""Bytes of manifests that are read for one page."""

_TYPE: Final = (b"content-type", OCI_INDEX.encode())


class _Page(NamedTuple):
    descriptors: list[dict[str, Any]]
    last: Digest | None
    """The last referrer of the page; None if there is no further page."""


async def get_referrers(call: Call) -> Answer:
    """Send an index of the manifests whose subject is a digest, which need not exist.

    A long list comes in pages.
    """
    digest = parse_digest(call.reference)
    wanted = call.request.query.get("artifactType", [])
    last = call.request.parameter("last")
    after = None if last is None else parse_digest(last).binary
    async with call.context.relating(call.repository):
        page = await call.search(_page, call, digest, frozenset(wanted), after)
    headers: list[Header] = [_TYPE]
    if wanted:
        headers.append((b"oci-filters-applied", b"artifactType"))
    if page.last is not None:
        query = urlencode([*(("artifactType", one) for one in wanted), ("last", page.last)])
        prefix = call.context.configuration.http.prefix
        target = f"{prefix}v2/{call.repository}/referrers/{digest}?{query}"
        headers.append((b"link", f'<{target}>; rel="next"'.encode()))
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page.descriptors}
    return Answer(200, headers, encode_json(body))


def _page(call: Call, subject: Digest, wanted: frozenset[str], after: BinaryDigest | None) -> _Page:
    """Return the referrers of the wanted types after ``after``, in the order of their digests."""
    context = call.context
    referrers = sorted(context.relations.of(call.repository).referrers(subject.binary))
    first = 0 if after is None else bisect_right(referrers, after)
    found: list[dict[str, Any]] = []
    length = read = 0
    for position in range(first, len(referrers)):
        digest = referrers[position]
        descriptor = _descriptor(context, digest)
        if descriptor is not None:
            read += descriptor["size"]
        if descriptor is not None and (not wanted or descriptor.get("artifactType") in wanted):
            length += len(encode_json(descriptor))
            found.append(descriptor)
        is_full = length >= _PAGE_BYTES or len(found) >= _PAGE_ENTRIES or read >= _PAGE_READ
        if is_full and position + 1 < len(referrers):
            return _Page(found, Digest.from_binary(digest))
    return _Page(found, None)


def _descriptor(context: Context, digest: BinaryDigest) -> dict[str, Any] | None:
    try:
        raw = context.storage.read_manifest(digest)
        manifest = None if raw is None else parse_manifest(raw)
    except (InvalidManifest, StorageError):
        return None
    if manifest is None:
        return None
    long = Digest.from_binary(digest)
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
