# ruff: noqa: PTH102, PTH104, PTH105, PTH108, PTH112, PTH114, PTH123
# (paths are kept as text here: a tree has a million of them)
"""The storage tree, read and written.

Writing obeys two rules of design.md: references are written after what they reference and removed
before it (rule 3), and a file appears whole or not at all: it is drafted in our own folder, synced,
and renamed to its place. New files and folders get the owner of the folder they are made in, so
that a registry that runs as another user than root can go on using them.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final, Self

from jettison.errors import PlanStale, StorageError, TagsAppeared, VerificationFailed
from jettison.model.digest import Digest
from jettison.model.reference import RepoName, Tag
from jettison.store import layout
from jettison.store.folder import FULL, BlockedError, Folder, adopt, storage_errors
from jettison.store.reading import TreeReader
from jettison.store.repository import RepositoryReader
from jettison.store.tagged import Tagged

__all__ = ["BlobDraft", "StorageTree"]

_FOLDERS: Final = ("docker", "docker/registry", layout.MARKER, layout.BLOBS, layout.REPOSITORIES)
_ATTEMPTS: Final = 5
_NO_LOCKS: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP})
_FRESH_NS: Final = 10_000_000_000
_SHOWN: Final = 5
_PIECE: Final = 256 * 1024
_OCCUPIED: Final = frozenset({errno.ENOTEMPTY, errno.EEXIST})


class StorageTree(TreeReader):
    """The storage tree below ``root``, the ``rootdirectory`` of a registry's configuration.

    Raises :class:`~jettison.errors.StorageError` if no registry is there; the hint says which
    path to give where that can be told.
    """

    def __init__(self, root: Path) -> None:
        with storage_errors("open", root):
            _check_root(root.resolve())
            super().__init__(root.resolve())

    @classmethod
    def make(cls, root: Path) -> Self:
        """Open the tree below ``root``, made with nothing in it where there is none yet."""
        for folder in (layout.BLOBS, layout.REPOSITORIES):
            with storage_errors("make", root / folder):
                (root / folder).mkdir(parents=True, exist_ok=True)
        return cls(root)

    @property
    def writable(self) -> bool:
        """Whether this process may change the tree."""
        return all(
            os.access(self.path(folder), os.W_OK | os.X_OK)
            for folder in (layout.BLOBS, layout.REPOSITORIES)
            if (self.root / folder).exists()
        ) and os.access(self.path(layout.MARKER), os.W_OK | os.X_OK)

    # Putting.

    def new_blob(self, repository: RepoName, digest: Digest) -> "BlobDraft":
        """Return a draft to write a blob into; see :class:`BlobDraft`."""
        return BlobDraft(self, repository, digest)

    def put_blob(self, repository: RepoName, digest: Digest, chunks: Iterable[bytes]) -> None:
        """Store a blob and link it into the repository.

        Raises :class:`~jettison.errors.VerificationFailed`, and stores nothing, if the bytes do
        not have the digest.
        """
        with self.new_blob(repository, digest) as draft:
            for chunk in chunks:
                draft.write(chunk)
            draft.commit()

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
        path = self.path(layout.blob_data(digest))
        if not self._touch_whole(digest, len(raw)) or not _holds(path, raw):
            self.write(layout.blob_data(digest), raw)
        else:
            self._sync_blob(digest)
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
        folder = layout.tag_folder(repository, tag)
        if os.path.lexists(self.path(folder)):
            return False
        with storage_errors("write", self.path(folder)):
            draft = self._draft()
            try:
                self._draft_tag(draft, folder, digest)
                self._place(draft, folder)
            except BaseException as error:
                shutil.rmtree(draft, ignore_errors=True)
                if isinstance(error, OSError) and error.errno in _OCCUPIED:
                    return False  # somebody else has made it meanwhile
                raise
        return True

    def _draft_tag(self, draft: str, folder: str, digest: Digest) -> None:
        parent = folder.rpartition("/")[0]
        self._make_folders(parent)
        history = f"index/{digest.algorithm}/{digest.hex}"
        made = ["", "index", f"index/{digest.algorithm}", history, "current"]
        for inner in made:
            os.mkdir(f"{draft}/{inner}")
            adopt(f"{draft}/{inner}", self.path(parent))
        for inner in (history, "current"):
            path = f"{draft}/{inner}/{layout.LINK}"
            with open(path, "xb") as file:
                file.write(digest.encode())
                file.flush()
                os.fsync(file.fileno())
            adopt(path, self.path(parent))
        for inner in reversed(made):
            _sync_folder(f"{draft}/{inner}")

    @contextlib.contextmanager
    def writing(self, repository: RepoName, *, make: bool = False) -> Iterator[None]:
        """Keep every other writer of a repository's manifests and tags out, in any process.

        A DELETE that meets a PUT of the same manifest would leave a tag that leads nowhere. It is
        the kernel's lock on the folder itself, so it needs no room and ends with its process.
        Whoever puts a manifest lets the folder be made; where it is not, nobody has to be kept out.
        """
        descriptor = self._lock_folder(layout.manifests(repository), make=make)
        try:
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _lock_folder(self, folder: str, *, make: bool) -> int | None:
        path = self.path(folder)
        while True:
            if make:
                self.make_folder_of(f"{folder}/")
            with storage_errors("lock", path):
                try:
                    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                except (FileNotFoundError, NotADirectoryError) as error:
                    if make and isinstance(error, FileNotFoundError):
                        continue
                    return None
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                    if os.fstat(descriptor).st_nlink:
                        return descriptor
                except OSError as error:
                    os.close(descriptor)
                    if error.errno not in _NO_LOCKS:
                        raise
                    return self._lock_file()
            os.close(descriptor)  # removed meanwhile, for it was empty; there may be a new one

    def _lock_file(self) -> int:
        """Lock a file of ours, one for all repositories: NFS does not lock folders."""
        self.make_ours()
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path(layout.WRITING), flags, 0o644)
        try:
            adopt(descriptor, self.path(layout.OURS))
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def link_layer(self, repository: RepoName, digest: Digest) -> None:
        """Make a blob readable through a repository."""
        self.refuse_links(layout.layers(repository))
        self.write(layout.layer_link(repository, digest), digest.encode())

    def link_revision(self, repository: RepoName, digest: Digest) -> None:
        """Make a manifest part of a repository."""
        self.refuse_links(layout.revisions(repository))
        self.write(layout.revision_link(repository, digest), digest.encode())

    def touch(self, digest: Digest) -> bool:
        """Note that somebody wants a blob, so that no sweep takes it (rule 6); False: none."""
        path = self.path(layout.blob_data(digest))
        with storage_errors("touch", path):
            try:
                os.utime(path, follow_symlinks=False)
            except FileNotFoundError:
                return False
        return True

    def place_blob(self, draft: str, descriptor: int, digest: Digest) -> None:
        """Put a finished file of the tree in a blob's place, synced, or touch the one there.

        ``draft`` is its full path and ``descriptor`` what it was written through; that its bytes
        have the digest is known. A blob that is there with other bytes is damaged: the new file
        takes its place. What is not used stays where it is.
        """
        path = self.path(layout.blob_data(digest))
        with storage_errors("write", path):
            there = self._touch_whole(digest, os.fstat(descriptor).st_size)
            if not there or not _same_bytes(draft, path):
                os.fsync(descriptor)
                self._place(draft, layout.blob_data(digest))
            else:
                self._sync_blob(digest)

    def _sync_blob(self, digest: Digest) -> None:
        """Make sure that a blob is on the disk which somebody else may just have put there."""
        path = self.path(layout.blob_data(digest))
        with storage_errors("write", path):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._sync(layout.blob(digest))

    def _touch_whole(self, digest: Digest, size: int) -> bool:
        if not self.touch(digest):
            return False
        found = self.blob(digest.raw)
        return found is not None and found.size == size

    # Removing.

    def untag(self, repository: RepoName, tag: Tag, expected: Digest | None = None) -> bool:
        """Remove a tag and nothing else; False if it was not there.

        The tag's folder is renamed away in one step: a crash leaves no half of a tag, which would
        protect the whole repository for ever. With ``expected`` what was taken is looked at then:
        a tag that points to anything else is put back, and :class:`PlanStale` raised.
        """
        folder = layout.tag_folder(repository, tag)
        away = self._take_away(folder)
        if away is None:
            return False
        if expected is not None and not _holds(
            self.path(f"{away}/current/link"), expected.encode()
        ):
            self._bring_back(away, folder)
            message = f"{repository}:{tag} does not point to {expected.short} any more"
            raise PlanStale(message, hint="Run the command again to see the new plan.")
        # The tag is gone; what remains of it is cleaned up later if not now.
        with contextlib.suppress(OSError):
            _remove_tree(self.path(away))
        return True

    def _take_away(self, folder: str) -> str | None:
        """Rename a folder out of the registry's sight; return where to, None if it is not there."""
        self.refuse_links(folder)
        name = str(uuid.uuid4())
        with storage_errors("remove", self.path(folder)):
            room = self._make_folders_if_room(layout.LEAVING)
            away = f"{layout.LEAVING}/{name}" if room else layout.beside(name)
            try:
                os.rename(self.path(folder), self.path(away))
            except FileNotFoundError:
                return None
            self._sync(folder.rpartition("/")[0])
        return away

    def _bring_back(self, away: str, place: str) -> None:
        """Rename what was taken away to its place, unless there is something new by now."""
        with storage_errors("put back", self.path(place)):
            try:
                os.rename(self.path(away), self.path(place))
            except OSError as error:
                if error.errno not in _OCCUPIED:
                    raise

    def remove_remains(self, before: float) -> None:
        """Remove what killed processes left among what is ours.

        What was on its way out goes at once, drafts if they were not touched since ``before``
        (seconds since the epoch).
        """
        for path in (layout.DRAFTS, layout.RUNS):
            folder = self.folder(path)
            if folder is None:
                continue
            with folder:
                for entry in folder.entries():
                    draft = path == layout.DRAFTS or entry.name.endswith(".tmp")
                    if not draft or (folder.time(entry.name) or 0) >= before * 1e9:
                        continue
                    if entry.is_dir(follow_symlinks=False):  # a tag
                        self._remove_all(f"{path}/{entry.name}")
                    else:
                        folder.unlink(entry.name)
        leaving = []
        folder = self.folder(layout.LEAVING)
        if folder is not None:
            with folder:
                # Not the folder itself: somebody may be about to move something into it.
                leaving += [f"{layout.LEAVING}/{entry.name}" for entry in folder.entries()]
        for entry in self.root_folder.entries():
            what = entry.name.removeprefix(layout.BESIDE)
            if what != entry.name and layout.digest_of(*what.partition("-")[::2]) is None:
                leaving.append(entry.name)
        for path in leaving:
            self._remove_all(path)

    def delete_revision(
        self,
        repository: RepoName,
        digest: Digest,
        only: AbstractSet[Tag] | None = None,
        tagged: Tagged | None = None,
    ) -> bool:
        """Remove the tags that point to a manifest, then it itself from the repository.

        The same stays behind as in Distribution; but that removes the manifest first, and a crash
        in between leaves tags that lead nowhere. Done again after a crash it finishes the job.
        False if nothing was there. With ``only``, nothing is removed if any other tag points to
        it, and :class:`TagsAppeared` raised; that holds against those who do not know our lock too.
        ``tagged`` spares reading all tags.
        """
        tagged = tagged or Tagged(self, repository)
        linked = self._revision_time(repository, digest)
        tags = tagged.tags(digest.raw)
        _refuse_others(repository, digest, tags, only)
        removed = False
        for tag in tags:
            # One that was given to another image meanwhile is none of ours.
            with contextlib.suppress(PlanStale):
                removed |= self.untag(repository, tag, digest)
        if only is None or linked is None:
            return self.unlink(layout.revision_link(repository, digest)) or removed
        return self._take_revision(repository, digest, linked, tagged) or removed

    def _take_revision(
        self, repository: RepoName, digest: Digest, linked: int, tagged: Tagged
    ) -> bool:
        """Remove a revision's link, unless it was written again since ``linked`` (nanoseconds)."""
        link = layout.revision_link(repository, digest)
        away = self._take_away(link)
        if away is None:
            return False
        taken = Path(self.path(away)).lstat().st_mtime_ns
        # Whoever has put it a moment ago may be about to write the tag.
        fresh = taken > time.time_ns() - _FRESH_NS
        if taken != linked or (fresh and tagged.tags(digest.raw)):
            self._bring_back(away, link)
            _refuse_others(repository, digest, tagged.tags(digest.raw), frozenset())
            message = f"{repository}@{digest} was pushed again just now"
            raise TagsAppeared(message, hint="Run the command again to see the new plan.")
        with contextlib.suppress(OSError):
            os.unlink(self.path(away))
        return True

    def _revision_time(self, repository: RepoName, digest: Digest) -> int | None:
        with RepositoryReader(self, repository) as reader:
            return reader.revision_time(digest.raw)

    def unlink(self, relative: str) -> bool:
        """Remove a file; False if it was not there. No symbolic link on the way is followed."""
        self.refuse_links(relative.rpartition("/")[0])
        with storage_errors("remove", self.path(relative)):
            try:
                os.unlink(self.path(relative))
            except FileNotFoundError:
                return False
        return True

    def remove_folder_if_empty(self, relative: str) -> bool:
        """Remove a folder that nothing is in; False for one that is in use, or absent."""
        above, _, name = relative.rpartition("/")
        folder = self.folder(above)
        if folder is None:
            return False
        with folder:
            return folder.remove_if_empty(name)

    def remove_vacant(self, repository: RepoName) -> bool:
        """Remove a repository in which there are only folders, and parents that it leaves empty.

        Only empty folders are removed, one by one: whatever somebody writes meanwhile stays.
        False if something stays. Repositories inside of it are others, and stay.
        """
        top = layout.repository(repository)
        self.refuse_links(top)
        # Whoever puts a manifest holds the folder's lock: it must not go away from under it.
        with self.writing(repository):
            for inner in (layout.UPLOADS, "_manifests", layout.LAYERS):
                folder = self.folder(f"{top}/{inner}")
                if folder is not None:
                    with folder:
                        _remove_empty_below(folder)
                    if not self.remove_folder_if_empty(f"{top}/{inner}"):
                        return False
        while top != layout.REPOSITORIES and self.remove_folder_if_empty(top):
            top = top.rpartition("/")[0]
        return True

    def make_folder_if_room(self, relative: str) -> bool:
        """Make a folder, if it is not there; False on a disk that is full."""
        self.refuse_links(relative)
        with storage_errors("make", self.path(relative)):
            return self._make_folders_if_room(relative)

    def make_folder_of(self, relative: str) -> None:
        """Make the folder that a file is to lie in, if it is not there."""
        folder = relative.rpartition("/")[0]
        self.refuse_links(folder)
        with storage_errors("make", self.path(folder)):
            self._make_folders(folder)

    def remove_upload(self, repository: RepoName, upload: str) -> bool:
        """Remove an unfinished upload; False if it was not there."""
        away = self._take_away(f"{layout.uploads(repository)}/{upload}")
        if away is None:
            return False
        self._remove_all(away)
        return True

    def make_mark(self, relative: str) -> None:
        """Make an empty file of ours, if it is not there."""
        path = self.path(relative)
        with storage_errors("write", path):
            self.make_ours()
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o644)
            try:
                adopt(descriptor, self.path(layout.OURS))
            finally:
                os.close(descriptor)

    def make_ours(self) -> None:
        """Make the folder for what is ours in the tree, if it is not there."""
        self.refuse_links(layout.OURS)
        self._make_folders(layout.OURS)

    # How.

    def _remove_all(self, folder: str) -> None:
        """Remove a folder with all in it, which somebody else may be removing too."""
        with storage_errors("remove", self.path(folder)):
            _remove_tree(self.path(folder))

    def write(self, relative: str, raw: bytes) -> None:
        """Write a file, whole or not at all, synced, in place of the one that may be there."""
        with storage_errors("write", self.path(relative)):
            draft = self._draft()
            try:
                with open(draft, "xb") as file:
                    file.write(raw)
                    file.flush()
                    os.fsync(file.fileno())
                self._place(draft, relative)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft)
                raise

    def _draft(self) -> str:
        self._make_folders(layout.DRAFTS)
        return self.path(f"{layout.DRAFTS}/{uuid.uuid4()}")

    def _place(self, draft: str, relative: str) -> None:
        folder = relative.rpartition("/")[0]
        for attempt in range(_ATTEMPTS):
            try:
                self._make_folders(folder)
                adopt(draft, self.path(folder))
                os.replace(draft, self.path(relative))
                self._sync(folder)
            except FileNotFoundError:
                # A collection removes empty folders, and this one may have been empty until now.
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def _make_folders(self, relative: str) -> None:
        """Make a folder and those above it, each owned like the one above and synced into it."""
        path = self.path(relative)
        parent = relative.rpartition("/")[0]
        for attempt in range(_ATTEMPTS):
            if os.path.isdir(path):
                return
            if parent:
                self._make_folders(parent)
            try:
                os.mkdir(path)
                adopt(path, self.path(parent))
                self._sync(parent)
            except FileExistsError:
                return
            except FileNotFoundError:
                # A collection removes empty folders, and one of these may have been empty.
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    def _make_folders_if_room(self, relative: str) -> bool:
        try:
            self._make_folders(relative)
        except OSError as error:
            if error.errno not in FULL:
                raise
            return False
        return True

    def _sync(self, folder: str) -> None:
        _sync_folder(self.path(folder))

    def refuse_links(self, folder: str) -> None:
        """Raise if a symbolic link stands on the way to a folder that is to be changed."""
        path = self.path("").rstrip("/")
        for part in folder.split("/"):
            path = f"{path}/{part}"
            if os.path.islink(path):
                message = f"{path} is a symbolic link; nothing is changed through it"
                raise StorageError(message, hint="Replace it by what it points to, or a mount.")


