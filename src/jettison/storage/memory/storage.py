"""A storage in memory, asked and changed as any other."""

import time
from collections.abc import Callable, Iterator, Sequence

from jettison.model.plausibility import Owner
from jettison.storage.memory.checking import MemoryCheck
from jettison.storage.memory.documents import MemoryDocuments
from jettison.storage.memory.mending import MemoryMending
from jettison.storage.memory.monitoring import MemoryMonitoring
from jettison.storage.memory.planting import Planting
from jettison.storage.memory.scanning import MemoryScanning
from jettison.storage.memory.serving import MemoryServing
from jettison.storage.memory.state import Memory, locked
from jettison.storage.memory.sweeping import MemorySweeping
from jettison.storage.memory.uploading import MemoryUploading
from jettison.storage.memory.writing import MemoryWriting
from jettison.storage.protocol import Stamp, Writer

__all__ = ["MemoryStorage"]


class MemoryStorage(MemoryScanning, MemoryWriting, MemorySweeping, Planting):
    """A storage that is there as long as this object is; safe to use from several threads.

    ``clock`` (seconds since the epoch) gives the stamps. ``owners``, ``detached`` and ``writers``
    are what it tells of its surroundings. Damage is planted
    (:class:`~jettison.storage.memory.planting.Planting`).
    """

    def __init__(
        self,
        location: str = "memory",
        *,
        clock: Callable[[], float] = time.time,
        owners: Sequence[Owner] = (),
        detached: Sequence[str] = (),
        writers: Sequence[Writer] = (),
    ) -> None:
        super().__init__(Memory(location, clock))
        self._owners = tuple(owners)
        self._detached = tuple(detached)
        self._writers = tuple(writers)

    def checking(self, idle: Stamp) -> MemoryCheck:
        """Begin a check; what was written after ``idle`` may still be being written."""
        return MemoryCheck(self.memory, idle)

    def mending(self) -> MemoryMending:
        """Begin a repair, or its undo."""
        return MemoryMending(self.memory)

    def documents(self, collection: str) -> MemoryDocuments:
        """Open a collection of documents of ours, such as ``runs``."""
        return MemoryDocuments(self.memory, collection)

    def serving(self) -> MemoryServing:
        """Return what answers requests."""
        return MemoryServing(self.memory)

    def uploading(self) -> MemoryUploading:
        """Return what takes in blobs."""
        return MemoryUploading(self.memory)

    def monitoring(self) -> MemoryMonitoring:
        """Return what tells how the storage is."""
        return MemoryMonitoring()

    @locked
    def exists(self, place: str) -> bool:
        """Whether anything is in a place."""
        return place in set(self.memory.occupied())

    def owners(self) -> tuple[Owner, ...]:
        """Return the programs that it was told of."""
        return self._owners

    def detached(self) -> tuple[str, ...]:
        """Return the places that it was told of."""
        return self._detached

    def writers(self, configuration: str) -> Iterator[Writer]:  # noqa: ARG002 - it was told who writes
        """Yield the processes that it was told of."""
        return iter(self._writers)
