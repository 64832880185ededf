"""Protects a manifest or a blob that another manifest needs.

An image without its layer, or an index without its child, is broken for every pull, and no one is
told. So such a DELETE is refused, and the answer names what needs the content. A manifest that
cannot be read protects everything but itself (decision 0002): it can be pushed again, or deleted.
"""

from typing import Final

from jettison.errors import InvalidManifest, StorageError
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.manifest_references import references_of
from jettison.model.names import RepoName
from jettison.server.api.context import Context
from jettison.server.http.answers import ApiError, Code

__all__ = ["refuse_listed_manifest", "refuse_used_blob"]

_MOST_NAMED: Final = 100
_MEND: Final = "push that again, or delete it first"


def refuse_listed_manifest(context: Context, repository: RepoName, digest: Digest) -> None:
    """Raise 405 ``DENIED`` if an index of the repository lists a manifest."""
    relations = context.relations.of(repository)
    holders = relations.indexes_with(digest.binary)
    if holders:
        message = f"manifest {digest} is listed by the index {{}}: delete that first"
        raise _denied(context, repository, digest, holders[0], message)
    unread = relations.unread()
    if unread and digest.binary not in unread:
        message = f"manifest {digest} may be listed by {{}}, which cannot be read: {_MEND}"
        raise _denied(context, repository, digest, unread[0], message)


def refuse_used_blob(context: Context, repository: RepoName, digest: Digest) -> None:
    """Raise 405 ``DENIED`` if a manifest of the repository uses a blob.

    Each manifest of the repository is read until one does.
    """
    raw = digest.binary
    with context.storage.repository(repository) as reader:
        linked = reader.revisions().linked
    for revision in linked:
        try:
            found = context.storage.read_manifest(revision)
            edges = None if found is None else references_of(found).edges
        except (InvalidManifest, StorageError):
            edges = None
        if edges is None:
            message = f"blob {digest} may be used by {{}}, which cannot be read: {_MEND}"
            raise _denied(context, repository, digest, revision, message)
        if raw in edges.blobs:
            message = f"blob {digest} is used by the manifest {{}}: delete that first"
            raise _denied(context, repository, digest, revision, message)


def _denied(
    context: Context, repository: RepoName, digest: Digest, holder: BinaryDigest, message: str
) -> ApiError:
    with context.storage.repository(repository) as reader:
        tags = sorted(tag for tag, current in reader.tags().current.items() if current == holder)
    long = Digest.from_binary(holder)
    name = f"{long} ({', '.join(tags[:3])}{', …' if len(tags) > 3 else ''})" if tags else str(long)  # noqa: PLR2004 - enough to know it by
    detail = {"digest": str(digest), "holder": str(long), "tags": tags[:_MOST_NAMED]}
    return ApiError(405, Code.DENIED, message.format(name), detail)
