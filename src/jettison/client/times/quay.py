"""Quay: tags, each with the time since when it points to its manifest.

Quay's API, ``/api/v1/repository/REPO/tag/``, https://docs.redhat.com/en/documentation/red_hat_quay,
"Viewing Red Hat Quay tag history by using the API", and ``endpoints/api/tag.py`` in
https://github.com/quay/quay: ``start_ts`` and ``end_ts`` are seconds since the epoch, and
``last_modified`` is ``start_ts`` once more. An entry whose ``end_ts`` is over is history, which is
not asked for; a later one is when the tag will expire. The API takes an OAuth token, and no robot's
password.

Quay lists no untagged manifests: it collects them by itself, after its time machine.
"""

from typing import Final

import msgspec

from jettison.client.times.asking import Api, Found, Login, Value, moment
from jettison.model.names import RepoName

__all__ = ["read"]

_PAGE: Final = 100
START: Final = "Quay start_ts"


class _Tag(msgspec.Struct):
    name: Value = None
    start_ts: Value = None
    end_ts: Value = None


class _Page(msgspec.Struct):
    tags: list[_Tag]
    has_additional: bool = False


async def read(api: Api, repository: RepoName, found: Found) -> None:
    """Note since when tags point to their manifests: when they were pushed."""
    target = f"/api/v1/repository/{repository}/tag/?onlyActiveTags=true&limit={_PAGE}"
    async for page, _ in api.numbered(target, _Page, Login.TOKEN, repository):
        for one in page.tags:
            end = moment(one.end_ts, "")
            if end is None or end.seconds > api.now:
                found.tag(one.name, moment(one.start_ts, START))
        if not page.has_additional:
            return
