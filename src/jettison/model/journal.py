"""Journal entries: one for each applied plan, with what it saved and its receipt.

An entry is a member of a union with a class for each job. The class above it, its *head*, has the
small members that many entries are asked for at once; the entry adds the large ones: the plan,
saved manifests. A head can be read alone (:mod:`jettison.storage.journal`).
"""

import enum
from typing import ClassVar, Final, Self

import msgspec

from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Plan, PlanSummary, Prediction, Step, StepAction

__all__ = [
    "RUN_SCHEMA",
    "UNDOABLE",
    "CollectionEntry",
    "CollectionHead",
    "EntryHead",
    "Finding",
    "FindingCode",
    "JobKind",
    "JobState",
    "JournalEntry",
    "LeftCode",
    "PruneEntry",
    "PruneHead",
    "Receipt",
    "RemovalEntry",
    "RemovalHead",
    "RepairEntry",
    "SavedManifest",
    "StepLeft",
    "UndoEntry",
    "UndoHead",
    "head_of",
]

RUN_SCHEMA: Final = 2


class JobKind(enum.StrEnum):
    """The job of an entry, by its command."""

    RM = "rm"
    PRUNE = "prune"
    UNDO = "undo"
    GC = "gc"
    FSCK = "fsck"


UNDOABLE: Final = frozenset({JobKind.RM, JobKind.PRUNE, JobKind.FSCK})
"""The jobs that ``jettison undo`` reverts."""


class JobState(enum.StrEnum):
    """The progress of a job."""

    APPLYING = "applying"
    """It goes on, or was killed; then it can be finished."""
    INTERRUPTED = "interrupted"
    """Ctrl-C or an error ended it; it can be finished."""
    STOPPED = "stopped"
    """It found the registry changed since the plan, and cannot be finished."""
    DONE = "done"
    """It came to its end."""
    UNDONE = "undone"
    """It was done, and an undo took it back."""


class SavedManifest(msgspec.Struct, frozen=True):
    """A manifest as it was before the run: its bytes, and the tags that pointed to it.

    ``removed`` is False if it only lost a tag.
    """

    repository: RepoName
    digest: Digest
    media_type: str
    raw: bytes
    tags: tuple[Tag, ...]
    removed: bool = True


class FindingCode(enum.StrEnum):
    """What a finding says, for a program."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Make a code with its meaning."""
        code = str.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    TAG_GONE = "tag-gone", "a tag is removed"
    TAG_THERE = "tag-there", "a tag that was to be removed is still there"
    TAG_LISTED = "tag-listed", "a tag is removed, and is still in the registry's list"
    TAG_MOVED = "tag-moved", "a tag points to another image now"
    TAG_ABSENT = "tag-absent", "a tag that was to stay or to come back is not there"
    TAG_BACK = "tag-back", "a tag is restored"
    MANIFEST_GONE = "manifest-gone", "a manifest is removed"
    MANIFEST_THERE = "manifest-there", "a manifest that was to be removed is still there"
    IMAGE_WHOLE = "image-whole", "an image is there with everything that it needs"
    IMAGE_BROKEN = "image-broken", "an image lacks something that it needs"
    BLOB_GONE = "blob-gone", "a blob is gone"
    BLOB_SERVED = "blob-served", "a blob is served"
    BLOB_PROMISED = "blob-promised", "the registry promises a blob that a push must not rely on"
    BLOB_NEEDED = "blob-needed", "a blob stays, because something needs it or may need it"
    BLOB_HELD = "blob-held", "a blob stays within an undo window"
    BLOB_YOUNG = "blob-young", "a blob stays until the grace period is over"
    BLOB_UNCOLLECTED = "blob-uncollected", "a blob stays until the next collection"
    FREED = "freed", "as many bytes were freed as predicted"
    FREED_OTHER = "freed-other", "another number of bytes was freed than predicted"
    FREED_NOTHING = "freed-nothing", "removed blobs gave the disk nothing back"
    CACHE_CLEARED = "cache-cleared", "the registry's descriptor cache forgot what was removed"
    CACHE_STALE = "cache-stale", "the registry's descriptor cache remembers what was removed"
    REPAIRED = "repaired", "steps of a repair, or of its undo, were done"
    NOT_REPAIRED = "not-repaired", "a step of a repair, or of its undo, was not done"
    NOT_RESTORED = "not-restored", "an undo did not restore this"
    NOT_RUNNING = "not-running", "the registry does not run, so it promises nothing"
    NOT_LOOKED_AT = "not-looked-at", "this could not be looked at"
    NOTHING_NOTED = "nothing-noted", "there is nothing to look for"
    UNCODED = "uncoded", "an earlier version noted this without a code"


