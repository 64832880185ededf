"""What only one process may do at a time in a bucket: an object that its holder keeps young.

It is made only if it is not there, which every store can do. Its age is told by the store's own
clock. One that was not written to for :data:`LEASE_SECONDS` is that of a process that was killed;
whoever takes it over replaces just that object, so of two who try one succeeds. Where a store
cannot compare (old Ceph), nobody does, and the message says what to remove.

Beside our own servers, and where nothing is pushed, no image depends on it: it saves two
collections from doing the same. Beside another registry a collection brings back what a killed one
has hidden, so one may delete only while no other can take it for killed: as long as its
:class:`Lease` lasts.
"""

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from jettison.errors import StorageError
from jettison.model import codec
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.deleting import uptime

__all__ = ["LEASE_SECONDS", "Lease", "hold", "holder"]

LEASE_SECONDS: Final = 30.0
_NANOSECONDS: Final = 1_000_000_000
_PAUSE: Final = 0.5
_LARGEST: Final = 4096
_ABSENT: Final = "absent"
_SURE_SECONDS: Final = LEASE_SECONDS - 2.0
"""For so long after it was written nobody takes it over: stores tell times in whole seconds."""


class Lease:
    """A lease that is held. Until ``until`` (uptime) no other process can have taken it over."""

    def __init__(self, began: float) -> None:
        self.until = began + _SURE_SECONDS

    @property
    def is_lost(self) -> bool:
        """Whether another process may have taken it over, as this one stood still."""
        return uptime() >= self.until

    def lose(self) -> None:
        """Note that another process has it."""
        self.until = 0.0

    def renew(self, began: float) -> None:
        """Note that it was written again, by a request that began then; what is lost stays so."""
        if began < self.until:
            self.until = began + _SURE_SECONDS


@contextlib.contextmanager
def hold(bucket: Bucket, key: str, purpose: str, patience: float = 0.0) -> Iterator[Lease | None]:
    """Hold the lease ``key`` in a ``with`` block; None: another process does.

    ``patience`` is how many seconds to wait for it. Raises
    :class:`~jettison.errors.StorageError` for who has no right to delete, before anything is
    written: a lease is held by who removes something, and a store refuses the delete of an absent
    object just as any other.
    """
    bucket.remove([f"{key}-{_ABSENT}"])
    end = time.monotonic() + patience

    token = secrets.token_hex(8)

    def content(beat: int = 0) -> bytes:
        # Each time other bytes, or who takes it over could not tell that it was written again.
        who: dict[str, str | int] = {"purpose": purpose, "host": socket.gethostname()}
        return codec.encode(who | {"pid": os.getpid(), "token": token, "beat": beat})

    began = uptime()
    while not (held := _take(bucket, key, content())) and time.monotonic() < end:
        time.sleep(_PAUSE)
        began = uptime()
    if not held:
        yield None
        return
    lease = Lease(began)
    done = threading.Event()
    keeper = threading.Thread(
        target=_keep, args=(bucket, key, token, content, lease, done), daemon=True
    )
    keeper.start()
    try:
        yield lease
    finally:
        done.set()
        keeper.join()
        if not lease.is_lost:  # else it may be another's
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
        return bucket.put_new(key, content) or _take_hidden(bucket, key, content)
    if bucket.now() - found.stamp < LEASE_SECONDS * _NANOSECONDS:
        return False
    return bucket.put_over(key, content, found)


def _take_hidden(bucket: Bucket, key: str, content: bytes) -> bool:
    """Take a lease that is absent, where a store counts a delete marker as an object (versitygw).

    Of two who try at the same time the last one has it; the other sees it here, or some seconds
    later when it writes it again.
    """
    if bucket.look(key) is not None:
        return False
    bucket.put(key, content)
    time.sleep(_PAUSE)
    return bucket.get(key, _LARGEST) == content


def _keep(
    bucket: Bucket,
    key: str,
    token: str,
    content: Callable[[int], bytes],
    lease: Lease,
    done: threading.Event,
) -> None:
    beat = 0
    while not done.wait(LEASE_SECONDS / 4):
        beat += 1
        began = uptime()
        if lease.is_lost:
            return
        with contextlib.suppress(StorageError):  # three more tries until it is old
            if token.encode() not in (bucket.get(key, _LARGEST) or b""):
                lease.lose()
                return
            bucket.put(key, content(beat))
            lease.renew(began)
