"""The names of repositories in a bucket, without listing what is in them."""

import contextlib
import heapq
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

from jettison.errors import InvalidName
from jettison.model.names import RepoName
from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.listing import PARTS

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["is_repository", "names_after"]

_AHEAD: Final = 32
"""Names that are asked about at a time."""


def is_repository(folders: Collection[str]) -> bool:
    """Whether a place with these places in it is a repository."""
    return any(part in folders for part in PARTS)


def names_after(bucket: Bucket, name: str = "", part: str = "") -> Iterator[RepoName]:
    """Yield the repositories behind a name, in lexical order; a request for each, and each above.

    With ``part`` only those that have it.
    """

    def folders(one: str) -> list[str]:
        return bucket.folders(layout.repository(one) if one else layout.REPOSITORIES)

    asked: dict[str, Future[list[str]]] = {}
    names = [""]  # a heap: what is below a name comes after others, as app-2 before app/x
    while names:
        if names[0] not in asked:
            for one in heapq.nsmallest(_AHEAD, names):
                asked.setdefault(one, bucket.pool.submit(folders, one))
        found = heapq.heappop(names)
        inner = asked.pop(found).result()
        if found > name and (part in inner if part else is_repository(inner)):
            with contextlib.suppress(InvalidName):
                yield RepoName(found)
        for last in inner:
            below = f"{found}/{last}" if found else last
            # A name that the wanted ones come after may still have some of them below it.
            if not last.startswith("_") and (below > name or name.startswith(below)):
                heapq.heappush(names, below)
