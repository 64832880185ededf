"""Reading links and contents for an answer, at a handful of system calls each.

What a tag or a layer leads to is looked at on the disk every time, so what another program does to
the tree is seen at once, and nothing is ever promised from memory (decision 0005: the descriptor
cache). Only the bytes of small contents are kept, by digest: they cannot change, and that they are
still on the disk is looked at each time.
"""

import errno
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

from jettison.errors import (
    InvalidDigest,
    StorageError,
    Unsettled,
    storage_error,
)
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.beneath import look_beneath, open_beneath
from jettison.storage.filesystem.folder import Folder, storage_errors
from jettison.storage.filesystem.open_file import OpenFile
from jettison.storage.filesystem.reading import LARGEST_MANIFEST, SETTLED_NS, InnerFolders
from jettison.storage.filesystem.removing import TreeRemover
from jettison.storage.filesystem.tag_names import sorted_tags
from jettison.storage.protocol import ManifestContent, Stamp, TagNames
from jettison.storage.served import SMALL, manifest_content

__all__ = ["TreeServing"]

_KEPT_BYTES: Final = 16 * 1024 * 1024
_KEPT_TYPES: Final = 4096
_KEPT_LINKS: Final = 8192
_KEPT_FOLDERS: Final = 100_000
_PAUSES: Final = (0.0, 0.0005, 0.001)
"""Seconds until a link is read again that is none: Distribution 2.x empties and rewrites links."""
_UNSETTLED_NS: Final = 1_000_000_000
"""For so long after a link was written to it may be in the middle of a rewrite."""
_LINK: Final = 256
_TRUSTED_SECONDS: Final = 1.0
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK
_ABSENT: Final = (FileNotFoundError, NotADirectoryError)


class _Known(NamedTuple):
    """What a link held, which file it was, and until when (monotonic) that need not be read."""

    identity: tuple[int, ...]
    digest: Digest
    until: float


def _identity_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_mtime_ns, status.st_ino, status.st_dev, status.st_size


class _Kept:
    """The bytes of a small content, and which file they were read from."""

    __slots__ = ("inode", "manifest", "raw")

    def __init__(self, raw: bytes, inode: int) -> None:
        self.raw = raw
        self.inode = inode
        self.manifest: ManifestContent | None = None


