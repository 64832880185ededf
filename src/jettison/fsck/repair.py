"""Repairing a storage tree, and taking a repair back.

What is damaged is moved aside into a folder of its own in the tree, never deleted; links that
follow from what is there are written again. The plan is on the disk before the first step, with
the old contents of whatever is replaced, so a process killed anywhere leaves a repair that can be
undone: an undo looks at what is there, not at what it was told was done.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from jettison.errors import StorageError
from jettison.model import codec
from jettison.model.check_report import CheckReport, Defect, Remedy, RepairAction
from jettison.model.digest import raw_digest
from jettison.model.repair import FileFingerprint, Move, RepairPlan, Skipped, Write
from jettison.progress import Progress, silent
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.checking import has_digest
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.filesystem.tree_mover import InTheWayError, TreeMover
from jettison.storage.repair_plans import repair_folder

__all__ = ["Outcome", "execute", "keep_plan", "plan_repair", "take_back"]

_MOVED: Final = "moved"
_REPLACED: Final = "replaced"
"""In a repair's folder: links in whose place it wrote others."""
_OURS: Final = "ours"
"""In a repair's folder, while it is undone: links that it had written."""
_ORDER: Final = list(RepairAction)
_YOUNG: Final = "was written within the grace period; somebody may be at it"
_CHANGED: Final = "has changed since the check"
_SECOND: Final = 10**9


class Outcome(NamedTuple):
    """How many steps were done, and what was left and why."""

    done: int
    left: tuple[Skipped, ...]


def plan_repair(
    tree: StorageTree, report: CheckReport, run_id: str, now: float, grace: float
) -> RepairPlan:
    """Return what can be put right of what a check found, and what of it has to wait.

    ``now`` is in seconds since the epoch; what was written less than ``grace`` seconds before is
    not touched. Nothing is changed.
    """
    planner = _Planner(tree, run_id, now, grace)
    found = [(defect, defect.remedy) for defect in report.defects if defect.remedy is not None]
    found.sort(key=lambda one: (_ORDER.index(one[1].action), one[1].rank))
    for defect, remedy in found:
        planner.add(defect, remedy)
    return planner.plan()


class _Planner:
    def __init__(self, tree: StorageTree, run_id: str, now: float, grace: float) -> None:
        self._tree = tree
        self._hands = TreeMover(tree)
        self._id = run_id
        self._now = now
        self._idle_ns = int((now - grace) * _SECOND)
        self._folder = repair_folder(run_id)
        self._steps: list[Move | Write] = []
        self._skipped: list[Skipped] = []
        self._moved: set[str] = set()

    def plan(self) -> RepairPlan:
        steps, skipped = tuple(self._steps), tuple(self._skipped)
        return RepairPlan(self._id, str(self._tree.root), self._folder, self._now, steps, skipped)

    def add(self, defect: Defect, remedy: Remedy) -> None:
        """Plan one remedy, unless it has to wait, or something planned before includes it."""
        if any(above in self._moved for above in _above(remedy.path)):
            return
        seen = self._hands.look(remedy.path)
        watched = tuple(map(self._hands.look, remedy.watched))
        if remedy.action is RepairAction.RECOVER_BLOB:
            self._recover(remedy, seen)
        elif remedy.content is not None:
            self._write(defect, remedy, remedy.content, (seen, *watched))
        elif any(one.mtime_ns > self._idle_ns for one in (seen, *watched)):
            self._skipped.append(Skipped(remedy.path, _YOUNG, waits=True))
        elif seen.inode:
            to = f"{self._folder}/{_MOVED}/{remedy.path}"
            is_tag = remedy.action is RepairAction.MOVE_TAG
            is_link = remedy.action is RepairAction.MOVE_LINK
            guarded = is_tag or (is_link and f"/{layout.REVISIONS}/" in remedy.path)
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
        _, algorithm, _, encoded, _ = to.rsplit("/", 4)
        digest = raw_digest(algorithm, encoded)
        try:
            sound = digest is not None and has_digest(self._tree, remedy.path, digest)
        except OSError:
            sound = False
        if sound:
            reason = "is a blob that a killed collection set aside"
            nothing = self._hands.look(to)
            step = Move(remedy.action, remedy.path, to, reason, (seen, nothing), stays=True)
            self._steps.append(step)
        else:
            reason = "is a blob that a killed collection set aside, and is damaged or unreadable"
            self._skipped.append(Skipped(remedy.path, reason))

    def _write(
        self, defect: Defect, remedy: Remedy, content: str, seen: tuple[FileFingerprint, ...]
    ) -> None:
        here = seen[0]
        old = self._hands.read(remedy.path) if here.inode else None
        if here.mtime_ns > self._idle_ns:
            self._skipped.append(Skipped(remedy.path, _YOUNG, waits=True))
            return
        if here.inode and old is None:
            self._skipped.append(Skipped(remedy.path, "cannot be read, so it is not replaced"))
            return
        self._steps.append(
            Write(
                action=remedy.action,
                path=remedy.path,
                content=content,
                reason=defect.sentence,
                old=old,
                old_mtime_ns=here.mtime_ns,
                # Whole seconds of its own, for file systems that keep no more.
                mtime_ns=int(self._now) * _SECOND,
                folders=self._hands.missing_folders(remedy.path),
                needs=remedy.needs,
                seen=seen,
            )
        )


