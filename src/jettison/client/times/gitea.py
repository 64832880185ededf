"""Gitea and Forgejo: versions of a container package, each a tag or a manifest by its digest.

Gitea's API, https://docs.gitea.com/api, operation ``listPackages``: ``version`` and ``created_at``.
A push to a tag that is there makes the version anew, so ``created_at`` is when the tag was last
pushed [tried: 1.26]. The list is filtered by a part of the name, and the names are in lower case.

Not a list of all manifests: its pages shift while something is pushed or deleted, and Gitea deletes
a child although an index lists it.
"""

from typing import Final
from urllib.parse import quote

import msgspec

from jettison.client.times.asking import Api, Found, Login, NotTold, Value, has_next, moment
from jettison.model.names import RepoName

__all__ = ["read"]

_PAGE: Final = 50
CREATED: Final = "Gitea created_at of the version"


class _Version(msgspec.Struct):
    name: Value = None
    version: Value = None
    created_at: Value = None


async def read(api: Api, repository: RepoName, found: Found) -> None:
    """Note when tags and manifests were pushed."""
    owner, _, name = repository.partition("/")
    if not name:
        raise NotTold(f"{repository} has no owner in Gitea")
    target = f"/api/v1/packages/{owner}?type=container&q={quote(name, safe='')}&limit={_PAGE}"
    count = 0
    async for page, response in api.numbered(target, list[_Version], Login.PASSWORD, repository):
        for one in page:
            if one.name == name and isinstance(one.version, str):
                note = found.manifest if ":" in one.version else found.tag
                note(one.version, moment(one.created_at, CREATED))
        count += len(page)
        if not has_next(response, count, len(page)):
            return