class TreeServing:
    """What is in a tree, as requests ask for it (:class:`~jettison.storage.protocol.Serving`)."""

    def __init__(self, tree: TreeRemover) -> None:
        self._tree = tree
        self._repositories = _open(tree.repositories_folder, tree, layout.REPOSITORIES)
        self._blobs = _open(tree.blobs_folder, tree, layout.BLOBS)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._kept_bytes = 0
        self._links: dict[str, _Known] = {}
        self._types: dict[str, tuple[tuple[int, int], str]] = {}
        self._broken: dict[str, tuple[int, int, int]] = {}
        self._folders: dict[str, InnerFolders] = {}

    # Links.

    def tag(self, repository: RepoName, tag: Tag) -> Digest | None:
        """Return what a tag points to; None if there is no such tag.

        Raises :class:`~jettison.errors.StorageError` for a link that is damaged.
        """
        return self._link(f"{repository}/_manifests/tags/{tag}/current/link")

    def resolve(self, repository: RepoName, tag: Tag) -> Digest | None:
        """Return what a tag points to, if that manifest is part of the repository."""
        found = self.tag(repository, tag)
        return found if found is not None and self.has_revision(repository, found) else None

    def layer(self, repository: RepoName, digest: Digest) -> Digest | None:
        """Return the blob that a repository's link of a digest leads to; None if it has none."""
        return self._link(f"{repository}/_layers/{digest.algorithm}/{digest.hex}/link")

    def has_revision(self, repository: RepoName, digest: Digest) -> bool:
        """Whether a manifest is part of a repository: its link is there, and as long as a digest.

        What a link of that length says is not read: nobody writes another than its folder's name.
        """
        path = f"{repository}/_manifests/revisions/{digest.algorithm}/{digest.hex}/link"
        if self._known(path) is not None:
            return True
        found = _look(self._repositories, path)
        if found is None:
            return False
        if found.st_size == len(digest):
            self._note(path, found, digest)
            return True
        for _ in self._moments(path, found):
            again = _look(self._repositories, path)
            if again is None or again.st_size == len(digest):
                return again is not None
            found = again
        if _is_unsettled(found):
            raise self._damaged(path, f"{found.st_size} bytes")
        return False

    def _link(self, path: str) -> Digest | None:
        """Read a link, unless it is the very file that was read before.

        A file that was written to a moment ago may be written to again without its time showing it.
        """
        known = self._known(path)
        if known is not None:
            return known
        status = _look(self._repositories, path)
        if status is None:
            return None
        before = self._links.get(path)
        if before is not None and before.identity == _identity_of(status):
            found: Digest | None = before.digest
        else:
            found = self._read_link(path, status)
        if found is not None and status.st_mtime_ns < time.time_ns() - SETTLED_NS:
            self._note(path, status, found)
        return found

    def _note(self, path: str, status: os.stat_result, digest: Digest) -> None:
        if len(self._links) >= _KEPT_LINKS:
            self._links.clear()
        until = time.monotonic() + _TRUSTED_SECONDS
        self._links[path] = _Known(_identity_of(status), digest, until)

    def _known(self, path: str) -> Digest | None:
        """Return what the link at a path held when it was looked at, if that is the very file.

        The most frequent question of all, so asked in one call of the system and not in three. It
        would go through a symbolic link to that same file; so for a moment only.
        """
        known = self._links.get(path)
        if known is None or known.until < time.monotonic():
            return None
        try:
            found = os.stat(path, dir_fd=self._repositories)
        except OSError:
            return None
        return known.digest if known.identity == _identity_of(found) else None

    def _read_link(self, path: str, status: os.stat_result) -> Digest | None:
        raw = self._link_bytes(path)
        found = None if raw is None else _parse(raw)
        if raw is None or found is not None:
            return found
        for _ in self._moments(path, status):
            raw = self._link_bytes(path)
            found = None if raw is None else _parse(raw)
            if raw is None or found is not None:
                return found
        raise self._damaged(path, repr((raw or b"")[:80]))

    def _link_bytes(self, path: str) -> bytes | None:
        descriptor = _descriptor(self._repositories, path)
        if descriptor is None:
            return None
        try:
            return os.read(descriptor, _LINK)
        except OSError as error:
            raise storage_error("read", path, error) from error
        finally:
            os.close(descriptor)

    def _moments(self, path: str, status: os.stat_result) -> Iterator[None]:
        """Pause, a millisecond or two in all, while a link may be in the middle of a rewrite.

        Nobody is kept waiting for one that was found broken before and has not changed since.
        """
        known = (status.st_mtime_ns, status.st_ino, status.st_size)
        if self._broken.get(path) == known:
            return
        for pause in _PAUSES:
            time.sleep(pause)
            yield
        if status.st_mtime_ns < time.time_ns() - SETTLED_NS:
            if len(self._broken) >= _KEPT_LINKS:
                self._broken.clear()
            self._broken[path] = known

    def _damaged(self, path: str, what: str) -> StorageError:
        status = _look(self._repositories, path)
        kind = Unsettled if status is not None and _is_unsettled(status) else StorageError
        message = f"{self._tree.path(layout.REPOSITORIES)}/{path} holds no digest, but {what}"
        return kind(message, hint="Push the image again, or look at `jettison fsck`.")

    # Contents.

    def size(self, digest: Digest) -> int | None:
        """Return the size of a blob in bytes; None if there is none."""
        found = _look(self._blobs, _path(digest))
        return None if found is None or not stat.S_ISREG(found.st_mode) else found.st_size

    def small(self, digest: Digest) -> bytes | None:
        """Return a content of at most :data:`SMALL` bytes; None if it is absent or larger."""
        found = self._small(digest, SMALL)
        return None if found is None else found.raw

    def _small(self, digest: Digest, limit: int) -> _Kept | None:
        path = _path(digest)
        kept = self._kept.get(digest)
        if kept is not None and self._is_still_there(path, kept):
            self._kept.move_to_end(digest)
            return kept
        found = _look(self._blobs, path)
        if found is None:
            return None
        if found.st_size > limit or not stat.S_ISREG(found.st_mode):
            return None
        return self._read(digest, path, found.st_size)

    def _is_still_there(self, path: str, kept: _Kept) -> bool:
        """Whether a blob is the very file whose bytes are kept: those are sent, nothing is read.

        It has the digest that was asked for, wherever it lies; so one call of the system will do.
        """
        try:
            found = os.stat(path, dir_fd=self._blobs)
        except OSError:
            return False
        return found.st_ino == kept.inode and found.st_size == len(kept.raw)

    def manifest(self, digest: Digest) -> ManifestContent | None:
        """Return a small manifest, its type known; None if it is absent or larger.

        Raises :class:`~jettison.errors.StorageError` for bytes that have another digest.
        """
        found = self._small(digest, SMALL)
        if found is None:
            return None
        if found.manifest is None:
            found.manifest = manifest_content(digest, found.raw)
        return found.manifest

    def large_type(self, digest: Digest) -> str | None:
        """Return the type of a larger manifest that :meth:`examine` has read; None for others."""
        known = self._types.get(digest)
        return None if known is None or known[0] != self._identity(digest) else known[1]

    def examine(self, digest: Digest) -> str | None:
        """Read a larger manifest and return its type; None if it is absent. Takes a while."""
        identity = self._identity(digest)
        content = self._small(digest, LARGEST_MANIFEST)
        if content is None or identity is None:
            return None
        kind = manifest_content(digest, content.raw).media_type
        if len(self._types) >= _KEPT_TYPES:
            self._types.clear()
        self._types[digest] = (identity, kind)
        return kind

    def _identity(self, digest: Digest) -> tuple[int, int] | None:
        try:
            found = look_beneath(self._blobs, _path(digest))
        except OSError:
            return None
        return found.st_ino, found.st_size

    def _read(self, digest: Digest, path: str, size: int) -> _Kept | None:
        descriptor = _descriptor(self._blobs, path)
        if descriptor is None:
            return None
        try:
            raw = os.read(descriptor, size + 1)
            while len(raw) < size and (more := os.read(descriptor, size - len(raw))):
                raw += more
            inode = os.fstat(descriptor).st_ino
        except OSError as error:
            raise storage_error("read", path, error) from error
        finally:
            os.close(descriptor)
        content = _Kept(raw, inode)
        # What is damaged is not kept: it may be put right at any moment.
        if len(raw) <= SMALL and digest.matches(raw):
            self._keep(digest, content)
        return content

    def _keep(self, digest: Digest, content: _Kept) -> None:
        before = self._kept.pop(digest, None)
        self._kept_bytes += len(content.raw) - (0 if before is None else len(before.raw))
        self._kept[digest] = content
        while self._kept_bytes > _KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest.raw)

    def open(self, digest: Digest) -> OpenFile | None:
        """Open a blob; None if there is none."""
        path = _path(digest)
        descriptor = _descriptor(self._blobs, path)
        return None if descriptor is None else OpenFile.of(descriptor)

    def url(self, digest: Digest) -> None:
        """Return None: a disk is no server."""

    # Saying that somebody wants something (decision 0003).

    def touch_layer(self, repository: RepoName, digest: Digest, size: int | None = None) -> bool:
        """Touch a layer's link and its blob; False if either is missing.

        So is a blob that has another ``size`` in bytes than it should have, if that is known, or
        none at all: a power cut leaves such, and a push that is told so brings it again.
        """
        target = self.layer(repository, digest)
        if target is None:
            return False
        found = self.size(target)
        if found is None or (size is not None and found != size):
            return False
        if not found and not target.matches(b""):
            return False
        link = f"{repository}/_layers/{digest.algorithm}/{digest.hex}/link"
        tree = self._tree
        return self._touch(tree.repositories_folder, link) and self._touch(
            tree.blobs_folder, _path(target)
        )

    def touch_revision(self, repository: RepoName, digest: Digest) -> bool:
        """Touch a revision's link and its manifest; False if either is missing."""
        if not self.has_revision(repository, digest):
            return False
        link = f"{repository}/_manifests/revisions/{digest.algorithm}/{digest.hex}/link"
        tree = self._tree
        return self._touch(tree.repositories_folder, link) and self._touch(
            tree.blobs_folder, _path(digest)
        )

    def _touch(self, folder: Folder | None, path: str) -> bool:
        try:
            return folder is not None and folder.touch(path)
        except StorageError as error:
            if getattr(error.__cause__, "errno", None) != errno.EROFS:
                raise
            # Nobody can write here: then nobody can take it away either.
        return True

    def is_aside(self, digest: Digest) -> bool:
        """Whether a blob lies aside, in the usual place or in that of a full disk."""
        look = self._tree.root_folder.look
        return any(look(name) is not None for name in layout.set_aside_names(digest.binary))

    # Lists.

    def has_manifests(self, repository: RepoName) -> bool:
        """Whether a repository has a folder for manifests and tags."""
        return self._tree.root_folder.is_folder(layout.manifests(repository))

    def tags(self, repository: RepoName) -> TagNames | None:
        """List the tags of a repository; None if there is no such repository."""
        folder = self._tree.folder(layout.tags(repository))
        if folder is None:
            # Without a tag, but with manifests, it is a repository all the same.
            exists = self._tree.mtime(layout.manifests(repository)) is not None
            return TagNames([], None) if exists else None
        with folder, storage_errors("list", folder.path):
            changed = folder.own_time()
            names = os.listdir(folder.descriptor)  # noqa: PTH208 - it is open
        settled = changed < time.time_ns() - SETTLED_NS
        return TagNames(sorted_tags(names), Stamp(changed) if settled else None)

    def tags_stamp(self, repository: RepoName) -> Stamp | None:
        """Return when the folder of the tags changed; None if there is none."""
        found = self._tree.mtime(layout.tags(repository))
        return None if found is None else Stamp(found)

    def repositories_after(self, name: str) -> Iterator[str]:
        """Yield the repositories with manifests behind a name, in lexical order.

        Which folders hold some is kept, as long as the folders do not change.
        """
        if len(self._folders) > _KEPT_FOLDERS:
            self._folders = {}
        return self._tree.walk_repositories(name, self._folders)


def _is_unsettled(status: os.stat_result) -> bool:
    """Whether a file was changed a moment ago, whatever time it was given."""
    return max(status.st_mtime_ns, status.st_ctime_ns) > time.time_ns() - _UNSETTLED_NS


def _parse(raw: bytes) -> Digest | None:
    try:
        return Digest(raw.decode("ascii"))
    except (InvalidDigest, UnicodeDecodeError):
        return None


def _look(folder: int, path: str) -> os.stat_result | None:
    try:
        return look_beneath(folder, path)
    except _ABSENT:
        return None
    except OSError as error:
        raise storage_error("look at", path, error) from error


def _descriptor(folder: int, path: str) -> int | None:
    try:
        return open_beneath(folder, path, _FILE)
    except _ABSENT:
        return None
    except OSError as error:
        raise storage_error("read", path, error) from error


def _path(digest: Digest) -> str:
    encoded = digest.hex
    return f"{digest.algorithm}/{encoded[:2]}/{encoded}/data"


def _open(folder: Folder | None, tree: TreeRemover, path: str) -> int:
    if folder is None:
        raise StorageError(f"there is no folder {tree.path(path)}")
    return folder.descriptor
