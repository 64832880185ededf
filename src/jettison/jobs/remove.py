"""A removal from request to receipt: plan, apply, finish an interrupted run, verify.

This is the whole of ``jettison rm``: the plan with its exact bytes, the requests, the collection
(with ``--reclaim``), and the proof.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec

from jettison.collector.mark import AssumedRemoval
from jettison.collector.options import CollectOptions
from jettison.collector.plausibility import find_objections, refuse, removed_content
from jettison.collector.sweep import CollectionReceipt, recover, require_hiding
from jettison.collector.undo_windows import plan_within_windows, used_addresses
from jettison.errors import JettisonError, JournalError, PartlyDone, PlanStale, Refused
from jettison.jobs.alone import carrying_out, find_unfinished, require_as_seen, runs_of
from jettison.jobs.apply import Applier, Deleting, NothingDone, require_deletion
from jettison.jobs.collect import collect_and_forget
from jettison.jobs.discover import Manifests
from jettison.jobs.quiescence import is_heeded
from jettison.jobs.removal_plan import RemovalRequest, plan, planned_nodes
from jettison.jobs.verify import Proof, verify_blobs, verify_references, verify_storage
from jettison.jobs.workspace import Workspace
from jettison.model.digest import Digest
from jettison.model.journal import (
    Finding,
    FindingCode,
    JobState,
    PruneEntry,
    Receipt,
    RemovalEntry,
    RemovalHead,
)
from jettison.model.plan import Plan, Prediction
from jettison.model.plausibility import NOTHING_SAID, Consent, Objection
from jettison.model.products import product
from jettison.model.times import rfc3339
from jettison.model.undo_promise import Outlook, UndoPromise, promise_undo
from jettison.storage.journal import new_run_id
from jettison.storage.protocol import Storage, age

__all__ = [
    "PreparedRemoval",
    "RemovalJob",
    "RemovalSettings",
]

DEFAULT_WINDOW: Final = 7 * 86400.0
FRESH_SECONDS: Final = 30.0
"""The age up to which a plan is applied without reading every digest again."""


class RemovalSettings(msgspec.Struct, frozen=True):
    """Settings of a removal. ``grace`` and ``window`` are in seconds.

    ``without_undo`` allows a removal that cannot be undone.
    """

    reclaim: bool = False
    grace: float = 3600.0
    window: float = DEFAULT_WINDOW
    backup: str | None = None
    consent: Consent = NOTHING_SAID
    """What the user allows in an implausible collection."""
    without_undo: bool = False


class PreparedRemoval(msgspec.Struct, frozen=True):
    """The plan of a removal, and with ``--reclaim`` that of the collection.

    ``fingerprint`` identifies the command. ``now`` is the time of both. ``deleting`` is how the
    registry deletes, None if it was not asked; ``product`` names its program. ``begun`` is the
    interrupted run that this finishes. ``pruned``: a retention policy decided it. ``once``: refused
    where a run with this fingerprint is done already.
    """

    fingerprint: str
    settings: RemovalSettings
    plan: Plan
    now: float
    prediction: Prediction | None = None
    objections: tuple[Objection, ...] = ()
    """Objections to that collection; with any, it does not begin."""
    deleting: Deleting | None = None
    product: str = ""
    begun: RemovalEntry | None = None
    pruned: bool = False
    once: bool = False


class RemovalJob:
    """One removal in a workspace: planned, applied, and verified.

    The storage of the workspace, if there is one, is that of the registry.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._journal = workspace.journal
        self.last: RemovalEntry | None = None
        """The entry as noted last, for the report if an error ends the job."""

    def find_interrupted(
        self, request: RemovalRequest, settings: RemovalSettings
    ) -> RemovalEntry | None:
        """Return the latest run of the same command that stopped half-way, or None."""
        return self.find_unfinished(self._fingerprint(request, settings))

    def find_unfinished(self, fingerprint: str) -> RemovalEntry | None:
        """Return the latest run of the command with this fingerprint that stopped half-way."""
        found = {
            head.id: journal
            for journal in self._workspace.journals
            if (head := find_unfinished(journal, fingerprint)) is not None
        }
        run = found[max(found)].read(max(found)) if found else None
        return run if isinstance(run, RemovalEntry) else None

    def _fingerprint(self, request: RemovalRequest, settings: RemovalSettings) -> str:
        storage = self._workspace.storage
        parts = (
            sorted(str(reference) for reference in request.references),
            request.all_tags,
            request.break_indexes,
            settings.reclaim,
            storage.location if storage is not None else None,
        )
        return msgspec.json.encode(parts).decode()

    def plan_rest(self, begun: RemovalEntry, settings: RemovalSettings) -> PreparedRemoval:
        """Return the plan of an interrupted run; of the settings, ``consent`` is new."""
        return PreparedRemoval(
            begun.fingerprint,
            settings,
            begun.plan,
            begun.planned,
            begun.prediction,
            product=begun.product,
            begun=begun,
            pruned=isinstance(begun, PruneEntry),
        )

    async def plan(
        self, request: RemovalRequest, settings: RemovalSettings, cache: Manifests | None = None
    ) -> PreparedRemoval:
        """Make the plan, changing nothing. Raises if deletion is not enabled."""
        request.check()
        place = self._workspace
        place.look_again()
        now = place.clock()
        repositories = sorted({r.repository for r in request.references})
        deleting = await require_deletion(place.registry, repositories)
        made = await plan(
            place.source, request, created=rfc3339(now), cache=cache, progress=place.progress
        )
        await place.require_same(made)
        fingerprint = self._fingerprint(request, settings)
        return self.prepare(fingerprint, settings, made, now, deleting)

    def prepare(
        self,
        fingerprint: str,
        settings: RemovalSettings,
        made: Plan,
        now: float,
        deleting: Deleting,
    ) -> PreparedRemoval:
        """Return what applying a plan that was made ``now`` does, with what a collection frees."""
        prediction, found = None, list[Objection]()
        if self._workspace.storage is not None and settings.reclaim:
            if not self._is_heeded(self._workspace.storage):
                require_hiding(self._workspace.storage)
            prediction, found = self._predict(self._workspace.storage, made, settings, now)
        return PreparedRemoval(
            fingerprint, settings, made, now, prediction, tuple(found), deleting, deleting.product
        )

    def _is_heeded(self, storage: Storage) -> bool:
        """Whether a bucket is served by our own server, beside which it can be collected."""
        if storage.features.atomic_rename:
            return False
        addresses = (self._workspace.registry.name, *used_addresses(storage))
        return is_heeded(self._workspace.configuration, addresses)

    def promise(self, prepared: PreparedRemoval) -> UndoPromise:
        """Return what an undo can do after the plan is applied."""
        return promise_undo(prepared.plan.summary, self._outlook(prepared), prepared.now)

    def _outlook(self, prepared: PreparedRemoval) -> Outlook:
        settings = prepared.settings
        held = self._workspace.storage is not None and not settings.reclaim
        frees = prepared.prediction is None or prepared.prediction.removal > 0
        return Outlook(
            product(prepared.product),
            backup=settings.backup,
            reclaim=settings.reclaim and frees,
            stored=self._workspace.storage is not None,
            window_until=prepared.now + settings.window if held else None,
        )

    def require_way_back(self, prepared: PreparedRemoval) -> None:
        """Raise :class:`Refused` if the registry itself drops blobs at once.

        Users do not expect that of a removal of references, so they have to allow it.
        """
        settings, outlook = prepared.settings, self._outlook(prepared)
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
        self, storage: Storage, made: Plan, settings: RemovalSettings, now: float
    ) -> tuple[Prediction, list[Objection]]:
        """Ask the collector what it would free if the plan were applied already."""
        without = AssumedRemoval(
            tags=frozenset((s.repository, tag) for s in made.steps for tag in s.tags),
            manifests=frozenset(planned_nodes(made.steps)),
        )
        options = CollectOptions(grace=settings.grace)
        collection = plan_within_windows(storage, options, now, without, self._workspace.progress)
        mine = {item.digest for item in made.estimate.freed}
        removal = sum(blob.freed for blob in collection.blobs if blob.digest in mine)
        going = {blob.digest for blob in collection.blobs}
        prediction = Prediction(
            removal,
            collection.bytes - removal,
            made.estimate.freed_bytes - removal,
            tuple(problem.text for problem in collection.problems),
            _idle_from(storage, mine - going, settings.grace, now),
        )
        meant = [digest.binary for digest in mine]
        configuration = self._workspace.configuration
        found = find_objections(storage, configuration, collection, settings.consent, meant)
        return prediction, found

    async def apply(
        self, prepared: PreparedRemoval, cache: Manifests | None = None
    ) -> RemovalEntry:
        """Apply the plan, collect if asked to, verify; return the entry with its receipt.

        Steps that could not be done are ``left`` in it. Raises :class:`~jettison.errors.Refused`,
        and changes nothing, for a collection that was found implausible.
        """
        refuse(prepared.objections)
        if prepared.begun is not None:
            entry = prepared.begun
            if entry.id not in self._journal.ids():
                self._journal = self._workspace.users_journal.home_of(entry.id)
            with carrying_out(self._journal, prepared.fingerprint):
                require_as_seen(self._journal, entry)
                return await self._finish(self._applier(), entry, prepared, fresh=False)
        place, users = self._workspace, self._workspace.users
        entry = self._entry(prepared)
        if self._journal is not users and not self._journal.has_room():
            # The disk is full, which is why it is to be reclaimed. A collection that follows at
            # once needs no journal in the tree; a later one would not know of the undo window.
            if not prepared.settings.reclaim or users is None:
                message = f"{entry.storage} is full: there is no room for the journal"
                hint = "Add --reclaim (and --backup DIR elsewhere): its journal is in your home."
                raise JournalError(message, hint=hint)
            self._journal = users
        with carrying_out(self._journal, prepared.fingerprint):
            self._require_first(prepared)
            applier = self._applier()
            entry = await applier.start(entry, cache)
            if users is not None and self._journal is not users:
                users.point(entry, self._journal)
            fresh = place.clock() - prepared.now < FRESH_SECONDS
            return await self._finish(applier, entry, prepared, fresh=fresh)

    def _require_first(self, prepared: PreparedRemoval) -> None:
        """Raise :class:`PlanStale` if another process began the same meanwhile."""
        other: RemovalHead | None = self.find_unfinished(prepared.fingerprint)
        hint = "Run the command again to finish it."
        if other is None and prepared.once:
            other = self.find_done(prepared.fingerprint)
            hint = f"To apply it again, first: jettison undo {other.id}" if other else ""
        if other is not None:
            message = f"another process began the same meanwhile, as run {other.id}"
            raise PlanStale(f"{message}; nothing was changed", hint=hint)

    def find_done(self, fingerprint: str) -> RemovalHead | None:
        """Return the latest run of a command that was done and not undone."""
        found = [
            head
            for journal in self._workspace.journals
            for head in runs_of(journal, fingerprint)
            if head.state is JobState.DONE
        ]
        return max(found, key=lambda head: head.id, default=None)

    def _entry(self, prepared: PreparedRemoval) -> RemovalEntry:
        place, settings = self._workspace, prepared.settings
        now, storage = place.clock(), place.storage
        kind = PruneEntry if prepared.pruned else RemovalEntry
        return kind(
            id=new_run_id(now),
            state=JobState.APPLYING,
            started=rfc3339(now),
            registry=place.host,
            request=prepared.plan.request,
            fingerprint=prepared.fingerprint,
            storage=None if storage is None else storage.location,
            plan=prepared.plan,
            window_until=None if storage is None or settings.reclaim else now + settings.window,
            reclaim=settings.reclaim,
            backup=settings.backup,
            product=prepared.product,
            planned=prepared.now,
            grace=settings.grace,
            prediction=prepared.prediction,
        )

    def _applier(self) -> Applier:
        place = self._workspace
        return Applier(
            place.registry, self._journal, place.now, place.storage_registry, place.progress
        )

    async def _finish(
        self, applier: Applier, run: RemovalEntry, prepared: PreparedRemoval, *, fresh: bool
    ) -> RemovalEntry:
        collected: _Collected | None = None
        place = self._workspace
        try:
            deleting = prepared.deleting
            if deleting is None:
                deleting = await require_deletion(place.registry, prepared.plan.seen)
            place.look_again()
            run, lost = await applier.carry_out(run, deleting, fresh=fresh)
            if run.reclaim and place.storage is not None:
                collected = self._collect(place.storage, run, prepared.settings.consent)
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
        run = msgspec.structs.replace(run, receipt=self._receipt(run, proof, lost, collected))
        self._note(run)
        if collected is not None and not collected.receipt.ok:
            found = collected.receipt.problems[:3]
            shown = "; ".join(problem.text for problem in found)
            message = f"the collection left things undone: {shown}"
            raise PartlyDone(message, hint=f"See `jettison runs {run.id}`.")
        return run

    def _note(self, run: RemovalEntry) -> None:
        self.last = run
        self._journal.write(run)

    def _collect(self, storage: Storage, run: RemovalEntry, consent: Consent) -> "_Collected":
        place = self._workspace
        # As of the moment of the plan: what was not idle then is not swept now.
        now = run.planned or place.clock()
        recovered = recover(storage)
        options = CollectOptions(grace=run.grace)
        made = plan_within_windows(
            storage,
            options,
            now,
            progress=place.progress,
            unlinked=[*recovered, *(saved.digest for saved in run.saved)],
        )
        meant = list(removed_content(run.saved))
        refuse(find_objections(storage, place.configuration, made, consent, meant))
        receipt, forgotten = collect_and_forget(
            storage,
            place.configuration,
            made,
            place.clock,
            place.progress,
            heeded=self._is_heeded(storage),
        )
        left = storage.blobs_each([blob.digest.binary for blob in made.blobs])
        return _Collected(
            receipt,
            forgotten,
            sum(blob.size for blob in made.blobs),
            sum(blob.size for blob in left if blob is not None),
        )

    async def verify(self, run: RemovalEntry, *, read_data: bool = False) -> Proof:
        """Verify the removal in the API and, if it is at hand, in the storage.

        ``read_data``: read in full what stays.
        """
        place = self._workspace
        place.look_again()
        remote, storage, progress = place.registry, place.storage, place.progress
        findings = await verify_references(remote, run, progress, read_data=read_data)
        served = await verify_blobs(remote, run, stored=storage is not None, progress=progress)
        if storage is None:
            return msgspec.structs.replace(served, findings=(*findings, *served.findings))
        stored = verify_storage(storage, run, place.clock(), progress)
        findings += [*stored.findings, *served.findings]
        return msgspec.structs.replace(stored, findings=tuple(findings))

    def _receipt(
        self,
        run: RemovalEntry,
        proof: Proof,
        lost: list[Finding],
        collected: "_Collected | None",
    ) -> Receipt:
        findings = [*lost, *proof.findings]
        prediction = run.prediction
        done = None if collected is None else collected.receipt
        if collected is not None:
            findings = [*collected.forgotten, *findings, *_compare(run, collected)]
        return Receipt(
            finished=self._workspace.now(),
            tags=sum(len(step.tags) for step in run.removed),
            manifests=sum(step.deletes is not None for step in run.removed),
            predicted_bytes=_predicted(run),
            exact=run.plan.estimate.exact,
            garbage_bytes=None if prediction is None else prediction.garbage,
            young_bytes=None if prediction is None else prediction.later,
            freed_bytes=None if done is None else done.blobs.bytes,
            blobs_before=None if collected is None else collected.bytes_before,
            blobs_after=None if collected is None else collected.bytes_after,
            blobs_gone=proof.gone,
            blobs_left=proof.left,
            disk_free_before=None if done is None else done.disk_free_before,
            disk_free_after=None if done is None else done.disk_free_after,
            findings=tuple(findings),
        )