def _above(path: str) -> Iterable[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def keep_plan(tree: StorageTree, plan: RepairPlan) -> None:
    """Write the plan down, in its own folder in the tree, before anything is done.

    Raises :class:`~jettison.errors.StorageError`, with nothing changed, if that cannot be done.
    """
    document = msgspec.json.format(codec.encode(plan), indent=1) + b"\n"
    try:
        TreeMover(tree).write(plan.manifest, document, int(plan.started) * _SECOND)
    except InTheWayError as error:
        raise StorageError(f"cannot write {plan.manifest}: {error}") from error


def execute(tree: StorageTree, plan: RepairPlan, progress: Progress = silent) -> Outcome:
    """Do what the plan says, as far as everything is still as the check saw it.

    The caller holds the tree's lock and has kept the plan. What cannot be done is in the outcome,
    and the rest goes on.
    """
    hands = TreeMover(tree)
    return _each(plan.steps, lambda step: _do(hands, plan, step), "repairing", progress)


def _do(hands: TreeMover, plan: RepairPlan, step: Move | Write) -> bool:
    for seen in step.seen:
        if hands.look(seen.path) != seen:
            raise InTheWayError(_CHANGED if seen.path == step.path else f"{seen.path} {_CHANGED}")
    if isinstance(step, Move):
        # What a killed collection had set aside goes back into the registry's part.
        return (
            hands.move(step.path, step.to)
            if step.stays
            else hands.take(step.path, step.to, step.seen)
        )
    for path in step.needs:
        if not hands.look(path).inode:
            raise InTheWayError(f"{path} is gone")
    _write(hands, step, f"{plan.folder}/{_REPLACED}/{step.path}")
    return True


def _write(hands: TreeMover, step: Write, aside: str) -> None:
    """Write a link, with the old one taken aside first, so that nothing newer is replaced."""
    if step.old is not None:
        if not hands.take(step.path, aside, step.seen):
            raise InTheWayError(_CHANGED)
        if hands.read(aside) != step.old:
            hands.move(aside, step.path)
            raise InTheWayError(_CHANGED)
    try:
        hands.write(step.path, step.content.encode(), step.mtime_ns)
    except InTheWayError:
        raise InTheWayError("was written again just now, and is left so") from None
    except StorageError:
        if step.old is not None:
            hands.move(aside, step.path)
        raise


def take_back(tree: StorageTree, plan: RepairPlan, progress: Progress = silent) -> Outcome:
    """Undo a repair, the last step first, whether or not it came to its end.

    What somebody has written since stays as it is, and is in the outcome. Blobs that were put
    back stay: a push may count on them by now. The caller holds the tree's lock.
    """
    hands = TreeMover(tree)
    done = _each(plan.steps[::-1], lambda step: _undo(hands, plan, step), "undoing", progress)
    for part in (_MOVED, _REPLACED, _OURS):
        hands.remove_empty(f"{plan.folder}/{part}")
    return done


def _undo(hands: TreeMover, plan: RepairPlan, step: Move | Write) -> bool:
    if isinstance(step, Write):
        return _undo_write(hands, plan, step)
    if step.stays or not hands.look(step.to).inode:
        return False
    try:
        return hands.move(step.to, step.path)
    except InTheWayError:
        message = f"was written again since; what was moved aside stays in {step.to}"
        raise InTheWayError(message) from None


def _undo_write(hands: TreeMover, plan: RepairPlan, step: Write) -> bool:
    aside, ours = (f"{plan.folder}/{part}/{step.path}" for part in (_REPLACED, _OURS))
    if hands.look(ours).inode:
        hands.unlink(ours)  # an undo was killed
    here = hands.look(step.path)
    if not here.inode:
        if step.old is None:
            hands.remove_each(step.folders)
            return False
        if hands.move(aside, step.path):
            return True  # killed between the halves
        raise InTheWayError("was removed since, and is left so")
    content = hands.read(step.path)
    if content == step.content.encode() and here.mtime_ns == step.mtime_ns:
        hands.take(step.path, ours, (here,))
        if step.old is not None:
            _bring_back(hands, step, step.old, aside)
        hands.unlink(ours)
        if step.old is None:
            hands.remove_each(step.folders)
        return True
    if step.old is not None and content == step.old:
        _let_go(hands, step, aside)
        return False
    raise InTheWayError("was written again since, and is left so")


def _bring_back(hands: TreeMover, step: Write, old: bytes, aside: str) -> None:
    try:
        if not hands.move(aside, step.path):
            hands.write(step.path, old, step.old_mtime_ns)
    except InTheWayError:
        raise InTheWayError("was written again just now, and is left so") from None


def _let_go(hands: TreeMover, step: Write, aside: str) -> None:
    """End a move back that was killed between its halves: it is the same file twice."""
    if hands.look(aside).inode == hands.look(step.path).inode:
        hands.move(aside, step.path)


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
