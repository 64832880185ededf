"""The prune that a server runs by itself: ``jettison.retention`` of its configuration.

It is the prune of ``jettison prune CONFIG --policy FILE --yes``, with its run in the journal of the
storage, and then, if that is wanted, the collection of ``jettison gc CONFIG --yes``. The
configuration and the policy are read anew each time; whatever is wrong with them by then removes
nothing.
"""

import asyncio
import shlex
import time
from collections.abc import Callable

from jettison.collector.options import CollectOptions
from jettison.configuration import Configuration
from jettison.configuration.settings import ScheduledRetention
from jettison.errors import ConfigurationError, JettisonError, PartlyDone, Refused
from jettison.jobs.collect import CollectionJob
from jettison.jobs.outcome import require_success, require_whole
from jettison.jobs.prune import PruneJob, PruneRequest, require_unopposed
from jettison.jobs.remove import RemovalSettings
from jettison.jobs.workspace import Workspace
from jettison.model.journal import Receipt, RemovalEntry
from jettison.storage.opening import storage_of
from jettison.storage.protocol import Storage
from jettison.storage.scheduled_runs import RunResult, ScheduledRun, ScheduledRuns

__all__ = ["prune_as_scheduled"]


async def prune_as_scheduled(
    storage: Storage,
    due: float,
    read: Callable[[], Configuration],
    clock: Callable[[], float] = time.time,
) -> ScheduledRun | None:
    """Prune a storage for a time of its schedule; return how that ended, as it is noted there.

    ``read`` reads the configuration. None: another process prunes at the moment, or has done so for
    that time. Raises :class:`~jettison.errors.StorageError` if the end cannot be noted.
    """
    runs = ScheduledRuns(storage)
    with runs.claim(due, clock()) as claimed:
        if not claimed:
            return None
        work = _ScheduledPrune(storage, clock)
        try:
            await work.run(read)
        except asyncio.CancelledError:
            runs.note(work.ended(due, RunResult.INTERRUPTED))
            raise
        except JettisonError as error:
            found = work.ended(due, _result(error), error.message, work.next_step(error))
        else:
            found = work.ended(due, RunResult.DONE)
        return runs.note(found)


def _result(error: JettisonError) -> RunResult:
    if isinstance(error, PartlyDone):
        return RunResult.PARTLY
    return RunResult.REFUSED if isinstance(error, Refused) else RunResult.FAILED


class _NotCollected(PartlyDone):
    """The prune is done, and the collection after it is not."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message, hint=f"Look at it: jettison gc {shlex.quote(path)} -n")


class _ScheduledPrune:
    """One run: the rest of one that was interrupted, and then what the policy says now."""

    def __init__(self, storage: Storage, clock: Callable[[], float]) -> None:
        self._storage = storage
        self._clock = clock
        self._jobs: list[PruneJob] = []
        self._command = self._path = ""
        self._notes: tuple[str, ...] = ()
        self._freed = 0

    async def run(self, read: Callable[[], Configuration]) -> None:
        """Prune. Raises for whatever is not done as the policy says."""
        configuration = read()
        retention = configuration.retention
        if retention is None or configuration.path is None:
            message = "jettison.retention is no longer in the configuration"
            raise ConfigurationError(message, hint="Restart the server, or put it back.")
        opened = storage_of(configuration)
        if opened.location != self._storage.location:
            message = f"the configuration names another storage by now, {opened.location}"
            raise ConfigurationError(message, hint="Restart the server.")
        self._path = path = str(configuration.path.absolute())
        words = ("jettison", "prune", path, "--policy", str(retention.file.absolute()))
        self._command = shlex.join(words)
        place = Workspace(storage=opened, configuration=configuration, clock=self._clock)
        left: PartlyDone | None = None
        try:
            await self._prune(place.without_api(), path, retention)
        except PartlyDone as error:
            left = error
        if retention.collect:
            self._collect(place, path)
        if left is not None:
            raise left

    async def _prune(self, place: Workspace, path: str, retention: ScheduledRetention) -> None:
        settings = RemovalSettings(window=retention.undo_window)
        request = PruneRequest(retention.policy, (path,))
        job = self._begin(place)
        fingerprint = job.fingerprint(request, settings)
        begun = await job.find_interrupted(fingerprint, settings, request)
        if begun is not None:
            require_success(await job.apply(begun))
            job = self._begin(place)
        made = await job.plan(request)
        self._notes = made.notes
        if made.plan.steps:
            require_unopposed(made)
            prepared = await job.prepare(made, settings, fingerprint, made.decided)
            require_success(await job.apply(prepared))
        else:
            job.note_untagged(made)
        require_whole(made)

    def _collect(self, place: Workspace, path: str) -> None:
        """Free what nothing needs, and no undo window holds."""
        job = CollectionJob(place, CollectOptions())
        try:
            job.require_quiescent(beside=True)
            job.recover()
            plan = job.plan()
            job.require_plausible(plan)
            receipt = job.apply(plan, (path,)).receipt
        except JettisonError as error:
            raise _NotCollected(f"nothing was collected: {error.message}", path) from error
        self._freed = receipt.blobs.bytes
        if not receipt.ok:
            first = receipt.problems[0].message if receipt.problems else "files were not removed"
            raise _NotCollected(f"not everything was collected: {first}", path)

    def _begin(self, place: Workspace) -> PruneJob:
        self._jobs.append(PruneJob(place))
        return self._jobs[-1]

    def ended(
        self, due: float, result: RunResult, message: str = "", hint: str = ""
    ) -> ScheduledRun:
        """Return what was done, which ended now."""
        entries = self._entries
        receipts = [entry.receipt or Receipt("") for entry in entries]
        return ScheduledRun(
            due=due,
            ended=self._clock(),
            result=result,
            run=entries[-1].id if entries else "",
            tags=sum(one.tags for one in receipts),
            manifests=sum(one.manifests for one in receipts),
            bytes=sum(one.predicted_bytes or 0 for one in receipts),
            freed=self._freed,
            message=message,
            hint=hint,
            notes=self._notes,
        )

    def next_step(self, error: JettisonError) -> str:
        """Return what a person does about an error."""
        if isinstance(error, Refused) and self._command:
            allowed = f"; if it is meant: {self._command} {shlex.join(error.again)}"
            return f"Look at it: {self._command} -n" + (allowed if error.again else "")
        if self._entries and not isinstance(error, _NotCollected):
            where = shlex.quote(self._path)
            return f"See it: jettison runs {self._entries[-1].id} --storage {where}"
        return error.hint or ""

    @property
    def _entries(self) -> list[RemovalEntry]:
        return [job.removal.last for job in self._jobs if job.removal.last is not None]
