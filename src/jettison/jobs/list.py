"""The rows of ``ls``: names for one request a page, and costly figures only on request."""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from jettison.errors import (
    AccessDenied,
    LoginRefused,
    NotFoundError,
    StorageError,
    UnexpectedResponse,
)
from jettison.jobs.concurrency import each
from jettison.jobs.description import created_at, dated_by, seconds_of, what_it_is
from jettison.jobs.discover import (
    Extent,
    add_manifests,
    ask_sizes,
    discover_repository,
    discover_tags,
    image_facts,
)
from jettison.jobs.removal_plan import view, with_nearest
from jettison.manifest_cache import ManifestCache
from jettison.model.accounting import ByteAccounting
from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.listing_problems import ListingProblem
from jettison.model.names import RepoName, Tag
from jettison.model.snapshot import RepositorySnapshot, Snapshot
from jettison.progress import Progress, silent
from jettison.registry import ConfigFacts, Registry

__all__ = [
    "SORTS",
    "Counted",
    "Figures",
    "RegistryListing",
    "Row",
    "arranged",
    "list_names",
    "list_tags",
    "tag_counts",
]


MOST_SIBLINGS: Final = 10
"""The most tags of the same digest that are named for each tag."""


class Row(msgspec.Struct, frozen=True):
    """A tag, or (``tag`` None) an untagged manifest. Figures that were not asked for are left out.

    Sizes in bytes: ``size`` with everything it references, ``exclusive_size`` what removing that
    image alone would free. ``created`` is RFC 3339, as its config says. ``siblings`` are the
    first of ``sibling_count`` other listed tags of the same digest: there may be thousands.
    """

    tag: Tag | None
    digest: Digest | UnsetType | None = UNSET
    media_type: str | UnsetType = UNSET
    what: str | UnsetType = UNSET
    size: int | UnsetType | None = UNSET
    exclusive_size: int | UnsetType | None = UNSET
    created: str | UnsetType | None = UNSET
    siblings: tuple[Tag, ...] | UnsetType = UNSET
    sibling_count: int | UnsetType = UNSET


class Figures(msgspec.Struct, frozen=True):
    """The figures of a listing beside names and digests, which decide its cost.

    ``created`` costs a request for each image that was not seen before, ``exclusive`` a look at
    the whole registry, or with ``quick`` at this repository.
    """

    created: bool = False
    exclusive: bool = False
    quick: bool = False


class RegistryListing(msgspec.Struct, frozen=True):
    """The rows of a repository; with ``unknown`` sentences, exclusive sizes are upper bounds.

    ``problems`` are listed tags that could not be read.
    """

    rows: tuple[Row, ...]
    unknown: tuple[str, ...] = ()
    problems: tuple[ListingProblem, ...] = ()


class Counted(msgspec.Struct, frozen=True):
    """Repositories with the number of their tags, and those whose tags could not be listed."""

    tags: dict[RepoName, int]
    problems: tuple[ListingProblem, ...] = ()


async def list_names(
    registry: Registry, repository: RepoName | None = None
) -> AsyncGenerator[RepoName | Tag | ListingProblem, None]:
    """Yield the repositories, or the tags of one, as the registry lists them, page by page.

    A repository that does not exist raises :class:`NotFoundError` with the nearest names.
    """
    if repository is None:
        async for name in registry.repositories():
            yield name
        return
    try:
        async for tag in registry.tags(repository):
            yield tag
    except NotFoundError as error:
        raise await with_nearest(registry, [repository], error) from None


async def tag_counts(
    registry: Registry, names: Sequence[RepoName], progress: Progress = silent
) -> Counted:
    """Return the number of tags of each repository, with one request for each repository."""

    async def count(name: RepoName) -> int | ListingProblem:
        try:
            return sum([1 async for tag in registry.tags(name) if isinstance(tag, Tag)])
        except NotFoundError:
            return 0  # deleted since, or listed by the catalog without being a repository
        except (AccessDenied, LoginRefused, StorageError, UnexpectedResponse) as error:
            return ListingProblem.of(name, error)

    counts: dict[RepoName, int] = {}
    problems: list[ListingProblem] = []
    async for name, found in each(names, count):
        if isinstance(found, ListingProblem):
            problems.append(found)
        else:
            counts[name] = found
        progress("counting tags", len(counts) + len(problems), len(names))
    problems.sort(key=lambda problem: problem.subject)
    return Counted(dict(sorted(counts.items())), tuple(problems))


