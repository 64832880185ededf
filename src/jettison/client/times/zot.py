"""zot: images by its search extension, each with its first push and its last pull.

https://zotregistry.dev, "Using GraphQL for Enhanced Searches", and
``pkg/extensions/search/schema.graphql`` in https://github.com/project-zot/zot: ``ImageList`` with
``PushTimestamp`` and ``LastPullTimestamp``. Both are the image's, not the tag's: moving a tag does
not renew them. Indexes come without. The year 1 is "never".

zot does not name itself in its answers, but in the list of its extensions:
https://github.com/opencontainers/distribution-spec, ``extensions/_oci.md``.
"""

import json
from typing import Final
from urllib.parse import quote

import msgspec

from jettison.client.auth import NO_ACCESS, Access
from jettison.client.failures import tidy
from jettison.client.times.asking import Api, Found, NotTold, Value, moment
from jettison.model.names import RepoName

__all__ = ["is_one", "read"]

_SEARCH: Final = "/v2/_zot/ext/search"
PUSH: Final = "zot PushTimestamp"
PULL: Final = "zot LastPullTimestamp"


class _Image(msgspec.Struct):
    Digest: Value = None
    PushTimestamp: Value = None
    LastPullTimestamp: Value = None


class _Count(msgspec.Struct):
    TotalCount: int = 0
    ItemCount: int = 0


class _Images(msgspec.Struct):
    Results: list[_Image]
    Page: _Count | None = None


class _Data(msgspec.Struct):
    ImageList: _Images | None = None


class _Error(msgspec.Struct):
    message: str = ""


class _Answer(msgspec.Struct):
    data: _Data | None = None
    errors: list[_Error] | None = None


async def read(api: Api, repository: RepoName, found: Found) -> None:
    """Note when images were first pushed and last pulled."""
    wanted = "Page{TotalCount ItemCount} Results{Digest PushTimestamp LastPullTimestamp}"
    query = f"{{ImageList(repo:{json.dumps(str(repository))}){{{wanted}}}}}"
    target = f"{_SEARCH}?query={quote(query, safe='')}"
    access = Access(repository, ("pull",))
    answer, _ = await api.get(target, _Answer, access=access, absent="has no search enabled")
    if answer.errors:
        raise NotTold(f"zot's search says: {tidy(answer.errors[0].message)}")
    images = None if answer.data is None else answer.data.ImageList
    if images is None:
        raise NotTold("zot's search says nothing")
    for one in images.Results:
        push, pull = moment(one.PushTimestamp, PUSH), moment(one.LastPullTimestamp, PULL)
        found.manifest(one.Digest, push, pull)
    if images.Page is not None and images.Page.ItemCount < images.Page.TotalCount:
        raise NotTold("zot's search tells of a part of the images only")


class _Extension(msgspec.Struct):
    name: str = ""


class _Extensions(msgspec.Struct):
    extensions: list[_Extension] | None = None


async def is_one(api: Api) -> bool:
    """Whether the registry lists zot's extensions."""
    answer, _ = await api.get("/v2/_oci/ext/discover", _Extensions, access=NO_ACCESS)
    return any(one.name == "_zot" for one in answer.extensions or ())
