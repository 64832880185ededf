"""Google's registries (Artifact Registry, gcr.io): every manifest beside the list of tags.

``/v2/REPO/tags/list`` has a member ``manifest`` beyond the specification, by digest, with
``timeUploadedMs`` and ``timeCreatedMs`` in milliseconds and the tags in ``tag``: see
``pkg/v1/google/list.go`` in https://github.com/google/go-containerregistry, and
https://cloud.google.com/artifact-registry/docs/docker/manage-images. One answer has it all, tagged
and untagged, children too. ``timeCreatedMs`` is from the image's config, and is read there.

The time of an upload is the image's. When a tag was moved to it is not told.
"""

from typing import Final

import msgspec

from jettison.client.auth import Access
from jettison.client.times.asking import Api, Found, NotTold, Value, digest_of, moment
from jettison.model.digest import Digest
from jettison.model.names import RepoName

__all__ = ["read", "revisions"]

UPLOADED: Final = "Google timeUploadedMs"


class _Manifest(msgspec.Struct):
    timeUploadedMs: Value = None  # noqa: N815 - Google's name
    tag: list[str] | None = None


class _Page(msgspec.Struct):
    manifest: dict[str, _Manifest] | None = None
    tags: list[str] | None = None


async def _list(api: Api, repository: RepoName) -> list[_Page]:
    """Return the whole list: without ``n`` it comes at once."""
    path = f"/v2/{repository}/tags/list"
    pages = [page async for page in api.linked(path, "", _Page, Access(repository, ("pull",)))]
    if any(page.manifest is None for page in pages):
        raise NotTold("Google's list of tags comes without its manifests")
    return pages


async def read(api: Api, repository: RepoName, found: Found) -> None:
    """Note when manifests were uploaded."""
    for page in await _list(api, repository):
        for digest, one in (page.manifest or {}).items():
            found.manifest(digest, moment(one.timeUploadedMs, UPLOADED, per_second=1000))


async def revisions(api: Api, repository: RepoName) -> list[Digest]:
    """Return all manifests, if the list agrees with itself.

    It is one answer, and every tag in it has to be a listed manifest's: then no index is missing
    whose children would look as if nothing needed them.
    """
    pages = await _list(api, repository)
    if len(pages) != 1:
        raise NotTold("Google's list of manifests comes in pieces")
    listed = pages[0].manifest or {}
    digests = [digest_of(name) for name in listed]
    tagged = {tag for one in listed.values() for tag in one.tag or ()}
    if None in digests or tagged != set(pages[0].tags or ()):
        raise NotTold("Google's list of manifests does not agree with its list of tags")
    return sorted(digest for digest in digests if digest is not None)
