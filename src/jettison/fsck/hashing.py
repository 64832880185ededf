"""Reading every blob and comparing its content with its name, on all cores.

Threads are enough: hashing and reading let go of the interpreter's lock. Each takes the next blob
when it is done with one; how far they are is looked at from outside, in bytes.
"""

import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Final, NamedTuple

from jettison.model.digest import RawDigest
from jettison.progress import Progress, silent
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.beneath import open_beneath
from jettison.storage.filesystem.reading import TreeReader

__all__ = ["HASHING", "BlobHashes", "hash_blob", "hash_blobs"]

HASHING: Final = "hashing blobs"
"""The phase whose progress is in bytes."""

_PIECE: Final = 1 << 20
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK
_SHA256_BYTES: Final = 32
_LOOK_SECONDS: Final = 0.1


class BlobHashes(NamedTuple):
    """The blobs whose content is not what they are named after.

    ``damaged`` have been at rest, with their sizes in bytes; ``unsettled`` are younger than the
    grace period; ``unreadable`` come with the reason.
    """

    damaged: dict[RawDigest, int]
    unsettled: dict[RawDigest, int]
    unreadable: dict[RawDigest, str]


def hash_blobs(
    tree: TreeReader,
    idle_ns: int,
    total: int,
    progress: Progress = silent,
    threads: int | None = None,
) -> BlobHashes:
    """Read all blobs (``total`` bytes, for the progress) and say which do not hash to their name.

    ``idle_ns`` is the end of what is at rest (nanoseconds since the epoch). A blob that vanishes
    meanwhile is left out. ``threads`` None: one for each core.
    """
    found = BlobHashes({}, {}, {})
    if tree.blobs_folder is None:
        return found
    count = threads or len(os.sched_getaffinity(0))
    source = _Source(digest for folder in tree.blob_groups() for digest in tree.blobs_in(folder))
    workers = [_Worker(tree, idle_ns, source, found) for _ in range(count)]
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

    def __init__(self, digests: Iterator[RawDigest]) -> None:
        self._digests = digests
        self._lock = threading.Lock()
        self.ended = False

    def next(self) -> RawDigest | None:
        with self._lock:
            return None if self.ended else next(self._digests, None)

    def end(self) -> None:
        """Hand out nothing more."""
        self.ended = True


class _Worker:
    def __init__(self, tree: TreeReader, idle_ns: int, source: _Source, found: BlobHashes) -> None:
        self._tree = tree
        self._idle_ns = idle_ns
        self._source = source
        self._found = found
        self._buffer = memoryview(bytearray(_PIECE))
        self.done = 0

    def run(self) -> None:
        while (digest := self._source.next()) is not None:
            try:
                self._look(digest)
            except OSError as error:
                self._found.unreadable[digest] = error.strerror or str(error)

    def _look(self, digest: RawDigest) -> None:
        status = self._hash(digest)
        if status is None:
            return
        if status.st_mtime_ns <= self._idle_ns:
            self._found.damaged[digest] = status.st_size
            return
        again = self._hash(digest)  # it may have been written to meanwhile
        if again is not None:
            self._found.unsettled[digest] = again.st_size

    def _hash(self, digest: RawDigest) -> os.stat_result | None:
        """Return what a blob's file looks like if its content is wrong, else None."""
        top = self._tree.blobs_folder
        if top is None:
            return None
        try:
            descriptor = open_beneath(top.descriptor, layout.blob_file(digest), _FLAGS)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None  # what it is, is for the walk to say
            hasher = hashlib.sha256 if len(digest) == _SHA256_BYTES else hashlib.sha512
            content = hasher(usedforsecurity=False)
            while not self._source.ended:
                count = os.readv(descriptor, [self._buffer])
                if not count:
                    break
                content.update(self._buffer[:count])
                self.done += count
            else:
                return None  # nobody wants to know any more
            return None if content.digest() == digest else status
        finally:
            os.close(descriptor)


def hash_blob(tree: TreeReader, path: str, digest: RawDigest) -> bool:
    """Whether the file at ``path``, relative to the root, has this digest; raises OSError."""
    hasher = "sha256" if len(digest) == _SHA256_BYTES else "sha512"
    descriptor = open_beneath(tree.root_folder.descriptor, path, _FLAGS)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        return hashlib.file_digest(file, hasher).digest() == digest
