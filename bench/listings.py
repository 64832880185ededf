"""The two long lists of a registry: the tags of a repository, and the catalog."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from bench.programs import BenchError
from bench.transfer import Client

__all__ = ["LISTINGS", "Listing", "expected_names", "listed", "names", "paged"]


class Listing(NamedTuple):
    """One of the two, and where it is asked for."""

    what: str
    tags: bool
    target: str


TAGS: Final = Listing("tags", tags=True, target="/v2/team00/app00000/tags/list")
CATALOG: Final = Listing("catalog", tags=False, target="/v2/_catalog")
LISTINGS: Final = (TAGS, CATALOG)


def names(body: bytes) -> list[str]:
    """Return the names in one answer."""
    found = json.loads(body)
    listed = found["repositories"] if "repositories" in found else found["tags"]
    return list(listed or ())


def expected_names(tree: Path, listing: Listing) -> list[str]:
    """Return what the whole list should be, sorted, from the tree itself."""
    repositories = tree / "docker/registry/v2/repositories"
    if listing.tags:
        name = listing.target.removeprefix("/v2/").removesuffix("/tags/list")
        return sorted(tag.name for tag in (repositories / name / "_manifests/tags").iterdir())
    found = repositories.glob("*/*/_manifests")
    return sorted(str(one.parent.relative_to(repositories)) for one in found)


def listed(client: Client, listing: Listing, many: int) -> list[bytes]:
    """Ask for the whole list at once; return the only answer."""
    headers, body = client.ask("GET", f"{listing.target}?n={many}", 200)
    if headers["Link"] is not None and len(names(body)) < many:
        raise BenchError(f"{listing.what}: not whole")
    return [body]


def paged(client: Client, listing: Listing, page: int) -> list[bytes]:
    """Ask for page after page, as the answers' Link says; return all answers."""
    bodies = []
    target: str | None = f"{listing.target}?n={page}"
    while target is not None:
        headers, body = client.ask("GET", target, 200)
        bodies.append(body)
        target = following(headers.get_all("Link") or [])
    return bodies


def following(links: Sequence[str]) -> str | None:
    """Return the target of the next page: path and query."""
    for link in links:
        address, _, parameters = link.partition(">")
        if 'rel="next"' in parameters:
            parts = urlsplit(address.lstrip(" <"))
            return f"{parts.path}?{parts.query}"
    return None
