"""Unfinished uploads in a storage tree: made, appended to, turned into a blob, or given up.

They lie where Distribution keeps its own (``_uploads/<uuid>/data`` and ``startedat``), so either
program purges the other's. Nothing but the file says how far one has come: it can be continued by
any process, also after a restart.
"""

import contextlib
import fcntl
import os
import re
import stat
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Self

from jettison.errors import Locked, NotFoundError, NotSynced, StorageError
from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.beneath import open_beneath
from jettison.storage.filesystem.draft import create_file, sync_file
from jettison.storage.filesystem.folder import ATTEMPTS, Folder, storage_errors
from jettison.storage.filesystem.removing import TreeRemover

__all__ = ["TreeUploads", "UploadFile"]

_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_DATA: Final = "data"


class TreeUploads:
    """The uploads of a tree (:class:`~jettison.storage.protocol.Uploading`)."""

    def __init__(self, tree: TreeRemover) -> None:
        self._tree = tree

    def start(self, repository: RepoName) -> str:
        """Make an empty upload and return its id, a UUID."""
        name = str(uuid.uuid4())
        for attempt in range(ATTEMPTS):
            try:
                with self._tree.make_folder(layout.uploads(repository)) as uploads:
                    _make(uploads, name)
            except StorageError as error:
                # A collection removes empty folders; one of these may have been empty until now.
                if attempt == ATTEMPTS - 1 or not isinstance(error.__cause__, FileNotFoundError):
                    raise
            else:
                break
        return name

    def size(self, repository: RepoName, upload: str) -> int | None:
        """Return how many bytes an upload has so far, also while it is written to."""
        if _ID.fullmatch(upload) is None:
            return None
        folder = self._tree.folder(f"{layout.uploads(repository)}/{upload}")
        if folder is None:
            return None
        with folder:
            found = folder.look(_DATA)
        return None if found is None else found.st_size

    def open(
        self,
        repository: RepoName,
        upload: str,
        written: int | None = None,  # noqa: ARG002 - a look at a file costs nothing
    ) -> "UploadFile":
        """Open an upload, for the caller alone. No symbolic link on the way is followed."""
        try:
            if _ID.fullmatch(upload) is not None:
                return self._open(repository, upload)
        except (FileNotFoundError, NotADirectoryError):
            pass
        raise NotFoundError(f"{repository} has no upload of this id")

    def _open(self, repository: RepoName, name: str) -> "UploadFile":
        tree = self._tree
        path = f"{layout.uploads(repository)}/{name}"
        with contextlib.ExitStack() as stack:
            folder = tree.folder(path)
            if folder is None:
                tree.refuse_links(path)
                raise FileNotFoundError(name)
            stack.enter_context(folder)
            descriptor = open_beneath(
                folder.descriptor, _DATA, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK
            )
            stack.callback(os.close, descriptor)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                message = f"{folder.path}/{_DATA} is no file of this upload's own"
                raise StorageError(message, hint="Remove the upload; the client begins another.")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = f"another request is writing to the upload {name}"
                raise Locked(message, hint="Ask for its status, and go on there.") from None
            # Finished in between, it is a blob by now, and not to be written to.
            found = tree.root_folder.look(f"{path}/{_DATA}")
            if found is None or not os.path.samestat(found, status):
                raise FileNotFoundError(name)
            upload = UploadFile(tree, repository, name, folder, descriptor, found.st_size)
            stack.pop_all()
        return upload


def _make(uploads: Folder, name: str) -> None:
    with uploads.make(name, sync=False) as folder:
        try:
            # Like Distribution: in UTC, to the second.
            started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            create_file(folder, "startedat", started.encode())
            create_file(folder, _DATA, b"")
        except BaseException:
            with contextlib.suppress(StorageError):
                uploads.remove_all(name)
            raise


class UploadFile:
    """One upload, held open and locked (:class:`~jettison.storage.protocol.OpenUpload`).

    ``size`` is how many bytes it has so far. Whoever writes to it, that shows in the size.
    """

    elsewhere = False

    def __init__(
        self,
        tree: TreeRemover,
        repository: RepoName,
        name: str,
        folder: Folder,
        descriptor: int,
        size: int,
    ) -> None:
        self._tree = tree
        self._repository = repository
        self._name = name
        self._folder = folder
        self.descriptor = descriptor
        self.size = size

    @property
    def _path(self) -> str:
        return f"{self._folder.path}/{_DATA}"

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
        """Let what has been written so far reach the disk; then the end has less to wait for.

        It is removed where the disk refuses it: what was lost is not told a second time, and the
        client has to begin again. Raises :class:`~jettison.errors.NotSynced`.
        """
        with self._removed_if_lost():
            sync_file(self.descriptor, self._path, times=False)

    def flush(self) -> None:
        """Do nothing: the system shows what is written to all."""

    @contextlib.contextmanager
    def _removed_if_lost(self) -> Iterator[None]:
        try:
            yield
        except NotSynced:
            with contextlib.suppress(OSError, StorageError):
                os.ftruncate(self.descriptor, 0)
                self.size = 0
                self.discard()
            raise

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
        with self._removed_if_lost():
            self._tree.place_blob(self._folder, _DATA, self.descriptor, digest)
        try:
            self._tree.link_layer(self._repository, digest)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove it, with whatever lies beside it."""
        for file in (_DATA, "startedat"):
            self._folder.unlink(file)
        uploads = self._tree.folder(layout.uploads(self._repository))
        if uploads is None:
            return
        with uploads:
            if not uploads.remove_if_empty(self._name):
                # Distribution keeps more in it, and a collection may have been here first.
                self._tree.remove_upload(self._repository, self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
        self._folder.close()
