"""The one writer of whole files: a file has all its bytes on the disk, or is as it was before.

The draft's name cannot be guessed, and nothing is followed: in a folder that others may write to,
neither a link nor a file of theirs is ever written through.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["make_folder", "make_folders", "open_folder", "write_whole", "written_whole"]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_DRAFT: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def open_folder(name: str, within: int | None = None) -> int:
    """Open a folder, that of the path ``name``, or one in the folder ``within``, and no link there.

    Raises :class:`OSError`. The caller closes it.
    """
    if within is None:
        return os.open(name, _FOLDER)
    return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=within)


def make_folder(name: str, within: int, *, mode: int = 0o700) -> int:
    """Open a folder in the folder ``within``; make it, and have that on the disk, if there is none.

    What root makes belongs to the owner of the folder that it is in.
    """
    try:
        os.mkdir(name, mode, dir_fd=within)
    except FileExistsError:
        return open_folder(name, within)
    made = open_folder(name, within)
    try:
        _give(made, within)
        os.fsync(within)
    except OSError:
        os.close(made)
        raise
    return made


def make_folders(path: Path, *, mode: int = 0o700) -> int:
    """Open a folder, and make it and those above it that are not there; see :func:`make_folder`."""
    missing = []
    existing = path.absolute()
    while not existing.exists():
        missing.append(existing.name)
        existing = existing.parent
    descriptor = open_folder(str(existing))
    while missing:
        try:
            inner = make_folder(missing.pop(), descriptor, mode=mode)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


@contextmanager
def written_whole(folder: int, name: str, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Yield a file to write; when the block ends it is ``name`` in ``folder``, and on the disk.

    If the block raises there is no trace of it. Raises :class:`OSError`.
    """
    draft = f".{secrets.token_hex(12)}.tmp"
    descriptor = os.open(draft, _DRAFT, mode, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _give(descriptor, folder)
            yield file
            file.flush()
            os.fsync(descriptor)
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=folder)
        raise
    os.fsync(folder)


def write_whole(folder: int, name: str, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file as a whole; see :func:`written_whole`."""
    with written_whole(folder, name, mode=mode) as file:
        file.write(content)


def _give(descriptor: int, folder: int) -> None:
    """Give something that root has made to the owner of the folder that it is in."""
    if os.geteuid() == 0:
        owner = os.fstat(folder)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
