"""A registry read for a snapshot: all repositories, with all that a policy may want to know."""

from collections.abc import AsyncGenerator, Sequence

from jettison.errors import JettisonError, NotFoundError
from jettison.jobs.discover import list_repositories
from jettison.jobs.removal_plan import nearest
from jettison.jobs.survey import Cache, Surveyed, survey
from jettison.jobs.workspace import Workspace
from jettison.model.listing_problems import ListingProblem
from jettison.model.retention.patterns import Pattern, matcher
from jettison.model.retention.pulls import KnownPulls

__all__ = ["find_product", "take_snapshot"]


async def find_product(place: Workspace) -> str:
    """Return what the registry is, as far as it tells; nothing is changed."""
    try:
        return (await place.source.capabilities()).product
    except JettisonError:
        return ""


async def take_snapshot(
    place: Workspace,
    repositories: Sequence[Pattern] = (),
    *,
    now: float,
    pulls: KnownPulls | None = None,
    cache: Cache | None = None,
) -> AsyncGenerator[Surveyed | ListingProblem, None]:
    """Yield the repositories that match any of the patterns, all without one, as they are read.

    What cannot be read is a problem. ``now`` is in seconds since the epoch. Raises
    :class:`NotFoundError` if no repository matches.
    """
    names, problems = await list_repositories(place.source, place.progress)
    for problem in problems:
        yield problem
    wanted = names
    if repositories:
        matches = matcher(repositories)
        wanted = [name for name in names if matches(name)]
        if not wanted:
            asked, where = ", ".join(repositories), place.source.name
            hint = nearest(asked, names, "repositories", where)
            raise NotFoundError(f"{where} has no repository {asked}", hint=hint)
    async for found in survey(
        place.source, wanted, now=now, pulls=pulls, cache=cache, progress=place.progress
    ):
        yield found
