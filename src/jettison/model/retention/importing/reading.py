"""Reading a file of another system; what is not of its form is refused, with its key."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from jettison.errors import InvalidPolicy

__all__ = ["Malformed", "Node"]

_MOST: Final = 1_000_000


class Malformed(InvalidPolicy):
    """A value that the system named does not write; ``steps`` are the keys that lead to it."""

    def __init__(self, message: str, steps: Sequence[str | int]) -> None:
        super().__init__(message)
        self.steps = tuple(steps)


class Node:
    """A value of a parsed file, with the keys that lead to it."""

    def __init__(self, value: Any, steps: tuple[str | int, ...] = ()) -> None:  # noqa: ANN401 - parsed JSON
        self.value = value
        self.steps = steps

    def refused(self, expected: str) -> Malformed:
        """Return the error for a value that is not what was ``expected``."""
        return Malformed(f"expected {expected}, found {_described(self.value)}", self.steps)

    @property
    def is_section(self) -> bool:
        """Whether it has keys."""
        return isinstance(self.value, Mapping)

    def get(self, *keys: str) -> "Node | None":
        """Return the value of the first of the keys that is there and not null."""
        if not isinstance(self.value, Mapping):
            raise self.refused("a section")
        for key in keys:
            if self.value.get(key) is not None:
                return Node(self.value[key], (*self.steps, key))
        return None

    def need(self, *keys: str) -> "Node":
        """Return the value of a key; without it, it is an error."""
        found = self.get(*keys)
        if found is None:
            raise Malformed(f"the key {keys[0]!r} is missing", self.steps)
        return found

    def known(self, *keys: str) -> None:
        """Raise for a key that is none of these: it may say that less is to be removed."""
        if not isinstance(self.value, Mapping):
            raise self.refused("a section")
        for key in self.value:
            if key not in keys:
                allowed = ", ".join(keys)
                raise Malformed(f"{key!r} is not understood; known are {allowed}", self.steps)

    def items(self, expected: str = "a list") -> "Iterator[Node]":
        """Yield the values of a list."""
        if not isinstance(self.value, list):
            raise self.refused(expected)
        for number, value in enumerate(self.value):
            yield Node(value, (*self.steps, number))

    def texts(self) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(node.text() for node in self.items("a list of texts"))

    def text(self) -> str:
        """Return a text."""
        if not isinstance(self.value, str):
            raise self.refused("a text")
        return self.value

    def one_of(self, *allowed: str) -> str:
        """Return a text that is one of these, in any case of letters."""
        found = {one.lower(): one for one in allowed}.get(self.text().lower())
        if found is None:
            raise self.refused("one of " + ", ".join(allowed))
        return found

    def number(self, least: int = 0) -> int:
        """Return a whole number; one as a text counts too."""
        value = self.value
        if isinstance(value, str) and value.isascii() and value.isdecimal():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MOST:
            raise self.refused(f"a whole number from {least} to {_MOST}")
        return value

    def flag(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            raise self.refused("true or false")
        return self.value


def _described(value: object) -> str:
    if isinstance(value, Mapping):
        return "a section with " + (", ".join(map(repr, list(value)[:6])) or "nothing in it")
    if isinstance(value, list):
        return "a list"
    return repr(value)[:60]
