"""A session with a registry, for code with an event loop and for code without one."""

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

from jettison.api.connection import Connection
from jettison.api.journal import users_journal
from jettison.client import Credentials
from jettison.errors import Cancelled, NotFoundError, UsageError
from jettison.jobs.discover import Extent, list_repositories
from jettison.jobs.inspect import Report, inspect
from jettison.jobs.prune import PruneJob, PruneRequest, require_unopposed
from jettison.jobs.removal_plan import RemovalRequest
from jettison.jobs.remove import FRESH_SECONDS, PreparedRemoval, RemovalJob, RemovalSettings
from jettison.jobs.undo import UndoJob
from jettison.jobs.workspace import Workspace, open_workspace
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import Digest
from jettison.model.journal import Finding, RemovalEntry, UndoEntry
from jettison.model.listing_problems import ListingProblem
from jettison.model.names import Location, Reference, RepoName, Tag
from jettison.model.restoration import NotBack, UndoPlan
from jettison.model.retention.decide import NOTHING_HELD, Held
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.policy import Policy
from jettison.model.retention.prune_plan import Allowed, PrunePlan
from jettison.model.undo_promise import UndoPromise
from jettison.progress import Progress, silent
from jettison.registry import Registry

__all__ = ["AsyncRegistrySession", "Listed", "RegistrySession"]

Result = TypeVar("Result")
Name = TypeVar("Name", bound=str)

DEFAULTS = RemovalSettings()
_NO_HOST = "storage.invalid"
"""What references need before them where there is no host; RFC 6761 keeps it free."""


class Listed(list[Name]):
    """Names in order. ``problems`` is what the registry listed and could not be named, or kept."""

    def __init__(self, names: Iterable[Name], problems: Iterable[ListingProblem] = ()) -> None:
        super().__init__(names)
        self.problems = tuple(problems)


