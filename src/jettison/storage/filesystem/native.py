"""The part in C, where it was built: many files of a folder in one call.

Each function does what a loop in Python beside it does, several times as fast, and returns None
where it cannot: then the loop is used. It is built when Jettison is installed, if there is a C
compiler (``hatch_build.py``). ``JETTISON_NATIVE=0`` in the environment leaves it aside.
"""

import ctypes
import errno
import os
import sys
from array import array
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["FILE", "Look", "Usual", "available", "look_each", "read_each", "references_each"]

FILE: Final = Path(__file__).with_name("libnative.so")

_VERSION: Final = 1
"""What ``native.c`` was built from: one that is older or newer is not used."""

_FIELDS: Final = 6
_ROOM: Final = 1 << 20
_DIGEST: Final = 32
_LISTED: Final = 1024 * _DIGEST
_USUAL: Final = 3
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


class Usual(NamedTuple):
    """What a manifest of a usual kind references: its members if it is an index, or its blobs."""

    is_index: bool
    digests: list[bytes]
    subject: bytes | None


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
    library.jettison_are_linked.argtypes = (ctypes.c_int, text, number, where)
    library.jettison_are_linked.restype = None
    library.jettison_look_each.argtypes = (ctypes.c_int, text, number, where)
    library.jettison_look_each.restype = None
    library.jettison_unlink_each.argtypes = (ctypes.c_int, text, number, ctypes.c_int, where)
    library.jettison_unlink_each.restype = None
    library.jettison_move_each.argtypes = (ctypes.c_int, text, ctypes.c_int, text, number, where)
    library.jettison_move_each.restype = None
    library.jettison_references_each.argtypes = (text, where, number, where, number, where)
    library.jettison_references_each.restype = None
    return library


_library = _load()
_works: bool | None = None


def available(folder: int) -> ctypes.CDLL | None:
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
    library = available(folder)
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
    library = available(folder)
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


def are_linked(folder: int, digests: bytes) -> bytes | None:
    """Return for each sha256 digest in a row 1 if its folder's link holds just that, else 0."""
    library = available(folder)
    if library is None:
        return None
    count = len(digests) // _DIGEST
    found = bytearray(count + 1)
    where = ctypes.addressof(ctypes.c_char.from_buffer(found))
    library.jettison_are_linked(folder, digests, count, where)
    return bytes(found[:count])


def look_each(
    folder: int, names: Sequence[str], absent: Container[int]
) -> list[Look | None] | None:
    """Look at each entry below an open folder; None for one that is not there.

    ``absent`` are the error numbers that say so. Raises OSError for any other.
    """
    library, text = available(folder), _joined(names)
    if library is None or text is None:
        return None
    rows = array("q", _ROW * len(names))
    library.jettison_look_each(folder, text, len(names), rows.buffer_info()[0])
    make = Look._make
    found: list[Look | None] = []
    for row in zip(*[iter(rows)] * _FIELDS, strict=True):
        if row[0] >= 0:
            found.append(make(row))
        elif -row[0] in absent:
            found.append(None)
        else:
            raise OSError(-row[0], os.strerror(-row[0]), names[len(found)])
    return found


def unlink_each(folder: int, names: Sequence[str], flags: int) -> Sequence[int] | None:
    """Remove files below an open folder, or empty folders; return an error number for each, or 0.

    ``flags`` are those of unlinkat: 0, or AT_REMOVEDIR.
    """
    library, text = available(folder), _joined(names)
    if library is None or text is None:
        return None
    failed = array("i", _SIZES * len(names))
    library.jettison_unlink_each(folder, text, len(names), flags, failed.buffer_info()[0])
    return failed


def move_each(
    source: int, names: Sequence[str], target: int, news: Sequence[str]
) -> Sequence[int] | None:
    """Rename entries from below one open folder to below another; return error numbers, or 0."""
    library, text, new_text = available(source), _joined(names), _joined(news)
    if library is None or text is None or new_text is None:
        return None
    failed = array("i", _SIZES * len(names))
    where = failed.buffer_info()[0]
    library.jettison_move_each(source, text, target, new_text, len(names), where)
    return failed


def references_each(raws: Sequence[bytes]) -> list[Usual | None] | None:
    """Return what each manifest references, None for one of no usual kind.

    It is what :func:`~jettison.model.manifest_references.references_of` says, which is to be asked
    about the others.
    """
    if _library is None:
        return None
    joined, sizes = b"".join(raws), array("i", map(len, raws))
    # A digest takes more room in a manifest than here.
    room = bytearray(len(joined) // 2 + _DIGEST)
    kinds = array("i", _SIZES * _USUAL * len(raws))
    _library.jettison_references_each(
        joined,
        sizes.buffer_info()[0],
        len(raws),
        ctypes.addressof(ctypes.c_char.from_buffer(room)),
        len(room),
        kinds.buffer_info()[0],
    )
    found: list[Usual | None] = []
    digests, at = bytes(room), 0
    for kind, count, has_subject in zip(*[iter(kinds)] * _USUAL, strict=True):
        if not kind:
            found.append(None)
            continue
        end = at + count * _DIGEST
        these = [digests[one : one + _DIGEST] for one in range(at, end, _DIGEST)]
        at = end + has_subject * _DIGEST
        found.append(Usual(kind == _INDEX, these, digests[end:at] if has_subject else None))
    return found
