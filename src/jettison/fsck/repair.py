"""Repairing a storage, and taking a repair back.

What is damaged is moved aside into a place of its own in the storage, never deleted; links that
follow from what is there are written again. The plan is on the disk before the first step, with
the old contents of whatever is replaced, so a process killed anywhere leaves a repair that can be
undone: an undo looks at what is there, not at what it was told was done.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, NamedTuple

from jettison.errors import StorageError
from jettison.model.check_report import CheckReport, Defect, Remedy, RepairAction
from jettison.model.repair import FileFingerprint, Move, RepairPlan, Skipped, Write
from jettison.progress import Progress, silent
from jettison.storage.protocol import InTheWayError, LinkKind, Mending, Stamp, Storage, stamp_at
from jettison.storage.repair_plans import repair_folder

__all__ = ["Outcome", "execute", "plan_repair", "take_back"]

_MOVED: Final = "moved"
_REPLACED: Final = "replaced"
"""In a repair's folder: links in whose place it wrote others."""
_OURS: Final = "ours"
"""In a repair's folder, while it is undone: links that it had written."""
_ORDER: Final = list(RepairAction)
_YOUNG: Final = "was written within the grace period; somebody may be at it"
_CHANGED: Final = "has changed since the check"


class Outcome(NamedTuple):
    """How many steps were done, and what was left and why."""

    done: int
    left: tuple[Skipped, ...]


def plan_repair(
    storage: Storage, report: CheckReport, run_id: str, now: float, grace: float
) -> RepairPlan:
    """Return what can be put right of what a check found, and what of it has to wait.

    ``now`` is in seconds since the epoch; what was written less than ``grace`` seconds before is
    not touched. Nothing is changed.
    """
    planner = _Planner(storage, run_id, now, grace)
    found = [(defect, defect.remedy) for defect in report.defects if defect.remedy is not None]
    found.sort(key=lambda one: (_ORDER.index(one[1].action), one[1].rank))
    for defect, remedy in found:
        planner.add(defect, remedy)
    return planner.plan()


class _Planner:
    def __init__(self, storage: Storage, run_id: str, now: float, grace: float) -> None:
        self._storage = storage
        self._mending = storage.mending()
        self._id = run_id
        self._now = now
        self._idle = stamp_at(now - grace)
        self._folder = repair_folder(run_id)
        self._steps: list[Move | Write] = []
        self._skipped: list[Skipped] = []
        self._moved: set[str] = set()

    def plan(self) -> RepairPlan:
        steps, skipped = tuple(self._steps), tuple(self._skipped)
        return RepairPlan(self._id, self._storage.location, self._folder, self._now, steps, skipped)

    def add(self, defect: Defect, remedy: Remedy) -> None:
        """Plan one remedy, unless it has to wait, or something planned before includes it."""
        if any(above in self._moved for above in _above(remedy.path)):
            return
        seen = self._mending.fingerprint(remedy.path)
        watched = tuple(map(self._mending.fingerprint, remedy.watched))
        if remedy.action is RepairAction.RECOVER_BLOB:
            self._recover(remedy, seen)
        elif remedy.content is not None:
            self._write(defect, remedy, remedy.content, (seen, *watched))
        elif any(one.stamp > self._idle for one in (seen, *watched)):
            self._skipped.append(Skipped(remedy.path, _YOUNG, waits=True))
        elif seen.exists:
            to = f"{self._folder}/{_MOVED}/{remedy.path}"
            is_tag = remedy.action is RepairAction.MOVE_TAG
            named = self._storage.places.named(remedy.path)
            guarded = is_tag or (named is not None and named.kind is LinkKind.REVISION)
            step = Move(
                action=remedy.action,
                path=remedy.path,
                to=to,
                reason=defect.sentence,
                seen=(seen, *watched),
                tag=defect.tags[0] if is_tag and defect.tags else None,
                unguards=defect.repository if guarded else None,
            )
            self._steps.append(step)
            self._moved.add(remedy.path)

    def _recover(self, remedy: Remedy, seen: FileFingerprint) -> None:
        to = remedy.content or ""
        named = self._storage.places.named(to)
        if named and self._mending.has_digest(remedy.path, named.digest.binary):
            reason = "is a blob that a killed collection set aside"
            nothing = self._mending.fingerprint(to)
            step = Move(remedy.action, remedy.path, to, reason, (seen, nothing), stays=True)
            self._steps.append(step)
        else:
            reason = "is a blob that a killed collection set aside, and is damaged or unreadable"
            self._skipped.append(Skipped(remedy.path, reason))

    def _write(
        self, defect: Defect, remedy: Remedy, content: str, seen: tuple[FileFingerprint, ...]
    ) -> None:
        here = seen[0]
        old = self._mending.read(remedy.path) if here.exists else None
        if here.stamp > self._idle:
            self._skipped.append(Skipped(remedy.path, _YOUNG, waits=True))
            return
        if here.exists and old is None:
            self._skipped.append(Skipped(remedy.path, "cannot be read, so it is not replaced"))
            return
        self._steps.append(
            Write(
                action=remedy.action,
                path=remedy.path,
                content=content,
                reason=defect.sentence,
                old=old,
                old_stamp=here.stamp,
                # Whole seconds of its own, for storages that keep no more.
                stamp=stamp_at(int(self._now)),
                folders=self._mending.missing(remedy.path),
                needs=remedy.needs,
                seen=seen,
            )
        )


