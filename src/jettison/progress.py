"""How long work reports that it goes on, without knowing who listens."""

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called from time to time with a phase, how much of it is done, and of how much (or None)."""

    def __call__(self, phase: str, done: int, total: int | None = None) -> None:
        """Take note; must be quick and must not raise."""


def silent(phase: str, done: int, total: int | None = None) -> None:
    """Report to nobody."""
