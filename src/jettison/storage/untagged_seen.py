"""Since when manifests were seen without a tag: what no link of a repository tells.

A tag that is removed takes its history along, and leaves nothing that says which manifest it was
of. So a run that removes by a policy notes the untagged manifests of a repository; from the next
run on they are known to have lost their tags no later than that. A manifest that gets a tag is
pushed, which writes its link anew, and a link that is newer than the note counts in its place.

The notes are a document for each repository, ``jettison/untagged/<repository>/_seen.json``. They
may be removed at any time: then it takes longer until something is old.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from jettison.errors import InvalidDocument, StorageError
from jettison.model import codec
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import RepoName
from jettison.storage.protocol import Documents, Storage

__all__ = ["note_untagged", "seen_untagged"]

_COLLECTION: Final = "untagged"
_NAME: Final = "_seen.json"
"""No part of a repository's name begins like that."""
_LARGEST: Final = 64 << 20
_SCHEMA: Final = 1


class _Seen(msgspec.Struct, frozen=True):
    """When each untagged manifest was first seen so, in seconds since the epoch."""

    schema_version: int
    untagged: dict[Digest, float]


def _documents(storage: Storage, repository: RepoName) -> Documents:
    return storage.documents(f"{_COLLECTION}/{repository}")


def seen_untagged(storage: Storage, repository: RepoName) -> dict[BinaryDigest, float]:
    """Return when the untagged manifests of a repository were first seen without a tag.

    Times are in seconds since the epoch. A note that cannot be read is none.
    """
    return _read(_documents(storage, repository))


def _read(documents: Documents) -> dict[BinaryDigest, float]:
    try:
        raw = documents.read(_NAME, _LARGEST)
        seen: _Seen | None = None if raw is None else codec.decode(raw, _Seen)
    except (InvalidDocument, StorageError):
        return {}
    if seen is None or seen.schema_version != _SCHEMA:
        return {}
    return {digest.binary: seconds for digest, seconds in seen.untagged.items()}


def note_untagged(storage: Storage, repository: RepoName, clock: Callable[[], float]) -> None:
    """Note the manifests of a repository that have no tag now.

    ``clock`` tells the time in seconds since the epoch. What was noted before keeps its time as
    long as it has no tag. Where a tag is damaged, all is forgotten: it may point to anything.
    Raises :class:`~jettison.errors.StorageError` if nothing can be written.
    """
    with storage.repository(repository) as reader:
        linked = reader.revisions().linked
        tags = reader.tags()
    now = clock()
    untagged = set() if tags.problems else linked - set(tags.current.values())
    documents = _documents(storage, repository)
    before = _read(documents)
    after = {digest: min(before.get(digest, now), now) for digest in untagged}
    if after == before:
        return
    if not after:
        documents.remove(_NAME)
        return
    named = {Digest.from_binary(digest): seconds for digest, seconds in sorted(after.items())}
    documents.write(_NAME, codec.encode(_Seen(_SCHEMA, named)))
