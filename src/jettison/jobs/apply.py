"""Applies a plan: saves what goes, then does the steps, each checked again and journaled.

The order makes a kill at any moment harmless: the manifests are in the journal, synced, before the
first request that removes anything, and each step is noted before and after.
"""

import asyncio
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

import msgspec

from jettison.errors import (
    InvalidManifest,
    JettisonError,
    PartlyDone,
)
from jettison.jobs.backup import Backup
from jettison.jobs.concurrency import each
from jettison.jobs.current_state import Present
from jettison.jobs.deletion import deletion_problem
from jettison.jobs.discover import Manifests
from jettison.jobs.steps import (
    Deleting,
    Failed,
    NotYet,
    StepRemover,
    ends_all,
    to_the_end,
)
from jettison.model.journal import (
    Finding,
    JobState,
    LeftCode,
    RemovalEntry,
    SavedManifest,
    StepLeft,
)
from jettison.model.names import RepoName
from jettison.model.plan import Step, StepAction
from jettison.model.step_order import Order
from jettison.progress import Progress, silent
from jettison.registry import Deletion, RawManifest, Registry
from jettison.storage.journal import Journal

__all__ = ["Applier", "Deleting", "NothingDone", "require_deletion"]

STEPS_AT_ONCE: Final = 16
"""How many steps run at once; the client's own ``jobs`` limits the requests among them.

A Ctrl-C waits for all of them.
"""


async def require_deletion(registry: Registry, repositories: Iterable[RepoName]) -> Deleting:
    """Probe every repository, changing nothing; return how the registry deletes.

    Raises :class:`DeletionDisabled` or :class:`AccessDenied`.
    """
    can_untag, product, conditional = True, "", True
    for repository in repositories:
        found = await registry.capabilities(repository)
        problem = deletion_problem(registry.name, found, repository)
        if problem is not None:
            raise problem
        can_untag = can_untag and found.untag is True
        product = found.product
        conditional = conditional and found.conditional
    return Deleting(can_untag, product, conditional)


class NothingDone(Exception):
    """No step could be done; ``cause`` is the error of the first."""

    def __init__(self, cause: JettisonError) -> None:
        super().__init__(cause.message)
        self.cause = cause


