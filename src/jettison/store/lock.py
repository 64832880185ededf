"""The lock of a storage tree: one collection or repair at a time.

It is the kernel's lock on an open file, so a process that was killed leaves no obstacle. The file
says who holds it, for the message only.
"""

import fcntl
import os
import socket
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import msgspec

from jettison.errors import Locked
from jettison.store import layout
from jettison.store.reading import storage_errors
from jettison.store.tree import StorageTree

__all__ = ["StorageLock"]


class _Holder(msgspec.Struct):
    pid: int
    host: str
    since: str
    what: str


class StorageLock:
    """Holds the tree's lock in a ``with`` block; ``what`` says for what, such as "collection".

    Raises :class:`~jettison.errors.Locked` (exit 12), which names the holder, if it is taken.
    """

    def __init__(self, tree: StorageTree, what: str) -> None:
        self._tree = tree
        self._what = what
        self._descriptor = -1

    def __enter__(self) -> Self:
        path = self._tree.path(layout.LOCK)
        with storage_errors("lock", path):
            self._tree.make_ours()
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o644)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                content = os.read(self._descriptor, 4096)
                os.close(self._descriptor)
                raise _locked(self._tree, content) from None
            except OSError:
                os.close(self._descriptor)
                raise
            since = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
            holder = _Holder(os.getpid(), socket.gethostname(), since, self._what)
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, msgspec.json.encode(holder) + b"\n")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)


def _locked(tree: StorageTree, content: bytes) -> Locked:
    hint = "Wait until it is done, or end that process; a killed one leaves no lock."
    try:
        holder = msgspec.json.decode(content, type=_Holder)
    except msgspec.DecodeError:
        return Locked(f"{tree.root} is locked by another process", hint=hint)
    return Locked(
        f"{tree.root} is locked by process {holder.pid} on {holder.host} "
        f"({holder.what}) since {holder.since}",
        hint=hint,
    )
