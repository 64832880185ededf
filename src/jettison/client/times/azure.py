"""Azure Container Registry: tags and manifests, each with the time of its last change.

``GetTags`` and ``GetManifests`` of the data plane, https://learn.microsoft.com/rest/api/
containerregistry/, and ``data-plane/Azure.ContainerRegistry/stable/2021-07-01`` in
https://github.com/Azure/azure-rest-api-specs: ``createdTime`` and ``lastUpdateTime``. A tag is
updated when it moves, and so is either when its attributes change (a lock); ``acr purge`` counts
the same time. A token needs the scope ``metadata_read``.

``_manifests`` has all manifests, untagged ones, children and referrers too, in the order of their
digests: a page begins after the last digest of the one before, so that nothing shifts.
"""

from typing import Final

import msgspec

from jettison.client.auth import Access
from jettison.client.times.asking import Api, Found, NotTold, Value, digest_of, moment
from jettison.model.digest import Digest
from jettison.model.names import RepoName

__all__ = ["read", "revisions"]

_PAGE: Final = 1000
UPDATED: Final = "ACR lastUpdateTime"
CREATED: Final = "ACR createdTime"


class _Tag(msgspec.Struct):
    name: Value = None
    digest: Value = None
    createdTime: Value = None  # noqa: N815 - Azure's name
    lastUpdateTime: Value = None  # noqa: N815 - Azure's name


class _Manifest(msgspec.Struct):
    digest: Value = None
    createdTime: Value = None  # noqa: N815 - Azure's name
    lastUpdateTime: Value = None  # noqa: N815 - Azure's name


class _Tags(msgspec.Struct):
    tags: list[_Tag] | None = None


class _Manifests(msgspec.Struct):
    manifests: list[_Manifest] | None = None


async def _tags(api: Api, repository: RepoName) -> list[_Tag]:
    path = f"/acr/v1/{repository}/_tags"
    access = Access(repository, ("metadata_read",))
    pages = api.linked(path, f"n={_PAGE}", _Tags, access)
    return [one async for page in pages for one in page.tags or ()]


async def _manifests(api: Api, repository: RepoName) -> list[_Manifest]:
    path = f"/acr/v1/{repository}/_manifests"
    access = Access(repository, ("metadata_read",))
    pages = api.linked(path, f"n={_PAGE}", _Manifests, access)
    return [one async for page in pages for one in page.manifests or ()]


async def read(api: Api, repository: RepoName, found: Found) -> None:
    """Note when tags and manifests were pushed: all, or none if either list fails.

    A manifest without the tag that was moved to it yesterday would look older than it is.
    """
    tags, manifests = await _tags(api, repository), await _manifests(api, repository)
    for tag in tags:
        found.tag(tag.name, moment(tag.lastUpdateTime, UPDATED) or moment(tag.createdTime, CREATED))
    for one in manifests:
        pushed = moment(one.lastUpdateTime, UPDATED) or moment(one.createdTime, CREATED)
        found.manifest(one.digest, pushed)


async def revisions(api: Api, repository: RepoName) -> list[Digest]:
    """Return all manifests, if every tag's is among them."""
    tags = {digest_of(tag.digest) for tag in await _tags(api, repository)}
    found = {digest_of(one.digest) for one in await _manifests(api, repository)}
    if None in found or not tags <= found:
        raise NotTold("ACR's list of manifests does not agree with its list of tags")
    return sorted(digest for digest in found if digest is not None)
