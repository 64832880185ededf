"""A check of a storage and its repair, and the undo of that, each noted in the tree's journal."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from jettison.collector.plausibility import require_own_tree
from jettison.collector.undo_windows import used_addresses
from jettison.fsck.check import CheckOptions, check_again, check_tree
from jettison.fsck.repair import Outcome, execute, plan_repair, take_back
from jettison.jobs.collect import forget_in_redis
from jettison.jobs.quiescence import Evidence, require_quiescent
from jettison.jobs.workspace import Workspace
from jettison.model.check_report import CheckReport
from jettison.model.journal import Finding, FindingCode, JobState, Receipt, RepairEntry, UndoEntry
from jettison.model.plausibility import Consent
from jettison.model.repair import Move, RepairPlan
from jettison.model.times import rfc3339
from jettison.storage.journal import new_run_id
from jettison.storage.protocol import LinkKind, Storage
from jettison.storage.repair_plans import keep_plan, load_plan

if TYPE_CHECKING:
    from jettison.configuration import Configuration

__all__ = ["RepairJob", "RepairUndoJob"]


class RepairJob:
    """A check of the storage of a workspace, and its repair: planned, applied, and verified."""

    def __init__(self, workspace: Workspace, options: CheckOptions) -> None:
        self._workspace = workspace
        self._storage = workspace.own_storage
        self._options = options

    def check(self) -> CheckReport:
        """Say what is wrong with the storage; nothing is changed."""
        place = self._workspace
        return check_tree(self._storage, self._options, place.clock(), place.progress)

    def plan(self, report: CheckReport) -> RepairPlan:
        """Return what of it can be put right, and how; nothing is changed."""
        now = self._workspace.clock()
        return plan_repair(self._storage, report, new_run_id(now), now, self._options.grace)

    def require_own_tree(self, consent: Consent) -> None:
        """Raise :class:`~jettison.errors.Refused` where another program owns a part of the tree."""
        require_own_tree(self._storage, self._workspace.configuration, consent)

    def require_quiescent(self) -> None:
        """Raise :class:`~jettison.errors.NotQuiescent` if a push could meet the repair.

        In a bucket nothing can be hidden from a registry, so that it must be stopped or read-only.
        :meth:`apply` asks again; asked before a check, it saves waiting for that.
        """
        _require_quiescent(self._workspace)

    def apply(
        self, plan: RepairPlan, request: tuple[str, ...], *, assume_quiescent: bool = False
    ) -> RepairEntry:
        """Execute the plan and return its entry, which is in the tree's journal.

        Plan and entry are on the disk, and the user's journal points to it, before the first step.
        Where the configuration names a Redis that remembers blobs, what was moved is forgotten
        there. Raises :class:`~jettison.errors.Locked` if a collection or another repair is at it,
        and as :meth:`require_quiescent` unless ``assume_quiescent``.
        """
        place, storage = self._workspace, self._storage
        if not assume_quiescent:
            _require_quiescent(place)
        with storage.lease("repair", quiescent=_must_be_quiescent(storage)):
            keep_plan(storage, plan)
            entry = RepairEntry(
                id=plan.id,
                state=JobState.APPLYING,
                started=rfc3339(plan.started),
                registry="",
                request=request,
                storage=storage.location,
                folder=plan.folder,
            )
            place.journal.write(entry)
            if place.users is not None:
                place.users.point(entry, place.journal)
            outcome = execute(storage, plan, place.progress)
            moved = _moved(storage, plan)
            receipt = _receipt(outcome, len(plan.steps), place.now(), tuple(_notes(plan, moved)))
            configuration = place.configuration
            if moved and configuration is not None and configuration.storage.cache == "redis":
                findings = (*receipt.findings, _forget(storage, configuration, moved))
                receipt = msgspec.structs.replace(receipt, findings=findings)
            entry = msgspec.structs.replace(entry, state=JobState.DONE, receipt=receipt)
            place.journal.write(entry)
            return entry

    def verify(self, before: CheckReport) -> CheckReport:
        """Check again what was found ``before``, after a repair."""
        place = self._workspace
        return check_again(self._storage, self._options, place.clock(), before, place.progress)


class RepairUndoJob:
    """Takes the repair ``entry`` back, in the storage of a workspace."""

    def __init__(self, workspace: Workspace, entry: RepairEntry) -> None:
        self._workspace = workspace
        self._storage = workspace.own_storage
        self._entry = entry

    def plan(self) -> RepairPlan:
        """Return the plan of the repair, each step of which is taken back where it still can be."""
        return load_plan(self._storage, self._entry.id)

    def apply(self, *, assume_quiescent: bool = False) -> UndoEntry:
        """Take it back and return the entry of that, which is in the tree's journal.

        What was written since is left, and is among the receipt's findings. Raises
        :class:`~jettison.errors.NotQuiescent` as :meth:`RepairJob.apply`.
        """
        place, storage, run = self._workspace, self._storage, self._entry
        if not assume_quiescent:
            _require_quiescent(place)
        with storage.lease("undo of a repair", quiescent=_must_be_quiescent(storage)):
            now = place.clock()
            outcome = take_back(storage, self.plan(), place.progress)
            steps = outcome.done + len(outcome.left)
            done = UndoEntry(
                id=new_run_id(now),
                state=JobState.DONE,
                started=rfc3339(now),
                registry="",
                request=run.request,
                storage=storage.location,
                of=run.id,
                receipt=_receipt(outcome, steps, place.now(), (), "taken back"),
            )
            place.journal.write(done)
            if not outcome.left:
                place.journal.write(msgspec.structs.replace(run, state=JobState.UNDONE))
            return done


def _must_be_quiescent(storage: Storage) -> bool:
    """Whether nothing may be pushed while things are moved: between a look and a removal."""
    return not storage.features.atomic_rename


def _require_quiescent(place: Workspace) -> None:
    storage = place.own_storage
    if _must_be_quiescent(storage):
        evidence = Evidence(storage, place.clock(), tuple(used_addresses(storage)))
        require_quiescent(place.configuration, evidence=evidence)


def _moved(storage: Storage, plan: RepairPlan) -> list[Move]:
    """Return the steps whose files are in the repair's folder now."""
    steps = (step for step in plan.steps if isinstance(step, Move) and not step.stays)
    return [step for step in steps if storage.exists(step.to)]


