"""The manifests of a repository and their times, for programs that prune it.

``GET /v2/<name>/_jettison/images`` is an extension of ours, in the form that the distribution
specification gives to extensions: it has no list of untagged manifests, and no times.
"""

import msgspec

from jettison.model import codec
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.retention.evidence import Evidence
from jettison.server.api.context import Call
from jettison.server.http.answers import JSON, Answer, ApiError, Code
from jettison.storage.registry import StorageRegistry

__all__ = ["get_images"]


class _Images(msgspec.Struct, frozen=True):
    """What is in a repository, and its times in seconds since the epoch, each with its source."""

    tags: dict[Tag, Digest]
    manifests: tuple[Digest, ...]
    evidence: Evidence
    schema_version: int = 1


async def get_images(call: Call) -> Answer:
    """Send all tags and manifests of a repository with their times, tagged or not.

    Of a repository in which anything is damaged nothing is told: the list would have gaps.
    """
    found = await call.search(_read, call.context.registry, call.repository)
    if found is None:
        detail = {"name": call.repository}
        raise ApiError(404, Code.NAME_UNKNOWN, "there is no such repository", detail)
    return Answer(200, [JSON], codec.encode(found))


def _read(registry: StorageRegistry, repository: RepoName) -> _Images | None:
    storage = registry.storage
    if not storage.has_repository(repository):
        return None
    evidence = registry.read_evidence(repository)
    # After their times: what is pushed meanwhile is in the list, with no time yet.
    with storage.repository(repository) as reader:
        revisions, tags = reader.revisions(), reader.tags()
    if revisions.problems or tags.problems:
        message = (
            "something in the repository is damaged, so it cannot be listed; see jettison fsck"
        )
        raise ApiError(409, Code.UNAVAILABLE, message)
    return _Images(
        {tag: Digest.from_binary(digest) for tag, digest in sorted(tags.current.items())},
        tuple(sorted(map(Digest.from_binary, revisions.linked))),
        evidence,
    )
