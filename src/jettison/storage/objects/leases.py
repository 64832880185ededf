"""What only one process may do at a time in a bucket: an object that its holder keeps young.

It is made only if it is not there, which every store can do. Its age is told by the store's own
clock. One that was not written to for :data:`LEASE_SECONDS` is that of a process that was killed;
whoever takes it over replaces just that object, so of two who try one succeeds. Where a store
cannot compare (old Ceph), nobody does, and the message says what to remove.

No image depends on it: it saves two collections from doing the same.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Final

from jettison.errors import StorageError
from jettison.model import codec
from jettison.storage.objects.bucket import Bucket

__all__ = ["LEASE_SECONDS", "hold", "holder"]

LEASE_SECONDS: Final = 30.0
_NANOSECONDS: Final = 1_000_000_000
_PAUSE: Final = 0.5
_LARGEST: Final = 4096
_ABSENT: Final = "absent"


@contextlib.contextmanager
def hold(bucket: Bucket, key: str, purpose: str, patience: float = 0.0) -> Iterator[bool]:
    """Hold the lease ``key`` in a ``with`` block; False: another process does.

    ``patience`` is how many seconds to wait for it. Raises
    :class:`~jettison.errors.StorageError` for who has no right to delete, before anything is
    written: a lease is held by who removes something, and a store refuses the delete of an absent
    object just as any other.
    """
    bucket.remove([f"{key}-{_ABSENT}"])
    end = time.monotonic() + patience
    content = codec.encode({"purpose": purpose, "host": socket.gethostname(), "pid": os.getpid()})
    while not (held := _take(bucket, key, content)) and time.monotonic() < end:
        time.sleep(_PAUSE)
    if not held:
        yield False
        return
    done = threading.Event()
    keeper = threading.Thread(target=_keep, args=(bucket, key, content, done), daemon=True)
    keeper.start()
    try:
        yield True
    finally:
        done.set()
        keeper.join()
        with contextlib.suppress(StorageError):  # it grows old
            bucket.remove_each([key])


def holder(bucket: Bucket, key: str) -> str:
    """Return who holds a lease, as far as it can be read: ``collection by process 7 on host``."""
    raw = bucket.get(key, _LARGEST)
    with contextlib.suppress(Exception):
        found = codec.decode(raw or b"", dict[str, str | int])
        return f"{found['purpose']} by process {found['pid']} on {found['host']}"
    return "another process"


def _take(bucket: Bucket, key: str, content: bytes) -> bool:
    if bucket.put_new(key, content):
        return True
    found = bucket.look(key)
    if found is None:
        return bucket.put_new(key, content)
    if bucket.now() - found.stamp < LEASE_SECONDS * _NANOSECONDS:
        return False
    return bucket.put_over(key, content, found)


def _keep(bucket: Bucket, key: str, content: bytes, done: threading.Event) -> None:
    while not done.wait(LEASE_SECONDS / 4):
        with contextlib.suppress(StorageError):  # three more tries until it is old
            bucket.put(key, content)
