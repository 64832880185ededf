"""What an undo of a removal can bring back, and until when: no more than was seen to be possible.

The same sentence stands in the plan, the question, the receipt and the list of runs.
"""

import msgspec

from jettison.model.moments import moment
from jettison.model.plan import Plan
from jettison.model.products import Collection, Product, product
from jettison.model.run import Kind, Run, State

__all__ = ["Outlook", "Promise", "outlook_of", "promise", "promise_of"]

_HOUR = 3600.0


class Outlook(msgspec.Struct, frozen=True):
    """What an undo of a removal depends on.

    ``reclaim``: a collection follows at once. ``stored``: the storage is at hand. ``window_until``
    is in seconds since the epoch: until then a collection of the storage keeps what goes (None: no
    collection knows of it). ``gone`` and ``left`` count the blobs that nothing else needs and that
    were looked for after the removal; both are None before it.
    """

    product: Product
    backup: str | None = None
    reclaim: bool = False
    stored: bool = False
    window_until: float | None = None
    gone: int | None = None
    left: int | None = None


class Promise(msgspec.Struct, frozen=True):
    """Whether an undo is possible at all, as a sentence that begins after ``undo:``."""

    possible: bool
    sentence: str


def promise(plan: Plan | None, outlook: Outlook, now: float) -> Promise:
    """Say what an undo of ``plan`` can do at ``now`` (seconds since the epoch)."""
    broken, sparse = _broken(plan, damaged=True), _broken(plan, damaged=False)
    total = _things(plan)
    if total and broken >= total and not outlook.stored:
        return Promise(
            possible=False, sentence="not possible: what goes lacks blobs already, so it is broken"
        )
    found = _as_long_as(plan, outlook, now)
    if found.possible and broken:
        # Many a registry takes no manifest of which a blob is missing; its storage does.
        images = f"{broken} of {total} images"
        more = f"but for {images} that lack blobs already"
        if outlook.stored:
            more = f"{images} as broken as now"
        return Promise(possible=True, sentence=f"{found.sentence}, {more}")
    if found.possible and sparse and not outlook.stored:
        more = ", if the registry takes an index without the children that it lacks already"
        return Promise(possible=True, sentence=found.sentence + more)
    return found


def _as_long_as(plan: Plan | None, outlook: Outlook, now: float) -> Promise:
    if outlook.backup is not None:
        return Promise(possible=True, sentence=f"from the backup {outlook.backup}")
    gone, left = outlook.gone, outlook.left
    if gone:
        if not left:
            return Promise(possible=False, sentence="no longer: its blobs are gone")
        sentence = f"only in part: of {gone + left} blobs that were looked for, {gone} are gone"
        return Promise(possible=True, sentence=sentence)
    if outlook.reclaim and gone is None:
        if plan is not None and plan.estimate.freed_bytes == 0:
            return Promise(possible=True, sentence="until the registry is collected again")
        return Promise(possible=False, sentence="not once it is collected, which follows at once")
    if outlook.reclaim:
        return Promise(possible=True, sentence="until the registry is collected again")
    if outlook.window_until is not None:
        if outlook.window_until <= now:
            return Promise(possible=True, sentence="no longer held, may be collected")
        return Promise(possible=True, sentence=f"until {moment(outlook.window_until)}")
    return _by_product(plan, outlook)


def _by_product(plan: Plan | None, outlook: Outlook) -> Promise:
    name = outlook.product.name
    if plan is not None and plan.manifest_count == 0:
        return Promise(
            possible=True, sentence="as long as the manifest stays, which only loses a tag"
        )
    match outlook.product.collection:
        case Collection.AT_ONCE if outlook.gone is None:
            sentence = f"not possible: {name} removes blobs with the last manifest that needs them"
            return Promise(possible=False, sentence=sentence)
        case Collection.ITSELF:
            sentence = f"until {name} collects, which it does by itself"
            if outlook.product.spared is not None:
                sentence += f", not within {outlook.product.spared / _HOUR:.0f} h"
            return Promise(possible=True, sentence=sentence)
        case Collection.UNKNOWN:
            sentence = "until the registry is collected; it may do that by itself"
            return Promise(possible=True, sentence=sentence)
        case _:
            return Promise(possible=True, sentence="until the registry is collected")


def outlook_of(run: Run) -> Outlook:
    """Return what an undo of a run depends on, as it was seen when the run ended."""
    receipt = run.receipt
    return Outlook(
        product(str(run.details.get("product", ""))),
        backup=run.backup,
        reclaim=run.reclaim,
        stored=run.storage is not None,
        window_until=run.window_until,
        gone=None if receipt is None else receipt.blobs_gone,
        left=None if receipt is None else receipt.blobs_left,
    )


def promise_of(run: Run, now: float) -> Promise | None:
    """Say what an undo of a run can do at ``now``; None for a run that has nothing to undo."""
    if run.state is State.UNDONE:
        return Promise(possible=False, sentence="undone")
    if run.kind is Kind.FSCK:
        return Promise(possible=True, sentence="until what it moved aside is removed")
    if run.kind is Kind.UNDO and run.saved:
        return Promise(possible=True, sentence="gives the tags that it took back to their images")
    if run.kind is not Kind.RM:
        return None
    return promise(run.plan, outlook_of(run), now)


def _things(plan: Plan | None) -> int:
    """Count the images that a plan takes a tag or the manifest of."""
    if plan is None:
        return 0
    return len({(s.repository, s.digest) for s in plan.steps if s.digest is not None})


def _broken(plan: Plan | None, *, damaged: bool) -> int:
    """Count those of them that lack blobs, or else only children, which is lawful."""
    if plan is None:
        return 0
    going = {(step.repository, step.digest) for step in plan.steps}
    return sum(
        one.damaged is damaged and (one.repository, one.digest) in going for one in plan.missing
    )
