"""Repositories as a retention policy is decided on: what is in each, and when it came there.

One repository after another is read and handed on, so that a registry of any size fits in memory.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Final, NamedTuple, Protocol

import msgspec

from jettison.errors import (
    AccessDenied,
    InvalidManifest,
    JettisonError,
    LoginRefused,
    NotFoundError,
    RegistryFailing,
    StorageError,
    UnexpectedResponse,
)
from jettison.jobs.concurrency import each
from jettison.jobs.description import seconds_of
from jettison.jobs.discover import Facts, Manifests, discover_repository, image_facts
from jettison.model.digest import Digest
from jettison.model.listing_problems import ListingProblem
from jettison.model.manifest import Manifest, ManifestKind, parse_manifest
from jettison.model.names import RepoName
from jettison.model.retention.decide import Decider
from jettison.model.retention.evidence import NO_TIMES, Evidence, Moment, Times, known_created
from jettison.model.retention.pulls import KnownPulls, with_pulls
from jettison.model.snapshot import RepositorySnapshot
from jettison.progress import Progress, silent
from jettison.registry import ConfigFacts, Registry

__all__ = ["Cache", "Surveyed", "survey", "survey_repository"]

AT_ONCE: Final = 4
"""How many repositories are read at once; the client's own ``jobs`` limits the requests."""
CREATED: Final = "org.opencontainers.image.created"
_UNKNOWN_PLATFORM: Final = "unknown/unknown"
_BAD: Final = (AccessDenied, InvalidManifest, LoginRefused, StorageError, UnexpectedResponse)


class Cache(Manifests, Facts, Protocol):
    """A disposable cache of manifests, and of facts about configs."""


class Surveyed(NamedTuple):
    """A repository, and what is known of its times."""

    snapshot: RepositorySnapshot
    evidence: Evidence


async def survey(
    registry: Registry,
    names: Iterable[RepoName],
    decider: Decider | None = None,
    *,
    now: float,
    pulls: KnownPulls | None = None,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> AsyncGenerator[Surveyed | ListingProblem, None]:
    """Yield the repositories, in any order, each as soon as it is read.

    One that cannot be listed is a problem; one that is gone by now is left out. ``now`` is in
    seconds since the epoch. ``pulls`` is what a book of pulls tells. Images are dated by their
    configs if ``decider`` needs that, or there is none.
    """
    wanted = list(names)

    async def read(name: RepoName) -> Surveyed | ListingProblem | None:
        try:
            return await survey_repository(
                registry, name, decider, now=now, pulls=pulls, cache=cache
            )
        except NotFoundError:
            return None
        except _BAD as error:
            return ListingProblem.of(name, error)

    done = 0
    async with aclosing(each(wanted, read, at_once=AT_ONCE)) as found:  # type: ignore[type-var]
        async for _, one in found:
            done += 1
            progress("reading repositories", done, len(wanted))
            if one is not None:
                yield one


async def survey_repository(
    registry: Registry,
    name: RepoName,
    decider: Decider | None = None,
    *,
    now: float,
    pulls: KnownPulls | None = None,
    cache: Cache | None = None,
    progress: Progress = silent,
) -> Surveyed:
    """Read one repository; raise :class:`NotFoundError` if it does not exist.

    Raises :class:`RegistryFailing` if a manifest of it is not answered for, as opposed to one that
    cannot be understood. What needs it is not known, and the next run finds it out.
    """
    snapshot = await discover_repository(registry, name, cache, progress)
    if snapshot.unreadable and await _are_readable_now(registry, name, snapshot.unreadable):
        snapshot = await discover_repository(registry, name, cache, progress)
    evidence = await registry.evidence(name) or Evidence()
    if pulls is not None:
        evidence = with_pulls(evidence, pulls, name)
    if decider is None or decider.needs_created(name, evidence):
        dated = [
            snapshot.manifests[digest]
            for digest in sorted(
                {d for tag, d in snapshot.tags.items() if _counts(decider, name, tag)}
            )
            if digest in snapshot.manifests
        ]
        created = await _created(registry, snapshot, dated, cache, progress)
        evidence = _dated(evidence, known_created(created, now, len(dated)))
    return Surveyed(snapshot, evidence)


async def _are_readable_now(registry: Registry, name: RepoName, digests: Iterable[Digest]) -> bool:
    """Whether any of the manifests that could not be read can be; raises RegistryFailing."""
    any_read = False
    for digest in sorted(digests):
        try:
            found = await registry.manifest(name, digest)
            if found is not None:
                parse_manifest(found.raw, found.media_type, digest)
                any_read = True
        except RegistryFailing:
            raise
        except JettisonError:
            continue
    return any_read


def _counts(decider: Decider | None, name: RepoName, tag: str) -> bool:
    return decider is None or decider.selects(name, tag)


async def _created(
    registry: Registry,
    snapshot: RepositorySnapshot,
    images: list[Manifest],
    cache: Cache | None,
    progress: Progress,
) -> dict[Digest, Moment]:
    """Return when images say that they were created, and where each says so.

    An index has the annotation, or the newest time of its children; whatever they say is not
    compared. An image has the time in its config, or the annotation.
    """
    found: dict[Digest, Moment] = {}
    asked: dict[Digest, list[Manifest]] = {}
    for image in images:
        if image.kind is not ManifestKind.INDEX:
            asked[image.digest] = [image]
            continue
        told = seconds_of(image.annotations.get(CREATED, ""))
        if told is not None:
            found[image.digest] = Moment(told, "annotation of the index")
            continue
        asked[image.digest] = [
            snapshot.manifests[child.digest]
            for child in image.children
            if child.digest in snapshot.manifests and str(child.platform) != _UNKNOWN_PLATFORM
        ]
    manifests = {one.digest: one for some in asked.values() for one in some}
    facts = await image_facts(registry, snapshot.name, manifests.values(), cache, progress)
    for digest, some in asked.items():
        told_by = [moment for one in some if (moment := _created_of(one, facts)) is not None]
        if told_by:
            found[digest] = max(told_by, key=lambda moment: moment.seconds)
    return found


def _created_of(manifest: Manifest, facts: dict[Digest, ConfigFacts]) -> Moment | None:
    told = facts.get(manifest.digest)
    seconds = seconds_of(told.created or "") if told is not None else None
    if seconds is not None:
        return Moment(seconds, "config")
    annotated = seconds_of(manifest.annotations.get(CREATED, ""))
    return None if annotated is None else Moment(annotated, "annotation")


def _dated(evidence: Evidence, created: dict[Digest, Moment]) -> Evidence:
    """Return the evidence with the times of creation."""
    manifests: dict[Digest, Times] = dict(evidence.manifests)
    for digest, moment in created.items():
        times = manifests.get(digest, NO_TIMES)
        manifests[digest] = msgspec.structs.replace(times, created=times.created or moment)
    return msgspec.structs.replace(evidence, manifests=manifests)