def _notes(plan: RepairPlan, moved: list[Move]) -> Iterator[str]:
    tags = [step.tag for step in moved if step.tag]
    if tags:
        yield f"Tags that were moved aside: {', '.join(tags)}."
    if moved:
        yield f"What was moved aside is in {plan.folder}; remove that when nothing is missed."


def _forget(storage: Storage, configuration: "Configuration", moved: list[Move]) -> Finding:
    blobs, links = [], []
    for step in moved:
        named = storage.places.named(step.path)
        if named is not None and named.kind is None:
            blobs.append(named.digest)
        elif named is not None and named.kind is LinkKind.LAYER:
            links.append((named.repository, named.digest))
    return forget_in_redis(configuration, blobs, links)


def _receipt(
    outcome: Outcome,
    total: int,
    finished: str,
    notes: tuple[str, ...],
    verb: str = "done",
) -> Receipt:
    subject = f"{outcome.done:,} of {total:,} repair{'' if total == 1 else 's'}"
    all_done = outcome.done == total
    findings = [Finding(FindingCode.REPAIRED, ok=all_done, subject=subject, sentence=verb)]
    findings += [
        Finding(FindingCode.NOT_REPAIRED, ok=False, subject=one.path, sentence=one.reason)
        for one in outcome.left
    ]
    return Receipt(finished=finished, findings=tuple(findings), notes=notes)
