"""A whole repository of a storage in one step, many files in each call.

:func:`jettison.jobs.discover.discover_repository` reads any registry tag by tag, and would find the
same; a property test holds both to that.
"""

import contextlib
from collections.abc import Iterator
from typing import Final

from jettison.errors import InvalidManifest, NotFoundError, StorageError
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.listing_problems import ListingProblem
from jettison.model.manifest import Manifest, parse_manifest
from jettison.model.names import RepoName
from jettison.model.snapshot import RepositorySnapshot
from jettison.storage.protocol import LinkKind, Problem, Storage

__all__ = ["UNKNOWN_TYPE", "broken_link", "no_repository", "read_snapshot"]

UNKNOWN_TYPE: Final = "application/octet-stream"
"""The type of a manifest that tells none."""


def broken_link(storage: Storage, problem: Problem) -> StorageError:
    """Return the error that a tag with a broken link raises when it is asked for."""
    message = f"{storage.location}/{problem.path} {problem.message}"
    return StorageError(message, hint="Remove the tag, or push it again.")


def no_repository(storage: Storage, repository: RepoName) -> NotFoundError:
    """Return the error for a repository that is not there."""
    return NotFoundError(f"there is no repository {repository} in {storage.location}")


def read_snapshot(storage: Storage, repository: RepoName) -> RepositorySnapshot:
    """Read the tags of a repository and all manifests that are linked into it.

    A tag with a damaged link is a problem. A manifest that a tag or a link names and that cannot be
    read, or is not linked, is unreadable. Raises :class:`~jettison.errors.NotFoundError` if there
    is no such repository, and :class:`~jettison.errors.StorageError` for what cannot be listed.
    """
    if not storage.has_repository(repository):
        raise no_repository(storage, repository)
    with storage.repository(repository) as reader:
        tags = reader.tags()
        revisions = reader.revisions()
        named = revisions.linked | revisions.damaged | set(tags.current.values())
        unsure = sorted(named - revisions.linked)
        with reader.links(LinkKind.REVISION) as links:
            stamps = links.stamps(unsure)
    linked = revisions.linked.union(
        digest for digest, stamp in zip(unsure, stamps, strict=True) if stamp is not None
    )
    texts = {digest: Digest.from_binary(digest) for digest in named}
    manifests: dict[Digest, Manifest] = {}
    for digest, raw in _manifests(storage, linked):
        with contextlib.suppress(InvalidManifest):
            manifests[texts[digest]] = parse_manifest(raw, UNKNOWN_TYPE, texts[digest])
    return RepositorySnapshot(
        repository,
        {tag: texts[digest] for tag, digest in sorted(tags.current.items())},
        manifests,
        frozenset(text for text in texts.values() if text not in manifests),
        complete=True,
        problems=tuple(
            ListingProblem.of(tag, broken_link(storage, problem))
            for tag, problem in sorted(tags.broken.items())
        ),
    )


def _manifests(storage: Storage, linked: set[BinaryDigest]) -> Iterator[tuple[BinaryDigest, bytes]]:
    """Yield those manifests that can be read and have their digest."""
    rest = set(linked)
    # In the order of their digests they lie side by side.
    for digest, raw in storage.whole_manifests(sorted(linked)):
        rest.discard(digest)
        yield digest, raw
    for digest in sorted(rest):
        try:
            found = storage.read_manifest(digest)
        except StorageError:
            continue
        if found is not None and Digest.from_binary(digest).matches(found):
            yield digest, found
