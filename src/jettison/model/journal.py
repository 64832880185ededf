"""A run: one applied plan, as it is kept in the journal, with its receipt."""

import enum
from typing import Any, Final

import msgspec

from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Plan, Step, StepAction

__all__ = [
    "RUN_SCHEMA",
    "UNDOABLE",
    "Finding",
    "JobKind",
    "JobState",
    "JournalEntry",
    "Receipt",
    "SavedManifest",
    "StepLeft",
]

RUN_SCHEMA: Final = 1


class JobKind(enum.StrEnum):
    """What the run did."""

    RM = "rm"
    UNDO = "undo"
    GC = "gc"
    FSCK = "fsck"


UNDOABLE: Final = frozenset({JobKind.RM, JobKind.FSCK})
"""What ``jettison undo`` takes back."""


class JobState(enum.StrEnum):
    """How far it came.

    APPLYING is what a killed process leaves behind, INTERRUPTED what Ctrl-C or an error does; both
    can be finished. STOPPED met something that had moved since the plan, and cannot.
    """

    APPLYING = "applying"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    DONE = "done"
    UNDONE = "undone"


class SavedManifest(msgspec.Struct, frozen=True):
    """A manifest as it was before the run: the very bytes, and the tags that pointed to it.

    ``removed`` is False for one that only lost a tag.
    """

    repository: RepoName
    digest: Digest
    media_type: str
    raw: bytes
    tags: tuple[Tag, ...]
    removed: bool = True


class Finding(msgspec.Struct, frozen=True):
    """One thing that was verified; ``sentence`` explains it, also when all is well.

    ``before``: it is not well, and was no better before the run, which is not to blame.
    """

    ok: bool
    subject: str
    sentence: str
    before: bool = False


class StepLeft(msgspec.Struct, frozen=True):
    """A step of the plan that was not done, or not in full, and why.

    ``tags`` are those of its tags that stay. A manifest that was to go stays in any case.
    """

    step: int
    tags: tuple[Tag, ...]
    reason: str


class Receipt(msgspec.Struct, frozen=True):
    """What was predicted beside what was observed. All sizes in bytes, None: not looked at.

    ``predicted_bytes`` is what this removal frees, ``garbage_bytes`` what lay there unreferenced
    before, and ``freed_bytes`` what the collection removed. ``blobs_before`` and ``blobs_after``
    are the sums of the sizes of all blob files. ``blobs_gone`` and ``blobs_left`` count those that
    nothing needs after the removal, as far as they were looked for: an undo needs them all.
    """

    finished: str
    tags: int = 0
    manifests: int = 0
    predicted_bytes: int | None = None
    exact: bool = True
    garbage_bytes: int | None = None
    young_bytes: int | None = None
    freed_bytes: int | None = None
    blobs_before: int | None = None
    blobs_after: int | None = None
    blobs_gone: int | None = None
    blobs_left: int | None = None
    disk_free_before: int | None = None
    disk_free_after: int | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything that was verified is as promised."""
        return all(finding.ok for finding in self.findings)


class JournalEntry(msgspec.Struct, frozen=True):
    """A journal entry.

    ``started`` is RFC 3339 in UTC; ``window_until`` is in seconds since the epoch: until then a
    collection of ``storage`` keeps what the run removed (None: no collection knows of it).
    ``fingerprint`` tells whether a command is the one that was interrupted. ``gave`` is where an
    undo pointed tags that it took from other images, which are ``saved``. ``left`` are the steps
    of a run that came to its end without doing all of them.
    """

    id: str
    kind: JobKind
    state: JobState
    started: str
    registry: str
    request: tuple[str, ...]
    fingerprint: str = ""
    storage: str | None = None
    plan: Plan | None = None
    saved: tuple[SavedManifest, ...] = ()
    left: tuple[StepLeft, ...] = ()
    window_until: float | None = None
    reclaim: bool = False
    backup: str | None = None
    of: str | None = None
    gave: tuple[tuple[RepoName, Tag, Digest], ...] = ()
    receipt: Receipt | None = None
    details: dict[str, Any] = {}
    schema_version: int = RUN_SCHEMA

    @property
    def removed(self) -> tuple[Step, ...]:
        """The steps of the plan without what is ``left``: what has gone once the run is done."""
        left = {one.step: one for one in self.left}
        found = []
        for number, step in enumerate(self.plan.steps if self.plan is not None else ()):
            if number in left:
                gone = tuple(tag for tag in step.tags if tag not in left[number].tags)
                if not gone:
                    continue
                step = msgspec.structs.replace(step, action=StepAction.UNTAG, tags=gone)  # noqa: PLW2901
            found.append(step)
        return tuple(found)

    @property
    def place(self) -> str:
        """Where it was: the registry, or the storage of one that is not known."""
        return self.registry or self.storage or ""

    def may_be_beside(self, other: "JournalEntry") -> bool:
        """Whether it may have been on the same registry as another run, as far as both tell."""
        if self.registry and other.registry:
            return self.registry == other.registry
        return None in {self.storage, other.storage} or self.storage == other.storage

    @property
    def unfinished(self) -> bool:
        """Whether it stopped half-way: before its last step, or before its proof."""
        unproved = self.state is JobState.DONE and self.receipt is None
        return self.state in {JobState.APPLYING, JobState.INTERRUPTED} or unproved
