"""The lock of a storage tree: one collection or repair at a time.

It is the kernel's lock on an open file, so a process that was killed leaves no obstacle. The file
says who holds it, for the message only.
"""

import errno
import fcntl
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from jettison.errors import InvalidDocument, Locked
from jettison.model import strict_json
from jettison.store import layout
from jettison.store.folder import adopt, storage_errors
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
        self._descriptors: list[int] = []

    def __enter__(self) -> Self:
        path = self._tree.path(layout.LOCK)
        try:
            with storage_errors("lock", path):
                folder_locked = self._lock_folder()
                try:
                    self._tree.make_ours()
                    self._lock_file(path)
                except OSError as error:
                    # A full disk must not keep anybody from collecting it.
                    if not folder_locked or error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                        raise
        except BaseException:
            self._release()
            raise
        return self

    def _lock_folder(self) -> bool:
        """Lock the root directory; False where that cannot be done (NFS locks only files)."""
        descriptor = os.open(self._tree.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._descriptors.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                content = Path(self._tree.path(layout.LOCK)).read_bytes()
            except OSError:
                content = b""
            raise _locked(self._tree, content) from None
        except OSError:
            return False
        return True

    def _lock_file(self, path: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o644)
        self._descriptors.append(descriptor)
        adopt(descriptor, Path(path).parent)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _locked(self._tree, os.read(descriptor, 4096)) from None
        since = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
        holder = _Holder(os.getpid(), socket.gethostname(), since, self._what)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, msgspec.json.encode(holder) + b"\n")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def _release(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())


def _locked(tree: StorageTree, content: bytes) -> Locked:
    hint = "Wait until it is done, or end that process; a killed one leaves no lock."
    try:
        holder = strict_json.decode(content, _Holder)
    except InvalidDocument:
        return Locked(f"{tree.root} is locked by another process", hint=hint)
    return Locked(
        f"{tree.root} is locked by process {holder.pid} on {holder.host} "
        f"({holder.what}) since {holder.since}",
        hint=hint,
    )
