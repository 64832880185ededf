"""Depth-first order over a graph, without recursion: indexes may nest to any depth."""

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

__all__ = ["postorder"]

Thing = TypeVar("Thing", bound=Hashable)


def postorder(starts: Iterable[Thing], below: Callable[[Thing], Iterable[Thing]]) -> list[Thing]:
    """Return everything reachable, each once, and everything after what is below it.

    A cycle is cut where it is first entered.
    """
    ordered: list[Thing] = []
    seen: set[Thing] = set()
    for start in starts:
        stack = [(start, iter(below(start)))] if start not in seen else []
        seen.add(start)
        while stack:
            thing, rest = stack[-1]
            for further in rest:
                if further not in seen:
                    seen.add(further)
                    stack.append((further, iter(below(further))))
                    break
            else:
                ordered.append(thing)
                stack.pop()
    return ordered
