"""What a sweep has done so far, and what it could not do."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Final

from jettison.collector.plan import Tally
from jettison.errors import StorageError
from jettison.storage.protocol import Problem, Protects

__all__ = ["Count"]

MOST_PROBLEMS: Final = 100
"""So many errors are told in full; all are counted."""


class Count:
    """Files and bytes by class, and errors on single files: they are counted, and the rest goes on.

    ``failures`` is how many errors there were, ``problems`` are the first of them.
    """

    def __init__(self, classes: Iterable[str]) -> None:
        self._tallies = {name: [0, 0] for name in classes}
        self.failures = 0
        self.problems: list[Problem] = []

    def add(self, name: str, size: int, files: int = 1) -> None:
        """Count files of a class, and their bytes."""
        tally = self._tallies[name]
        tally[0] += files
        tally[1] += size

    def tally(self, name: str) -> Tally:
        """Return what was counted of a class."""
        return Tally(*self._tallies[name])

    @contextlib.contextmanager
    def errors(self, path: str) -> Iterator[None]:
        """Count an error on one file (its path is relative to the root), and go on."""
        try:
            yield
        except StorageError as error:
            self.failed(path, error.message)

    def failed(self, path: str, message: str) -> None:
        """Count something that could not be done."""
        self.failures += 1
        if self.failures <= MOST_PROBLEMS:
            self.problems.append(Problem(None, path, message, Protects.NOTHING))