class _Collected(msgspec.Struct, frozen=True):
    """The result of a collection, and the bytes of its blob files before and after."""

    receipt: CollectionReceipt
    forgotten: list[Finding]
    bytes_before: int
    bytes_after: int


def _idle_from(storage: Storage, left: Iterable[Digest], grace: float, now: float) -> float | None:
    """Return when all of these blobs are idle, None if they are so now."""
    found = storage.blobs_each([digest.binary for digest in left])
    youngest = max((blob.stamp for blob in found if blob is not None), default=None)
    wait = 0.0 if youngest is None else grace - age(youngest, now)
    return now + wait if wait > 0 else None


def _predicted(run: RemovalEntry) -> int:
    """Return the predicted bytes of the removal itself."""
    return run.prediction.removal if run.prediction else run.plan.estimate.freed_bytes


def _compare(run: RemovalEntry, collected: _Collected) -> list[Finding]:
    """Put what was predicted beside what was freed, and both beside what the disk shows."""
    prediction = run.prediction or Prediction(0, 0, 0)
    predicted = prediction.total
    receipt, freed = collected.receipt, collected.receipt.blobs.bytes
    if freed == predicted == 0 and prediction.later:
        return []  # nothing was done that deserves a tick; why is told beside
    if freed == predicted:
        subject, sentence = f"{freed:,} bytes", "freed, as predicted"
        return [Finding(FindingCode.FREED, ok=True, subject=subject, sentence=sentence)]
    reasons = []
    if receipt.put_back.count:
        reasons.append(
            f"{receipt.put_back.bytes:,} bytes were put back, wanted or not to be removed"
        )
    if receipt.failures:
        reasons.append(f"{receipt.failures} files could not be removed")
    sentence = "; ".join(reasons) or "the registry was changed by others meanwhile"
    subject = f"freed {freed:,} of {predicted:,} bytes predicted"
    ok = not receipt.failures
    return [Finding(FindingCode.FREED_OTHER, ok=ok, subject=subject, sentence=sentence)]
