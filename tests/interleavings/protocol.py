"""The model of the protocol, explored: what breaks, and what each rule is for."""

from collections.abc import Iterator

from tests.interleavings.exploring import Exploration, Step, explore
from tests.interleavings.pushing import push_steps
from tests.interleavings.states import (
    ALL,
    BEGINNING,
    NONE,
    TAG,
    Asks,
    Keys,
    Push,
    Record,
    Rules,
    State,
    Store,
    Sweep,
)
from tests.interleavings.sweeping import sweep_steps


def is_broken(state: State) -> bool:
    """Whether anything that a success was answered for is not there, or that a tag leads to."""
    there = state.store.there
    if there & TAG and ALL & ~there:
        return True
    return any(push.promised & ~there for push in state.pushes)


def is_stuck(state: State) -> bool:
    """Whether a push still waits."""
    return any(push.asks != Asks.NOTHING for push in state.pushes)


def check(
    there: Keys, rules: Rules, *, sweeps: int, pushes: tuple[Asks, ...], others: int = 0
) -> Exploration:
    """Explore sweeps beside pushes; everything that is `there` is old at first."""
    # Each begins when it likes, and knows of the sweeps what it could know by then.
    begun = tuple(Push(asks, waits=BEGINNING) for asks in pushes)
    first = State(Store(there), (Sweep(),) * sweeps, begun, (), others)

    def steps(state: State) -> Iterator[Step[State]]:
        found = _steps(state, rules)
        return map(_unnamed, found) if rules.small else found

    return explore(first, steps, is_broken, is_stuck)


def _unnamed(step: Step[State]) -> Step[State]:
    after = step.after
    sweeps, pushes = tuple(sorted(after.sweeps)), tuple(sorted(after.pushes))
    return Step(step.label, after._replace(sweeps=sweeps, pushes=pushes))


def _steps(state: State, rules: Rules) -> Iterator[Step[State]]:
    for place, sweep in enumerate(state.sweeps):
        for label, after in sweep_steps(state, place, sweep, rules):
            yield Step(f"sweep {place + 1} {label}", after)
    for place, push in enumerate(state.pushes):
        for label, after in push_steps(state, place, push, rules):
            yield Step(f"push {place + 1} {label}", after)
    if state.others:
        records = (*state.records, Record(state.highest + 1, NONE, over=True))
        after = state._replace(records=records, others=state.others - 1)
        yield Step("a sweep of other things comes and goes", after)
    for one in state.records:
        if one.over and one.number < state.highest:
            records = tuple(other for other in state.records if other != one)
            yield Step(f"record {one.number} is removed", state._replace(records=records))
