"""``doctor``: a check, the space that a registry takes, what a policy would free, what to do next.

A storage is read once: the check goes by what the count of the space has seen.
"""

from collections.abc import Iterator, Sequence

import msgspec

from jettison.collector.plausibility import find_objections
from jettison.errors import JettisonError, JournalError, StorageError
from jettison.jobs.advice import Advice
from jettison.jobs.check import Item, Level, StorageCount, count_storage
from jettison.jobs.space import MeasuredStorage, measure_storage
from jettison.jobs.workspace import Workspace
from jettison.model.plausibility import NOTHING_SAID
from jettison.model.retention.prune_plan import PrunePlan
from jettison.model.space import Space
from jettison.progress import Progress, silent
from jettison.storage.protocol import Storage

__all__ = ["Diagnosis", "PolicyEffect", "StorageMeasure", "effect_of", "storage_items"]


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
