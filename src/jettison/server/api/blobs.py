"""Blobs: HEAD, GET and DELETE (distribution specification, end-2 and end-10)."""

from typing import NamedTuple

from jettison.errors import StorageError, Unsettled
from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.server.api.context import Call, Context, parse_digest
from jettison.server.api.protection import refuse_used_blob
from jettison.server.api.sending import content_answer, open_answer
from jettison.server.http.answers import Answer, ApiError, Code
from jettison.server.http.content_headers import blob_headers, prepared_blob
from jettison.storage.protocol import OpenContent

__all__ = ["delete_blob", "get_blob", "head_blob"]


class _Url(NamedTuple):
    """Where a client may fetch a blob itself; its size in bytes, 0 where nobody wants to know."""

    url: str
    size: int


async def get_blob(call: Call) -> Answer:
    """Send a blob that is linked into the repository, or the client to where it can fetch it."""
    digest = parse_digest(call.reference)
    found = await call.ask(_find, call.context, call.repository, digest)
    if found is None:
        raise _unknown(digest)
    if isinstance(found, bytes):
        size = len(found)
        headers, encoded = prepared_blob(digest, size)
        answer = content_answer(call.request, digest, headers, found, encoded)
    elif isinstance(found, _Url):
        size = found.size
        location = (b"location", found.url.encode("latin-1"))
        answer = Answer(307, [location, (b"docker-content-digest", digest.encode())])
    else:
        size = found.size
        answer = await open_answer(call, digest, blob_headers(digest, size), found)
    call.context.events.blob(call, "pull", digest, size)
    return answer


def _find(
    context: Context, repository: RepoName, digest: Digest
) -> bytes | OpenContent | _Url | None:
    """Return a blob of the repository: its bytes, or open, or where else it is."""
    serving = context.serving
    target = serving.layer(repository, digest)
    if target is None:
        return None
    if context.configuration.storage.redirect:
        url = serving.url(target)
        if url is not None:
            # To look whether the blob is there, too, would be a second round trip for each layer.
            size = serving.size(target) if context.events.enabled else 0
            return None if size is None else _Url(url, size)
    content = serving.small(target)
    return content if content is not None else serving.open(target)


async def head_blob(call: Call) -> Answer:
    """Tell whether a blob exists, and touch it.

    A push that hears "yes" does not send the blob, so a collection must leave it from now on.
    """
    digest = parse_digest(call.reference)
    size = await call.ask(_touch, call.context, call.repository, digest)
    if size is None:
        raise _unknown(digest)
    return content_answer(call.request, digest, blob_headers(digest, size), b"")


def _touch(context: Context, repository: RepoName, digest: Digest) -> int | None:
    """Touch a blob of the repository, and return its size in bytes; None if there is none."""
    serving = context.serving
    if not context.configuration.storage.readonly:
        try:
            if not serving.touch_layer(repository, digest):
                return None
        except Unsettled:
            raise  # it is touched again
        except StorageError:
            pass  # what cannot be touched can be pulled; the PUT of a manifest will say so
    target = serving.layer(repository, digest)
    return None if target is None else serving.size(target)


async def delete_blob(call: Call) -> Answer:
    """Unlink a blob from the repository, unless a manifest of it uses it."""
    context = call.context
    context.require_deletion()
    digest = parse_digest(call.reference)
    async with context.writing(call.repository):
        if not await call.search(_delete, context, call.repository, digest):
            raise _unknown(digest)
    context.events.blob(call, "delete", digest)
    return Answer(202, [(b"docker-content-digest", digest.encode())])


def _delete(context: Context, repository: RepoName, digest: Digest) -> bool:
    if context.serving.layer(repository, digest) is None:
        return False
    # The first manifest may be on its way: made here, the folder's lock keeps it out meanwhile.
    with context.storage.writing(repository, make=True):
        if context.configuration.protect_references:
            refuse_used_blob(context, repository, digest)
        return context.storage.unlink_layer(repository, digest)


def _unknown(digest: Digest) -> ApiError:
    detail = {"digest": str(digest)}
    return ApiError(404, Code.BLOB_UNKNOWN, "the repository has no such blob", detail)
