"""Mounting: a blob that some repository has becomes one of another, and nothing is sent (end-11)."""

from collections.abc import Iterable

from jettison.model.digest import Digest
from jettison.model.reference import RepoName
from jettison.server.access import Action
from jettison.server.answers import Answer
from jettison.server.context import Call, parse_name

__all__ = ["mount"]


async def mount(call: Call, digest: Digest, source: str | None) -> Answer | None:
    """Link a blob of ``source``, or of any repository that the client may read, into this one.

    None if there is none: the client then uploads it. Whether the blob exists where the client may
    not look is not told.
    """
    names = None if source is None else [parse_name(source)]
    found = await call.context.run(_link, call, digest, names)
    if found is None:
        return None
    name, size = found
    call.context.events.blob(call, "mount", digest, size, name)
    location = call.location(f"blobs/{digest}")
    return Answer(201, [location, (b"docker-content-digest", digest.encode())])


def _link(
    call: Call, digest: Digest, names: Iterable[RepoName] | None
) -> tuple[RepoName, int] | None:
    context = call.context
    size = context.contents.size(digest)
    if size is None:
        return None
    for name in context.tree.repositories() if names is None else names:
        # Touched before it is linked, so that no collection takes it in between (rule 6).
        if (
            call.grant.allows(name, Action.PULL)
            and context.contents.layer(name, digest) == digest
            and context.contents.touch_layer(name, digest)
        ):
            context.tree.link_layer(call.repository, digest)
            return name, size
    return None
