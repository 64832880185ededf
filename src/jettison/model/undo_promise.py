"""What an undo of a removal can restore, and until when, as far as it is known to be possible.

The plan, the question, the receipt and the list of runs have the same sentence.
"""

import msgspec

from jettison.model.journal import EntryHead, JobState, RemovalHead, RepairEntry, UndoHead
from jettison.model.plan import PlanSummary
from jettison.model.products import Collection, Product, product
from jettison.model.times import moment

__all__ = ["Outlook", "UndoPromise", "outlook_of", "promise_undo", "undo_promise_of"]

_HOUR = 3600.0


class Outlook(msgspec.Struct, frozen=True):
    """The facts on which an undo of a removal depends.

    ``reclaim``: a collection follows at once. ``stored``: the storage is at hand. Until
    ``window_until`` (seconds since the epoch) a collection of the storage keeps what goes; None if
    no collection knows of it. ``gone`` and ``left`` count the blobs that nothing else needs, as
    looked for after the removal; both are None before it.
    """

    product: Product
    backup: str | None = None
    reclaim: bool = False
    stored: bool = False
    window_until: float | None = None
    gone: int | None = None
    left: int | None = None


class UndoPromise(msgspec.Struct, frozen=True):
    """Whether an undo is possible, and the sentence that follows ``undo:``."""

    possible: bool
    sentence: str


def promise_undo(plan: PlanSummary, outlook: Outlook, now: float) -> UndoPromise:
    """Say what an undo of a plan can do at ``now`` (seconds since the epoch)."""
    total, lost = plan.images, plan.lost_tags
    if lost and not total:
        sentence = "not possible: a tag that leads to no manifest cannot be set again"
        return UndoPromise(possible=False, sentence=sentence)
    broken, obsolete = plan.broken, plan.obsolete
    if total and broken + obsolete >= total and not outlook.stored:
        why = "no registry takes manifests of schema 1 any more"
        if broken:
            why = "what goes lacks blobs already, so it is broken"
        return UndoPromise(possible=False, sentence=f"not possible: {why}")
    found = _as_long_as(plan, outlook, now)
    if not found.possible:
        return found
    sentence, without = found.sentence, list[str]()
    if outlook.stored:
        # Many registries refuse a manifest without one of its blobs; the storage accepts it.
        sentence += f", {broken} of {total} images as broken as now" if broken else ""
    else:
        without += [f"{broken} of {total} images that lack blobs already"] if broken else []
        without += [f"{obsolete} of {total} images, which are of schema 1"] if obsolete else []
    without += [f"{lost} tag{'s' * (lost != 1)} without a manifest"] if lost else []
    sentence += f", but for {' and '.join(without)}" if without else ""
    if plan.sparse and not outlook.stored:
        sentence += ", if the registry takes an index without the children that it lacks already"
    return UndoPromise(possible=True, sentence=sentence)


def _as_long_as(plan: PlanSummary, outlook: Outlook, now: float) -> UndoPromise:
    if outlook.backup is not None:
        return UndoPromise(possible=True, sentence=f"from the backup {outlook.backup}")
    gone, left = outlook.gone, outlook.left
    if gone:
        if not left:
            return UndoPromise(possible=False, sentence="no longer: its blobs are gone")
        sentence = f"only in part: of {gone + left} blobs that were looked for, {gone} are gone"
        return UndoPromise(possible=True, sentence=sentence)
    if outlook.reclaim and gone is None:
        if plan.freed_bytes == 0:
            return UndoPromise(possible=True, sentence="until the registry is collected again")
        return UndoPromise(
            possible=False, sentence="not once it is collected, which follows at once"
        )
    if outlook.window_until is not None:
        if outlook.window_until <= now:
            return UndoPromise(possible=True, sentence="no longer held, may be collected")
        return UndoPromise(possible=True, sentence=f"until {moment(outlook.window_until)}")
    if outlook.reclaim:
        return UndoPromise(possible=True, sentence="until the registry is collected again")
    return _by_product(plan, outlook)


def _by_product(plan: PlanSummary, outlook: Outlook) -> UndoPromise:
    name = outlook.product.name
    if plan.manifests == 0:
        return UndoPromise(
            possible=True, sentence="as long as the manifest stays, which only loses a tag"
        )
    match outlook.product.collection:
        case Collection.AT_ONCE if outlook.gone is None:
            sentence = f"not possible: {name} removes blobs with the last manifest that needs them"
            return UndoPromise(possible=False, sentence=sentence)
        case Collection.ITSELF:
            sentence = f"until {name} collects, which it does by itself"
            if outlook.product.spared is not None:
                sentence += f", not within {outlook.product.spared / _HOUR:.0f} h"
            return UndoPromise(possible=True, sentence=sentence)
        case Collection.UNKNOWN:
            sentence = "until the registry is collected; it may do that by itself"
            return UndoPromise(possible=True, sentence=sentence)
        case _:
            return UndoPromise(possible=True, sentence="until the registry is collected")


def outlook_of(run: RemovalHead) -> Outlook:
    """Return the facts for an undo of a run, as of the end of the run."""
    receipt = run.receipt
    return Outlook(
        product(run.product),
        backup=run.backup,
        reclaim=run.reclaim,
        stored=run.storage is not None,
        window_until=run.window_until,
        gone=None if receipt is None else receipt.blobs_gone,
        left=None if receipt is None else receipt.blobs_left,
    )


def undo_promise_of(run: EntryHead, now: float) -> UndoPromise | None:
    """Say what an undo of a run can do at ``now``; None if there is nothing to undo."""
    if run.state is JobState.UNDONE:
        return UndoPromise(possible=False, sentence="undone")
    if isinstance(run, RepairEntry):
        return UndoPromise(possible=True, sentence="until what it moved aside is removed")
    if isinstance(run, UndoHead) and run.gave:
        return UndoPromise(
            possible=True, sentence="gives the tags that it took back to their images"
        )
    if not isinstance(run, RemovalHead):
        return None
    return promise_undo(run.summary, outlook_of(run), now)
