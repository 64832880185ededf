"""The documents that commands print with ``-o json`` and ``-o ndjson``, by type.

:func:`jettison.cli.output.emit` prints them: it adds ``schema_version``, and writes times as
RFC 3339. `docs/render_json.py` makes `docs/json.md` and `docs/output.schema.json` of them, and what
commands print in the tests is checked against that schema.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, NamedTuple, NotRequired, TypedDict

import msgspec

from jettison.collector.options import CollectOptions
from jettison.collector.plan import (
    AbandonedUpload,
    HeldBack,
    HistoryEntry,
    LinkedDigest,
    SweptBlob,
    Tally,
)
from jettison.collector.sweep import CollectionReceipt
from jettison.jobs.advice import AdviceCode
from jettison.jobs.check import Item
from jettison.jobs.doctor import PolicyEffect
from jettison.jobs.inspect import Report
from jettison.jobs.list import Row
from jettison.model.check_report import Defect, DefectClass, DefectTally, Unpullable
from jettison.model.digest import Digest
from jettison.model.journal import (
    CollectionEntry,
    Finding,
    JobKind,
    JobState,
    JournalEntry,
    Receipt,
    RepairEntry,
    StepLeft,
)
from jettison.model.listing_problems import ListingProblem
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Plan, Prediction, Step
from jettison.model.repair import RepairPlan
from jettison.model.restoration import UndoPlan
from jettison.model.retention.decide import GroupSizes, Sums
from jettison.model.retention.explain import RuleSaid
from jettison.model.retention.policy import Clock, Policy
from jettison.model.retention.prune_plan import Allowed, PruneObjection, RepositoryCount, Stay
from jettison.model.retention.reasons import Reason
from jettison.model.retention.removed_bytes import RemovedBytes
from jettison.model.space import ClassTotals, RepositorySpace
from jettison.storage.protocol import Leftover, Place, Problem

__all__ = ["DOCUMENTS", "ErrorDocument", "Kind"]

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class Checked(TypedDict):
    """What a check found."""

    target: str
    items: Sequence[Item]


class SpaceDetails(TypedDict):
    """The space that a registry takes: ``total`` has each blob once.

    ``exact``: everything is known. If not, ``unknown`` has sentences about what cannot be known,
    ``own`` is an upper bound, and the total has no more than was seen. ``total_bytes`` is the sum
    of ``total``. ``nowhere`` is what no repository has a place for. ``oldest_garbage`` is when the
    garbage that was written or touched the longest ago was.
    """

    place: str
    exact: bool
    unknown: Sequence[str]
    total_bytes: int
    total: ClassTotals
    nowhere: ClassTotals
    oldest_garbage_ns: int | None
    repositories: Sequence[RepositorySpace]


class Space(SpaceDetails):
    """The space that a registry takes; the members are those of :class:`SpaceDetails`."""


class Advised(TypedDict):
    """A command to be pasted into a shell, and what it does.

    ``bytes`` are those that it is about; ``bound``: at most so many.
    """

    code: AdviceCode
    command: str
    why: str
    bytes: int
    bound: bool


class Diagnosis(TypedDict):
    """What is known of a registry; ``space`` and ``policy`` are null where nothing is.

    ``frees_bytes`` is what a collection frees now, null without a storage. ``next`` is what to do,
    the most useful first.
    """

    target: str
    items: Sequence[Item]
    space: SpaceDetails | None
    frees_bytes: int | None
    policy: PolicyEffect | None
    next: Sequence[Advised]


class ListedRepository(TypedDict):
    """A repository. ``tags`` is their number, where it was asked for."""

    repository: str
    tags: NotRequired[int]


class Repositories(TypedDict):
    """The repositories of a registry; ``problems`` are those that could not be listed."""

    registry: str
    problems: Sequence[ListingProblem]
    repositories: Sequence[ListedRepository]


class Tags(TypedDict):
    """The tags of a repository; ``problems`` are those that could not be read.

    Where not ``exact``, exclusive sizes are upper bounds, and ``unknown`` says why.
    """

    registry: str
    repository: str
    exact: bool
    unknown: Sequence[str]
    problems: Sequence[ListingProblem]
    tags: Sequence[Row]


class InspectedImage(TypedDict):
    """An image."""

    image: Report


class DatedTime(TypedDict):
    """One of the times of an image or of its tag; ``source`` says who tells it."""

    of: str
    kind: str
    time: Time
    source: str


class DatedDecision(TypedDict):
    """What becomes of a tag, or (``tag`` null) of an untagged manifest, and why.

    ``rule`` is the name of the rule that decided. ``limit`` is the figure or the pattern that
    mattered, as it was written. ``time`` is the time that counted, with its ``source``, ``clock``
    which of an image's times that is. ``rank`` is the place in its ``group``, counted from 1 for
    the newest. ``since`` is what is known of pulls, if the decision rests on them. ``sentence``
    says all of it. A member is left out where there is nothing to say.
    """

    repository: RepoName
    digest: Digest
    tag: Tag | None
    removed: bool
    reason: Reason
    rule: NotRequired[str]
    limit: NotRequired[str]
    clock: NotRequired[Clock]
    time: NotRequired[Time]
    source: NotRequired[str]
    rank: NotRequired[int]
    group: NotRequired[str]
    since: NotRequired[str]
    sentence: str


class DatedFate(TypedDict):
    """What becomes of an image: it goes ``now``, after ``at``, or stays.

    ``at`` is when time alone makes it go: if nothing is pushed, pulled or removed until then.
    """

    now: bool
    at: Time | None
    sentence: str


class Explanation(TypedDict):
    """Why an image stays or goes, at the time ``explained``. ``what`` it is, in a few words.

    ``tags`` are all that point to it. ``belongs_to`` are the images that it follows: it goes when
    they do, and ``decisions`` and ``rules`` are then about them. ``notes`` say what is not known.
    """

    explained: Time
    what: str
    name: str
    digest: Digest
    tags: Sequence[Tag]
    belongs_to: Sequence[str]
    times: Sequence[DatedTime]
    rules: Sequence[RuleSaid]
    decisions: Sequence[DatedDecision]
    fate: DatedFate
    notes: Sequence[str]


class ExplainedImage(TypedDict):
    """An image, and why it stays or goes."""

    image: Explanation


class Run(TypedDict):
    """A run, with its plan and its receipt: a member of the journal."""

    run: JournalEntry


class RemovalPlan(TypedDict):
    """What a removal does. ``prediction`` is null without ``--reclaim``."""

    plan: Plan
    prediction: Prediction | None


class PolicyDecisions(TypedDict):
    """What a policy removes, and what speaks against it."""

    policy_fingerprint: Digest
    decisions: Sequence[DatedDecision]
    stays: Sequence[Stay]
    counts: Sequence[RepositoryCount]
    bytes: RemovedBytes
    sums: Sequence[Sums]
    groups: Sequence[GroupSizes]
    objections: Sequence[PruneObjection]
    notes: Sequence[str]


class PruneDetails(PolicyDecisions):
    """What a policy removes, with the steps that do it.

    ``decided`` is the time of the decision. ``storage`` is that on which it was made, if it was at
    hand, and ``configuration`` the path of the file that opens it, if it is a bucket. ``allowed``
    is what the command allows, ``trust_times`` whether the times of a copy count. ``unread`` are
    repositories that could not be read, ``left`` sentences about what changed since the plan was
    made: neither is touched. The other members are those of :class:`TrialDetails`.
    """

    plan: Plan
    policy: Policy
    decided: Time
    storage: str | None
    configuration: str | None
    allowed: Allowed
    trust_times: bool
    unread: Sequence[ListingProblem]
    left: Sequence[str]
    schema_version: int


class PrunePlan(TypedDict):
    """What a prune does. `prune --out` writes a plan that `apply` reads; this is none."""

    plan: PruneDetails


class TrialDetails(PolicyDecisions):
    """What a policy would remove from a ``registry`` ``at`` a moment.

    ``policy_fingerprint`` tells policies apart. ``decisions`` are those for all that goes;
    ``stays`` counts what stays. ``objections`` are what speaks against it. ``notes`` are sentences
    about what could not be known.
    """

    registry: str
    at: Time


class PolicyTrial(TypedDict):
    """What a policy does to a snapshot: what `policy test --expect` reads."""

    plan: TrialDetails


class CheckedPolicy(TypedDict):
    """A policy, and the ``fingerprint`` that tells it apart."""

    policy: Policy
    fingerprint: Digest


class ImportedPolicy(TypedDict):
    """Another system's policy as one of Jettison.

    ``questions`` are about what its author may not have meant; what is ``untranslated`` keeps.
    """

    policy: Policy
    questions: Sequence[str]
    untranslated: Sequence[str]


class RunUndo(TypedDict):
    """What the undo of a ``run`` restores."""

    run: str
    undo: UndoPlan


class RepairUndo(TypedDict):
    """What the undo of a repair, the ``run``, takes back: its steps, the last one first of all."""

    run: str
    undo: RepairPlan


class CollectionDetails(TypedDict):
    """What a collection of the tree at ``root`` removes, and what it leaves and why.

    ``bytes`` is exactly what the disk gets back with ``blobs``. ``classes`` has a tally for each
    class of files that go. Blobs that nothing reaches and that stay are in exactly one of
    ``young``, ``held`` and ``protected``. ``folders`` are empty ones, by the folder that they are
    in; ``vacant`` are repositories that nothing is left in. ``untagged`` counts the manifests that
    stay and that nothing holds but their link, and at most so many bytes that those alone need.
    ``foreign`` is what no registry has made, or what cannot be looked for: nothing is kept on its
    account. ``aside``: so many blobs a killed collection has left aside, and the plan takes for
    being in their places. ``disk_free_bytes`` is null where that cannot be known.
    """

    root: str
    started: float
    options: CollectOptions
    blobs: Sequence[SweptBlob]
    layer_links: Sequence[LinkedDigest]
    revisions: Sequence[LinkedDigest]
    history: Sequence[HistoryEntry]
    uploads: Sequence[AbandonedUpload]
    leftovers: Sequence[Leftover]
    folders: Mapping[Place, Sequence[str]]
    vacant: Sequence[RepoName]
    bytes: int
    young: Tally
    young_links: int
    held: Sequence[HeldBack]
    protected: Tally
    kept_blobs: int
    repositories: int
    problems: Sequence[Problem]
    untagged: Tally
    foreign: Sequence[Problem]
    aside: int
    classes: Mapping[str, Tally]
    disk_free_bytes: int | None


class CollectionPlan(TypedDict):
    """What a collection does."""

    plan: CollectionDetails


class Collected(TypedDict):
    """A collection: the ``run`` in the journal, and what it did."""

    run: CollectionEntry
    collection: CollectionReceipt


class Counts(TypedDict):
    """How many defects are damage and how many harmless, also by the ``classes`` that occur."""

    damage: int
    notices: int
    classes: Mapping[DefectClass, DefectTally]


class StorageReport(Counts):
    """The result of a check of the tree at ``root``; ``flaws`` are its defects.

    ``bytes`` is the sum of the sizes of all blob files, ``hashed`` whether their content was
    compared with their names, ``seconds`` the duration. ``unpullable`` are the tags that cannot be
    pulled whole. With ``--repair`` there are the ``plan`` and the tags that it moves; after a
    repair its ``run``, and the counts ``before`` it.
    """

    root: str
    hashed: bool
    repositories: int
    blobs: int
    bytes: int
    seconds: float
    flaws: Sequence[Defect]
    unpullable: Sequence[Unpullable]
    plan: NotRequired[RepairPlan]
    moved_tags: NotRequired[Sequence[str]]
    run: NotRequired[RepairEntry]
    before: NotRequired[Counts]


class ListedRun(TypedDict):
    """A run in the journal; one that cannot be read has only ``id`` and ``unreadable``, the reason.

    ``request`` are the references as typed. ``of`` is the run that an undo takes back. Until
    ``window_until`` a collection keeps what the run removed. ``undo`` says whether it can be
    undone, and until when. ``left`` are steps that were not done.
    """

    id: str
    unreadable: NotRequired[str]
    kind: NotRequired[JobKind]
    state: NotRequired[JobState]
    started: NotRequired[Time]
    registry: NotRequired[str]
    storage: NotRequired[str | None]
    request: NotRequired[Sequence[str]]
    of: NotRequired[str | None]
    window_until: NotRequired[float | None]
    undo: NotRequired[str]
    tags: NotRequired[int | None]
    left: NotRequired[Sequence[StepLeft]]
    freed_bytes: NotRequired[int | None]


class Runs(TypedDict):
    """The runs of a journal, the newest first."""

    runs: Sequence[ListedRun]


class RunStep(TypedDict):
    """A step of a run: whether it was begun, and done."""

    step: Step
    done: bool
    begun: bool


class RunDetails(TypedDict):
    """A run with its steps and its receipt."""

    run: ListedRun
    steps: Sequence[RunStep]
    receipt: Receipt | None


class Verified(TypedDict):
    """What was verified of a run."""

    run: str
    findings: Sequence[Finding]


class Failure(TypedDict):
    """An error. ``hint`` is the next step; ``command`` is the same command with what allows it."""

    code: str
    message: str
    hint: str | None
    command: NotRequired[str]
    exit_code: int


class ErrorDocument(TypedDict):
    """Why a command ended: the last line of standard error."""

    error: Failure


class Kind(NamedTuple):
    """A document that ``commands`` print, ``when``; "" is always.

    With ``-o ndjson`` each of its ``items`` is a line, None if the document is one line.
    ``repeated`` are the members that each line has beside those of its item. ``closing``: a last
    line has the document without them.
    """

    commands: tuple[str, ...]
    when: str
    document: type
    items: str | None = None
    repeated: tuple[str, ...] = ()
    closing: bool = False


_PLANNED: Final = "with `-n`, with `--out`, or if nothing is to be done"
_OF_TAGS: Final = ("registry", "repository", "exact", "unknown")

DOCUMENTS: Final = (
    Kind(("check",), "", Checked, "items", ("target",)),
    Kind(("doctor",), "", Diagnosis),
    Kind(("ls",), "of a registry", Repositories, "repositories", ("registry",)),
    Kind(("ls",), "of a repository", Tags, "tags", _OF_TAGS),
    Kind(("du",), "", Space, "repositories", ("place",)),
    Kind(("inspect",), "", InspectedImage),
    Kind(("explain",), "", ExplainedImage),
    Kind(("rm", "prune", "apply", "undo"), "after the run, or one that did all of it before", Run),
    Kind(("rm",), "with `-n`", RemovalPlan),
    Kind(("prune", "apply"), _PLANNED, PrunePlan),
    Kind(("undo",), "with `-n`, or if the registry is lost on the way", RunUndo),
    Kind(("undo",), "of a repair, with `-n`", RepairUndo),
    Kind(("gc",), "with `-n`", CollectionPlan),
    Kind(("gc",), "after the run", Collected),
    Kind(("fsck",), "", StorageReport, "flaws", ("root",), closing=True),
    Kind(("runs",), "", Runs, "runs"),
    Kind(("runs",), "of one run", RunDetails),
    Kind(("verify",), "", Verified, "findings", ("run",)),
    Kind(("policy test",), "", CheckedPolicy),
    Kind(("policy test",), "with `--on`", PolicyTrial),
    Kind(("policy import",), "", ImportedPolicy),
)
"""Every document; a command prints one of those of which it is in ``commands``."""
