"""Every state that processes can bring about which take their steps in any order."""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

State = TypeVar("State", bound=Hashable)


class Step(NamedTuple, Generic[State]):
    """One step that is possible in a state: what it is, for people, and what comes of it."""

    label: str
    after: State


class Exploration(NamedTuple):
    """How many states there are, and how the first that is wrong comes about; empty if none is."""

    states: int
    trace: tuple[str, ...]


def explore(
    first: State,
    steps: Callable[[State], Iterable[Step[State]]],
    is_wrong: Callable[[State], bool],
    is_stuck: Callable[[State], bool],
) -> Exploration:
    """Visit every state once, those of the fewest steps first, until one is wrong.

    Wrong is also a state in which nothing can happen any more and `is_stuck` holds. A process that
    dies is one that takes no further step, so all deaths are among the states anyhow.
    """
    came: dict[State, tuple[State, str] | None] = {first: None}
    fresh = [first]
    while fresh:
        following: list[State] = []
        for state in fresh:
            alone = True
            if is_wrong(state):
                return Exploration(len(came), _trace(came, state))
            for label, after in steps(state):
                alone = False
                if after not in came:
                    came[after] = state, label
                    following.append(after)
            if alone and is_stuck(state):
                return Exploration(len(came), (*_trace(came, state), "nothing can happen any more"))
        fresh = following
    return Exploration(len(came), ())


def _trace(came: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    labels: list[str] = []
    while (before := came[state]) is not None:
        state, label = before
        labels.append(label)
    return tuple(reversed(labels))