async def list_tags(
    registry: Registry,
    repository: RepoName,
    names: Collection[Tag],
    figures: Figures,
    *,
    untagged: bool = False,
    cache: ManifestCache | None = None,
    progress: Progress = silent,
) -> RegistryListing:
    """Return these tags with digests and sizes: a request for each, plus those of ``figures``.

    With ``untagged``, also manifests that no tag names and no index lists, if they can be listed.
    """
    unknown: tuple[str, ...] = ()
    if figures.exclusive:
        extent = Extent.NAMED if figures.quick else Extent.ALL
        snapshot = await view(registry, [repository], extent=extent, cache=cache, progress=progress)
        unknown = snapshot.unknown
    else:
        stored = await registry.blob_sizes()
        if stored is not None:
            found = await discover_repository(registry, repository, cache, progress)
        else:
            found = await discover_tags(registry, repository, names, cache, progress)
            # Over an API each costs a request: only those are asked for that are to be shown.
            revisions = await registry.revisions(repository) if untagged else None
            if revisions is not None:
                found = await add_manifests(registry, found, revisions, cache)
        sizes = stored if stored is not None else await ask_sizes(registry, [found], progress)
        snapshot = Snapshot(registry.name, {repository: found}, sizes, stored is not None)
    here = snapshot.repositories[repository]
    wanted = frozenset(names)
    shown = {tag: digest for tag, digest in here.tags.items() if tag in wanted}
    loose = _untagged(here) if untagged else []
    facts: Mapping[Digest, ConfigFacts] | None = None
    if figures.created:
        read = [here.manifests[d] for d in {*shown.values(), *loose} if d in here.manifests]
        facts = await image_facts(registry, repository, dated_by(here, read), cache, progress)
    problems = tuple(problem for problem in here.problems if problem.subject in wanted)
    rows = _Rows(snapshot, repository, facts, exclusive=figures.exclusive)
    return RegistryListing(
        (
            *(rows.tagged(tag, digest) for tag, digest in shown.items()),
            *(rows.broken(tag, "broken: no manifest") for tag in here.dangling if tag in wanted),
            *(rows.broken(Tag(problem.subject), "could not be read") for problem in problems),
            *(rows.untagged(digest) for digest in loose),
        ),
        unknown,
        problems,
    )


SORTS: Final[Mapping[str, Callable[[Row], Any]]] = {
    "name": lambda row: (row.tag is None, row.tag or row.digest),
    "created": lambda row: -(seconds_of(row.created or "") or 0.0),
    "size": lambda row: -(row.size or 0),
    "exclusive": lambda row: -(row.exclusive_size or 0),
}
"""The orders of rows: names ascending, the newest and the largest first."""


def arranged(
    rows: Iterable[Row], sort: str = "name", *, reverse: bool = False, limit: int | None = None
) -> list[Row]:
    """Return the first ``limit`` rows in that order."""
    by_name = sorted(rows, key=SORTS["name"])
    return sorted(by_name, key=SORTS[sort], reverse=reverse)[:limit]


class _Rows:
    """Makes the rows of a repository."""

    def __init__(
        self,
        snapshot: Snapshot,
        repository: RepoName,
        facts: Mapping[Digest, ConfigFacts] | None,
        *,
        exclusive: bool,
    ) -> None:
        self._here = snapshot.repositories[repository]
        self._ledger = ByteAccounting(snapshot)
        self._tags_of = self._here.tags_of()
        self._facts = facts
        self._exclusive = exclusive
        self._weights = self._ledger.weights(repository) if exclusive else {}

    def tagged(self, tag: Tag, digest: Digest) -> Row:
        some = islice(self._tags_of[digest], MOST_SIBLINGS + 1)
        siblings = tuple(other for other in some if other != tag)[:MOST_SIBLINGS]
        weight = self._weights.get(digest)
        return self._row(tag, digest, siblings, None if weight is None else weight.exclusive)

    def untagged(self, digest: Digest) -> Row:
        if not self._exclusive:
            return self._row(None, digest, (), None)
        removed = {(self._here.name, one) for one in _alone(self._here, self._ledger, digest)}
        return self._row(None, digest, (), self._ledger.estimate(removed).freed_bytes)

    def broken(self, tag: Tag, what: str) -> Row:
        none = None if self._exclusive else UNSET
        created = UNSET if self._facts is None else None
        return Row(tag, None, "", what, None, none, created, (), 0)

    def _row(
        self, tag: Tag | None, digest: Digest, siblings: tuple[Tag, ...], exclusive: int | None
    ) -> Row:
        manifest = self._here.manifests.get(digest)
        return Row(
            tag,
            digest,
            manifest.media_type if manifest else "",
            what_it_is(manifest, tag),
            self._size(digest) if manifest else None,
            (exclusive if manifest else None) if self._exclusive else UNSET,
            UNSET if self._facts is None else created_at(manifest, self._facts),
            siblings,
            0 if tag is None else len(self._tags_of[digest]) - 1,
        )

    def _size(self, digest: Digest) -> int:
        found = reach([digest], self._here.edges, {})
        return sum(map(self._ledger.size_of, found.manifests | found.blobs))


def _alone(here: RepositorySnapshot, ledger: ByteAccounting, digest: Digest) -> list[Digest]:
    """Return an untagged manifest with everything that only it keeps."""
    owners = ledger.owners(here.name)
    return [d for d in reach([digest], here.edges, {}).manifests if owners.get(d) == digest]


def _untagged(repository: RepositorySnapshot) -> list[Digest]:
    """Return the manifests that no tag names and no index lists; only a storage shows them."""
    listed = {c.digest for m in repository.manifests.values() for c in m.children}
    tagged = set(repository.tags.values())
    return sorted(d for d in repository.manifests if d not in listed and d not in tagged)
