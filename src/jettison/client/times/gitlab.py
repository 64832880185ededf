"""GitLab's container registry with its metadata database: tags, each with its times.

``docs/spec/gitlab/api.md`` in https://gitlab.com/gitlab-org/container-registry, "List Repository
Tags": ``created_at`` is when the tag was created, ``updated_at`` when it last moved to another
manifest, ``published_at`` the later of the two, which older versions lack. They are the registry's
own times; the ``created_at`` of GitLab's other API (``/api/v4/…/registry/repositories``), which is
not used, is that of the image's config.
"""

from typing import Final

import msgspec

from jettison.client.auth import Access
from jettison.client.times.asking import Api, CannotTell, Found, Value, moment
from jettison.model.names import RepoName

__all__ = ["read", "refuse"]

_PAGE: Final = 1000


class _Tag(msgspec.Struct):
    name: Value = None
    created_at: Value = None
    updated_at: Value = None
    published_at: Value = None


async def read(api: Api, repository: RepoName, found: Found) -> None:
    """Note when tags were pushed."""
    path = f"/gitlab/v1/repositories/{repository}/tags/list/"
    access = Access(repository, ("pull",))
    async for page in api.linked(path, f"n={_PAGE}", list[_Tag], access):
        for one in page:
            found.tag(
                one.name,
                moment(one.published_at, "GitLab published_at")
                or moment(one.updated_at, "GitLab updated_at")
                or moment(one.created_at, "GitLab created_at of the tag"),
            )


async def refuse(api: Api, repository: RepoName, found: Found) -> None:  # noqa: ARG001 - as the others
    """Say that there is nothing to be had: without its database the registry keeps no times."""
    raise CannotTell