class AsyncRegistrySession:
    """A registry over its API, in an ``async with`` block.

    ``host`` is what images of the registry are named with, such as ``localhost:5000``; None for a
    registry that is reached through its storage alone. ``storage`` is the root directory of its
    storage, or its configuration file, if that is at hand: then untagged manifests and true sizes
    are seen, and space can be freed. ``journal`` is the folder in which removals are noted, by
    default the one of the command line. ``progress`` is told how far a call has come. What a call
    raises is a :class:`~jettison.errors.JettisonError`.

    A task that is cancelled ends after the step that is under way; the journal says what was done,
    and the same removal, planned again, finishes it.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        storage: str | Path | None = None,
        connection: Connection | None = None,
        credentials: Credentials | None = None,
        journal: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        if host is None and storage is None:
            raise UsageError("neither a registry nor a storage is given")
        self._host = None if host is None else Location.parse(host).host
        self._connection = connection or Connection()
        self._credentials = credentials
        path = None if storage is None else str(storage)
        place = open_workspace(path, users=users_journal(journal))
        self._workspace = place.reporting_to(progress)
        self._removal: RemovalJob | None = None
        self._cache: ManifestCache | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._host is None:
            self._workspace = self._workspace.without_api()
            return self
        async with AsyncExitStack() as stack:
            opened = self._connection.open(self._host, self._credentials)
            remote = await stack.enter_async_context(opened)
            self._workspace = self._workspace.connected_to(remote)
            self._cache = stack.enter_context(self._connection.cache())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def workspace(self) -> Workspace:
        """What the jobs work with, for those who know :mod:`jettison.jobs`."""
        return self._workspace

    def reporting_to(self, progress: Progress) -> "AsyncRegistrySession":
        """Return the same session, telling ``progress`` how far a call has come."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _workspace=self._workspace.reporting_to(progress))
        return other

    # Looking.

    async def repositories(self) -> Listed[RepoName]:
        """Return the names of all repositories, sorted."""
        return Listed(*await list_repositories(self._source))

    async def tags(self, repository: str) -> Listed[Tag]:
        """Return the tags of a repository, sorted."""
        found = [one async for one in self._source.tags(RepoName(repository))]
        problems = [one for one in found if isinstance(one, ListingProblem)]
        return Listed(sorted(one for one in found if isinstance(one, Tag)), problems)

    async def resolve(self, reference: str) -> Digest | None:
        """Return the digest that ``REPO:TAG`` points to, None if there is no such tag."""
        found = self._reference(reference)
        if found.digest is not None or found.tag is None:
            return found.digest
        return await self._source.resolve(found.repository, found.tag)

    async def inspect(self, reference: str | Reference, *, extent: Extent = Extent.NEAR) -> Report:
        """Return what an image is, who shares its layers, and what removing it frees."""
        place = self._workspace
        return await inspect(
            self._source,
            self._reference(reference),
            created=place.now(),
            extent=extent,
            cache=self._cache,
            progress=place.progress,
        )

    # Removing.

    async def plan_removal(
        self,
        *references: str | Reference,
        all_tags: bool = False,
        break_indexes: bool = False,
        extent: Extent = Extent.NEAR,
        settings: RemovalSettings = DEFAULTS,
    ) -> PreparedRemoval:
        """Return what removing images would do; nothing is changed.

        A reference is ``REPO:TAG``, ``REPO:GLOB`` or ``REPO@DIGEST``, with the host before it or
        without. If the same removal was interrupted, the plan is the rest of that one (``begun``).
        """
        request = RemovalRequest(
            tuple(self._reference(one) for one in references),
            all_tags=all_tags,
            break_indexes=break_indexes,
            extent=extent,
        )
        job = RemovalJob(self._workspace)
        begun = job.find_interrupted(request, settings)
        if begun is not None:
            return job.plan_rest(begun, settings)
        return await job.plan(request, settings, self._cache)

    async def remove(self, plan: PreparedRemoval) -> RemovalEntry:
        """Carry a plan out and verify it; return its journal entry, with the receipt.

        What could not be done is ``left`` in it. Raises :class:`~jettison.errors.Refused`, and
        changes nothing, where an undo would not be possible and ``without_undo`` was not said.
        """
        self._removal = RemovalJob(self._workspace)
        if plan.begun is None:
            self._removal.require_way_back(plan)
        return await self._removal.apply(plan, self._cache)

    @property
    def last(self) -> RemovalEntry | None:
        """How far the removal of this session came, as it was noted last."""
        return None if self._removal is None else self._removal.last

    def promise(self, plan: PreparedRemoval) -> UndoPromise:
        """Say what an undo could do once a plan was carried out."""
        return RemovalJob(self._workspace).promise(plan)

    def require_way_back(self, plan: PreparedRemoval) -> None:
        """Raise :class:`~jettison.errors.Refused` where an undo would not be possible.

        :meth:`remove` does so too; here it comes before a question is asked.
        """
        RemovalJob(self._workspace).require_way_back(plan)

    async def verify(self, entry: RemovalEntry, *, read_data: bool = False) -> list[Finding]:
        """Look again whether what was removed is gone, and what stays is whole."""
        proof = await RemovalJob(self._workspace).verify(entry, read_data=read_data)
        return list(proof.findings)

    # Pruning.

    async def plan_prune(
        self,
        policy: Policy,
        *repositories: str,
        held: Held = NOTHING_HELD,
        allowed: Allowed = Allowed(),  # noqa: B008 - it is immutable
    ) -> PrunePlan:
        """Return what a retention policy removes, and why; nothing is changed.

        ``repositories`` are patterns that narrow the policy. ``held`` is what is in use, and
        ``allowed`` what may be done although it looks like a mistake.
        """
        request = PruneRequest(
            policy,
            (self._host or self._workspace.own_storage.location,),
            tuple(map(Pattern, repositories)),
            held,
            allowed=allowed,
        )
        return await PruneJob(self._workspace).plan(request, self._cache)

    async def prune(
        self, plan: PrunePlan, settings: RemovalSettings = DEFAULTS
    ) -> RemovalEntry | None:
        """Carry out a plan of a policy and verify it; return its journal entry.

        None if there is nothing to remove. A plan that is not new is looked at again, and raises
        :class:`~jettison.errors.PlanStale` if the policy does not say the same by now. Raises
        :class:`~jettison.errors.Refused`, and changes nothing, if something speaks against the
        plan, or an undo is not possible and ``without_undo`` is not given.
        """
        job = PruneJob(self._workspace)
        self._removal = job.removal
        fingerprint = job.fingerprint_of(plan)
        looked = self._workspace.clock()
        if looked - plan.decided > FRESH_SECONDS:
            plan = await job.renew(plan, cache=self._cache)
        else:
            looked = plan.decided
        if not plan.plan.steps:
            return None
        require_unopposed(plan)
        prepared = await job.prepare(plan, settings, fingerprint, looked, once=True)
        job.removal.require_way_back(prepared.removal)
        return await job.apply(prepared, self._cache)

    @property
    def cache(self) -> ManifestCache | None:
        """The local cache of manifests."""
        return self._cache

    # Undoing.

    def entry(self, run_id: str = "last") -> RemovalEntry | UndoEntry:
        """Return what can be verified and undone: by its id, or the last removal here.

        Raises :class:`~jettison.errors.NotFoundError` for none.
        """
        found = self._workspace.journal.find_undoable(run_id, self._host)
        if not isinstance(found, RemovalEntry | UndoEntry):
            message = f"run {found.id} is a {found.kind} of a storage, and no removal"
            raise NotFoundError(message, hint="Open the storage: jettison.open_storage(...).")
        return found

    async def plan_undo(
        self, entry: RemovalEntry | UndoEntry, *, overwrite: bool = False
    ) -> UndoPlan:
        """Return what undoing a removal would put back; nothing is changed.

        ``overwrite``: also tags that were given to other images since.
        """
        return await UndoJob(self._workspace, entry).plan(overwrite=overwrite)

    async def undo(
        self, entry: RemovalEntry | UndoEntry, plan: UndoPlan
    ) -> tuple[UndoEntry, list[NotBack]]:
        """Put back what a removal took; return the entry of that, and what is not back."""
        return await UndoJob(self._workspace, entry).apply(plan)

    # Below.

    @property
    def _source(self) -> Registry:
        self._workspace.look_again()
        return self._workspace.source

    def _reference(self, text: str | Reference) -> Reference:
        if isinstance(text, Reference):
            return text
        prefix = f"{self._host or _NO_HOST}/"
        return Reference.parse(text if text.startswith(prefix) else prefix + text)


