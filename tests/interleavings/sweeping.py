"""A sweep of the model: what it can do next."""

from collections.abc import Callable, Iterator
from typing import Final

from tests.interleavings.states import (
    ALL,
    LINKS,
    NONE,
    At,
    Record,
    Rules,
    State,
    Store,
    Sweep,
    each,
    told,
)

Steps = Iterator[tuple[str, State]]


def sweep_steps(state: State, place: int, sweep: Sweep, rules: Rules) -> Steps:
    """Yield what a sweep, or a request that it has sent, can do next: a label, and what comes."""
    yield from _on_their_way(state, place, sweep, rules)
    if sweep.at > At.ANNOUNCING and state.is_open(sweep.number):
        late = NONE if rules.ending else sweep.late | sweep.sent
        after = sweep._replace(at=At.DONE, going=NONE, unread=NONE, sent=NONE, late=late)
        yield "has no time left", state.with_sweep(place, after).with_end(sweep.number)
    if sweep.at in _NEXT:
        yield from _NEXT[sweep.at](state, place, sweep, rules)


def _on_their_way(state: State, place: int, sweep: Sweep, rules: Rules) -> Steps:
    for key in each(sweep.sent | sweep.late):
        after = sweep._replace(sent=sweep.sent & ~key, late=sweep.late & ~key)
        store = state.store.without(key)
        yield f"deletes {told(key)}", state.with_sweep(place, after)._replace(store=store)
    for key in each(sweep.sent):
        late = NONE if rules.ending else sweep.late | key
        after = sweep._replace(sent=sweep.sent & ~key, late=late)
        yield f"hears nothing of {told(key)}", state.with_sweep(place, after)


def _plan(state: State, place: int, sweep: Sweep, rules: Rules) -> Steps:
    plan = state.store.garbage
    if not plan:
        yield "plans nothing", state.with_sweep(place, sweep._replace(at=At.DONE))
        return
    planned = sweep._replace(plan=plan)
    after = planned._replace(at=At.NUMBERING) if rules.announcing else _announced(planned, rules)
    yield f"plans {told(plan)}", state.with_sweep(place, after)


def _number(state: State, place: int, sweep: Sweep, rules: Rules) -> Steps:
    after = sweep._replace(at=At.ANNOUNCING, number=state.highest + 1)
    yield "lists the sweeps", state.with_sweep(place, after)


def _announce(state: State, place: int, sweep: Sweep, rules: Rules) -> Steps:
    if any(one.number == sweep.number for one in state.records):
        after = sweep._replace(number=sweep.number + 1)
        yield f"is not the first at {sweep.number}", state.with_sweep(place, after)
        return
    after = sweep._replace(at=At.CONFIRMING) if rules.newest else _announced(sweep, rules)
    records = tuple(sorted((*state.records, Record(sweep.number, sweep.plan))))
    label = f"announces {sweep.number}: {told(sweep.plan)}"
    yield label, state.with_sweep(place, after)._replace(records=records)


def _confirm(state: State, place: int, sweep: Sweep, rules: Rules) -> Steps:
    if state.highest == sweep.number:
        yield "is the newest", state.with_sweep(place, _announced(sweep, rules))
    else:
        after = state.with_sweep(place, sweep._replace(at=At.DONE))
        yield "is not the newest, and ends", after.with_end(sweep.number)


def _announced(sweep: Sweep, rules: Rules) -> Sweep:
    if rules.listing_again:
        return sweep._replace(at=At.LISTING_AGAIN, unread=ALL)
    return sweep._replace(at=At.DELETING, going=sweep.plan)


def _list_again(state: State, place: int, sweep: Sweep, rules: Rules) -> Steps:
    there, young = sweep.seen
    for key in each(sweep.unread)[: 1 if rules.small else None]:
        seen = Store(there | key & state.store.there, young | key & state.store.young)
        unread, label = sweep.unread & ~key, f"lists {told(key)}"
        after = sweep._replace(unread=unread, seen=seen)
        if not unread:
            going = sweep.plan & seen.garbage
            after = after._replace(at=At.DELETING, seen=Store(NONE), going=going)
            label += f", and takes {told(going)}"
        yield label, state.with_sweep(place, after)


def _delete(state: State, place: int, sweep: Sweep, rules: Rules) -> Steps:
    if sweep.sent:
        return
    # All links, and what they lead to when that is answered.
    if some := sweep.going & LINKS or sweep.going:
        after = sweep._replace(going=sweep.going & ~some, sent=some)
        yield f"asks to delete {told(some)}", state.with_sweep(place, after)
    else:
        after = sweep._replace(at=At.DONE)
        yield "shuts", state.with_sweep(place, after).with_end(sweep.number)


_NEXT: Final[dict[At, Callable[[State, int, Sweep, Rules], Steps]]] = {
    At.LISTING: _plan,
    At.NUMBERING: _number,
    At.ANNOUNCING: _announce,
    At.CONFIRMING: _confirm,
    At.LISTING_AGAIN: _list_again,
    At.DELETING: _delete,
}
