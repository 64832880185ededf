"""A blob's file, open to be sent."""

import os
import stat
from typing import Final, Self

from jettison.errors import storage_errors

__all__ = ["OpenFile"]

_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)


class OpenFile:
    """A regular file (:class:`~jettison.storage.protocol.OpenContent`); ``size`` is in bytes."""

    __slots__ = ("_descriptor", "size")

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    @classmethod
    def of(cls, descriptor: int) -> Self | None:
        """Take over an open file; None, and it is closed, if it is no regular file."""
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode):
            return cls(descriptor, found.st_size)
        os.close(descriptor)
        return None

    def ready(self, offset: int, length: int) -> bytearray | None:
        """Return what can be read without waiting; None if nothing can, or if that is not known."""
        if not _NOWAIT:
            return None
        piece = bytearray(length)
        try:
            count = os.preadv(self._descriptor, [piece], offset, _NOWAIT)
        except OSError:
            return None  # not in memory; or a file system that cannot tell, such as tmpfs
        del piece[count:]
        return piece

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes from ``offset`` on, none at the end; waits for the disk."""
        with storage_errors("read", "a blob that is being sent"):
            return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
