"""The part in C, where it was built: many files of a folder in one call.

Each function does what a loop in Python beside it does, several times as fast, and returns None
where it cannot: then the loop is used. It is built when Jettison is installed, if there is a C
compiler (``hatch_build.py``). ``JETTISON_NATIVE=0`` in the environment leaves it aside.
"""

import ctypes
import errno
import os
import struct
import sys
from array import array
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from jettison.model.digest import BinaryDigest
from jettison.model.graph import Edges
from jettison.model.manifest_references import References

__all__ = [
    "ABSENT",
    "AT_REMOVEDIR",
    "FILE",
    "LINKED",
    "Look",
    "blob_sizes",
    "link_states",
    "list_digests",
    "look_each",
    "move_each",
    "read_each",
    "references_each",
    "unlink_each",
]

FILE: Final = Path(__file__).with_name("libnative.so")

AT_REMOVEDIR: Final = 0x200
"""Of unlinkat: remove a folder."""

LINKED: Final = 1
ABSENT: Final = 2

_VERSION: Final = 3
"""What ``native.c`` was built from: one that is older or newer is not used."""

_FIELDS: Final = 6
_ROOM: Final = 1 << 18
"""Bytes that are read in one call, at most: more would stay with the process."""
_DIGEST: Final = 32
_LISTED: Final = 1024 * _DIGEST
_KIND: Final = 3
_INDEX: Final = 2
_SIZES: Final = b"\0\0\0\0"
_ROW: Final = b"\0" * 8 * _FIELDS


class Look(NamedTuple):
    """What :func:`os.stat` says of an entry, as far as a collection asks; times in nanoseconds."""

    st_mode: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_nlink: int
    st_blocks: int

    @classmethod
    def of(cls, found: os.stat_result) -> "Look":
        """Return the same of one that was looked at alone."""
        return cls(
            found.st_mode,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
            found.st_nlink,
            found.st_blocks,
        )


def _load() -> ctypes.CDLL | None:
    if os.environ.get("JETTISON_NATIVE") == "0":
        return None
    try:
        library = ctypes.CDLL(str(FILE))
        if library.jettison_version() != _VERSION:
            return None
    except (OSError, AttributeError):
        return None
    number, text, where = ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p
    library.jettison_read_each.argtypes = (ctypes.c_int, text, number, number, where, number, where)
    library.jettison_read_each.restype = number
    library.jettison_list_digests.argtypes = (ctypes.c_int, where, number)
    library.jettison_list_digests.restype = number
    library.jettison_link_states.argtypes = (ctypes.c_int, text, number, where)
    library.jettison_link_states.restype = None
    library.jettison_look_each.argtypes = (ctypes.c_int, text, number, where)
    library.jettison_look_each.restype = None
    library.jettison_blob_sizes.argtypes = (ctypes.c_int, text, number, ctypes.c_int, where)
    library.jettison_blob_sizes.restype = None
    library.jettison_unlink_each.argtypes = (ctypes.c_int, text, number, ctypes.c_int, where)
    library.jettison_unlink_each.restype = None
    library.jettison_move_each.argtypes = (ctypes.c_int, text, ctypes.c_int, text, number, where)
    library.jettison_move_each.restype = None
    library.jettison_references_each.argtypes = (text, where, number, where, number, where)
    library.jettison_references_each.restype = None
    return library


_library = _load()
_works: bool | None = None


def _available(folder: int) -> ctypes.CDLL | None:
    """Return the library, if it was built and the system lets it open anything below a folder."""
    global _works  # noqa: PLW0603 - it is asked once
    if _library is None:
        return None
    if _works is None:
        _works = bool(_library.jettison_works(folder))
    return _library if _works else None


def _joined(names: Sequence[str]) -> bytes | None:
    """Return the names as C reads them; None if one of them is none."""
    text = "\0".join(names)
    if text.count("\0") != max(0, len(names) - 1):
        return None
    return text.encode(sys.getfilesystemencoding(), "surrogateescape")


def read_each(folder: int, names: Sequence[str], most: int) -> list[bytes | None] | None:
    """Return at most ``most`` bytes of each file below an open folder, None for an unreadable one.

    As :meth:`jettison.storage.filesystem.folder.Folder.read_each`.
    """
    library = _available(folder)
    if library is None or most > _ROOM:
        return None
    found: list[bytes | None] = []
    if not names:
        return found
    room = bytearray(min(_ROOM, most * len(names)))
    view, where = memoryview(room), ctypes.addressof(ctypes.c_char.from_buffer(room))
    while len(found) < len(names):
        todo = names[len(found) :] if found else names
        text, sizes = _joined(todo), array("i", _SIZES * len(todo))
        if text is None:
            return None
        done = library.jettison_read_each(
            folder, text, len(todo), most, where, len(room), sizes.buffer_info()[0]
        )
        at = 0
        for size in sizes[:done]:
            if size < 0:
                found.append(None)
            else:
                found.append(bytes(view[at : at + size]))
                at += size
    return found