class RegistrySession:
    """A registry over its API, in a ``with`` block, for code without an event loop.

    The methods are those of :class:`AsyncRegistrySession`; :meth:`cancel` ends the call that is
    under way, from another thread.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        storage: str | Path | None = None,
        connection: Connection | None = None,
        credentials: Credentials | None = None,
        journal: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        self._session = AsyncRegistrySession(
            host,
            storage=storage,
            connection=connection,
            credentials=credentials,
            journal=journal,
            progress=progress,
        )
        self._runner = asyncio.Runner()
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Self:
        self._run(self._session.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(self._session.__aexit__())
        finally:
            self._runner.close()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        async def call() -> Result:
            self._task = asyncio.current_task()
            return await work

        try:
            return self._runner.run(call())
        except asyncio.CancelledError:
            raise Cancelled("cancelled", hint="Plan the same removal again to finish it.") from None
        finally:
            self._task = None

    def cancel(self) -> None:
        """End the call that is under way after its present step; that raises `Cancelled`."""
        task = self._task
        if task is not None:
            task.get_loop().call_soon_threadsafe(task.cancel)

    def repositories(self) -> Listed[RepoName]:
        """Return the names of all repositories, sorted."""
        return self._run(self._session.repositories())

    def tags(self, repository: str) -> Listed[Tag]:
        """Return the tags of a repository, sorted."""
        return self._run(self._session.tags(repository))

    def resolve(self, reference: str) -> Digest | None:
        """Return the digest that ``REPO:TAG`` points to, None if there is no such tag."""
        return self._run(self._session.resolve(reference))

    def inspect(self, reference: str | Reference, *, extent: Extent = Extent.NEAR) -> Report:
        """Return what an image is, who shares its layers, and what removing it frees."""
        return self._run(self._session.inspect(reference, extent=extent))

    def plan_removal(
        self,
        *references: str | Reference,
        all_tags: bool = False,
        break_indexes: bool = False,
        extent: Extent = Extent.NEAR,
        settings: RemovalSettings = DEFAULTS,
    ) -> PreparedRemoval:
        """Return what removing images would do; nothing is changed."""
        return self._run(
            self._session.plan_removal(
                *references,
                all_tags=all_tags,
                break_indexes=break_indexes,
                extent=extent,
                settings=settings,
            )
        )

    def promise(self, plan: PreparedRemoval) -> UndoPromise:
        """Say what an undo could do once a plan was carried out."""
        return self._session.promise(plan)

    def remove(self, plan: PreparedRemoval) -> RemovalEntry:
        """Carry a plan out and verify it; return its journal entry, with the receipt."""
        return self._run(self._session.remove(plan))

    def plan_prune(
        self,
        policy: Policy,
        *repositories: str,
        held: Held = NOTHING_HELD,
        allowed: Allowed = Allowed(),  # noqa: B008 - it is immutable
    ) -> PrunePlan:
        """Return what a retention policy removes, and why; nothing is changed."""
        return self._run(
            self._session.plan_prune(policy, *repositories, held=held, allowed=allowed)
        )

    def prune(self, plan: PrunePlan, settings: RemovalSettings = DEFAULTS) -> RemovalEntry | None:
        """Carry out a plan of a policy and verify it; return its entry, None for nothing to do."""
        return self._run(self._session.prune(plan, settings))

    def verify(self, entry: RemovalEntry, *, read_data: bool = False) -> list[Finding]:
        """Look again whether what was removed is gone, and what stays is whole."""
        return self._run(self._session.verify(entry, read_data=read_data))

    def entry(self, run_id: str = "last") -> RemovalEntry | UndoEntry:
        """Return what can be verified and undone: by its id, or the last removal here."""
        return self._session.entry(run_id)

    def plan_undo(self, entry: RemovalEntry | UndoEntry, *, overwrite: bool = False) -> UndoPlan:
        """Return what undoing a removal would put back; nothing is changed."""
        return self._run(self._session.plan_undo(entry, overwrite=overwrite))

    def undo(
        self, entry: RemovalEntry | UndoEntry, plan: UndoPlan
    ) -> tuple[UndoEntry, list[NotBack]]:
        """Put back what a removal took; return the entry of that, and what is not back."""
        return self._run(self._session.undo(entry, plan))
