"""A removal from request to receipt: prepare, execute, finish what was interrupted.

This is the whole of ``jettison rm``: the plan with its exact bytes, the requests, the collection
(with ``--reclaim``), and the proof.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Final, Self

import msgspec

from jettison.collector.mark import Without
from jettison.collector.options import CollectOptions
from jettison.collector.plausibility import find_objections, refuse, removed_content
from jettison.collector.sweep import CollectionReceipt, recover
from jettison.collector.undo_windows import plan_within_windows
from jettison.errors import JettisonError, JournalError, PartlyDone, Refused
from jettison.jobs.apply import Applier, Deleting, NothingDone, require_deletion
from jettison.jobs.collect import collect_and_forget
from jettison.jobs.discover import Manifests
from jettison.jobs.removal_plan import RemovalRequest, plan, planned_nodes
from jettison.jobs.verify import Proof, verify_blobs, verify_references, verify_storage
from jettison.jobs.workspace import Workspace
from jettison.model.digest import Digest
from jettison.model.journal import Finding, JobKind, JobState, JournalEntry, Receipt
from jettison.model.plan import Plan
from jettison.model.plausibility import NOTHING_SAID, Consent, Objection
from jettison.model.products import product
from jettison.model.undo_promise import Outlook, UndoPromise, promise_undo
from jettison.progress import Progress, silent
from jettison.registry import Registry
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.journal import Journal, new_run_id

__all__ = [
    "Clock",
    "Prediction",
    "PreparedRemoval",
    "RemovalJob",
    "RemovalSettings",
    "fingerprint",
    "interrupted_run",
]

DEFAULT_WINDOW: Final = 7 * 86400.0
FRESH_SECONDS: Final = 30.0
"""How old a plan may be to be carried out without asking for every digest again."""

Clock = Callable[[], float]
"""Returns the time now in seconds since the epoch."""


class Prediction(msgspec.Struct, frozen=True):
    """What a collection right after the removal frees, in bytes, and what it leaves for later.

    ``removal`` is freed on account of the removal, ``garbage`` lay there before. ``later`` is what
    the removal leaves unreferenced and that is not idle yet, or held by another run's window.
    ``until`` is when the last of it is idle (seconds since the epoch), None if all of it is.
    """

    removal: int
    garbage: int
    later: int
    problems: tuple[str, ...] = ()
    until: float | None = None

    @property
    def total(self) -> int:
        """Everything that the collection frees."""
        return self.removal + self.garbage


class PreparedRemoval(msgspec.Struct, frozen=True):
    """A plan, and with ``--reclaim`` what the collection then does (at ``now``).

    ``deleting`` is how the registry deletes, None where it was not asked; ``product`` what it is.
    """

    plan: Plan
    now: float
    prediction: Prediction | None = None
    objections: tuple[Objection, ...] = ()
    """What makes that collection implausible; it is then not begun."""
    deleting: Deleting | None = None
    product: str = ""

    @classmethod
    def again(cls, run: JournalEntry) -> Self:
        """Return what an interrupted run was begun with."""
        if run.plan is None:
            raise JournalError(f"run {run.id} has no plan")
        found = run.details.get("prediction")
        prediction = None if found is None else msgspec.convert(found, Prediction)
        product = str(run.details.get("product", ""))
        now = float(run.details.get("now", 0.0))
        return cls(run.plan, now, prediction, product=product)


class RemovalSettings(msgspec.Struct, frozen=True):
    """How to remove. ``grace`` and ``window`` in seconds.

    ``without_undo``: also where the registry leaves nothing that an undo could start from.
    """

    reclaim: bool = False
    grace: float = 3600.0
    window: float = DEFAULT_WINDOW
    backup: str | None = None
    consent: Consent = NOTHING_SAID
    """What is meant though the collection looks wrong."""
    without_undo: bool = False


def fingerprint(request: RemovalRequest, settings: RemovalSettings, place: Workspace) -> str:
    """Tell a command from another, to find the run that the same command began."""
    parts = (
        sorted(str(reference) for reference in request.references),
        request.all_tags,
        request.break_indexes,
        settings.reclaim,
        str(place.tree.root) if place.tree is not None else None,
    )
    return msgspec.json.encode(parts).decode()


def interrupted_run(journals: Iterable[Journal], mark: str) -> JournalEntry | None:
    """Return the latest run with this fingerprint that stopped half-way, if there is one."""
    found = {
        run.id: run
        for journal in journals
        for run in journal.runs()
        if isinstance(run, JournalEntry) and run.kind is JobKind.RM
        if run.unfinished and run.fingerprint == mark
    }
    return found[max(found)] if found else None


class RemovalJob:
    """Does one removal on ``remote``, with the storage of ``place`` if that is at hand.

    ``clock`` is asked for the time; ``stamp`` turns it into RFC 3339.
    """

    def __init__(
        self,
        remote: Registry,
        place: Workspace,
        users: Journal,
        clock: Clock,
        stamp: Callable[[float], str],
        progress: Progress = silent,
    ) -> None:
        self._remote = remote
        self._place = place
        self._users = users
        self._journal = place.journal(users)
        self._clock = clock
        self._stamp = stamp
        self._progress = progress
        self._consent = NOTHING_SAID
        self.last: JournalEntry | None = None
        """The run as it was noted last: what is told where an error ends it."""

    async def prepare(
        self, request: RemovalRequest, settings: RemovalSettings, cache: Manifests | None = None
    ) -> PreparedRemoval:
        """Make the plan; nothing is changed. Raises if deletion is not enabled."""
        request.check()
        now = self._clock()
        repositories = sorted({r.repository for r in request.references})
        deleting = await require_deletion(self._remote, repositories)
        made = await plan(
            self._place.source(self._remote),
            request,
            created=self._stamp(now),
            cache=cache,
            progress=self._progress,
        )
        await self._place.require_same(self._remote, made)
        tree = self._place.tree
        if tree is None or not settings.reclaim:
            return PreparedRemoval(made, now, deleting=deleting, product=deleting.product)
        prediction, found = self._predict(tree, made, settings, now)
        return PreparedRemoval(made, now, prediction, tuple(found), deleting, deleting.product)

    def promise(self, prepared: PreparedRemoval, settings: RemovalSettings) -> UndoPromise:
        """Say what an undo could do once the plan was applied."""
        return promise_undo(prepared.plan, self._outlook(prepared, settings), prepared.now)

    def _outlook(self, prepared: PreparedRemoval, settings: RemovalSettings) -> Outlook:
        held = self._place.tree is not None and not settings.reclaim
        frees = prepared.prediction is None or prepared.prediction.removal > 0
        return Outlook(
            product(prepared.product),
            backup=settings.backup,
            reclaim=settings.reclaim and frees,
            stored=self._place.tree is not None,
            window_until=prepared.now + settings.window if held else None,
        )

    def require_way_back(self, prepared: PreparedRemoval, settings: RemovalSettings) -> None:
        """Raise :class:`Refused` where the registry itself lets blobs go at once.

        Nobody expects that of a removal that only drops references; so it has to be said.
        """
        outlook = self._outlook(prepared, settings)
        if (
            settings.without_undo
            or outlook.product.keeps_blobs
            or settings.backup is not None
            or outlook.window_until is not None
            or prepared.plan.manifest_count == 0
        ):
            return
        message = (
            f"{prepared.plan.registry} is {outlook.product.name}, which removes blobs with the "
            "last manifest that needs them, so this could not be undone; nothing was changed"
        )
        hint = "Add --backup DIR to be able to undo it, or --without-undo to remove it for good."
        raise Refused(message, hint=hint)

    def _predict(
        self, tree: StorageTree, made: Plan, settings: RemovalSettings, now: float
    ) -> tuple[Prediction, list[Objection]]:
        """Ask the collector itself what it would free if the plan were applied already."""
        without = Without(
            tags=frozenset((s.repository, tag) for s in made.steps for tag in s.tags),
            manifests=frozenset(planned_nodes(made.steps)),
        )
        options = CollectOptions(grace=settings.grace)
        collection = plan_within_windows(tree, options, now, without, self._progress)
        mine = {item.digest for item in made.estimate.freed}
        removal = sum(blob.freed for blob in collection.blobs if blob.digest in mine)
        going = {blob.digest for blob in collection.blobs}
        prediction = Prediction(
            removal,
            collection.bytes - removal,
            made.estimate.freed_bytes - removal,
            tuple(problem.message for problem in collection.problems),
            _idle_from(tree, mine - going, settings.grace, now),
        )
        meant = [digest.raw for digest in mine]
        configuration = self._place.configuration
        found = find_objections(tree, configuration, collection, settings.consent, meant)
        return prediction, found

    async def execute(
        self,
        request: RemovalRequest,
        settings: RemovalSettings,
        prepared: PreparedRemoval,
        cache: Manifests | None = None,
    ) -> JournalEntry:
        """Apply the plan, collect if asked to, verify; return the run with its receipt.

        Steps that could not be done are ``left`` in it. Raises :class:`~jettison.errors.Refused`,
        and changes nothing, for a collection that was found implausible.
        """
        refuse(prepared.objections)
        self._consent = settings.consent
        now = self._clock()
        tree = self._place.tree
        run = JournalEntry(
            id=new_run_id(now),
            kind=JobKind.RM,
            state=JobState.APPLYING,
            started=self._stamp(now),
            registry=prepared.plan.registry,
            request=prepared.plan.request,
            fingerprint=fingerprint(request, settings, self._place),
            storage=None if tree is None else str(tree.root),
            plan=prepared.plan,
            window_until=None if tree is None or settings.reclaim else now + settings.window,
            reclaim=settings.reclaim,
            backup=settings.backup,
            details={
                "grace": settings.grace,
                "now": prepared.now,
                "product": prepared.product,
                "prediction": msgspec.to_builtins(prepared.prediction),
                **self._disk(),
            },
        )
        if self._journal is not self._users and not self._journal.has_room():
            # The disk is full, which is why it is to be reclaimed. A collection that follows at
            # once needs no journal in the tree; a later one would not know of the undo window.
            if not settings.reclaim:
                message = f"{run.storage} is full: there is no room for the journal"
                hint = "Add --reclaim (and --backup DIR elsewhere): its journal is in your home."
                raise JournalError(message, hint=hint)
            self._journal = self._users
        applier = self._applier()
        run = await applier.start(run, cache)
        if self._journal is not self._users:
            self._users.point(run, self._journal)
        fresh = self._clock() - prepared.now < FRESH_SECONDS
        return await self._finish(applier, run, prepared.deleting, fresh=fresh)

    async def resume(self, run: JournalEntry, settings: RemovalSettings) -> JournalEntry:
        """Finish a run that was interrupted; of the settings only ``consent`` is new."""
        self._consent = settings.consent
        if run.id not in self._journal.ids():
            self._journal = self._users.home_of(run.id)
        return await self._finish(self._applier(), run, None, fresh=False)

    def _applier(self) -> Applier:
        return Applier(
            self._remote,
            self._journal,
            lambda: self._stamp(self._clock()),
            self._place.storage,
            self._progress,
        )

    async def _finish(
        self, applier: Applier, run: JournalEntry, deleting: Deleting | None, *, fresh: bool
    ) -> JournalEntry:
        collected, forgotten = None, list[Finding]()
        try:
            if deleting is None:
                deleting = await require_deletion(self._remote, run.plan.seen if run.plan else ())
            run, lost = await applier.carry_out(run, deleting, fresh=fresh)
            if run.reclaim and self._place.tree is not None:
                collected, forgotten = self._collect(self._place.tree, run)
        except NothingDone as nothing:
            self._note(msgspec.structs.replace(run, state=JobState.STOPPED))
            raise nothing.cause from None
        except (JettisonError, asyncio.CancelledError):
            self._note(msgspec.structs.replace(run, state=JobState.INTERRUPTED))
            raise
        # The work is done, whatever the proof says.
        run = msgspec.structs.replace(run, state=JobState.DONE)
        self._note(run)
        proof = await self.verify(run)
        receipt = self._receipt(run, proof, [*forgotten, *lost], collected)
        run = msgspec.structs.replace(run, receipt=receipt)
        self._note(run)
        if collected is not None and not collected.ok:
            shown = "; ".join(problem.message for problem in collected.problems[:3])
            message = f"the collection left things undone: {shown}"
            raise PartlyDone(message, hint=f"See `jettison runs {run.id}`.")
        return run

    def _note(self, run: JournalEntry) -> None:
        self.last = run
        self._journal.write(run)

    def _collect(
        self, tree: StorageTree, run: JournalEntry
    ) -> tuple[CollectionReceipt, list[Finding]]:
        # As of the moment of the plan: what was not idle then is not swept now.
        now = float(run.details.get("now") or self._clock())
        recovered = recover(tree)
        options = CollectOptions(grace=float(run.details.get("grace") or 0.0))
        made = plan_within_windows(
            tree,
            options,
            now,
            progress=self._progress,
            unlinked=[*recovered, *(saved.digest for saved in run.saved)],
        )
        configuration = self._place.configuration
        meant = list(removed_content(run.saved))
        refuse(find_objections(tree, configuration, made, self._consent, meant))
        return collect_and_forget(tree, configuration, made, self._clock, self._progress)

    async def verify(self, run: JournalEntry, *, read_data: bool = False) -> Proof:
        """Prove it, in the API and, if it is at hand, on the disk.

        ``read_data``: read what stays in full.
        """
        findings = await verify_references(self._remote, run, self._progress, read_data=read_data)
        tree = self._place.tree
        served = await verify_blobs(
            self._remote, run, stored=tree is not None, progress=self._progress
        )
        if tree is None:
            return msgspec.structs.replace(served, findings=(*findings, *served.findings))
        stored = verify_storage(tree, run, self._clock(), self._progress)
        findings += [*stored.findings, *served.findings]
        return msgspec.structs.replace(stored, findings=tuple(findings))

    def _disk(self) -> dict[str, int]:
        if self._place.tree is None:
            return {}
        disk = os.statvfs(self._place.tree.root)
        return {
            "blobs": sum(blob.size for blob in self._place.tree.blobs()),
            "free": disk.f_bavail * disk.f_frsize,
        }

    def _receipt(
        self,
        run: JournalEntry,
        proof: Proof,
        forgotten: list[Finding],
        collected: CollectionReceipt | None,
    ) -> Receipt:
        made = run.plan
        findings = [*forgotten, *proof.findings]
        prediction = run.details.get("prediction") or {}
        after = self._disk() if collected is not None else {}
        if collected is not None:
            findings = findings + _compare(run, collected, after.get("blobs"))
        return Receipt(
            finished=self._stamp(self._clock()),
            tags=sum(len(step.tags) for step in run.removed),
            manifests=sum(step.deletes is not None for step in run.removed),
            predicted_bytes=_predicted(run),
            exact=made.estimate.exact if made else True,
            garbage_bytes=prediction.get("garbage"),
            young_bytes=prediction.get("later"),
            freed_bytes=None if collected is None else collected.blobs.bytes,
            blobs_before=run.details.get("blobs") if collected is not None else None,
            blobs_after=after.get("blobs"),
            blobs_gone=proof.gone,
            blobs_left=proof.left,
            disk_free_before=run.details.get("free") if collected is not None else None,
            disk_free_after=after.get("free"),
            findings=tuple(findings),
        )


def _idle_from(tree: StorageTree, left: Iterable[Digest], grace: float, now: float) -> float | None:
    """Return when all of these blobs are idle, None if they are so now."""
    found = (tree.blob(digest.raw) for digest in left)
    idle = max((blob.mtime_ns / 1e9 + grace for blob in found if blob is not None), default=0.0)
    return idle if idle > now else None


def _predicted(run: JournalEntry) -> int | None:
    """Return the bytes that the removal itself was to free."""
    prediction = run.details.get("prediction")
    if prediction is not None:
        return int(prediction["removal"])
    return None if run.plan is None else run.plan.estimate.freed_bytes


def _compare(run: JournalEntry, collected: CollectionReceipt, after: int | None) -> list[Finding]:
    """Put what was predicted beside what was freed, and both beside what the disk shows."""
    prediction = run.details.get("prediction") or {}
    predicted = prediction.get("removal", 0) + prediction.get("garbage", 0)
    freed = collected.blobs.bytes
    if freed == predicted == 0 and prediction.get("later"):
        found = []  # nothing was done that deserves a tick; why is told beside
    elif freed == predicted:
        found = [Finding(ok=True, subject=f"{freed:,} bytes", sentence="freed, as predicted")]
    else:
        reasons = []
        if collected.put_back.count:
            reasons.append(
                f"{collected.put_back.bytes:,} bytes were put back, wanted or not to be removed"
            )
        if collected.failures:
            reasons.append(f"{collected.failures} files could not be removed")
        sentence = "; ".join(reasons) or "the registry was changed by others meanwhile"
        subject = f"freed {freed:,} of {predicted:,} bytes predicted"
        found = [Finding(ok=not collected.failures, subject=subject, sentence=sentence)]
    before = run.details.get("blobs")
    if before is not None and after is not None and before - after != freed:
        written = after + freed - before
        sentence = "more is on the disk than that explains: others pushed meanwhile"
        found.append(Finding(ok=True, subject=f"{written:,} bytes", sentence=sentence))
    return found
