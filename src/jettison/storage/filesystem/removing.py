"""Removing from a storage tree: tags, manifests, uploads, and what killed processes left.

References are removed before what they reference (decision 0017). What goes is first renamed out of
the registry's sight in one step, looked at there, and put back if it is not what it should be.
"""

import contextlib
import errno
import fcntl
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from jettison.errors import PlanStale, StorageError, TagsAppeared
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.folder import BlockedError, Folder, UnusableError, storage_errors
from jettison.storage.filesystem.reading import is_leftover
from jettison.storage.filesystem.repository import RepositoryReader, leftovers_in, read_upload
from jettison.storage.filesystem.writing import NO_LOCKS, OCCUPIED, TreeWriter
from jettison.storage.protocol import EmptyBlob, Leftover, Place, Stamp, TagsByManifest
from jettison.storage.tag_index import TagIndex

__all__ = ["TreeRemover"]

_FRESH_NS: Final = 10_000_000_000
_SHOWN: Final = 5
LARGEST_DRAFT: Final = 4 * 1024 * 1024
"""In bytes: no registry takes a larger manifest."""


class TreeRemover(TreeWriter):
    """Removes from the storage tree at ``root``."""

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
                if error.errno not in NO_LOCKS | {errno.EWOULDBLOCK}:
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
            room = self._make_if_room(layout.TRASH)
            away = f"{layout.TRASH}/{new}" if room else layout.beside(new)
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
                if error.errno not in OCCUPIED:
                    raise

    def require_strong_listing(self) -> None:
        """Return: a folder shows what is in it."""

    def remove_remains(self, before: float) -> None:
        """Remove what killed processes left among what is ours.

        What was on its way out goes at once, unless somebody may just be about to put it back;
        then, and drafts, if they were not touched since ``before`` (seconds since the epoch).
        """
        notes = (*self._below(layout.RELATIONS), *self._below(layout.UNTAGGED))
        for path in (layout.DRAFTS, layout.RUNS, *notes):
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
        folder = self.folder(layout.TRASH)
        if folder is not None:
            with folder:
                # Not the folder itself: somebody may be about to move something into it.
                for entry in folder.entries():
                    yield f"{layout.TRASH}/{entry.name}"
        for entry in self.root_folder.entries():
            what = entry.name.removeprefix(layout.QUARANTINE_PREFIX)
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
        tags = tagged.tags(digest.binary)
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
            if taken != linked or (fresh and tagged.tags(digest.binary)):
                self._bring_back(away, link)
                _refuse_others(repository, digest, tagged.tags(digest.binary), frozenset())
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
                if isinstance(now, bytes) and now != digest.binary:
                    to = Digest.from_binary(now).short
                    message = f"{repository}:{tag} points to {to} now, not to {digest.short}"
                    raise TagsAppeared(message, hint="Run the command again to see the new plan.")

    def _revision_time(self, repository: RepoName, digest: Digest) -> int | None:
        with RepositoryReader(self, repository) as reader:
            return reader.revision_time(digest.binary)

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

    # Looking into what may go.

    def repository(self, name: str) -> RepositoryReader:
        """Look into a repository."""
        return RepositoryReader(self, name)

    def empty_blob(self, digest: BinaryDigest, before: Stamp) -> EmptyBlob | None:
        """Look into a blob's folder: temporary files, and whether it can go (idle ``before``).

        Distribution 3.x writes a blob beside its place, syncs it, and renames it.
        """
        folder = self.folder(layout.blob(Digest.from_binary(digest)))
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


def _refuse_others(
    repository: RepoName, digest: Digest, tags: Iterable[Tag], only: AbstractSet[Tag] | None
) -> None:
    others = [tag for tag in tags if only is not None and tag not in only]
    if others:
        names = ", ".join(f"{repository}:{tag}" for tag in others[:_SHOWN])
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        message = f"{names}{more} was pushed to {digest.short} meanwhile"
        raise TagsAppeared(message, hint="Run the command again to see the new plan.")


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
