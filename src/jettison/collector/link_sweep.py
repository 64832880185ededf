"""Removing links beside a registry that may be writing them again.

A link is taken out of the registry's sight in one step, and looked at when nobody finds it any
more: what was written to it since the plan shows, and it goes back. It is looked at once more
before it is removed, at least :data:`~jettison.collector.sweep.SETTLE_SECONDS` later:
Distribution 2.x opens a link and then writes, and may have opened it before it was taken. The
history of tags goes, and comes back, with the manifests that it names.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from jettison.collector.changes import Watch
from jettison.collector.count import Count
from jettison.collector.plan import CollectionPlan, HistoryEntry, LinkedDigest
from jettison.errors import StorageError
from jettison.model.digest import Digest, RawDigest
from jettison.model.names import RepoName
from jettison.progress import Progress
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.folder import Folder
from jettison.storage.filesystem.quarantine import LinkQuarantine
from jettison.storage.filesystem.tree import StorageTree

__all__ = ["LinkSweep"]

AnyLink = TypeVar("AnyLink", LinkedDigest, HistoryEntry)


class LinkSweep:
    """The links of one plan: those of a kind are taken, and then removed, or all put back.

    ``are_aside``: some may lie aside now. ``are_gone``: some were removed, so that only ``watch``
    can bring them back.
    """

    def __init__(
        self,
        tree: StorageTree,
        plan: CollectionPlan,
        watch: Watch,
        count: Count,
    ) -> None:
        self._tree = tree
        self._plan = plan
        self._aside = LinkQuarantine(tree)
        self._watch = watch
        self._count = count
        self.are_aside = False
        self.are_gone = False

    # Taking.

    def take_revisions(self) -> bool:
        """Take history entries and revisions, unless somebody needs them by now.

        False if there are none to take.
        """
        if not self._plan.revisions:
            return False
        # One that was put again since the plan stays, and so does what lives with it.
        for folder, links in self._by_folder(self._plan.revisions, _above_revision):
            for link in links:
                if self._time(folder, link) != link.mtime_ns:
                    self._watch.keep_revision(link.repository, link.digest.raw)
        self._watch.look()
        self._begin()
        stuck = self._take_history()
        for folder, links in self._by_folder(self._plan.revisions, _above_revision):
            for link in links:
                stays = (link.repository, link.digest) in stuck
                if not stays and self._take(folder, link):
                    self._watch.unlinked_revision(link.repository, link.digest.raw)
                else:
                    self._watch.keep_revision(link.repository, link.digest.raw)
        self._watch.look()  # those that were to go and stay need their layers
        return True

    def _take_history(self) -> set[tuple[RepoName, Digest]]:
        """Return those that could not be taken; nothing would look for them ever again."""
        stuck: set[tuple[RepoName, Digest]] = set()
        for folder, entries in self._by_folder(self._plan.history, _above_history):
            for entry in entries:
                if folder is None or self._watch.needs(entry.repository, entry.digest.raw):
                    continue
                try:
                    self._aside.take(folder, entry.digest.hex)
                except StorageError as error:
                    self._count.failed(self._path(folder, entry.digest), error.message)
                    stuck.add((entry.repository, entry.digest))
        return stuck

    def _time(self, folder: Folder | None, link: LinkedDigest) -> int | None:
        try:
            return None if folder is None else folder.time(f"{link.digest.hex}/{layout.LINK}")
        except StorageError:
            return None  # what cannot be looked at stays

    def take_layers(self, progress: Progress) -> None:
        """Take layer links, unless somebody needs them by now."""
        done, total = 0, len(self._plan.layer_links)
        if total:
            self._begin()
        for folder, links in self._by_folder(self._plan.layer_links, _above_layer):
            progress("removing links", done, total)
            done += len(links)
            for link in links:
                if self._take(folder, link):
                    self._watch.unlinked_layer(link.repository, link.digest.raw)
        progress("removing links", total, total)

    def _take(self, folder: Folder | None, link: LinkedDigest) -> bool:
        """Take a link, unless it was written again or is needed by now."""
        if folder is None or self._watch.needs(link.repository, link.digest.raw):
            return False
        try:
            return self._aside.take(folder, link.digest.hex, link.mtime_ns)
        except StorageError as error:
            self._count.failed(self._path(folder, link.digest), error.message)
            return False

    # Removing.

    def remove_revisions(self) -> None:
        """Remove the taken revisions, but for what somebody has written to or needs since then."""
        while self._keep_rewritten():
            self._watch.look()
        self.are_gone = True
        # What cannot be removed stays, and so does what it leads to.
        stuck = self._each(self._plan.history, _above_history, self._remove_history)
        for entry in stuck:
            self._watch.link_revision(entry.repository, entry.digest.raw)
        for link in self._each(self._plan.revisions, _above_revision, self._remove_revision):
            self._watch.link_revision(link.repository, link.digest.raw)
        self._each(stuck, _above_history, self._put_back)
        self._watch.look()

    def remove_layers(self) -> None:
        """Remove the taken layer links, and want the blobs of those that somebody wrote to."""
        self.are_gone = True
        touched: set[RawDigest] = set()

        def remove_layer(folder: Folder, link: LinkedDigest) -> None:
            taken = self._aside.time(folder, link.digest.hex)
            if taken == link.mtime_ns:
                self._remove(folder, link.digest, "layer_links")
            elif taken is not None:
                self._aside.put_back(folder, link.digest.hex)
                touched.add(link.digest.raw)

        stuck = self._each(self._plan.layer_links, _above_layer, remove_layer)
        self._watch.want(touched.union(link.digest.raw for link in stuck))
        self.are_aside = False

    def _keep_rewritten(self) -> bool:
        """Put back the revisions that were written to since they were taken; False: none was."""
        found = False

        def keep(folder: Folder, link: LinkedDigest) -> None:
            nonlocal found
            name, digest = link.repository, link.digest
            if not self._watch.is_unlinked(name, digest.raw):
                return
            if self._aside.time(folder, digest.hex) != link.mtime_ns:
                self._watch.is_linked(name, digest.raw)
                found = True
                self._aside.put_back(folder, digest.hex)

        self._each(self._plan.revisions, _above_revision, keep)
        return found

    def _remove_history(self, folder: Folder, entry: HistoryEntry) -> None:
        if self._watch.is_unlinked(entry.repository, entry.digest.raw):
            self._remove(folder, entry.digest, "history")
        else:
            self._aside.put_back(folder, entry.digest.hex)

    def _remove_revision(self, folder: Folder, link: LinkedDigest) -> None:
        name, digest = link.repository, link.digest
        if self._watch.is_unlinked(name, digest.raw) and self._remove(folder, digest, "revisions"):
            self._watch.removed_folder(name, digest.raw)

    def _remove(self, folder: Folder, digest: Digest, kind: str) -> bool:
        """Remove a link that lies aside, and its folder; whether that is gone too."""
        removed = self._aside.remove(folder, digest.hex)
        # Also where no link was: a killed sweep has left the folder of one that it had removed.
        empty = folder.remove_if_empty(digest.hex)
        if removed and (empty or folder.look(f"{digest.hex}/{layout.LINK}") is None):
            self._count.add(kind, len(digest))  # else somebody has just written it again
        return empty

    # Putting back.

    def put_back(self) -> None:
        """Put all back that was taken and not removed."""
        self._each(self._plan.history, _above_history, self._put_back)
        self._each(self._plan.revisions, _above_revision, self._put_back)
        self._each(self._plan.layer_links, _above_layer, self._put_back)
        self.are_aside = False

    def _put_back(self, folder: Folder, link: LinkedDigest | HistoryEntry) -> None:
        self._aside.put_back(folder, link.digest.hex)

    def _begin(self) -> None:
        if not self.are_aside:
            self.are_aside = True
            self._aside.begin([blob.digest for blob in self._plan.blobs])

    def end(self) -> None:
        """Note that the sweep has come to its end."""
        # Where something could not be done, the next collection looks everywhere.
        if not self._count.failures:
            with self._count.errors(layout.LINKS_ASIDE):
                self._aside.end()

    # Each.

    def _each(
        self,
        links: Sequence[AnyLink],
        above: Callable[[AnyLink], str],
        do: Callable[[Folder, AnyLink], None],
    ) -> list[AnyLink]:
        """Do something to each link whose folder is there, and return where that failed."""
        failed: list[AnyLink] = []
        for folder, some in self._by_folder(links, above):
            if folder is None:
                continue
            for link in some:
                try:
                    do(folder, link)
                except StorageError as error:
                    self._count.failed(self._path(folder, link.digest), error.message)
                    failed.append(link)
        return failed

    def _by_folder(
        self, links: Sequence[AnyLink], above: Callable[[AnyLink], str]
    ) -> Iterator[tuple[Folder | None, list[AnyLink]]]:
        """Yield the links by the folder that their own are in, held open meanwhile.

        None is yielded for a folder that is not there or cannot be opened.
        """
        for path, group in groupby(links, key=above):
            folder = None
            with self._count.errors(path):
                folder = self._tree.folder(path)
            if folder is None:
                yield None, list(group)
                continue
            with folder:
                yield folder, list(group)

    def _path(self, folder: Folder, digest: Digest) -> str:
        return self._tree.relative(f"{folder.path}/{digest.hex}/{layout.LINK}")


def _above_layer(link: LinkedDigest) -> str:
    return f"{layout.layers(link.repository)}/{link.digest.algorithm}"


def _above_revision(link: LinkedDigest) -> str:
    return f"{layout.revisions(link.repository)}/{link.digest.algorithm}"


def _above_history(entry: HistoryEntry) -> str:
    return f"{layout.history(entry.repository, entry.tag)}/{entry.digest.algorithm}"
