"""The storage tree, read and written.

Writing obeys two rules: references are written after what they reference and removed before it
(decision 0017), and a file appears whole or not at all: it is drafted in our own folder, synced,
and renamed to its place. New files and folders get the owner of the folder they are made in, so
that a registry that runs as another user than root can go on using them. Everything is done in
open folders, so no symbolic link below the root is ever followed.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from jettison.errors import NotSynced, PlanStale, StorageError, TagsAppeared, VerificationFailed
from jettison.model.digest import Digest, RawDigest
from jettison.model.names import RepoName, Tag
from jettison.model.plausibility import Owner
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.beneath import open_beneath
from jettison.storage.filesystem.documents import FolderDocuments
from jettison.storage.filesystem.draft import Draft, open_record, rename, sync_file, write_file
from jettison.storage.filesystem.folder import (
    ATTEMPTS,
    BlockedError,
    Folder,
    UnusableError,
    adopt,
    storage_errors,
)
from jettison.storage.filesystem.monitoring import TreeMonitor
from jettison.storage.filesystem.mounts import inner_mounts
from jettison.storage.filesystem.owners import other_layout, owners_in_tree
from jettison.storage.filesystem.processes import writers
from jettison.storage.filesystem.reading import TreeReader, is_leftover
from jettison.storage.filesystem.repository import RepositoryReader, leftovers_in, read_upload
from jettison.storage.protocol import EmptyBlob, Leftover, Place, Stamp, TagsByManifest, Writer
from jettison.storage.tag_index import TagIndex

if TYPE_CHECKING:
    from jettison.storage.filesystem.checking import TreeCheck
    from jettison.storage.filesystem.quarantine import LinkQuarantine, Quarantine
    from jettison.storage.filesystem.serving import TreeServing
    from jettison.storage.filesystem.uploads import TreeUploads

__all__ = ["BlobDraft", "StorageTree"]

_FOLDERS: Final = ("docker", "docker/registry", layout.MARKER, layout.BLOBS, layout.REPOSITORIES)
_NO_LOCKS: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP})
_FRESH_NS: Final = 10_000_000_000
_SHOWN: Final = 5
_PIECE: Final = 256 * 1024
LARGEST_DRAFT: Final = 4 * 1024 * 1024
"""In bytes: no registry takes a larger manifest."""
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
        self._doubtful: set[Digest] = set()

    @classmethod
    def make(cls, root: Path) -> Self:
        """Open the tree below ``root``, made with nothing in it where there is none yet."""
        with storage_errors("make", root):
            root.mkdir(parents=True, exist_ok=True)
        with Folder.root(root.resolve()) as top:
            for folder in (layout.BLOBS, layout.REPOSITORIES):
                _make_below(top, folder).close()
        return cls(root)

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
                if isinstance(cause, OSError) and cause.errno in _OCCUPIED:
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
                    if error.errno not in _NO_LOCKS:
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

    # Removing.

    def untag(self, repository: RepoName, tag: Tag, expected: Digest | None = None) -> bool:
        """Remove a tag and nothing else; False if it was not there.

        The tag's folder is renamed away in one step: a crash leaves no half of a tag, which would
        protect the whole repository for ever. With ``expected`` what was taken is looked at then:
        a tag that points to anything else is put back, and :class:`PlanStale` raised.
        """
        folder = layout.tag_folder(repository, tag)
        with self._deciding():
            away = self._take_away(folder)
            if away is None:
                return False
            if expected is not None and not self._holds(f"{away}/current/link", expected.encode()):
                self._bring_back(away, folder)
                message = f"{repository}:{tag} does not point to {expected.short} any more"
                raise PlanStale(message, hint="Run the command again to see the new plan.")
        # The tag is gone; what remains of it is cleaned up later if not now.
        with contextlib.suppress(StorageError):
            self.root_folder.remove_all(away)
        return True

    @contextlib.contextmanager
    def _deciding(self, *, alone: bool = False) -> Iterator[bool]:
        """Keep :meth:`remove_remains` from what is taken away meanwhile: it may have to come back.

        ``alone`` is for that method itself, which does not wait: yields whether nothing is being
        decided on. False also where the file system locks no folders.
        """
        folder = self.folder(layout.MARKER)
        if folder is None:
            yield False
            return
        with folder:
            try:
                how = fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH
                fcntl.flock(folder.descriptor, how)
                locked = True
            except OSError as error:
                if error.errno not in _NO_LOCKS | {errno.EWOULDBLOCK}:
                    raise
                locked = False
            yield locked

    def _take_away(self, folder: str) -> str | None:
        """Rename a folder out of the registry's sight; return where to, None if it is not there."""
        self.refuse_links(folder)
        above, _, name = folder.rpartition("/")
        opened = self.folder(above)
        if opened is None:
            return None
        new = str(uuid.uuid4())
        with opened, storage_errors("remove", self.path(folder)):
            room = self._make_if_room(layout.LEAVING)
            away = f"{layout.LEAVING}/{new}" if room else layout.beside(new)
            if not opened.move(name, self.root_folder, away):
                return None
            opened.sync()
        return away

    def _holds(self, relative: str, raw: bytes) -> bool:
        with contextlib.suppress(UnusableError):
            return self.root_folder.read(relative, len(raw)) == raw
        return False

    def _bring_back(self, away: str, place: str) -> None:
        """Rename what was taken away to its place, unless there is something new by now."""
        top = self.root_folder
        if not top.is_folder(away):
            top.give_back(away, top, place)
            return
        with storage_errors("put back", self.path(place)):
            try:
                top.move(away, top, place)
            except OSError as error:
                if error.errno not in _OCCUPIED:
                    raise

    def remove_remains(self, before: float) -> None:
        """Remove what killed processes left among what is ours.

        What was on its way out goes at once, unless somebody may just be about to put it back;
        then, and drafts, if they were not touched since ``before`` (seconds since the epoch).
        """
        for path in (layout.DRAFTS, layout.RUNS, *self._below(layout.RELATIONS)):
            folder = self.folder(path)
            if folder is None:
                continue
            with folder:
                for entry in folder.entries():
                    draft = path == layout.DRAFTS or entry.name.endswith(".tmp")
                    if not draft or (folder.time(entry.name) or 0) >= before * 1e9:
                        continue
                    if entry.is_dir(follow_symlinks=False):  # a tag
                        folder.remove_all(entry.name)
                    else:
                        folder.unlink(entry.name)
        with self._deciding(alone=True) as decided:
            leaving = list(self._leaving())
        for path in leaving:
            status = None if decided else self.root_folder.look(path)
            if decided or (status is not None and status.st_ctime < before):
                self.root_folder.remove_all(path)

    def _below(self, relative: str) -> Iterator[str]:
        folder = self.folder(relative)
        if folder is not None:
            with folder:
                inner = folder.folders()[0]
            yield relative
            for name in inner:
                yield from self._below(f"{relative}/{name}")

    def _leaving(self) -> Iterator[str]:
        folder = self.folder(layout.LEAVING)
        if folder is not None:
            with folder:
                # Not the folder itself: somebody may be about to move something into it.
                for entry in folder.entries():
                    yield f"{layout.LEAVING}/{entry.name}"
        for entry in self.root_folder.entries():
            what = entry.name.removeprefix(layout.BESIDE)
            if what != entry.name and layout.digest_of(*what.partition("-")[::2]) is None:
                yield entry.name

    def delete_revision(
        self,
        repository: RepoName,
        digest: Digest,
        only: AbstractSet[Tag] | None = None,
        tagged: TagsByManifest | None = None,
    ) -> bool:
        """Remove the tags that point to a manifest, then it itself from the repository.

        The same stays behind as in Distribution; but that removes the manifest first, and a crash
        in between leaves tags that lead nowhere. Done again after a crash it finishes the job.
        False if nothing was there. With ``only``, nothing is removed if any other tag points to
        it, or one of these to anything else, and :class:`TagsAppeared` raised; that holds against
        those who do not know our lock too.
        ``tagged`` spares reading all tags.
        """
        tagged = tagged or TagIndex(self, repository)
        linked = self._revision_time(repository, digest)
        tags = tagged.tags(digest.raw)
        _refuse_others(repository, digest, tags, only)
        self._refuse_moved(repository, digest, (only or frozenset()) - set(tags))
        removed = False
        for tag in tags:
            # One that was given to another image meanwhile is none of ours.
            with contextlib.suppress(PlanStale):
                removed |= self.untag(repository, tag, digest)
        if only is None or linked is None:
            return self.unlink(layout.revision_link(repository, digest)) or removed
        return self._take_revision(repository, digest, linked, tagged) or removed

    def _take_revision(
        self, repository: RepoName, digest: Digest, linked: int, tagged: TagsByManifest
    ) -> bool:
        """Remove a revision's link, unless it was written again since ``linked`` (nanoseconds)."""
        link = layout.revision_link(repository, digest)
        with self._deciding():
            away = self._take_away(link)
            if away is None:
                return False
            taken = self.mtime(away) or 0
            # Whoever has put it a moment ago may be about to write the tag.
            fresh = taken > time.time_ns() - _FRESH_NS
            if taken != linked or (fresh and tagged.tags(digest.raw)):
                self._bring_back(away, link)
                _refuse_others(repository, digest, tagged.tags(digest.raw), frozenset())
                message = f"{repository}@{digest} was pushed again just now"
                raise TagsAppeared(message, hint="Run the command again to see the new plan.")
        with contextlib.suppress(StorageError):
            self.root_folder.unlink(away)
        return True

    def _refuse_moved(self, repository: RepoName, digest: Digest, tags: AbstractSet[Tag]) -> None:
        """Raise :class:`TagsAppeared` if one of these tags points to another manifest by now."""
        with RepositoryReader(self, repository) as reader:
            for tag in sorted(tags):
                now = reader.tag(tag)
                if isinstance(now, bytes) and now != digest.raw:
                    to = Digest.from_raw(now).short
                    message = f"{repository}:{tag} points to {to} now, not to {digest.short}"
                    raise TagsAppeared(message, hint="Run the command again to see the new plan.")

    def _revision_time(self, repository: RepoName, digest: Digest) -> int | None:
        with RepositoryReader(self, repository) as reader:
            return reader.revision_time(digest.raw)

    def unlink_layer(self, repository: RepoName, digest: Digest) -> bool:
        """Remove a blob from a repository, and nothing else; False if it was not there."""
        return self.unlink(layout.layer_link(repository, digest))

    def unlink(self, relative: str) -> bool:
        """Remove a file; False if it was not there. No symbolic link on the way is followed."""
        if self.root_folder.unlink(relative):
            return True
        self.refuse_links(relative.rpartition("/")[0])
        return False

    def remove_folder_if_empty(self, relative: str) -> bool:
        """Remove a folder that nothing is in; False for one that is in use, or absent."""
        above, _, name = relative.rpartition("/")
        folder = self.folder(above)
        if folder is None:
            return False
        with folder:
            return folder.remove_if_empty(name)

    def remove_repository(self, name: RepoName) -> bool:
        """Remove a repository in which there are only folders, and parents that it leaves empty.

        Only empty folders are removed, one by one: whatever somebody writes meanwhile stays.
        False if something stays. Repositories inside of it are others, and stay.
        """
        top = layout.repository(name)
        self.refuse_links(top)
        # Whoever puts a manifest holds the folder's lock: it must not go away from under it.
        with self.writing(name):
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
        return self._make_if_room(relative)

    def make_folder_of(self, relative: str) -> None:
        """Make the folder that a file is to lie in, if it is not there."""
        self._make(relative.rpartition("/")[0]).close()

    def make_folder(self, relative: str) -> Folder:
        """Open a folder, made with those above it where they are not there."""
        return self._make(relative)

    def remove_upload(self, repository: RepoName, upload: str, moved: Stamp | None = None) -> bool:
        """Remove an unfinished upload; False if it was not there.

        With ``moved`` only one that has moved last at that moment: it is taken
        away, looked at, and brought back where somebody goes on with it.
        """
        place = f"{layout.uploads(repository)}/{upload}"
        with self._deciding():
            away = self._take_away(place)
            if away is None:
                return False
            folder = None if moved is None else self.folder(away)
            if folder is not None:
                with folder:
                    now = read_upload(upload, folder).moved
                if now != moved:
                    self._bring_back(away, place)
                    return False
        self.root_folder.remove_all(away)
        return True

    def remove_leftover(self, leftover: Leftover) -> bool:
        """Remove a temporary file, unless it was written since it was listed; False if so."""
        return self.mtime(leftover.path) == leftover.stamp and self.unlink(leftover.path)

    def remove_empty(self, place: Place, names: Sequence[str]) -> Iterator[str]:
        """Remove the folders ``names`` in a folder in which nothing is; yield those that went."""
        folder = self.folder(place)
        if folder is None:
            return
        with folder:
            outcomes = folder.remove_each_if_empty(names)
        yield from (name for name, done in zip(names, outcomes, strict=True) if done is True)
        for outcome in outcomes:
            if isinstance(outcome, StorageError):
                raise outcome

    # Asking.

    def repository(self, name: str) -> RepositoryReader:
        """Look into a repository."""
        return RepositoryReader(self, name)

    def empty_blob(self, digest: RawDigest, before: Stamp) -> EmptyBlob | None:
        """Look into a blob's folder: temporary files, and whether it can go (idle ``before``).

        Distribution 3.x writes a blob beside its place, syncs it, and renames it.
        """
        folder = self.folder(layout.blob(Digest.from_raw(digest)))
        if folder is None:
            return None
        with folder:
            left, others = leftovers_in(self, folder, before)
            drafts = []
            for entry in folder.entries():
                with contextlib.suppress(UnusableError):
                    raw = folder.read(entry.name, LARGEST_DRAFT) if is_leftover(entry) else None
                    drafts += [raw] if raw else []
            return EmptyBlob(left, not others and folder.own_time() <= before, drafts)

    def documents(self, collection: str) -> FolderDocuments:
        """Open a collection of documents of ours, such as ``runs``."""
        return FolderDocuments.in_tree(self.root, collection)

    def exists(self, place: str) -> bool:
        """Whether anything is at a path."""
        return self.root_folder.look(place) is not None

    def owners(self) -> tuple[Owner, ...]:
        """Return the other programs that files in the tree name."""
        return tuple(owners_in_tree(self.root_folder))

    def detached(self) -> tuple[str, ...]:
        """Return what of the tree is on another file system or mount than its root."""
        return inner_mounts(self.root_folder)

    def writers(self, configuration: str) -> Iterator[Writer]:
        """Yield the processes of this machine that write to the tree."""
        return writers(self.root, Path(configuration))

    # Serving. Imported here: these are about this class.

    def serving(self) -> "TreeServing":
        """Return what answers requests; one for each process, since it keeps what it has read."""
        from jettison.storage.filesystem.serving import TreeServing  # noqa: PLC0415 - see above

        return TreeServing(self)

    def uploading(self) -> "TreeUploads":
        """Return what takes in blobs."""
        from jettison.storage.filesystem.uploads import TreeUploads  # noqa: PLC0415 - see above

        return TreeUploads(self)

    def monitoring(self) -> TreeMonitor:
        """Return what tells how the file system is."""
        return TreeMonitor(self.root)

    # Taking aside. Imported here too.

    def lease(self, purpose: str) -> contextlib.AbstractContextManager[object]:
        """Hold the tree's lock: one collection or repair at a time."""
        from jettison.storage.filesystem.lock import StorageLock  # noqa: PLC0415 - see above

        return StorageLock(self, purpose)

    def quarantine(self) -> "Quarantine":
        """Open where blobs lie aside."""
        from jettison.storage.filesystem.quarantine import Quarantine  # noqa: PLC0415 - see above

        return Quarantine(self)

    def link_quarantine(self) -> "LinkQuarantine":
        """Open where links lie aside."""
        from jettison.storage.filesystem.quarantine import (  # noqa: PLC0415 - see above
            LinkQuarantine,
        )

        return LinkQuarantine(self)

    def seeing_quarantine(self) -> contextlib.AbstractContextManager[frozenset[RawDigest]]:
        """See what lies aside in its place meanwhile; yields the blobs of it."""
        from jettison.storage.filesystem.quarantine import (  # noqa: PLC0415 - see above
            seeing_quarantine,
        )

        return seeing_quarantine(self)

    def checking(self, idle: Stamp) -> "TreeCheck":
        """Begin a check of the tree."""
        from jettison.storage.filesystem.checking import TreeCheck  # noqa: PLC0415 - see above

        return TreeCheck(self, idle)

    def is_blob_gone(self, digest: RawDigest) -> bool:
        """Whether a blob is neither in its place nor aside."""
        if self.blob(digest) is not None:
            return False
        return all(self.mtime(name) is None for name in layout.set_aside_names(digest))

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
        return _make_below(self.root_folder, relative)

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

    def __init__(self, tree: StorageTree, repository: RepoName, digest: Digest) -> None:
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


def _refuse_others(
    repository: RepoName, digest: Digest, tags: Iterable[Tag], only: AbstractSet[Tag] | None
) -> None:
    others = [tag for tag in tags if only is not None and tag not in only]
    if others:
        names = ", ".join(f"{repository}:{tag}" for tag in others[:_SHOWN])
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        message = f"{names}{more} was pushed to {digest.short} meanwhile"
        raise TagsAppeared(message, hint="Run the command again to see the new plan.")


def _make_below(top: Folder, relative: str) -> Folder:
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
                with _make_below(top, above) as parent:
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
    other = other_layout(root)
    if other is not None:
        return f"It holds {other}: collect it with the registry that it belongs to."
    return "Give storage.filesystem.rootdirectory of the registry's configuration."