class Applier:
    """Executes the steps of one run, from the beginning or from where it was interrupted.

    Requests go to ``registry``. Removals go to ``storage`` if that is at hand, under its lock,
    unless the registry is Jettison's, which looks and acts in one step itself.
    ``clock`` returns the time now, RFC 3339 in UTC.
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

    async def start(self, run: RemovalEntry, cache: Manifests | None = None) -> RemovalEntry:
        """Save what the plan removes, and note the run as begun. Nothing is removed yet.

        A manifest that cannot be fetched now stays. A damaged one cannot be saved, and cannot be
        pulled either: it goes.
        """
        plan = run.plan
        source = self._storage or self._registry

        async def read(item: tuple[int, Step]) -> RawManifest | JettisonError | None:
            _, step = item
            if step.digest is None:
                return None
            try:
                known = cache.get(step.digest) if cache is not None else None
                return known or await source.manifest(step.repository, step.digest)
            except InvalidManifest:
                return None
            except JettisonError as error:
                if ends_all(error):
                    raise
                return error

        saved: dict[int, SavedManifest] = {}
        left: list[StepLeft] = []
        async for (number, step), found in each(enumerate(plan.steps), read):
            if isinstance(found, JettisonError):
                reason = f"cannot be saved first: {found.message}"
                left.append(StepLeft(number, step.tags, LeftCode.NOT_SAVED, reason))
            elif found is not None:
                removed = step.action is StepAction.DELETE
                identity = (step.repository, found.digest, found.media_type, found.raw)
                saved[number] = SavedManifest(*identity, step.tags, removed)
            self._progress("saving manifests", len(saved), len(plan.steps))
        entries = tuple(saved[number] for number in sorted(saved))
        if run.backup is not None:
            await Backup(Path(run.backup)).save(self._registry, entries, self._progress)
        run = msgspec.structs.replace(run, saved=entries, left=tuple(left), state=JobState.APPLYING)
        self._journal.write(run)
        return run

    async def carry_out(
        self, run: RemovalEntry, deleting: Deleting, *, fresh: bool
    ) -> tuple[RemovalEntry, list[Finding]]:
        """Execute the steps that are not done yet; return the run with what is ``left``.

        Also returns findings about losses that could not be mended, for the receipt.

        Steps that do not depend on each other run side by side. One that fails ends none of the
        others. ``fresh``: the plan was made a moment ago, so its digests need no second look.

        Raises :class:`NothingDone` if nothing at all could be done, and :class:`PartlyDone` if the
        registry was lost on the way.
        """
        plan = run.plan
        acting = self._registry
        if self._storage is not None and not deleting.conditional:
            writable = (await self._storage.capabilities()).deletion is Deletion.ENABLED
            acting = self._storage if writable else acting
        source = self._storage or self._registry
        present = Present(source, plan, asyncio.get_running_loop().time)
        remover = StepRemover(self._registry, acting, source, deleting, run, present)
        if not fresh:
            await present.look_at_all()
        marks = _Marks(self._journal, run.id, self._clock)
        work = _Work(run, remover, marks, self._progress)
        try:
            # A Ctrl-C that arrives inside steps waits for their end.
            await work.carry_out(self._journal.steps(run.id).done)
        except JettisonError as error:
            done = len(self._journal.steps(run.id).done)
            if done == 0 or isinstance(error, PartlyDone):
                raise
            message = f"{error.message} ({done} of {len(plan.steps)} steps were done)"
            raise PartlyDone(message, hint=_finish_hint(run)) from error
        self._progress("removing", len(plan.steps), len(plan.steps))
        if work.first_error is not None and not remover.changed and not work.done:
            raise NothingDone(work.first_error)
        left = tuple(work.left[number] for number in sorted(work.left))
        return msgspec.structs.replace(run, left=left), remover.lost


class _Work:
    """The steps of a run: side by side those that may go now, then those that wait for them."""

    def __init__(
        self, run: RemovalEntry, remover: StepRemover, marks: "_Marks", progress: Progress
    ) -> None:
        self._steps = run.plan.steps
        self._order = Order(self._steps, run.saved)
        self._remover = remover
        self._marks = marks
        self._progress = progress
        self.left = {one.step: one for one in run.left}
        self.done: set[int] = set()
        self.first_error: JettisonError | None = None

    async def carry_out(self, done: AbstractSet[int]) -> None:
        """Do all steps that are not ``done``, then check what the registry made of them."""
        self.done = set(done)
        for number in sorted(done):
            again = await self._remover.pushed_again(number)
            if again is not None:
                self.left[number] = again
                self.done.discard(number)
        self._remover.settle_later(self.done)
        pending = self._rest(list(range(len(self._steps))))
        first = next((n for n in pending if self._steps[n].deletes is not None), None)
        if first is not None and not self._order.before(first):
            # Alone, so that what is special about the registry is learned before eight go at once.
            await self._do_all([first])
            pending = self._rest(pending)
        while pending:
            waiting = set(pending)
            ready = [n for n in pending if not self._order.before(n) & waiting]
            await self._do_all(ready or pending[:1])
            pending = self._rest(pending)
        for number, left in (await self._remover.settle(self.done)).items():
            self.left[number] = left
            self.done.discard(number)

    def _rest(self, pending: list[int]) -> list[int]:
        return [n for n in pending if n not in self.done and n not in self.left]

    async def _do_all(self, numbers: list[int]) -> None:
        async for number, outcome in each(numbers, self._do_to_the_end, at_once=STEPS_AT_ONCE):
            if outcome is None:
                self.done.add(number)
            elif isinstance(outcome, NotYet):
                self._order.turn(number)
            else:
                self.left[number] = outcome.left
                self.first_error = self.first_error or outcome.error
            self._progress("removing", len(self.done), len(self._steps))
        if self._remover.changed and any(self._steps[n].deletes is not None for n in numbers):
            for number, left in (await self._remover.settle(self.done)).items():
                self.left[number] = left
                self.done.discard(number)

    async def _do_to_the_end(self, number: int) -> Failed | NotYet | None:
        return await to_the_end(self._do(number))

    async def _do(self, number: int) -> Failed | NotYet | None:
        """Execute a step, noted before and after."""
        stays = next((n for n in sorted(self._order.needing(number)) if n in self.left), None)
        await self._marks.note(number, done=False)
        if stays is not None:
            why = f"{self._steps[stays].short} stays, which needs it"
            return await self._remover.keep(number, why)
        can_wait = any(n not in self.done for n in self._order.referrers(number))
        outcome = await self._remover.remove(number, can_wait=can_wait)
        if outcome is None:
            await self._marks.note(number, done=True)
        return outcome


class _Marks:
    """Notes steps in the journal, with one sync for several that come at once."""

    def __init__(self, journal: Journal, run_id: str, clock: Callable[[], str]) -> None:
        self._journal = journal
        self._id = run_id
        self._clock = clock
        self._waiting: list[tuple[int, bool]] = []
        self._lock = asyncio.Lock()

    async def note(self, number: int, *, done: bool) -> None:
        """Note that a step begins or is done; the note is on the disk on return."""
        mine = (number, done)
        self._waiting.append(mine)
        async with self._lock:
            if mine in self._waiting:
                marks, self._waiting = self._waiting, []
                await asyncio.to_thread(self._journal.mark, self._id, marks, at=self._clock())


def _finish_hint(run: RemovalEntry) -> str:
    return f"Run the command again to finish it, or `jettison undo {run.id}` to take it back."
