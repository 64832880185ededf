"""Harbor: artifacts of a repository, each with its tags and the times of both.

Harbor's API, ``api/v2.0/swagger.yaml`` in https://github.com/goharbor/harbor, operation
``listArtifacts``: ``push_time`` and ``pull_time`` of an artifact and of each tag. The name of the
repository within its project is encoded twice where it has slashes. ``pull_time`` of the year 1 is
"never", and also what an upgrade, a replication or a restored backup leaves: not known.

The list leaves out children of indexes and accessories such as signatures, so that it is no list of
all manifests.
"""

from typing import Final
from urllib.parse import quote

import msgspec

from jettison.client.times.asking import Api, Found, Login, NotTold, Value, has_next, moment
from jettison.model.names import RepoName

__all__ = ["read"]

_PAGE: Final = 100
PUSH: Final = "Harbor push_time"
PULL: Final = "Harbor pull_time"


class _Tag(msgspec.Struct):
    name: Value = None
    push_time: Value = None
    pull_time: Value = None


class _Artifact(msgspec.Struct):
    digest: Value = None
    push_time: Value = None
    pull_time: Value = None
    tags: list[_Tag] | None = None


async def read(api: Api, repository: RepoName, found: Found) -> None:
    """Note when artifacts and tags were pushed and last pulled."""
    project, _, name = repository.partition("/")
    if not name:
        raise NotTold(f"{repository} is in no project of Harbor")
    inner = quote(quote(name, safe=""), safe="")
    target = f"/api/v2.0/projects/{project}/repositories/{inner}/artifacts"
    target += f"?with_tag=true&page_size={_PAGE}"
    count = 0
    async for page, response in api.numbered(target, list[_Artifact], Login.PASSWORD, repository):
        for one in page:
            found.manifest(one.digest, moment(one.push_time, PUSH), moment(one.pull_time, PULL))
            for tag in one.tags or ():
                found.tag(tag.name, moment(tag.push_time, PUSH), moment(tag.pull_time, PULL))
        count += len(page)
        if not has_next(response, count, len(page)):
            return
