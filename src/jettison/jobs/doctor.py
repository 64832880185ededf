"""``doctor``: a check, the space that a registry takes, what a policy would free, what to do next.

A storage is read once: the check goes by what the count of the space has seen.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from jettison.collector.plausibility import find_objections
from jettison.errors import JettisonError, JournalError, LoginRefused, StorageError
from jettison.jobs.advice import Advice, Findings, advise
from jettison.jobs.check import Item, Level, StorageCount, count_storage
from jettison.jobs.check_configuration import DELETE_VARIABLE
from jettison.jobs.space import MeasuredStorage, measure_storage
from jettison.jobs.workspace import Workspace
from jettison.model.plausibility import NOTHING_SAID
from jettison.model.retention.prune_plan import PrunePlan
from jettison.model.space import Space
from jettison.progress import Progress, silent
from jettison.storage.protocol import Storage

__all__ = [
    "Diagnosis",
    "Named",
    "PolicyEffect",
    "StorageMeasure",
    "Told",
    "diagnose",
    "effect_of",
    "storage_items",
]

_DELETING: Final = frozenset({"deletion", "storage.delete.enabled", "catalog"})
"""What a collection of a storage needs nothing of."""


class PolicyEffect(msgspec.Struct, frozen=True):
    """What a policy would remove now, and the bytes that a collection then frees.

    ``bound``: at most so many. ``objections`` are what speaks against it, or against a repository
    that is left out; ``refused``: nothing of it would go.
    """

    file: str
    tags: int
    images: int
    bytes: int
    bound: bool = False
    objections: tuple[str, ...] = ()
    refused: bool = False


class Diagnosis(msgspec.Struct, frozen=True):
    """What is known of a registry; ``space`` and ``policy`` are None where nothing is.

    ``frees_bytes`` is what a collection frees now, None without a storage.
    """

    target: str
    items: tuple[Item, ...]
    space: Space | None
    frees_bytes: int | None
    policy: PolicyEffect | None
    advice: tuple[Advice, ...]


class Named(msgspec.Struct, frozen=True):
    """What the commands of the advice name: a host, a path, and what they need beside it.

    ``storage`` is the storage that was looked at, None without one; it is ``target`` itself where
    that is a path.
    """

    target: str
    options: tuple[str, ...] = ()
    storage: str | None = None


class StorageMeasure:
    """Counts a storage for its check, and remembers what was found.

    ``found`` is None if the space could not be counted, and ``failure`` then says why.
    """

    def __init__(self, progress: Progress = silent) -> None:
        self._progress = progress
        self.storage: Storage | None = None
        self.found: MeasuredStorage | None = None
        self.failure: JettisonError | None = None

    def __call__(self, storage: Storage) -> StorageCount:
        """Count a storage; one whose space cannot be told is counted as a whole."""
        self.storage = storage
        try:
            self.found = measure_storage(Workspace(storage=storage, progress=self._progress))
        except (JournalError, StorageError) as error:
            self.failure = error
            return count_storage(storage)
        blobs = self.found.space.total.blobs
        return StorageCount(self.found.scan, blobs.count, blobs.bytes)


def storage_items(
    measure: StorageMeasure, place: Workspace, known: Sequence[Item]
) -> Iterator[Item]:
    """Yield what a collection would say of a storage that was measured, beyond what is known."""
    if measure.failure is not None:
        yield Item(Level.ERROR, "space", measure.failure.message, measure.failure.hint)
    if measure.found is None:
        return
    plan, total = measure.found.plan, measure.found.space.total.blobs.bytes
    said = {item.message for item in known}
    for one in find_objections(
        place.own_storage, place.configuration, plan, NOTHING_SAID, total=total
    ):
        message = f"refused: {one.message}"
        if message not in said:
            yield Item(Level.WARNING, "collecting", message, one.advice)
    if plan.problems:
        first = plan.problems[0]
        more = "" if len(plan.problems) == 1 else f", and {len(plan.problems) - 1:,} more"
        message = f"something cannot be read: {first.path} {first.message}{more}"
        yield Item(
            Level.WARNING, "collecting", message, "Nothing that it may need is collected: see fsck."
        )


class Told(msgspec.Struct, frozen=True):
    """All that was found: what the check says, the space, what a policy frees, what went wrong."""

    named: Named
    items: tuple[Item, ...]
    measure: StorageMeasure
    space: Space | None
    effect: PolicyEffect | None
    problem: JettisonError | None


def diagnose(target: str, told: Told, environment: Mapping[str, str]) -> Diagnosis:
    """Return what is known, and what to do next."""
    findings = _findings(told, environment)
    frees = None if told.measure.found is None else findings.garbage
    return Diagnosis(target, told.items, told.space, frees, told.effect, advise(findings))


def _findings(told: Told, environment: Mapping[str, str]) -> Findings:
    named, space, effect = told.named, told.space, told.effect
    wrong = {item.subject for item in told.items if item.level is Level.ERROR}
    grave = wrong - _DELETING
    plan = None if told.measure.found is None else told.measure.found.plan
    total = None if space is None else space.total
    rows = sorted(() if space is None else space.repositories, key=lambda row: -row.alone)
    mendable = (
        "storage.delete.enabled" in wrong and not grave and DELETE_VARIABLE not in environment
    )
    refused = plan is not None and any(
        item.subject == "collecting" and item.message.startswith("refused:") for item in told.items
    )
    abandoned = 0 if plan is None else plan.classes["uploads"].bytes
    return Findings(
        target=named.target,
        options=named.options,
        storage=named.storage if plan is not None and not grave else None,
        login=isinstance(told.problem, LoginRefused),
        mendable=named.target if mendable else None,
        # A storage needs no registry that deletes; a registry does.
        deletes=not (grave if named.storage == named.target else wrong),
        garbage=0 if plan is None else plan.bytes + abandoned,
        refused=refused,
        problems=0 if plan is None else len(plan.problems),
        protected=0 if total is None or total.protected is None else total.protected.bytes,
        untagged=0 if total is None or total.untagged is None else total.untagged.bytes,
        uploads=0 if total is None or total.uploads is None else total.uploads.bytes - abandoned,
        undo=0 if total is None or total.undo is None else total.undo.bytes,
        window_until=None if plan is None else min((one.until for one in plan.held), default=None),
        largest=(rows[0].repository, rows[0].alone) if rows and rows[0].alone else None,
        policy=None if effect is None else effect.file,
        policy_images=0 if effect is None else effect.images + effect.tags,
        policy_bytes=0 if effect is None else effect.bytes,
        policy_bound=effect is not None and effect.bound,
        policy_refused=effect is not None and effect.refused,
    )


def effect_of(file: str, made: PrunePlan) -> PolicyEffect:
    """Return what a plan by a policy amounts to."""
    going = made.going
    objections = tuple(dict.fromkeys(one.message for one in made.objections))
    return PolicyEffect(
        file,
        going.tag_count,
        made.removed_images,
        made.bytes.freed_bytes,
        bound=not going.estimate.exact,
        objections=objections,
        refused=bool(made.refused),
    )
