"""The present tags of a plan's repositories, compared with what the plan saw.

Tags that are new since the plan, or have moved, may point to what is to go, or need it. A registry
lists names cheaply and digests one by one. So all names are listed again and again, the digests of
new names are read, and all digests once if the plan is not fresh. A tag that vanished beside the
plan shows only afterwards.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from jettison.errors import JettisonError, NotFoundError, StorageError, UnexpectedResponse
from jettison.jobs.concurrency import each
from jettison.jobs.discover import add_manifests
from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.listing_problems import ListingProblem, ProblemCode
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Plan
from jettison.model.snapshot import RepositorySnapshot
from jettison.registry import Registry

__all__ = ["Present", "list_tags"]

AGAIN_SECONDS: Final = 1.0
"""The greatest age of a list of names when something is removed."""


async def list_tags(registry: Registry, repository: RepoName) -> set[Tag]:
    """Return the names of all tags; none if the repository does not exist.

    An incomplete list raises :class:`UnexpectedResponse`: it does not show that a tag is gone.
    """
    try:
        found = [item async for item in registry.tags(repository)]
    except NotFoundError:
        return set()
    problems = [item for item in found if isinstance(item, ListingProblem)]
    cut = next((one for one in problems if one.code is ProblemCode.CUT_SHORT), None)
    if cut is not None:
        raise UnexpectedResponse(cut.message)
    return {item for item in found if not isinstance(item, ListingProblem)}


class _Repository:
    """The known tags of one repository."""

    def __init__(self, seen: Mapping[Tag, Digest]) -> None:
        self.seen = seen
        self.digests: dict[Tag, Digest | None] = dict(seen)
        self.names: set[Tag] = set()
        self.ever: set[Tag] = set()
        """All names that were listed since the last call of :meth:`vanished`."""
        self.wanted: dict[Digest, Tag] = {}
        """The manifests that tags beside the plan need, with one such tag each."""
        self.blind: Tag | None = None
        """A new tag that cannot be resolved, and so may need anything."""
        self.looked = -AGAIN_SECONDS
        self.lock = asyncio.Lock()


class Present:
    """The tags of a plan's repositories in ``registry``, read again as time goes by.

    ``clock`` returns seconds from any starting point.
    """

    def __init__(self, registry: Registry, plan: Plan, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._clock = clock
        self._planned: dict[RepoName, set[Tag]] = {}
        for step in plan.steps:
            self._planned.setdefault(step.repository, set()).update(step.tags)
        self._known = {name: _Repository(plan.seen.get(name, {})) for name in self._planned}

    async def look_at_all(self) -> None:
        """Read every digest but those of tags that are to go, which each step reads itself."""
        for name, known in self._known.items():
            async with known.lock:
                await self._look(name, known, known.names | set(known.seen))

    async def wanted_by(self, repository: RepoName, digest: Digest) -> Tag | None:
        """Return a tag that is new since the plan was made and needs a manifest that is to go."""
        known = self._known[repository]
        async with known.lock:
            if self._clock() - known.looked > AGAIN_SECONDS:
                await self._look(repository, known, ())
        return known.wanted.get(digest) or known.blind

    async def vanished(self, repository: RepoName) -> tuple[set[Tag], dict[Tag, Digest | None]]:
        """List once more: return all names, and the tags that went beside the plan.

        The latter come with the digest that they had last.
        """
        known = self._known[repository]
        async with known.lock:
            await self._look(repository, known, ())
            gone = known.ever - known.names - self._planned[repository]
            known.ever = set(known.names)
            return set(known.names), {tag: known.digests.get(tag) for tag in gone}

    async def _look(self, name: RepoName, known: _Repository, again: Iterable[Tag]) -> None:
        began = self._clock()
        known.names = await list_tags(self._registry, name)
        known.ever |= known.names
        asked = (known.names - known.digests.keys()) | (known.names & set(again))
        fresh: dict[Digest, Tag] = {}

        async def resolve(tag: Tag) -> Digest | JettisonError | None:
            try:
                return await self._registry.resolve(name, tag)
            except (StorageError, UnexpectedResponse) as error:
                return error

        async for tag, digest in each(sorted(asked - self._planned[name]), resolve):
            if isinstance(digest, JettisonError):
                known.blind = tag
                continue
            known.digests[tag] = digest
            if digest is not None and known.seen.get(tag) != digest:
                fresh.setdefault(digest, tag)
        view = await add_manifests(self._registry, RepositorySnapshot(name, {}, {}), fresh)
        for digest, tag in fresh.items():
            for needed in reach([digest], view.edges, {}).manifests:
                known.wanted.setdefault(needed, tag)
        known.looked = began