class BlobDraft:
    """A blob being written, in a ``with`` block; what was not committed is thrown away."""

    def __init__(self, tree: StorageTree, repository: RepoName, digest: Digest) -> None:
        self._tree = tree
        self._repository = repository
        self._digest = digest
        self._hash = hashlib.new(digest.algorithm)
        self._path = ""
        self._descriptor = -1

    def __enter__(self) -> Self:
        with storage_errors("write below", self._tree.root):
            self._path = self._tree._draft()  # noqa: SLF001 - one thing in two classes
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        return self

    def write(self, chunk: bytes) -> None:
        """Append to the blob."""
        self._hash.update(chunk)
        with storage_errors("write", self._path):
            rest = memoryview(chunk)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def commit(self) -> None:
        """Put the blob in its place and link it, or raise if its digest is another."""
        if self._hash.hexdigest() != self._digest.hex:
            message = f"the bytes written for blob {self._digest} do not have that digest"
            raise VerificationFailed(message)
        self._tree.refuse_links(layout.layers(self._repository))
        self._tree.place_blob(self._path, self._descriptor, self._digest)
        self._tree.link_layer(self._repository, self._digest)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


def _refuse_others(
    repository: RepoName, digest: Digest, tags: Iterable[Tag], only: AbstractSet[Tag] | None
) -> None:
    others = [tag for tag in tags if only is not None and tag not in only]
    if others:
        names = ", ".join(f"{repository}:{tag}" for tag in others[:_SHOWN])
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        message = f"{names}{more} was pushed to {digest.short} meanwhile"
        raise TagsAppeared(message, hint="Run the command again to see the new plan.")


def _holds(path: str, raw: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(raw) + 1) == raw
    except OSError:
        return False


def _same_bytes(one: str, other: str) -> bool:
    """Whether two files of the same length are equal; not so if the other cannot be read."""
    try:
        with open(one, "rb", buffering=0) as first, open(other, "rb", buffering=0) as second:
            while piece := first.read(_PIECE):
                if second.read(len(piece)) != piece:
                    return False
    except OSError:
        return False
    return True


def _remove_tree(path: str) -> None:
    """Remove a folder with all that is in it, which others may be doing at the same time."""
    for attempt in range(_ATTEMPTS):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            if not os.path.lexists(path):
                return
            if attempt == _ATTEMPTS - 1:
                raise
        except NotADirectoryError:
            Path(path).unlink(missing_ok=True)  # a link on its way out
            return
        else:
            return


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_empty_below(folder: Folder) -> None:
    for name in folder.folders()[0]:
        try:
            inner = folder.open(name)
        except BlockedError:
            continue  # it is no folder any more, and stays
        if inner is not None:
            with inner:
                _remove_empty_below(inner)
        folder.remove_if_empty(name)


def _check_root(root: Path) -> None:
    """Raise unless a registry's tree is really below ``root``, and all of it on this side."""
    if (root / layout.MARKER).is_dir():
        for folder in _FOLDERS:
            if (root / folder).is_symlink():
                target = (root / folder).resolve()
                hint = "Mount it there instead, or give the folder that really holds docker/."
                raise StorageError(
                    f"{root / folder} is a symbolic link to {target}, which is not followed",
                    hint=hint,
                )
        return
    if not root.exists():
        raise StorageError(f"there is no folder {root}", hint=_hint(root))
    if not root.is_dir():
        raise StorageError(f"{root} is not a folder", hint=_hint(root))
    raise StorageError(
        f"no registry's storage in {root}: no {layout.MARKER} there", hint=_hint(root)
    )


def _hint(root: Path) -> str:
    for parent in root.parents:
        if (parent / layout.MARKER).is_dir():
            return f"Give {parent}, the folder that docker/ lies in."
    if root.is_dir():
        for inside in sorted(root.iterdir()):
            if (inside / layout.MARKER).is_dir():
                return f"Did you mean {inside}?"
    return "Give storage.filesystem.rootdirectory of the registry's configuration."