def _above(path: str) -> Iterable[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def execute(storage: Storage, plan: RepairPlan, progress: Progress = silent) -> Outcome:
    """Do what the plan says, as far as everything is still as the check saw it.

    The caller holds the storage's lease and has kept the plan. What cannot be done is in the
    outcome, and the rest goes on.
    """
    mending = storage.mending()
    return _each(plan.steps, lambda step: _do(mending, plan, step), "repairing", progress)


def _do(mending: Mending, plan: RepairPlan, step: Move | Write) -> bool:
    for seen in step.seen:
        if mending.fingerprint(seen.path) != seen:
            raise InTheWayError(_CHANGED if seen.path == step.path else f"{seen.path} {_CHANGED}")
    if isinstance(step, Move):
        # What a killed collection had set aside goes back into the registry's part.
        return (
            mending.move(step.path, step.to)
            if step.stays
            else mending.take(step.path, step.to, step.seen)
        )
    for path in step.needs:
        if not mending.fingerprint(path).exists:
            raise InTheWayError(f"{path} is gone")
    _write(mending, step, f"{plan.folder}/{_REPLACED}/{step.path}")
    return True


def _write(mending: Mending, step: Write, aside: str) -> None:
    """Write a link, with the old one taken aside first, so that nothing newer is replaced."""
    if step.old is not None:
        if not mending.take(step.path, aside, step.seen):
            raise InTheWayError(_CHANGED)
        if mending.read(aside) != step.old:
            mending.move(aside, step.path)
            raise InTheWayError(_CHANGED)
    try:
        mending.write(step.path, step.content.encode(), Stamp(step.stamp))
    except InTheWayError:
        raise InTheWayError("was written again just now, and is left so") from None
    except StorageError:
        if step.old is not None:
            mending.move(aside, step.path)
        raise


def take_back(storage: Storage, plan: RepairPlan, progress: Progress = silent) -> Outcome:
    """Undo a repair, the last step first, whether or not it came to its end.

    What somebody has written since stays as it is, and is in the outcome. Blobs that were put
    back stay: a push may count on them by now. The caller holds the storage's lease.
    """
    mending = storage.mending()
    done = _each(plan.steps[::-1], lambda step: _undo(mending, plan, step), "undoing", progress)
    for part in (_MOVED, _REPLACED, _OURS):
        mending.remove_empty(f"{plan.folder}/{part}")
    return done


def _undo(mending: Mending, plan: RepairPlan, step: Move | Write) -> bool:
    if isinstance(step, Write):
        return _undo_write(mending, plan, step)
    if step.stays or not mending.fingerprint(step.to).exists:
        return False
    try:
        return mending.move(step.to, step.path)
    except InTheWayError:
        message = f"was written again since; what was moved aside stays in {step.to}"
        raise InTheWayError(message) from None


def _undo_write(mending: Mending, plan: RepairPlan, step: Write) -> bool:
    aside, ours = (f"{plan.folder}/{part}/{step.path}" for part in (_REPLACED, _OURS))
    if mending.fingerprint(ours).exists:
        mending.remove(ours)  # an undo was killed
    here = mending.fingerprint(step.path)
    if not here.exists:
        if step.old is None:
            _remove_each(mending, step.folders)
            return False
        if mending.move(aside, step.path):
            return True  # killed between the halves
        raise InTheWayError("was removed since, and is left so")
    content = mending.read(step.path)
    if content == step.content.encode() and here.stamp == step.stamp:
        mending.take(step.path, ours, (here,))
        if step.old is not None:
            _bring_back(mending, step, step.old, aside)
        mending.remove(ours)
        if step.old is None:
            _remove_each(mending, step.folders)
        return True
    if step.old is not None and content == step.old:
        # An undo may have been killed between the halves of a move: it is the same link twice.
        with suppress(InTheWayError):
            mending.move(aside, step.path)
        return False
    raise InTheWayError("was written again since, and is left so")


def _bring_back(mending: Mending, step: Write, old: bytes, aside: str) -> None:
    try:
        if not mending.move(aside, step.path):
            mending.write(step.path, old, Stamp(step.old_stamp))
    except InTheWayError:
        raise InTheWayError("was written again just now, and is left so") from None


def _remove_each(mending: Mending, places: Iterable[str]) -> None:
    """Remove places, in their order, as long as nothing is in them."""
    all(map(mending.remove_empty, places))


def _each(
    steps: Iterable[Move | Write],
    do: Callable[[Move | Write], bool],
    phase: str,
    progress: Progress,
) -> Outcome:
    todo = list(steps)
    count, left = 0, []
    for number, step in enumerate(todo):
        progress(phase, number, len(todo))
        try:
            count += do(step)
        except InTheWayError as error:
            left.append(Skipped(step.path, str(error)))
        except StorageError as error:
            left.append(Skipped(step.path, f"could not be changed: {error.message}"))
    progress(phase, len(todo), len(todo))
    return Outcome(count, tuple(left))
