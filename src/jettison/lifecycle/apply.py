"""Carry out a plan: look again, save what goes, then one step at a time, each one journaled.

The order is what makes a kill at any moment harmless: the manifests are in the journal, synced,
before the first request that removes anything; a step is noted before and after it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path

import msgspec

from jettison.errors import (
    JettisonError,
    PartlyDone,
    PlanStale,
    RegistryError,
    UnexpectedResponse,
)
from jettison.lifecycle.backup import Backup
from jettison.lifecycle.deletion import deletion_problem
from jettison.lifecycle.discover import add_manifests, resolve_tags
from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.mediatypes import OCI_INDEX
from jettison.model.plan import Action, Plan, Step
from jettison.model.reference import RepoName, Tag
from jettison.model.run import Run, Saved, State
from jettison.model.snapshot import RepositorySnapshot
from jettison.model.throwaway import throwaway
from jettison.progress import Progress, silent
from jettison.registry import RawManifest, Registry
from jettison.store.journal import Journal

__all__ = ["Applier", "check_current", "require_deletion"]


async def require_deletion(registry: Registry, repositories: Iterable[RepoName]) -> bool:
    """Probe every repository; return whether the registry can remove a tag by itself.

    Raises :class:`DeletionDisabled` or :class:`AccessDenied`. Nothing is changed by asking.
    """
    can_untag = True
    for repository in repositories:
        found = await registry.capabilities(repository)
        problem = deletion_problem(registry.name, found, repository)
        if problem is not None:
            raise problem
        can_untag = can_untag and found.untag is True
    return can_untag


async def check_current(registry: Registry, plan: Plan, progress: Progress = silent) -> None:
    """Look again at every tag the plan saw; raise :class:`PlanStale` if it no longer holds.

    It does not hold if something that is to go has moved or is gone, or if a tag that the plan
    did not see now needs something that is to go.
    """
    for repository, seen in plan.seen.items():
        steps = [step for step in plan.steps if step.repository == repository]
        going = {step.digest for step in steps if step.action is Action.DELETE}
        now = (await resolve_tags(registry, repository, progress)).tags
        for step in steps:
            for tag in step.tags:
                if now.get(tag) != seen.get(tag):
                    raise _moved(plan.registry, repository, tag, seen.get(tag), now.get(tag))
        fresh = {tag: digest for tag, digest in now.items() if seen.get(tag) != digest}
        for tag, digest in fresh.items():
            view = RepositorySnapshot(repository, {}, {})
            view = await add_manifests(registry, view, [digest])
            needed = reach([digest], view.edges, {}).manifests & going
            if needed:
                message = (
                    f"{plan.registry}/{repository}:{tag} is new since the plan was made and needs "
                    f"{min(needed)}, which was to go; nothing was deleted"
                )
                raise PlanStale(message, hint="Run the command again to see the new plan.")


def _moved(
    host: str, repository: RepoName, tag: Tag, was: Digest | None, now: Digest | None
) -> PlanStale:
    became = f"points to {now.short}" if now else "is gone"
    before = f"pointed to {was.short}" if was else "did not exist"
    message = f"{host}/{repository}:{tag} {before} when the plan was made and now {became}"
    return PlanStale(message, hint="Run the command again to see the new plan.")


class Applier:
    """Executes the steps of one run, from the beginning or from where it was interrupted.

    ``registry`` is where requests go, ``storage`` (if at hand) where a tag can be removed without
    a throw-away manifest. ``clock`` returns the time now, RFC 3339 in UTC.
    """

    def __init__(
        self,
        registry: Registry,
        journal: Journal,
        clock: Callable[[], str],
        storage: Registry | None = None,
        progress: Progress = silent,
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._clock = clock
        self._storage = storage
        self._progress = progress
        self._can_untag: bool | None = None

    async def start(self, run: Run) -> Run:
        """Save what the plan removes, and note the run as begun. Nothing is removed yet."""
        plan = _plan_of(run)
        self._can_untag = await require_deletion(self._registry, plan.seen)
        await check_current(self._registry, plan, self._progress)
        saved = []
        for count, step in enumerate(plan.steps):
            found = await self._registry.manifest(step.repository, step.digest)
            if found is None and step.tags:
                raise _moved(plan.registry, step.repository, step.tags[0], step.digest, None)
            if found is not None:
                removed = step.action is Action.DELETE
                identity = (step.repository, found.digest, found.media_type, found.raw)
                saved.append(Saved(*identity, step.tags, removed))
            self._progress("saving manifests", count + 1, len(plan.steps))
        if run.backup is not None:
            await Backup(Path(run.backup)).save(self._registry, saved, self._progress)
        run = msgspec.structs.replace(run, saved=tuple(saved), state=State.APPLYING)
        self._journal.write(run)
        return run

    async def carry_out(self, run: Run) -> None:
        """Execute the steps that are not done yet.

        Raises :class:`PlanStale` if something moved (nothing further is done), and
        :class:`PartlyDone` if an error came after something had been removed.
        """
        plan = _plan_of(run)
        if self._can_untag is None:
            self._can_untag = await require_deletion(self._registry, plan.seen)
        log = self._journal.steps(run.id)
        for number, step in enumerate(plan.steps):
            self._progress("removing", number, len(plan.steps))
            if number in log.done:
                continue
            try:
                # A Ctrl-C that arrives inside a step waits for its end.
                await _to_the_end(self._do(run, number, step, again=number in log.begun))
            except JettisonError as error:
                done = len(self._journal.steps(run.id).done)
                if done == 0 or isinstance(error, PlanStale | PartlyDone):
                    raise
                message = f"{error.message} ({done} of {len(plan.steps)} steps were done)"
                raise PartlyDone(message, hint=_finish_hint(run)) from error
        self._progress("removing", len(plan.steps), len(plan.steps))

    async def _do(self, run: Run, number: int, step: Step, *, again: bool) -> None:
        """Execute a step, noted before and after."""
        self._journal.mark(run.id, number, done=False, at=self._clock())
        await self._execute(run, number, step, again=again)
        self._journal.mark(run.id, number, done=True, at=self._clock())

    async def _execute(self, run: Run, number: int, step: Step, *, again: bool) -> None:
        dummy = throwaway(run.id, number, step.digest)
        for tag in step.tags:
            now = await self._registry.resolve(step.repository, tag)
            if now == step.digest or (again and now in {None, Digest.of(dummy)}):
                continue
            raise _moved(run.registry, step.repository, tag, step.digest, now)
        if step.action is Action.DELETE:
            await self._registry.delete_manifest(step.repository, step.digest)
        elif self._storage is not None:
            await self._storage.untag(step.repository, step.tags[0])
        elif self._can_untag:
            await self._registry.untag(step.repository, step.tags[0])
        else:
            await self._untag_by_throwaway(run, step, dummy)

    async def _untag_by_throwaway(self, run: Run, step: Step, dummy: bytes) -> None:
        tag, repository = step.tags[0], step.repository
        stand_in = RawManifest(Digest.of(dummy), OCI_INDEX, dummy)
        if await self._registry.resolve(repository, tag) is None:
            return  # an interrupted run came this far
        try:
            await self._registry.put_manifest(repository, tag, stand_in)
            await self._registry.delete_manifest(repository, stand_in.digest)
        except JettisonError as error:
            await self._put_back(run, step, stand_in.digest, error)
            raise
        left = await self._registry.resolve(repository, tag)
        if left == stand_in.digest:
            kept = UnexpectedResponse(f"{self._registry.name} kept {repository}:{tag}")
            await self._put_back(run, step, stand_in.digest, kept)
            raise kept

    async def _put_back(self, run: Run, step: Step, stand_in: Digest, cause: JettisonError) -> None:
        """Point the tag to its manifest again, if it now points to the throw-away one."""
        tag, repository = step.tags[0], step.repository
        try:
            if await self._registry.resolve(repository, tag) not in {None, stand_in}:
                return
            node = (repository, step.digest)
            saved = next(entry for entry in run.saved if (entry.repository, entry.digest) == node)
            original = RawManifest(saved.digest, saved.media_type, saved.raw)
            await self._registry.put_manifest(repository, tag, original)
        except RegistryError as error:
            message = (
                f"{run.registry}/{repository}:{tag} points to a throw-away manifest and could not "
                f"be put back: {cause.message}; then {error.message}"
            )
            raise PartlyDone(message, hint=f"`jettison undo {run.id}` puts it back.") from error


def _plan_of(run: Run) -> Plan:
    if run.plan is None:
        message = f"run {run.id} has no plan"
        raise JettisonError(message)
    return run.plan


def _finish_hint(run: Run) -> str:
    return f"Run the command again to finish it, or `jettison undo {run.id}` to take it back."


async def _to_the_end(work: Coroutine[None, None, None]) -> None:
    """Run ``work`` to its end even when this task is cancelled meanwhile; then be cancelled."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise
