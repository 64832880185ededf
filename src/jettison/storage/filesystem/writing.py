"""Writing a storage tree: blobs, manifests, tags and links, each whole or not there at all.

References are written after what they reference (decision 0017), and a file is drafted in our own
folder, synced, and renamed to its place. New files and folders get the owner of the folder they are
made in, so that a registry that runs as another user than root can go on using them. Everything is
done in open folders, so no symbolic link below the root is ever followed.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Self

from jettison.errors import NotSynced, StorageError, VerificationFailed
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.beneath import open_beneath
from jettison.storage.filesystem.draft import Draft, open_record, rename, sync_file, write_file
from jettison.storage.filesystem.folder import ATTEMPTS, BlockedError, Folder, adopt, storage_errors
from jettison.storage.filesystem.reading import TreeReader
from jettison.storage.whole_blobs import WholeBlobs

__all__ = ["NO_LOCKS", "OCCUPIED", "BlobDraft", "TreeWriter", "make_below"]

NO_LOCKS: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP})
"""What the system says where folders cannot be locked."""

OCCUPIED: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST})
"""What the system says where something else is in the place by now."""

_PIECE: Final = 256 * 1024


class TreeWriter(TreeReader, WholeBlobs):
    """Writes the storage tree at ``root``."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._doubtful: set[Digest] = set()

    @property
    def writable(self) -> bool:
        """Whether this process may change the tree."""
        return all(map(self._may_write, (layout.MARKER, layout.BLOBS, layout.REPOSITORIES)))

    def _may_write(self, relative: str) -> bool:
        folder = self.folder(relative)
        if folder is None:
            return relative != layout.MARKER
        with folder:
            return os.access(".", os.W_OK | os.X_OK, dir_fd=folder.descriptor)

    # Putting.

    def new_blob(self, repository: RepoName, digest: Digest) -> "BlobDraft":
        """Return a draft to write a blob into; see :class:`BlobDraft`."""
        return BlobDraft(self, repository, digest)

    def put_manifest(
        self, repository: RepoName, digest: Digest, raw: bytes, tags: Iterable[Tag] = ()
    ) -> None:
        """Store a manifest and link it into the repository, then point ``tags`` to it.

        What it references is not looked at: an undo puts children before parents. The order of
        writing is that of Distribution: blob, revision, the tag's history, the tag.
        """
        self.refuse_links(layout.repository(repository))
        if not digest.matches(raw):
            raise VerificationFailed(f"the manifest to store does not have the digest {digest}")
        if not self._has_synced(digest, raw):
            self.write(layout.blob_data(digest), raw)
        self.write(layout.revision_link(repository, digest), digest.encode())
        for tag in tags:
            if not self._make_tag(repository, tag, digest):
                self.write(layout.history_link(repository, tag, digest), digest.encode())
                self.write(layout.current_link(repository, tag), digest.encode())

    def _make_tag(self, repository: RepoName, tag: Tag, digest: Digest) -> bool:
        """Make a new tag in one step; False if there is one of that name.

        Half of a tag, its history without its link, would be listed and lead nowhere, and would
        protect the whole repository for ever.
        """
        if self.root_folder.look(layout.tag_folder(repository, tag)) is not None:
            return False
        name = str(uuid.uuid4())
        with self._make(layout.DRAFTS) as drafts:

            def place(tags: Folder) -> None:
                if drafts.look(name) is None:
                    _draft_tag(drafts, name, tags, digest)
                rename(drafts, name, tags, tag)

            try:
                self._within(layout.tags(repository), place)
            except BaseException as error:
                with contextlib.suppress(StorageError):
                    drafts.remove_all(name)
                cause = error.__cause__
                if isinstance(cause, OSError) and cause.errno in OCCUPIED:
                    return False  # somebody else has made it meanwhile
                raise
        return True

    @contextlib.contextmanager
    def writing(self, repository: RepoName, *, make: bool = False) -> Iterator[None]:
        """Keep every other writer of a repository's manifests and tags out, in any process.

        A DELETE that meets a PUT of the same manifest would leave a tag that leads nowhere. It is
        the kernel's lock on the folder itself, so it needs no room and ends with its process.
        Whoever puts a manifest lets the folder be made; where it is not, nobody has to be kept out.
        """
        with contextlib.ExitStack() as stack:
            self._lock(stack, layout.manifests(repository), make=make)
            yield

    def _lock(self, stack: contextlib.ExitStack, path: str, *, make: bool) -> None:
        while True:
            folder = self._make(path) if make else self.folder(path)
            if folder is None:
                return
            with contextlib.ExitStack() as held, storage_errors("lock", folder.path):
                held.enter_context(folder)
                try:
                    fcntl.flock(folder.descriptor, fcntl.LOCK_EX)
                except OSError as error:
                    if error.errno not in NO_LOCKS:
                        raise
                    self._lock_file(stack)
                    return
                if os.fstat(folder.descriptor).st_nlink:
                    stack.push(held.pop_all())
                    return
            # It was removed meanwhile, for it was empty; there may be a new one.

    def _lock_file(self, stack: contextlib.ExitStack) -> None:
        """Lock a file of ours, one for all repositories: NFS does not lock folders."""
        ours = stack.enter_context(self._make(layout.OURS))
        name = layout.WRITING.rpartition("/")[2]
        fcntl.flock(stack.enter_context(open_record(ours, name)), fcntl.LOCK_EX)

    def link_layer(self, repository: RepoName, digest: Digest) -> None:
        """Make a blob readable through a repository."""
        self.write(layout.layer_link(repository, digest), digest.encode())

    def link_revision(self, repository: RepoName, digest: Digest) -> None:
        """Make a manifest part of a repository."""
        self.write(layout.revision_link(repository, digest), digest.encode())

    def touch(self, digest: Digest) -> bool:
        """Touch a blob, so that no sweep takes it (decision 0003); False if there is none."""
        return self.root_folder.touch(layout.blob_data(digest))

    def place_blob(self, folder: Folder, name: str, descriptor: int, digest: Digest) -> None:
        """Put a finished file in a blob's place, synced, or touch the one there.

        ``descriptor`` is what it was written through; that its bytes have the digest is known. A
        blob that is there with other bytes, or that cannot be synced, is damaged: the new file
        takes its place. What is not used stays where it is. Raises
        :class:`~jettison.errors.NotSynced` for a file that must not be used any more.
        """
        if self._has_synced(digest, descriptor):
            return
        above, _, new = layout.blob_data(digest).rpartition("/")
        sync_file(descriptor, f"{folder.path}/{name}")

        def place(target: Folder) -> None:
            adopt(descriptor, target.descriptor)
            rename(folder, name, target, new)

        self._within(above, place)

    def _has_synced(self, digest: Digest, content: bytes | int) -> bool:
        """Whether a blob is there with this content (or that of an open file), and on the disk.

        Somebody else may just have put it there. It is touched. One that could not be synced is
        not trusted again, as long as this process lives: the next sync would say that all is well.
        """
        if digest in self._doubtful or not self.touch(digest):
            return False
        path = layout.blob_data(digest)
        try:
            there = open_beneath(self.root_folder.descriptor, path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            if not _same_bytes(there, content):
                return False
            sync_file(there, self.path(path))
            with self._make(layout.blob(digest)) as folder:
                folder.sync()
        except (NotSynced, OSError):
            self._doubtful.add(digest)
            return False
        finally:
            os.close(there)
        return True

    # Folders.

    def make_folder_if_room(self, relative: str) -> bool:
        """Make a folder, if it is not there; False on a disk that is full."""
        return self._make_if_room(relative)

    def make_folder_of(self, relative: str) -> None:
        """Make the folder that a file is to lie in, if it is not there."""
        self._make(relative.rpartition("/")[0]).close()

    def make_folder(self, relative: str) -> Folder:
        """Open a folder, made with those above it where they are not there."""
        return self._make(relative)

    def make_ours(self) -> None:
        """Make the folder for what is ours in the tree, if it is not there."""
        self._make(layout.OURS).close()

    # How.

    def write(self, relative: str, raw: bytes) -> None:
        """Write a file, whole or not at all, synced, in place of the one that may be there."""
        above, _, name = relative.rpartition("/")
        private = relative.startswith(f"{layout.OURS}/")
        with self._make(layout.DRAFTS) as drafts:
            self._within(
                above,
                lambda folder: write_file(folder, name, raw, drafts=drafts, private=private),
            )

    def _within(self, relative: str, act: Callable[[Folder], None]) -> None:
        """Act in a folder, made if it is not there, and again where somebody removes it."""
        for attempt in range(ATTEMPTS):
            try:
                with self._make(relative) as folder:
                    return act(folder)
            except StorageError as error:
                # A collection removes empty folders, and this one may have been empty until now.
                if not _is_gone(error) or attempt == ATTEMPTS - 1:
                    raise
        return None

    def _make(self, relative: str) -> Folder:
        return make_below(self.root_folder, relative)

    def _make_if_room(self, relative: str) -> bool:
        try:
            self._make(relative).close()
        except StorageError as error:
            if error.is_full:
                return False
            raise
        return True

    def refuse_links(self, folder: str) -> None:
        """Raise if a symbolic link stands on the way to a folder that is to be changed."""
        try:
            opened = self.root_folder.open(folder)
        except BlockedError as error:
            if error.is_link:
                raise self.root_folder.refusal(folder) from None
        else:
            if opened is not None:
                opened.close()


class BlobDraft:
    """A blob being written, in a ``with`` block; what was not committed is thrown away."""

    def __init__(self, tree: TreeWriter, repository: RepoName, digest: Digest) -> None:
        self._tree = tree
        self._repository = repository
        self._digest = digest
        self._hash = hashlib.new(digest.algorithm)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            drafts = stack.enter_context(self._tree.make_folder(layout.DRAFTS))
            self._draft = stack.enter_context(Draft(drafts))
            self._stack = stack.pop_all()
        return self

    def write(self, chunk: bytes) -> None:
        """Append to the blob."""
        self._hash.update(chunk)
        self._draft.write(chunk)

    def commit(self) -> None:
        """Put the blob in its place and link it, or raise if its digest is another."""
        if self._hash.hexdigest() != self._digest.hex:
            message = f"the bytes written for blob {self._digest} do not have that digest"
            raise VerificationFailed(message)
        self._tree.refuse_links(layout.layers(self._repository))
        draft = self._draft
        self._tree.place_blob(draft.folder, draft.name, draft.descriptor, self._digest)
        self._tree.link_layer(self._repository, self._digest)

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def make_below(top: Folder, relative: str) -> Folder:
    """Open a folder, made with those above it where they are not there.

    What is ours is private, and belongs to whom the registry's own part belongs to.
    """
    above, _, name = relative.rpartition("/")
    for attempt in range(ATTEMPTS):
        try:
            folder = top.open(relative)
            if folder is not None:
                return folder
            if above:
                with make_below(top, above) as parent:
                    return parent.make(name, private=relative.startswith(f"{layout.OURS}/"))
            if relative != layout.OURS:
                return top.make(name)
            registry = top.open(layout.MARKER)
            with registry or contextlib.nullcontext():
                return top.make(name, private=True, like=registry)
        except BlockedError:
            raise top.refusal(relative) from None
        except StorageError as error:
            # A collection removes empty folders, and one of these may have been empty.
            if not _is_gone(error) or attempt == ATTEMPTS - 1:
                raise
    raise AssertionError


def _is_gone(error: StorageError) -> bool:
    return isinstance(error.__cause__, FileNotFoundError)


def _draft_tag(drafts: Folder, name: str, tags: Folder, digest: Digest) -> None:
    """Write a tag's folder, whole and synced, to be renamed to its place."""
    with (
        drafts.make(name, like=tags, sync=False) as top,
        top.make("index", sync=False) as index,
        index.make(digest.algorithm, sync=False) as algorithm,
        algorithm.make(digest.hex, sync=False) as history,
        top.make("current", sync=False) as current,
    ):
        for folder in (history, current):
            write_file(folder, layout.LINK, digest.encode())
        for folder in (algorithm, index, top):
            folder.sync()


def _same_bytes(there: int, content: bytes | int) -> bool:
    """Whether an open file has these bytes, or those of another open file."""
    size = len(content) if isinstance(content, bytes) else os.fstat(content).st_size
    status = os.fstat(there)
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        return False
    if isinstance(content, bytes):
        return os.pread(there, size + 1, 0) == content
    return all(
        os.pread(there, _PIECE, at) == os.pread(content, _PIECE, at)
        for at in range(0, size, _PIECE)
    )
