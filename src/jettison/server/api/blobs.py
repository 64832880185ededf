"""Blobs: HEAD, GET and DELETE (distribution specification, end-2 and end-10)."""

import contextlib

from jettison.errors import StorageError
from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.server.api.context import Call, Context, parse_digest
from jettison.server.api.protection import refuse_used_blob
from jettison.server.api.sending import content_answer, open_answer
from jettison.server.http.answers import Answer, ApiError, Code
from jettison.server.http.content_headers import blob_headers, prepared_blob

__all__ = ["delete_blob", "get_blob", "head_blob"]


async def get_blob(call: Call) -> Answer:
    """Send a blob that is linked into the repository."""
    serving = call.context.serving
    digest = parse_digest(call.reference)
    target = serving.layer(call.repository, digest)
    if target is None:
        raise _unknown(digest)
    content = serving.small(target)
    if content is not None:
        size = len(content)
        headers, encoded = prepared_blob(digest, size)
        answer = content_answer(call.request, digest, headers, content, encoded)
    else:
        opened = serving.open(target)
        if opened is None:
            raise _unknown(digest)
        size = opened.size
        headers = blob_headers(digest, size)
        answer = open_answer(call, digest, headers, opened)
    call.context.events.blob(call, "pull", digest, size)
    return answer


async def head_blob(call: Call) -> Answer:
    """Tell whether a blob exists, and touch it.

    A push that hears "yes" does not send the blob, so a collection must leave it from now on.
    """
    serving = call.context.serving
    digest = parse_digest(call.reference)
    if not call.context.configuration.storage.readonly:
        # What cannot be touched can be pulled all the same; the PUT of a manifest will say so.
        with contextlib.suppress(StorageError):
            if not serving.touch_layer(call.repository, digest):
                raise _unknown(digest)
    target = serving.layer(call.repository, digest)
    size = None if target is None else serving.size(target)
    if size is None:
        raise _unknown(digest)
    return content_answer(call.request, digest, blob_headers(digest, size), b"")


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
