"""What of a storage tree lies on a file system of its own.

A collection sets files aside by renaming them, which no kernel does from one mount to another, not
even where both show the same disk. Distribution never renames across folders, so a tree in several
mounts serves well, until it is collected.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jettison.storage.filesystem import layout
from jettison.storage.filesystem.folder import Folder

__all__ = ["inner_mounts", "mount_points"]

_TABLE: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")
_MOUNT_POINT: Final = 4
_FOLDERS: Final = (
    "docker",
    "docker/registry",
    layout.MARKER,
    layout.BLOBS,
    layout.REPOSITORIES,
    f"{layout.BLOBS}/sha256",
    f"{layout.BLOBS}/sha512",
    layout.OURS,
)


def inner_mounts(root: Folder) -> tuple[str, ...]:
    """Return what of the tree is on another file system or mount than its root, relative to it."""
    try:
        table = _TABLE.read_bytes()
    except OSError:  # not Linux, or hidden: then only what has another device is seen
        table = b""
    return tuple(sorted({*_below(root.path, mount_points(table)), *_other_devices(root)}))


def mount_points(table: bytes) -> Iterator[str]:
    """Yield the paths that ``/proc/self/mountinfo`` names, in which blanks are escaped."""
    for line in table.splitlines():
        fields = line.split(b" ")
        if len(fields) > _MOUNT_POINT:
            path = _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), fields[_MOUNT_POINT])
            yield os.fsdecode(path)


def _below(root: str, points: Iterator[str]) -> Iterator[str]:
    prefix = f"{root.rstrip('/')}/"
    for point in points:
        relative = point.removeprefix(prefix)
        if relative == point:
            continue
        if f"{relative}/".startswith(
            (f"{layout.MARKER}/", f"{layout.OURS}/")
        ) or f"{layout.MARKER}/".startswith(f"{relative}/"):
            yield relative


def _other_devices(root: Folder) -> Iterator[str]:
    own = os.fstat(root.descriptor).st_dev
    for path in _FOLDERS:
        found = root.look(path)
        if found is not None and found.st_dev != own:
            yield path
            return
