"""Measuring the space that a registry takes, by repository: on its storage, or over its API.

A storage is measured by planning a collection, which reads all that is needed once, and changes
nothing.
"""

from contextlib import aclosing
from typing import Final, NamedTuple

from jettison.collector.options import CollectOptions
from jettison.collector.plan import CollectionPlan
from jettison.collector.space import SpaceCount
from jettison.errors import (
    AccessDenied,
    InvalidManifest,
    LoginRefused,
    NotFoundError,
    StorageError,
    UnexpectedResponse,
)
from jettison.jobs.collect import CollectionJob
from jettison.jobs.concurrency import each
from jettison.jobs.discover import (
    UNTAGGED,
    Manifests,
    ask_sizes,
    discover_repository,
    list_repositories,
)
from jettison.jobs.workspace import Workspace
from jettison.model.described_space import DescribedSpace
from jettison.model.digest import Digest
from jettison.model.listing_problems import ListingProblem, summarized
from jettison.model.names import RepoName
from jettison.model.snapshot import RepositorySnapshot
from jettison.model.space import Space
from jettison.progress import Progress, silent
from jettison.registry import Registry
from jettison.storage.protocol import Repositories

__all__ = ["MeasuredStorage", "measure_registry", "measure_storage"]

_AT_ONCE: Final = 4
_SENTENCES: Final = 20
_UNREADABLE: Final = (AccessDenied, InvalidManifest, LoginRefused, StorageError, UnexpectedResponse)


class MeasuredStorage(NamedTuple):
    """The space of a storage, the plan of the collection it was counted by, and what was listed."""

    space: Space
    plan: CollectionPlan
    scan: Repositories


def measure_storage(place: Workspace) -> MeasuredStorage:
    """Count the space of the storage of a workspace; what would go is what ``gc`` takes.

    Raises :class:`~jettison.errors.StorageError` if a part of it cannot be listed, and
    :class:`~jettison.errors.JournalError` if nobody knows what an undo window holds.
    """
    counting = SpaceCount()
    plan = CollectionJob(place, CollectOptions()).plan(counting=counting)
    return MeasuredStorage(counting.space(plan), plan, counting.scan)


async def measure_registry(
    registry: Registry, cache: Manifests | None = None, progress: Progress = silent
) -> tuple[Space, list[ListingProblem]]:
    """Count the space of a registry over its API, as far as that shows it.

    Also returns what could not be read. Raises the errors of the client if the repositories cannot
    be listed.
    """
    names, problems = await list_repositories(registry, progress)
    counting = DescribedSpace()

    async def read(
        name: RepoName,
    ) -> tuple[RepositorySnapshot, dict[Digest, int]] | ListingProblem | None:
        try:
            found = await discover_repository(registry, name, cache)
            return found, await ask_sizes(registry, [found], silent)
        except NotFoundError:
            return None  # deleted since it was listed, or listed without having tags
        except _UNREADABLE as error:
            return ListingProblem.of(name, error)

    done = 0
    unknown: list[str] = []
    async with aclosing(each(names, read, at_once=_AT_ONCE)) as reading:  # type: ignore[type-var]
        async for name, found in reading:
            done += 1
            progress("reading repositories", done, len(names))
            if isinstance(found, ListingProblem):
                problems.append(found)
            elif found is not None:
                counting.add(*found)
                if found[0].problems:
                    unknown.append(f"{name}: {summarized(found[0].problems, 'tag')}")
    more = len(unknown) - _SENTENCES
    unknown = [*unknown[:_SENTENCES], *([f"and {more:,} more of this kind"] if more > 0 else [])]
    if problems:
        unknown.insert(0, summarized(problems, "repository"))
    if not counting.complete:
        unknown.append(UNTAGGED)
    return counting.space(registry.name, tuple(unknown)), problems