def list_digests(folder: int) -> bytes | None:
    """Return the sha256 digests that the folders in an open folder are named after, in a row.

    None also where anything else is in it. They are in the folder's own order.
    """
    library = _available(folder)
    if library is None:
        return None
    size = _LISTED
    while True:
        room = bytearray(size)
        where = ctypes.addressof(ctypes.c_char.from_buffer(room))
        found = library.jettison_list_digests(folder, where, size)
        if found >= 0:
            return bytes(memoryview(room)[:found])
        if found != -errno.ENOBUFS:
            return None
        size *= 8


def link_states(folder: int, digests: bytes) -> bytes | None:
    """Tell of each sha256 digest in a row whether its folder's link holds just that.

    :data:`LINKED` if it does, :data:`ABSENT` if there is none, 0 for anything else.
    """
    library = _available(folder)
    if library is None:
        return None
    count = len(digests) // _DIGEST
    found = bytearray(count + 1)
    where = ctypes.addressof(ctypes.c_char.from_buffer(found))
    library.jettison_link_states(folder, digests, count, where)
    return bytes(found[:count])


def look_each(
    folder: int, names: Sequence[str], absent: Container[int]
) -> list[Look | None] | None:
    """Look at each entry below an open folder; None for one that is not there.

    ``absent`` are the error numbers that say so. Raises OSError for any other.
    """
    library, text = _available(folder), _joined(names)
    if library is None or text is None:
        return None
    rows = array("q", _ROW * len(names))
    library.jettison_look_each(folder, text, len(names), rows.buffer_info()[0])
    found: list[Look | None] = list(map(Look._make, zip(*[iter(rows)] * _FIELDS, strict=True)))
    if min(rows[::_FIELDS], default=0) < 0:
        for at, number in enumerate(rows[::_FIELDS]):
            if number < 0:
                if -number not in absent:
                    raise OSError(-number, os.strerror(-number), names[at])
                found[at] = None
    return found


def blob_sizes(folder: int, digests: bytes, *, readable: bool) -> Sequence[int] | None:
    """Return the size of each sha256 blob in a row, below the open folder of blobs.

    An error number below zero stands for one that is no file or, with ``readable``, whose first
    byte cannot be read.
    """
    library = _available(folder)
    if library is None:
        return None
    count = len(digests) // _DIGEST
    sizes = array("q", b"\0" * 8 * count)
    library.jettison_blob_sizes(folder, digests, count, readable, sizes.buffer_info()[0])
    return sizes


def unlink_each(folder: int, names: Sequence[str], flags: int) -> Sequence[int] | None:
    """Remove files below an open folder, or empty folders; return an error number for each, or 0.

    ``flags`` are those of unlinkat: 0, or AT_REMOVEDIR.
    """
    library, text = _available(folder), _joined(names)
    if library is None or text is None:
        return None
    failed = array("i", _SIZES * len(names))
    library.jettison_unlink_each(folder, text, len(names), flags, failed.buffer_info()[0])
    return failed


def move_each(
    source: int, names: Sequence[str], target: int, news: Sequence[str]
) -> Sequence[int] | None:
    """Rename entries from below one open folder to below another; return error numbers, or 0."""
    library, text, new_text = _available(source), _joined(names), _joined(news)
    if library is None or text is None or new_text is None:
        return None
    failed = array("i", _SIZES * len(names))
    where = failed.buffer_info()[0]
    library.jettison_move_each(source, text, target, new_text, len(names), where)
    return failed


def references_each(raws: Sequence[bytes]) -> list[References | None] | None:
    """Return what each manifest references, None for one of no usual kind.

    It is what :func:`~jettison.model.manifest_references.references_of` says, which is to be asked
    about the others. No media type is told.
    """
    if _library is None:
        return None
    joined, sizes = b"".join(raws), array("i", map(len, raws))
    # A digest takes more room in a manifest than here.
    room = bytearray(len(joined) // 2 + _DIGEST)
    kinds = array("i", _SIZES * _KIND * len(raws))
    where = ctypes.addressof(ctypes.c_char.from_buffer(room))
    _library.jettison_references_each(
        joined, sizes.buffer_info()[0], len(raws), where, len(room), kinds.buffer_info()[0]
    )
    found: list[References | None] = []
    at = 0
    for kind, count, has_subject in zip(*[iter(kinds)] * _KIND, strict=True):
        if not kind:
            found.append(None)
            continue
        digests = struct.unpack_from(f"{_DIGEST}s" * count, room, at)
        at += count * _DIGEST
        subject = None
        if has_subject:
            subject = BinaryDigest(bytes(room[at : at + _DIGEST]))
            at += _DIGEST
        edges = Edges(digests, ()) if kind == _INDEX else Edges((), digests)
        found.append(References(edges, subject, ""))
    return found
