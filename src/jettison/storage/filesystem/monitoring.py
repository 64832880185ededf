"""How the file system below a storage tree is."""

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jettison.errors import StorageError
from jettison.storage.filesystem.layout import MARKER
from jettison.storage.protocol import Capacity

__all__ = ["TreeMonitor"]


class TreeMonitor:
    """Looks at a root directory by its path: what is mounted there now is what counts."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def check_health(self, *, write: bool) -> bool:
        """Look into the root directory, and with ``write`` create a file there and remove it.

        Returns whether a registry's tree is there: an unmounted volume leaves an empty folder.
        """
        try:
            with _reasons(), os.scandir(self._root) as entries:
                for _ in itertools.islice(entries, 1):
                    pass
            if write:
                self._write()
        except FileNotFoundError:
            return False
        return (self._root / MARKER).is_dir()

    def _write(self) -> None:
        prefix = ".jettison-probe-"
        try:
            # On Linux this file never has a name, so nothing is left of it after a crash.
            with (
                _reasons(),
                tempfile.TemporaryFile(dir=self._root, prefix=prefix, buffering=0) as file,
            ):
                file.write(b"probe")
        except StorageError as error:
            if not error.is_full:
                raise

    def capacity(self) -> Capacity | None:
        """Return the size of the file system, and what of it is free for those who are not root."""
        try:
            found = os.statvfs(self._root)
        except OSError:
            return None
        return Capacity(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Turn an OSError into a reason without a path, unless it says that nothing is there."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(error.strerror or type(error).__name__) from error