class Finding(msgspec.Struct, frozen=True):
    """One result of a verification; ``sentence`` explains the ``code``, whether good or bad.

    ``before``: the result is bad, and was so before the run.
    """

    code: FindingCode
    ok: bool
    subject: str
    sentence: str
    before: bool = False

    @property
    def text(self) -> str:
        """The whole sentence: ``2 tags are gone``, but ``app:1: the tag is still there``."""
        return self.subject + (" " if self.subject[:1].isdigit() else ": ") + self.sentence


class LeftCode(enum.StrEnum):
    """Why a step was not done."""

    NOT_SAVED = "not-saved"
    """What it removes could not be saved first."""
    CHANGED = "changed"
    """The registry is not what it was when the plan was made."""
    REFUSED = "refused"
    """The registry does not let it go."""
    FAILED = "failed"
    """Anything else."""
    UNCODED = "uncoded"
    """An earlier version noted it without a code."""


class StepLeft(msgspec.Struct, frozen=True):
    """A step of the plan that was not done, or not in full, and why.

    ``tags`` are those of its tags that stay. Its manifest stays in any case.
    """

    step: int
    tags: tuple[Tag, ...]
    code: LeftCode
    reason: str


class Receipt(msgspec.Struct, frozen=True):
    """What was predicted beside what was observed. All sizes in bytes, None if not looked at.

    ``predicted_bytes`` is what this removal frees, ``garbage_bytes`` what was unreferenced
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
        """Whether every finding is as promised."""
        return all(finding.ok for finding in self.findings)


class _Head(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """The members of every entry. ``started`` is RFC 3339 in UTC.

    ``registry`` is "" if only the ``storage`` was at hand; ``storage`` is None if only the
    registry was. ``request`` is the request as typed.
    """

    kind: ClassVar[JobKind]

    id: str
    state: JobState
    started: str
    registry: str
    request: tuple[str, ...]
    storage: str | None = None
    receipt: Receipt | None = None
    schema_version: int = RUN_SCHEMA

    @property
    def place(self) -> str:
        """Its registry, or its storage if the registry is unknown."""
        return self.registry or self.storage or ""

    @property
    def unfinished(self) -> bool:
        """Whether it stopped before its last step or before its proof."""
        unproved = self.state is JobState.DONE and self.receipt is None
        return self.state in {JobState.APPLYING, JobState.INTERRUPTED} or unproved

    def may_be_beside(self, other: "EntryHead") -> bool:
        """Whether it may concern the same registry as another run, as far as both tell."""
        if self.registry and other.registry:
            return self.registry == other.registry
        return None in {self.storage, other.storage} or self.storage == other.storage


class RemovalHead(_Head, frozen=True, kw_only=True, tag="rm"):
    """The head of a removal, begun with a plan made at ``planned`` (seconds since the epoch).

    Until ``window_until`` (seconds since the epoch) a collection of ``storage`` keeps what the run
    removed; None if no collection knows of it. ``reclaim``: a collection follows at once, with
    ``grace`` in seconds, and ``prediction`` says what it frees. ``product`` names the registry's
    program. ``fingerprint`` identifies the command, so that it can finish the run. ``left`` are
    the steps that a finished run did not do.
    """

    kind: ClassVar[JobKind] = JobKind.RM

    fingerprint: str = ""
    window_until: float | None = None
    reclaim: bool = False
    backup: str | None = None
    product: str = ""
    planned: float = 0.0
    grace: float = 0.0
    prediction: Prediction | None = None
    left: tuple[StepLeft, ...] = ()
    summary: PlanSummary = PlanSummary()

    @property
    def left_young(self) -> bool:
        """Whether it collected for itself, and no collection is known to have followed."""
        done = self.state is JobState.DONE and self.receipt is not None
        return self.reclaim and done and self.window_until is None


class RemovalEntry(RemovalHead, frozen=True, kw_only=True, tag="rm"):
    """A removal: its plan, and the manifests that it removes or untags."""

    plan: Plan
    saved: tuple[SavedManifest, ...] = ()

    def __post_init__(self) -> None:
        """Fill in the summary in the head from the plan."""
        msgspec.structs.force_setattr(self, "summary", self.plan.summary)

    @property
    def removed(self) -> tuple[Step, ...]:
        """The steps of the plan without those ``left``: what is gone when the run is done."""
        left = {one.step: one for one in self.left}
        found = []
        for number, step in enumerate(self.plan.steps):
            if number in left:
                gone = tuple(tag for tag in step.tags if tag not in left[number].tags)
                if not gone:
                    continue
                step = msgspec.structs.replace(step, action=StepAction.UNTAG, tags=gone)  # noqa: PLW2901
            found.append(step)
        return tuple(found)


class PruneHead(RemovalHead, frozen=True, kw_only=True, tag="prune"):
    """The head of a removal by a retention policy."""

    kind: ClassVar[JobKind] = JobKind.PRUNE


class PruneEntry(RemovalEntry, frozen=True, kw_only=True, tag="prune"):
    """A removal by a retention policy; each step has the policy's reason."""

    kind: ClassVar[JobKind] = JobKind.PRUNE


