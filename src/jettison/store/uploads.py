# ruff: noqa: PTH102, PTH106, PTH108, PTH116, PTH123
# (paths are kept as text here, as in the tree)
"""Unfinished uploads in a storage tree: made, appended to, turned into a blob, or given up.

They lie where Distribution keeps its own (``_uploads/<uuid>/data`` and ``startedat``), so either
program purges the other's. Nothing but the file says how far one has come: it can be continued by
any process, also after a restart.
"""

import contextlib
import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Self

from jettison.errors import Locked, StorageError
from jettison.model.digest import Digest
from jettison.model.reference import RepoName
from jettison.store import layout
from jettison.store.folder import adopt, storage_errors
from jettison.store.tree import StorageTree

__all__ = ["UploadFile", "start_upload", "upload_size"]

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ATTEMPTS: Final = 5


def start_upload(tree: StorageTree, repository: RepoName) -> str:
    """Make an empty upload and return its id, a UUID."""
    name = str(uuid.uuid4())
    for attempt in range(_ATTEMPTS):
        try:
            _make(tree, layout.uploads(repository), name)
        except StorageError as error:
            # A collection removes empty folders, and one of these may have been empty until now.
            if attempt == _ATTEMPTS - 1 or not isinstance(error.__cause__, FileNotFoundError):
                raise
        else:
            break
    return name


def _make(tree: StorageTree, parent: str, name: str) -> None:
    tree.make_folder_of(f"{parent}/")
    folder = tree.path(f"{parent}/{name}")
    with storage_errors("make", folder):
        try:
            os.mkdir(folder)
            adopt(folder, tree.path(parent))
            # Like Distribution: in UTC, to the second.
            started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for file, content in (("startedat", started.encode()), ("data", b"")):
                path = f"{folder}/{file}"
                with open(path, "xb") as opened:
                    opened.write(content)
                adopt(path, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def upload_size(tree: StorageTree, repository: RepoName, name: str) -> int | None:
    """Return how many bytes an upload has so far, also while it is written to; None: no such."""
    if _ID.fullmatch(name) is None:
        return None
    folder = tree.folder(f"{layout.uploads(repository)}/{name}")
    if folder is None:
        return None
    with folder:
        found = folder.look("data")
    return None if found is None else found.st_size


class UploadFile:
    """One upload, held open and locked, in a ``with`` block; made by :meth:`open`.

    ``size`` is how many bytes it has so far.
    """

    def __init__(self, tree: StorageTree, repository: RepoName, name: str, descriptor: int) -> None:
        self._tree = tree
        self._repository = repository
        self._folder = f"{layout.uploads(repository)}/{name}"
        self._name = name
        self.descriptor = descriptor
        with storage_errors("look at", self._path):
            self.size = os.fstat(descriptor).st_size

    @classmethod
    def open(cls, tree: StorageTree, repository: RepoName, name: str) -> Self:
        """Open an upload, for the caller alone.

        Raises FileNotFoundError if there is none of that name, and
        :class:`~jettison.errors.Locked` if somebody else has it open. No symbolic link on the way
        is followed.
        """
        if _ID.fullmatch(name) is None:
            raise FileNotFoundError(name)
        folder = f"{layout.uploads(repository)}/{name}"
        tree.refuse_links(folder)
        path = tree.path(f"{folder}/data")
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = f"another request is writing to the upload {name}"
                raise Locked(message, hint="Ask for its status, and go on there.") from None
            # Finished in between, it is a blob by now, and not to be written to.
            if not os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor)):
                raise FileNotFoundError(name)  # noqa: TRY301 - the descriptor is to be closed
            return cls(tree, repository, name, descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def _path(self) -> str:
        return self._tree.path(f"{self._folder}/data")

    def append(self, pieces: Sequence[bytes]) -> None:
        """Write pieces, 1,024 at most, at the end. If they do not fit on the disk none stays."""
        size = sum(map(len, pieces))
        with storage_errors("write", self._path):
            try:
                written = os.writev(self.descriptor, pieces)
                if written < size:
                    rest = memoryview(b"".join(pieces))[written:]
                    while rest:
                        rest = rest[os.write(self.descriptor, rest) :]
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self.descriptor, self.size)
                raise
        self.size += size

    def sync(self) -> None:
        """Let what has been written so far reach the disk; then the end has less to wait for."""
        with storage_errors("write", self._path):
            os.fdatasync(self.descriptor)

    def truncate(self, size: int) -> None:
        """Take back what came after the first ``size`` bytes."""
        with storage_errors("write", self._path):
            os.ftruncate(self.descriptor, size)
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``, to compute a digest anew; less at the end."""
        with storage_errors("read", self._path):
            return os.pread(self.descriptor, length, offset)

    def commit(self, digest: Digest) -> None:
        """Make it a blob of the repository; that it has the digest is known. It is then gone.

        When this returns, blob and link are on the disk. It is gone too where only the link could
        not be written: there is nothing left to go on with.
        """
        self._tree.place_blob(self._path, self.descriptor, digest)
        try:
            self._tree.link_layer(self._repository, digest)
        finally:
            self.remove()

    def remove(self) -> None:
        """Remove it, with whatever lies beside it."""
        folder = self._tree.path(self._folder)
        try:
            for file in ("data", "startedat"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{folder}/{file}")
            os.rmdir(folder)
        except OSError:
            # Distribution keeps more in it, and a collection may have been here first.
            self._tree.remove_upload(self._repository, self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
