"""A repair of a storage tree as frozen data: what is moved and written, with what was there.

It is written down, whole, before anything is done, so that whatever was done can be taken back.
All paths are relative to the root.
"""

from typing import Final

import msgspec

from jettison.model.check_report import RepairAction

__all__ = ["REPAIR_SCHEMA", "FileFingerprint", "Move", "RepairPlan", "Skipped", "Write"]

REPAIR_SCHEMA: Final = 1
_STRAY: Final = frozenset({"", ".", ".."})


class FileFingerprint(msgspec.Struct, frozen=True, array_like=True):
    """What was at a path when the plan was made; ``inode`` 0: nothing. ``mtime_ns`` in ns."""

    path: str
    inode: int = 0
    size: int = 0
    mtime_ns: int = 0


class Move(msgspec.Struct, frozen=True, tag="move"):
    """Something that is renamed from ``path`` to ``to``; nothing is copied and nothing deleted.

    ``reason`` ends a sentence that begins with the path. Done only if everything in ``seen`` is
    as it was. ``stays``: an undo leaves it where it is. ``tag`` (``repository:tag``) is the one
    whose folder it is, and ``unguards`` the repository that what is moved kept the collector from.
    """

    action: RepairAction
    path: str
    to: str
    reason: str
    seen: tuple[FileFingerprint, ...]
    stays: bool = False
    tag: str | None = None
    unguards: str | None = None


class Write(msgspec.Struct, frozen=True, tag="write"):
    """A link that is written: ``content`` in place of ``old`` (None: there is none).

    ``mtime_ns`` is the time that the new file is given, so that an undo knows it from one that a
    registry writes there later; ``old_mtime_ns`` that of the old one. ``folders`` are made for it,
    the innermost first; ``needs`` are paths that must be there.
    """

    action: RepairAction
    path: str
    content: str
    reason: str
    old: bytes | None
    old_mtime_ns: int
    mtime_ns: int
    folders: tuple[str, ...]
    needs: tuple[str, ...]
    seen: tuple[FileFingerprint, ...]


class Skipped(msgspec.Struct, frozen=True):
    """Something that could be put right and is not, and why not; ``waits``: later it can be."""

    path: str
    reason: str
    waits: bool = False


class RepairPlan(msgspec.Struct, frozen=True):
    """What a repair of the tree at ``root`` does, step by step.

    ``folder`` keeps what is moved aside, and this plan as ``manifest.json``. ``started`` is in
    seconds since the epoch.
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
        """Where the plan itself is kept."""
        return f"{self.folder}/manifest.json"

    @property
    def stray_path(self) -> str | None:
        """A path of its steps that does not stay below the root; None: all do."""
        for step in self.steps:
            named = [step.path, *(one.path for one in step.seen)]
            named += [step.to] if isinstance(step, Move) else [*step.folders, *step.needs]
            for path in named:
                if not _STRAY.isdisjoint(path.split("/")) or "\0" in path:
                    return path
        return None

    @property
    def moved_tags(self) -> tuple[str, ...]:
        """The tags (``repository:tag``) that it moves aside."""
        return tuple(step.tag for step in self.steps if isinstance(step, Move) and step.tag)

    @property
    def counts(self) -> dict[RepairAction, int]:
        """How many steps there are of each sort, in the order of work."""
        return {
            action: count
            for action in RepairAction
            if (count := sum(step.action is action for step in self.steps))
        }
