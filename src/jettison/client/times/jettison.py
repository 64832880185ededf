"""Jettison's own server: all manifests of a repository and their times, in one answer.

``GET /v2/REPO/_jettison/images``, see :mod:`jettison.server.api.images` and docs/server.md. The
times are those of the server's storage.
"""

from typing import Final

import msgspec

from jettison.client.auth import Access
from jettison.client.times.asking import Api, Found, NotTold, digest_of, tag_of
from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.model.retention.evidence import EARLIEST, Evidence, Moment, Times

__all__ = ["read", "revisions"]

_LONGEST: Final = 100
"""Characters of a source's name, which is printed."""


class _Times(msgspec.Struct):
    pushed: Moment | None = None
    untagged: Moment | None = None
    pulled: Moment | None = None


class _Evidence(msgspec.Struct):
    tags: dict[str, _Times] = {}
    manifests: dict[str, _Times] = {}
    watching_since: float | None = None
    copied: bool = False
    unwatched: str = ""


class _Images(msgspec.Struct):
    schema_version: int
    tags: dict[str, str]
    manifests: list[str]
    evidence: _Evidence


async def _ask(api: Api, repository: RepoName) -> _Images:
    path = f"/v2/{repository}/_jettison/images"
    found, _ = await api.get(path, _Images, access=Access(repository, ("pull",)))
    if found.schema_version != 1:
        raise NotTold("the server tells of images in a form of a newer version")
    return found


async def read(api: Api, repository: RepoName, found: Found) -> None:
    """Note what the server tells of its storage."""
    told = (await _ask(api, repository)).evidence
    tags = {tag_of(name): _checked(times) for name, times in told.tags.items()}
    manifests = {digest_of(name): _checked(times) for name, times in told.manifests.items()}
    found.whole = Evidence(
        {tag: times for tag, times in tags.items() if tag is not None},
        {digest: times for digest, times in manifests.items() if digest is not None},
        watching_since=told.watching_since,
        copied=told.copied,
        unwatched=told.unwatched[:_LONGEST],
    )


def _checked(times: _Times) -> Times:
    return Times(_moment(times.pushed), _moment(times.untagged), None, _moment(times.pulled))


def _moment(told: Moment | None) -> Moment | None:
    if told is None or not told.seconds >= EARLIEST:
        return None
    return Moment(told.seconds, f"server, {told.source[:_LONGEST]}")


async def revisions(api: Api, repository: RepoName) -> list[Digest]:
    """Return all manifests; raise :class:`NotTold` if the answer does not agree with itself."""
    told = await _ask(api, repository)
    digests = {digest_of(name) for name in told.manifests}
    if None in digests or not {digest_of(one) for one in told.tags.values()} <= digests:
        raise NotTold("the server's list of manifests lacks one that a tag points to")
    return sorted(digest for digest in digests if digest is not None)
