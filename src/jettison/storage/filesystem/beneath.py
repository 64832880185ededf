"""Opening and looking below an open folder: no symbolic link is followed, nothing outside reached.

The kernel does it in one call, ``openat2`` (Linux 5.6, 2020). Where that is missing or not
allowed, as in some sandboxes, each part of the path is opened in turn.
"""

import ctypes
import errno
import os
import stat
import sys
from typing import Final

__all__ = ["look_beneath", "open_beneath"]

_SYS_OPENAT2: Final = 437
"""Its number on every architecture that Linux and Python share, but for alpha."""

_RESOLVE: Final = 0x02 | 0x04 | 0x08
"""RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH (linux/openat2.h)."""

_ALWAYS: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_STEP: Final = os.O_PATH | os.O_DIRECTORY | _ALWAYS
_MISSING: Final = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG})
_AGAIN: Final = frozenset({errno.EAGAIN, errno.EINTR, errno.EXDEV})
"""What a rename beside makes the kernel say; EXDEV where a folder on the way was moved out of the
tree meanwhile, as a removed tag is (what leads out of it by itself is refused before)."""
_ATTEMPTS: Final = 128


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_SIZE: Final = ctypes.sizeof(_OpenHow)
_HOWS: Final[dict[int, tuple[int, _OpenHow]]] = {}
"""One for each set of flags, with where it is in memory; the kernel only reads it."""

_LOOK: Final = os.O_PATH | _ALWAYS
_LOOKED: Final = _OpenHow(_LOOK, 0, _RESOLVE)
_LOOK_HOW: Final = ctypes.addressof(_LOOKED)
_ABSENT: Final = os.strerror(errno.ENOENT)
_ENCODING: Final = sys.getfilesystemencoding()

_syscall: Final = ctypes.CDLL(None, use_errno=True).syscall
_syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_void_p,
    ctypes.c_size_t,
)
_syscall.restype = ctypes.c_long


def open_beneath(folder: int, path: str, flags: int) -> int:
    """Open what is at a path below the open ``folder``, and return its descriptor.

    ``flags`` are those of ``os.open``; nothing is made. Raises OSError with ELOOP where a part of
    the path, its end included, is a symbolic link, and with EXDEV where it leads out of the folder
    or has a part ``..`` (a mount in the tree does not). With ``O_PATH`` a link at the end is opened
    itself.
    """
    flags |= _ALWAYS
    raw = path.encode(_ENCODING, "surrogateescape")
    if b"\0" in raw:
        raise FileNotFoundError(errno.ENOENT, "no name has a zero byte", path)
    if raw.startswith(b"/") or (b".." in raw and ".." in path.split("/")):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    if b"/" not in raw:
        return os.open(path, flags, dir_fd=folder)
    how = _HOWS.get(flags)
    if how is None:
        made = _OpenHow(flags, 0, _RESOLVE)
        how = _HOWS[flags] = (ctypes.addressof(made), made)
    number = 0
    for _ in range(_ATTEMPTS):
        found: int = _syscall(_SYS_OPENAT2, folder, raw, how[0], _SIZE)
        if found >= 0:
            return found
        number = ctypes.get_errno()
        if number in _MISSING:
            return _step_by_step(folder, path, flags)
        if number not in _AGAIN:
            break
    raise OSError(number, os.strerror(number), path)


def _step_by_step(folder: int, path: str, flags: int) -> int:
    *above, name = path.split("/")
    descriptor = folder
    try:
        for part in above:
            inner = _step(part or ".", _STEP, descriptor)
            if descriptor != folder:
                os.close(descriptor)
            descriptor = inner
        return _step(name or ".", flags, descriptor)
    finally:
        if descriptor != folder:
            os.close(descriptor)


def _step(name: str, flags: int, folder: int) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name) from None
        raise


def look_beneath(folder: int, path: str) -> os.stat_result:
    """Return what is at a path below the open ``folder``; of a link, the link itself.

    Raises OSError as :func:`open_beneath` does for what is on the way.
    """
    if "/" not in path and path != ".." and "\0" not in path:
        return os.stat(path, dir_fd=folder, follow_symlinks=False)
    raw = path.encode(_ENCODING, "surrogateescape")
    found = -1
    if b"\0" not in raw and b".." not in raw:
        found = _syscall(_SYS_OPENAT2, folder, raw, _LOOK_HOW, _SIZE)  # nearly always
        if found < 0 and ctypes.get_errno() == errno.ENOENT:
            raise FileNotFoundError(errno.ENOENT, _ABSENT, path)
    descriptor = found if found >= 0 else open_beneath(folder, path, _LOOK)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)
