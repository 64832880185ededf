"""How a storage is: the interface of health checks and metrics."""

from typing import NamedTuple, Protocol

__all__ = ["Capacity", "Monitoring"]


class Capacity(NamedTuple):
    """How much a storage can hold, and how much more of it, in bytes."""

    size: int
    free: int


class Monitoring(Protocol):
    """Looks at the storage anew each time; may take long where it hangs, so call it in a thread."""

    def check_health(self, *, write: bool) -> bool:
        """Look whether the storage answers, with ``write`` also to a write.

        Returns whether a registry is there: False where nothing was stored yet, or it is gone. A
        full storage passes: pulls and deletes go on then, and deletes are what helps. Raises
        :class:`~jettison.errors.StorageError`, whose message is a reason without a path.
        """

    def capacity(self) -> Capacity | None:
        """Return how much room there is, None where that is not known."""
