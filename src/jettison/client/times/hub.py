"""Docker Hub: tags, each with its last push and its last pull.

Docker Hub API, https://docs.docker.com/reference/api/hub/latest/, "List repository tags":
``tag_last_pushed``, ``tag_last_pulled`` and ``last_updated``. It is on another host than the
registry, so that it gets no login, and tells of public repositories only.
"""

from typing import Final

import msgspec

from jettison.client.times.asking import Api, CannotTell, Found, Login, Value, moment
from jettison.model.names import HUB, RepoName

__all__ = ["read"]

_API: Final = "https://hub.docker.com"
_PAGE: Final = 100


class _Tag(msgspec.Struct):
    name: Value = None
    last_updated: Value = None
    tag_last_pushed: Value = None
    tag_last_pulled: Value = None


class _Page(msgspec.Struct):
    results: list[_Tag]
    next: Value = None


async def read(api: Api, repository: RepoName, found: Found) -> None:
    """Note when tags were last pushed and pulled."""
    if api.host.lower() not in HUB:
        raise CannotTell  # a mirror of it
    space, _, name = repository.rpartition("/")
    target = f"{_API}/v2/namespaces/{space or 'library'}/repositories/{name}/tags"
    target += f"?page_size={_PAGE}"
    async for page, _ in api.numbered(target, _Page, Login.NONE, repository):
        for one in page.results:
            found.tag(
                one.name,
                moment(one.tag_last_pushed, "Docker Hub tag_last_pushed")
                or moment(one.last_updated, "Docker Hub last_updated"),
                moment(one.tag_last_pulled, "Docker Hub tag_last_pulled"),
            )
        if not page.next:
            return
