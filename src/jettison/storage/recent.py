"""Facts about the repositories that were used last, and about no others."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from jettison.model.names import RepoName

__all__ = ["Recent"]

_MOST_REPOSITORIES: Final = 64

Known = TypeVar("Known")


class Recent(Generic[Known]):
    """Makes the facts of a repository on first use; safe to use from threads."""

    def __init__(self, make: Callable[[RepoName], Known]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._recent: OrderedDict[RepoName, Known] = OrderedDict()

    def of(self, repository: RepoName) -> Known:
        """Return the facts of a repository."""
        with self._lock:
            found = self._recent.get(repository)
        # Made without the lock, since it may read much: others ask about others meanwhile.
        made = found or self._make(repository)
        with self._lock:
            found = self._recent.pop(repository, made)
            self._recent[repository] = found
            if len(self._recent) > _MOST_REPOSITORIES:
                self._recent.popitem(last=False)
        return found
