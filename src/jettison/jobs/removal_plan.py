"""From references to a plan: discovery around the pure decisions of ``model``."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

import msgspec

from jettison.errors import NotFoundError, Refused, UsageError
from jettison.jobs.discover import (
    Extent,
    Manifests,
    add_manifests,
    add_referrers,
    discover,
    list_repositories,
)
from jettison.jobs.incomplete_images import note_missing
from jettison.model.accounting import ByteAccounting
from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.names import Reference, RepoName, Tag, matches_glob
from jettison.model.plan import Plan, Step
from jettison.model.removal import Removal, plan_removal
from jettison.model.snapshot import Node, RepositorySnapshot, Snapshot
from jettison.progress import Progress, silent
from jettison.registry import Registry

__all__ = [
    "Decision",
    "RemovalRequest",
    "decide",
    "nearest",
    "plan",
    "planned_nodes",
    "select",
    "view",
    "with_nearest",
]

_NEAREST: Final = 3


class RemovalRequest(msgspec.Struct, frozen=True):
    """The request of a removal.

    ``all_tags`` must be given for a removal of every tag of a repository (decision 0015).
    ``extent`` is how far to look for images that share layers; with none, bytes are upper bounds.
    """

    references: tuple[Reference, ...]
    all_tags: bool = False
    break_indexes: bool = False
    extent: Extent = Extent.NEAR

    def check(self) -> None:
        """Raise :class:`UsageError` for a request that names nothing, or two registries."""
        _ = self.host
        for reference in self.references:
            name = reference.tag or reference.digest or reference.short
            if name is None and reference.glob is None and not self.all_tags:
                message = f"{reference} names a repository, not a tag"
                hint = f"Name a tag ({reference}:TAG), a digest, a glob, or say --all-tags."
                raise UsageError(message, hint=hint)
            if self.all_tags and name is not None:
                message = f"--all-tags goes with HOST/REPO or HOST/REPO:GLOB, not with {reference}"
                raise UsageError(message)

    @property
    def host(self) -> str:
        """The one registry that all references name; raises :class:`UsageError` for several."""
        hosts = sorted({reference.host for reference in self.references})
        if len(hosts) != 1:
            message = f"the references name several registries: {', '.join(hosts)}"
            raise UsageError(message, hint="Give one command for each registry.")
        return hosts[0]


def nearest(wanted: str, names: Iterable[str], kind: str, all_of_them: str) -> str:
    """Return a sentence with the existing names nearest to ``wanted``."""
    known = sorted(names)
    found = get_close_matches(wanted, known, n=_NEAREST, cutoff=0.5) or known[:_NEAREST]
    if not found:
        return f"There are no {kind}."
    more = f" (see `jettison ls {all_of_them}`)" if len(known) > len(found) else ""
    return f"Nearest {kind}: {', '.join(found)}{more}."


async def view(
    registry: Registry,
    repositories: Iterable[RepoName],
    *,
    extent: Extent = Extent.NEAR,
    cache: Manifests | None = None,
    progress: Progress = silent,
) -> Snapshot:
    """Discover what a plan for ``repositories`` needs, with the nearest names in errors."""
    wanted = list(repositories)
    try:
        return await discover(
            registry, wanted=wanted, extent=extent, cache=cache, progress=progress
        )
    except NotFoundError as error:
        raise await with_nearest(registry, wanted, error) from None


async def with_nearest(
    registry: Registry, wanted: Iterable[RepoName], error: NotFoundError
) -> NotFoundError:
    """Return the error for a missing repository, with the nearest names in its hint."""
    try:
        names, _ = await list_repositories(registry)
    except Exception:  # noqa: BLE001 - only the hint would be better with the list
        return error
    missing = next((name for name in wanted if name not in names), None)
    if missing is None:
        return error
    message = f"{registry.name} has no repository {missing}"
    hint = nearest(missing, names, "repositories", registry.name)
    return NotFoundError(message, hint=hint)


def in_full(repository: RepositorySnapshot, reference: Reference) -> Reference:
    """Return the reference with its whole digest, if only its beginning was given.

    Raises :class:`NotFoundError` if no digest begins so, :class:`UsageError` if several do.
    """
    if reference.short is None:
        return reference
    known = repository.manifests.keys() | repository.unreadable
    found = sorted(digest for digest in known if reference.means(digest))
    if len(found) == 1:
        return msgspec.structs.replace(reference, digest=found[0], short=None)
    where = f"{reference.host}/{repository.name}"
    if not found:
        message = f"{where} has no manifest known here whose digest begins with {reference.short}"
        hint = f"See `jettison ls -l {where}`; what no tag leads to needs its whole digest."
        raise NotFoundError(message, hint=hint)
    names = ", ".join(found[:_NEAREST]) + (", …" if len(found) > _NEAREST else "")
    raise UsageError(
        f"several manifests of {where} begin with {reference.short}: {names}",
        hint=f"Give more digits, for example {where}@{found[0]}",
    )


def select(
    repository: RepositorySnapshot, references: Sequence[Reference], *, all_tags: bool
) -> tuple[set[Tag], set[Digest]]:
    """Return the tags and digests of one repository that ``references`` name.

    Listed tags without a manifest can be removed too. A missing tag or digest raises
    :class:`NotFoundError`, a glob that would take every tag :class:`Refused` unless ``all_tags``.
    """
    tags: set[Tag] = set()
    digests: set[Digest] = set()
    listed = sorted({*repository.tags, *repository.dangling, *repository.unresolved})
    for reference in references:
        if reference.digest is not None:
            known = set(repository.manifests) | repository.unreadable
            if reference.digest not in known:
                raise _missing(repository, reference, listed)
            digests.add(reference.digest)
        elif reference.tag is not None:
            if reference.tag not in listed:
                raise _missing(repository, reference, listed)
            tags.add(reference.tag)
        elif reference.glob is not None:
            found = [tag for tag in listed if matches_glob(tag, reference.glob)]
            if not found:
                raise _missing(repository, reference, listed)
            if len(found) == len(listed) and not all_tags:
                message = f"{reference} matches every tag of the repository ({len(found)} of them)"
                hint = f"If that is meant, add --all-tags: jettison rm {reference} --all-tags"
                raise Refused(message, hint=hint)
            tags.update(found)
        elif not listed:
            message = f"{reference} has no tags"
            raise NotFoundError(message, hint=f"See `jettison ls {reference.host}`.")
        else:
            tags.update(listed)
    return tags, digests


def _missing(
    repository: RepositorySnapshot, reference: Reference, listed: Sequence[Tag]
) -> NotFoundError:
    where = f"{reference.host}/{repository.name}"
    if reference.digest is not None:
        message = f"{where} has no manifest {reference.digest}"
        return NotFoundError(message, hint=f"See `jettison ls {where}` for what there is.")
    wanted = str(reference.tag or reference.glob)
    what = "tag" if reference.tag else "tag that matches"
    message = f"{where} has no {what} {wanted}"
    return NotFoundError(message, hint=nearest(wanted, listed, "tags", where))


class Decision(msgspec.Struct, frozen=True):
    """A plan, and the input of its decision."""

    plan: Plan
    snapshot: Snapshot
    ledger: ByteAccounting


async def plan(
    registry: Registry,
    request: RemovalRequest,
    *,
    created: str,
    cache: Manifests | None = None,
    progress: Progress = silent,
) -> Plan:
    """Discover, decide and count: the plan for a request.

    ``registry`` is the registry itself, or its storage, which also shows untagged manifests and
    true sizes. ``created`` is the present time, RFC 3339 in UTC.
    """
    request.check()
    wanted = {reference.repository for reference in request.references}
    snapshot = await view(registry, wanted, extent=request.extent, cache=cache, progress=progress)
    progress("counting", 0)
    decision = await decide(registry, request, snapshot, created=created, cache=cache)
    return await note_missing(registry, decision.plan, decision.snapshot, progress)


async def decide(
    registry: Registry,
    request: RemovalRequest,
    snapshot: Snapshot,
    *,
    created: str,
    cache: Manifests | None = None,
) -> Decision:
    """Make the plan from a snapshot; ask ``registry`` only for what no listing shows."""
    wanted: dict[RepoName, list[Reference]] = {}
    for reference in request.references:
        wanted.setdefault(reference.repository, []).append(reference)
    repositories = dict(snapshot.repositories)
    removals: list[tuple[RepositorySnapshot, Removal]] = []
    for name, given in sorted(wanted.items()):
        references = [in_full(repositories[name], reference) for reference in given]
        named = [r.digest for r in references if r.digest is not None]
        repository = await add_manifests(registry, repositories[name], named, cache)
        tags, digests = select(repository, references, all_tags=request.all_tags)
        start = {repository.tags[tag] for tag in tags & repository.tags.keys()} | digests
        below = reach(start, repository.edges, {}).manifests
        repository = await add_referrers(registry, repository, sorted(below), cache)
        removal = plan_removal(repository, tags, digests, break_indexes=request.break_indexes)
        repositories[name] = repository
        removals.append((repository, removal))
    snapshot = msgspec.structs.replace(snapshot, repositories=repositories)
    ledger = ByteAccounting(snapshot)
    made = Plan(
        registry=request.host,
        created=created,
        request=tuple(str(reference) for reference in request.references),
        steps=tuple(step for _, removal in removals for step in removal.steps),
        kept=tuple(kept for _, removal in removals for kept in removal.kept),
        estimate=ledger.estimate(
            planned_nodes(s for _, removal in removals for s in removal.steps)
        ),
        seen={repository.name: dict(repository.tags) for repository, _ in removals},
        warnings=tuple(warning for _, removal in removals for warning in removal.warnings),
    )
    return Decision(made, snapshot, ledger)


def planned_nodes(steps: Iterable[Step]) -> set[Node]:
    """Return the manifests that the steps delete."""
    return {(step.repository, digest) for step in steps if (digest := step.deletes) is not None}
