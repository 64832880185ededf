"""Reads every blob and compares its content with its name, on all cores.

Threads are enough, because hashing and reading release the interpreter's lock. Each takes the next
blob when it is done with one; progress is counted in bytes.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Final, NamedTuple

from jettison.errors import StorageError, StorageUnavailable
from jettison.model.digest import BinaryDigest
from jettison.progress import Progress, silent
from jettison.storage.protocol import Blob, Checking, Scanning, Stamp

__all__ = ["HASHING", "BlobHashes", "hash_blobs"]

HASHING: Final = "hashing blobs"
"""The phase whose progress is in bytes."""

_LOOK_SECONDS: Final = 0.1


class BlobHashes(NamedTuple):
    """The blobs whose content does not match their name.

    ``damaged`` have been at rest, with their sizes in bytes; ``unsettled`` are younger than the
    grace period; ``unreadable`` come with a sentence.
    """

    damaged: dict[BinaryDigest, int]
    unsettled: dict[BinaryDigest, int]
    unreadable: dict[BinaryDigest, str]


def hash_blobs(
    storage: Scanning,
    checking: Checking,
    idle: Stamp,
    total: int,
    progress: Progress = silent,
) -> BlobHashes:
    """Read all blobs (``total`` bytes, for the progress); return those that do not match.

    Content written after ``idle`` may be unsettled. A blob that vanishes meanwhile is left out.
    """
    found = BlobHashes({}, {}, {})
    count = len(os.sched_getaffinity(0))
    source = _Source(one for group in storage.blob_groups() for one in storage.blobs_in(group))
    workers = [_Worker(checking, idle, source, found) for _ in range(count)]
    progress(HASHING, 0, total)
    with ThreadPoolExecutor(count) as pool:
        jobs = [pool.submit(worker.run) for worker in workers]
        try:
            pending = set(jobs)
            while pending:
                done, pending = wait(pending, _LOOK_SECONDS, FIRST_EXCEPTION)
                progress(HASHING, sum(worker.done for worker in workers), total)
                for job in done:
                    job.result()
        finally:
            source.end()
    return found


class _Source:
    """Hands out digests to threads."""

    def __init__(self, digests: Iterator[BinaryDigest]) -> None:
        self._digests = digests
        self._lock = threading.Lock()
        self.ended = False

    def next(self) -> BinaryDigest | None:
        with self._lock:
            return None if self.ended else next(self._digests, None)

    def end(self) -> None:
        """Hand out nothing more."""
        self.ended = True


class _Worker:
    def __init__(self, checking: Checking, idle: Stamp, source: _Source, found: BlobHashes) -> None:
        self._checking = checking
        self._idle = idle
        self._source = source
        self._found = found
        self.done = 0

    def run(self) -> None:
        while (digest := self._source.next()) is not None:
            try:
                self._look(digest)
            except StorageUnavailable:
                raise
            except StorageError as error:
                self._found.unreadable[digest] = f"cannot be read here: {error.message}"

    def _look(self, digest: BinaryDigest) -> None:
        blob = self._mismatch(digest)
        if blob is None:
            return
        if blob.stamp <= self._idle:
            self._found.damaged[digest] = blob.size
            return
        again = self._mismatch(digest)  # it may have been written to meanwhile
        if again is not None:
            self._found.unsettled[digest] = again.size

    def _mismatch(self, digest: BinaryDigest) -> Blob | None:
        return self._checking.mismatch(digest, self._read)

    def _read(self, count: int) -> bool:
        self.done += count
        return not self._source.ended
