"""A repair of a storage tree as frozen data: moves and writes, with the previous state.

The whole plan is on the disk before the first step, so that every step can be undone. All paths are
relative to the root.
"""

from typing import Final

import msgspec

from jettison.model.check_report import RepairAction

__all__ = ["REPAIR_SCHEMA", "FileFingerprint", "Move", "RepairPlan", "Skipped", "Write"]

REPAIR_SCHEMA: Final = 1
_STRAY: Final = frozenset({"", ".", ".."})


class FileFingerprint(msgspec.Struct, frozen=True, array_like=True):
    """What was in a place when a plan was made; ``inode`` is 0 if nothing was.

    Its size and inode are for the storage alone, which compares them.
    """

    path: str
    inode: int = 0
    size: int = 0
    stamp: int = 0

    @property
    def exists(self) -> bool:
        """Whether anything was there."""
        return self.inode != 0


class Move(msgspec.Struct, frozen=True, tag="move"):
    """A rename from ``path`` to ``to``; nothing is copied and nothing deleted.

    ``reason`` ends a sentence that begins with the path. The step is done only if everything in
    ``seen`` is unchanged. ``stays``: an undo does not move it back. ``tag`` (``repository:tag``)
    is set for the folder of a tag, ``unguards`` to the repository that the defect kept the
    collector from.
    """

    action: RepairAction
    path: str
    to: str
    reason: str
    seen: tuple[FileFingerprint, ...]
    stays: bool = False
    tag: str | None = None
    unguards: str | None = None


class Write(
    msgspec.Struct,
    frozen=True,
    tag="write",
    rename={"old_stamp": "old_mtime_ns", "stamp": "mtime_ns"},
):
    """A link that is written: ``content`` in place of ``old`` (None if there is none).

    ``stamp`` is that of the new link, by which an undo tells it from one that a registry writes
    there later; ``old_stamp`` is that of the old one, if there is one. ``folders`` are made for it,
    the innermost first; ``needs`` are paths that must exist.
    """

    action: RepairAction
    path: str
    content: str
    reason: str
    old: bytes | None
    old_stamp: int
    stamp: int
    folders: tuple[str, ...]
    needs: tuple[str, ...]
    seen: tuple[FileFingerprint, ...]


class Skipped(msgspec.Struct, frozen=True):
    """A repair that is not made, and the reason; ``waits``: it can be made later."""

    path: str
    reason: str
    waits: bool = False


class RepairPlan(msgspec.Struct, frozen=True):
    """The steps of a repair of the tree at ``root``.

    ``folder`` holds what is moved, and this plan as ``manifest.json``. ``started`` is in seconds
    since the epoch.
    """

    id: str
    root: str
    folder: str
    started: float
    steps: tuple[Move | Write, ...]
    skipped: tuple[Skipped, ...] = ()
    schema_version: int = REPAIR_SCHEMA

    @property
    def manifest(self) -> str:
        """The path of the plan itself."""
        return f"{self.folder}/manifest.json"

    @property
    def stray_path(self) -> str | None:
        """A path of its steps that leads out of the root, or None."""
        for step in self.steps:
            named = [step.path, *(one.path for one in step.seen)]
            named += [step.to] if isinstance(step, Move) else [*step.folders, *step.needs]
            for path in named:
                if not _STRAY.isdisjoint(path.split("/")) or "\0" in path:
                    return path
        return None

    @property
    def moved_tags(self) -> tuple[str, ...]:
        """The tags (``repository:tag``) that it moves."""
        return tuple(step.tag for step in self.steps if isinstance(step, Move) and step.tag)

    @property
    def counts(self) -> dict[RepairAction, int]:
        """The number of steps of each action, in the order of work."""
        return {
            action: count
            for action in RepairAction
            if (count := sum(step.action is action for step in self.steps))
        }
