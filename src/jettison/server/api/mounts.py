"""Mounts: a blob of one repository becomes one of another without an upload (end-11)."""

from collections.abc import Iterable
from itertools import chain, islice
from typing import Final

from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.server.access import AccessAction
from jettison.server.api.context import Call, Context, parse_name
from jettison.server.api.settling import settled
from jettison.server.http.answers import Answer

__all__ = ["mount"]

_MOST_SOURCES: Final = 1000
"""Repositories that are searched for a mount without a source: the client can upload instead."""


async def mount(call: Call, digest: Digest, source: str | None) -> Answer | None:
    """Link a blob of ``source``, or of any repository that the client may read, into this one.

    None if there is none, or if it is not among the first repositories: the client then uploads
    it. The answer does not reveal blobs that the client may not read.
    """
    names = None if source is None else [parse_name(source)]
    run = call.search if names is None else call.run
    found = await settled(lambda: run(_link, call, digest, names))
    if found is None:
        return None
    name, size = found
    call.context.events.blob(call, "mount", digest, size, name)
    location = call.location(f"blobs/{digest}")
    return Answer(201, [location, (b"docker-content-digest", digest.encode())])


def _link(call: Call, digest: Digest, names: list[RepoName] | None) -> tuple[RepoName, int] | None:
    context = call.context
    size = context.serving.size(digest)
    if size is None:
        return None
    for name in _sources(context, digest) if names is None else names:
        # Touched before it is linked, so that no collection takes it in between (decision 0003).
        if (
            call.grant.allows(name, AccessAction.PULL)
            and context.serving.layer(name, digest) == digest
            and context.serving.touch_layer(name, digest)
        ):
            context.storage.link_layer(call.repository, digest)
            return name, size
    return None


def _sources(context: Context, digest: Digest) -> Iterable[RepoName]:
    """Return where to look for a blob: where it was pushed lately, then the first repositories."""
    last = context.pushed.get(digest)
    first = map(RepoName, islice(context.serving.repositories_after(""), _MOST_SOURCES))
    return first if last is None else chain([last], first)