class CollectionHead(_Head, frozen=True, kw_only=True, tag="gc"):
    """The head of a collection."""

    kind: ClassVar[JobKind] = JobKind.GC


class CollectionEntry(CollectionHead, frozen=True, kw_only=True, tag="gc"):
    """A collection, with a sample of the blobs and layer links that it removed."""

    blobs: tuple[Digest, ...] = ()
    links: tuple[tuple[RepoName, Digest], ...] = ()


class RepairEntry(_Head, frozen=True, kw_only=True, tag="fsck"):
    """A repair of a storage; ``folder`` of the tree has its plan and the files that it moved."""

    kind: ClassVar[JobKind] = JobKind.FSCK

    folder: str


class UndoHead(_Head, frozen=True, kw_only=True, tag="undo"):
    """The head of an undo ``of`` another run.

    ``gave`` is where it pointed tags that it took from other images. ``window_until`` is the window
    of these images, as in :class:`RemovalHead`.
    """

    kind: ClassVar[JobKind] = JobKind.UNDO

    of: str
    window_until: float | None = None
    gave: tuple[tuple[RepoName, Tag, Digest], ...] = ()


class UndoEntry(UndoHead, frozen=True, kw_only=True, tag="undo"):
    """An undo, with the manifests that it took tags from, so that it can itself be undone."""

    saved: tuple[SavedManifest, ...] = ()


EntryHead = RemovalHead | PruneHead | CollectionHead | RepairEntry | UndoHead
"""The head of any journal entry; an entry is also its own head."""

JournalEntry = RemovalEntry | PruneEntry | CollectionEntry | RepairEntry | UndoEntry
"""A journal entry. Each further job that is journaled gets a class here."""

_HEADS: Final[dict[type, type[RemovalHead | CollectionHead | UndoHead]]] = {
    RemovalEntry: RemovalHead,
    PruneEntry: PruneHead,
    CollectionEntry: CollectionHead,
    UndoEntry: UndoHead,
}


def head_of(entry: JournalEntry) -> EntryHead:
    """Return the head of an entry alone: the first members of its document."""
    if isinstance(entry, RepairEntry):
        return entry
    head = _HEADS[type(entry)]
    return head(**{name: getattr(entry, name) for name in head.__struct_fields__})
