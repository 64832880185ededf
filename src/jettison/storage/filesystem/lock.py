"""The lock of a storage tree: one collection or repair at a time.

It is the kernel's lock on an open file, so a process that was killed leaves no obstacle. The file
says who holds it, for the message only.
"""

import contextlib
import fcntl
import os
import socket
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

import msgspec

from jettison.errors import InvalidDocument, Locked, StorageError
from jettison.model import strict_json
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.draft import open_record
from jettison.storage.filesystem.folder import Folder, UnusableError, storage_errors
from jettison.storage.filesystem.removing import TreeRemover

__all__ = ["StorageLock"]

_LONGEST: Final = 4096
"""Bytes of what the lock's file says."""


class _Holder(msgspec.Struct):
    pid: int
    host: str
    since: str
    what: str


class StorageLock:
    """Holds the tree's lock in a ``with`` block; ``what`` says for what, such as "collection".

    Raises :class:`~jettison.errors.Locked` (exit 12), which names the holder, if it is taken.
    """

    def __init__(self, tree: TreeRemover, what: str) -> None:
        self._tree = tree
        self._what = what
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as held, storage_errors("lock", self._tree.path(layout.LOCK)):
            folder_locked = self._lock_folder(held)
            try:
                self._lock_file(held)
            except StorageError as error:
                # A full disk must not keep anybody from collecting it.
                if not folder_locked or not error.is_full:
                    raise
            self._held = held.pop_all()
        return self

    def _lock_folder(self, held: contextlib.ExitStack) -> bool:
        """Lock the root directory; False where that cannot be done (NFS locks only files)."""
        root = held.enter_context(Folder.root(self._tree.root))
        try:
            fcntl.flock(root.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                content = root.read(layout.LOCK, _LONGEST) or b""
            except UnusableError:
                content = b""
            raise _locked(self._tree, content) from None
        except OSError:
            return False
        return True

    def _lock_file(self, held: contextlib.ExitStack) -> None:
        name = layout.LOCK.rpartition("/")[2]
        ours = held.enter_context(self._tree.make_folder(layout.OURS))
        descriptor = held.enter_context(open_record(ours, name))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _locked(self._tree, os.read(descriptor, _LONGEST)) from None
        since = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
        holder = _Holder(os.getpid(), socket.gethostname(), since, self._what)
        with storage_errors("lock", ours.path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, msgspec.json.encode(holder) + b"\n")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()


def _locked(tree: TreeRemover, content: bytes) -> Locked:
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
