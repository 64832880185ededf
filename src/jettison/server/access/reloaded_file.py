"""A small file that is read again whenever it changes."""

import logging
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

__all__ = ["Unusable", "WatchedFile"]

MAX_BYTES = 16 * 1024 * 1024
SETTLED_SECONDS = 0.1
"""How old a change must be for the file's time to tell it from one right after it."""

_Content = TypeVar("_Content")
_Signature = tuple[int, ...]
_log = logging.getLogger(__name__)


class Unusable(Exception):
    """The file is missing, unreadable, or malformed; the message says why."""


class WatchedFile(Generic[_Content]):
    """The present content of the file at ``path``, as ``parse`` reads it.

    ``parse`` raises ``ValueError`` for content that it cannot use; the operator sees its message.
    It fails closed: while the file is unusable, older content is not used. The log has one error
    each time that the file becomes unusable.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], _Content]) -> None:
        self.path = path
        self._parse = parse
        self._signature: _Signature | None = None
        self._raw: bytes | None = None
        self._content: _Content | None = None
        self._failure: str | None = None

    def current(self) -> _Content:
        """Return the content: the very same object as long as the bytes are the same.

        Raises :class:`Unusable`.
        """
        try:
            found = _signature(os.stat(self.path))  # noqa: PTH116 - half the time of Path.stat
            if found != self._signature:
                self._take(self._read())
        except OSError as error:
            self._signature = self._raw = None
            self._fail(error.strerror or str(error))
        if self._content is None:
            raise Unusable(self._failure)
        return self._content

    def _read(self) -> bytes:
        # O_NONBLOCK: the open of a pipe that nobody writes to would wait for ever.
        with open(self.path, "rb", opener=_nonblocking) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(0, "it is not a regular file")
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise OSError(0, f"it is larger than {MAX_BYTES} bytes")
        changed = max(status.st_mtime, status.st_ctime)
        settled = time.time() - changed > SETTLED_SECONDS
        self._signature = _signature(status) if settled else None
        return raw

    def _take(self, raw: bytes) -> None:
        if raw == self._raw:
            return
        self._raw, self._content = raw, None
        try:
            self._content = self._parse(raw)
            self._failure = None
        except ValueError as error:
            self._fail(str(error))

    def _fail(self, reason: str) -> None:
        message = f"{self.path} cannot be used: {reason}"
        if message != self._failure:
            _log.error("%s; nobody is let in by what it held before", message)
        self._content, self._failure = None, message


def _signature(status: os.stat_result) -> _Signature:
    # The time of the inode too: it tells of a chmod, and of an older file moved here.
    return (
        *(status.st_mtime_ns, status.st_ctime_ns),
        *(status.st_size, status.st_ino, status.st_dev),
    )


def _nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
