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

from jettison.collector.changes import ChangeDetector
from jettison.collector.count import Count
from jettison.collector.plan import CollectionPlan, HistoryEntry, LinkedDigest
from jettison.errors import StorageError
from jettison.model.digest import Digest, RawDigest
from jettison.model.names import RepoName
from jettison.progress import Progress
from jettison.storage.protocol import LinkGroup, LinkKind, Place, Stamp, Storage

__all__ = ["LinkSweep"]

AnyLink = TypeVar("AnyLink", LinkedDigest, HistoryEntry)


class LinkSweep:
    """The links of one plan: those of a kind are taken, and then removed, or all put back.

    ``are_aside``: some may lie aside now. ``are_gone``: some were removed, so that only ``changes``
    can bring them back.
    """

    def __init__(
        self,
        storage: Storage,
        plan: CollectionPlan,
        changes: ChangeDetector,
        count: Count,
    ) -> None:
        self._plan = plan
        self._places = storage.places
        self._aside = storage.link_quarantine()
        self._changes = changes
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
        for group, links in self._by_group(self._plan.revisions, _of_revisions):
            for link in links:
                if self._time(group, link) != link.stamp:
                    self._changes.keep_revision(link.repository, link.digest.raw)
        self._changes.look()
        self._begin()
        stuck = self._take_history()
        for group, links in self._by_group(self._plan.revisions, _of_revisions):
            for link in links:
                stays = (link.repository, link.digest) in stuck
                if not stays and self._take(group, link):
                    self._changes.unlinked_revision(link.repository, link.digest.raw)
                else:
                    self._changes.keep_revision(link.repository, link.digest.raw)
        self._changes.look()  # those that were to go and stay need their layers
        return True

    def _take_history(self) -> set[tuple[RepoName, Digest]]:
        """Return those that could not be taken; nothing would look for them ever again."""
        stuck: set[tuple[RepoName, Digest]] = set()
        for group, entries in self._by_group(self._plan.history, _of_history):
            for entry in entries:
                if group is None or self._changes.needs(entry.repository, entry.digest.raw):
                    continue
                try:
                    group.take(entry.digest)
                except StorageError as error:
                    self._count.failed(group.place(entry.digest), error.message)
                    stuck.add((entry.repository, entry.digest))
        return stuck

    def _time(self, group: LinkGroup | None, link: LinkedDigest) -> Stamp | None:
        try:
            return None if group is None else group.stamp(link.digest)
        except StorageError:
            return None  # what cannot be looked at stays

    def take_layers(self, progress: Progress) -> None:
        """Take layer links, unless somebody needs them by now."""
        done, total = 0, len(self._plan.layer_links)
        if total:
            self._begin()
        for group, links in self._by_group(self._plan.layer_links, _of_layers):
            progress("removing links", done, total)
            done += len(links)
            for link in links:
                if self._take(group, link):
                    self._changes.unlinked_layer(link.repository, link.digest.raw)
        progress("removing links", total, total)

    def _take(self, group: LinkGroup | None, link: LinkedDigest) -> bool:
        """Take a link, unless it was written again or is needed by now."""
        if group is None or self._changes.needs(link.repository, link.digest.raw):
            return False
        try:
            return group.take(link.digest, link.stamp)
        except StorageError as error:
            self._count.failed(group.place(link.digest), error.message)
            return False

    # Removing.

    def remove_revisions(self) -> None:
        """Remove the taken revisions, but for what somebody has written to or needs since then."""
        while self._keep_rewritten():
            self._changes.look()
        self.are_gone = True
        # What cannot be removed stays, and so does what it leads to.
        stuck = self._each(self._plan.history, _of_history, self._remove_history)
        for entry in stuck:
            self._changes.link_revision(entry.repository, entry.digest.raw)
        for link in self._each(self._plan.revisions, _of_revisions, self._remove_revision):
            self._changes.link_revision(link.repository, link.digest.raw)
        self._each(stuck, _of_history, self._put_back)
        self._changes.look()

    def remove_layers(self) -> None:
        """Remove the taken layer links, and want the blobs of those that somebody wrote to."""
        self.are_gone = True
        touched: set[RawDigest] = set()

        def remove_layer(group: LinkGroup, link: LinkedDigest) -> None:
            taken = group.taken(link.digest)
            if taken == link.stamp:
                self._remove(group, link.digest, "layer_links")
            elif taken is not None:
                group.put_back(link.digest)
                touched.add(link.digest.raw)

        stuck = self._each(self._plan.layer_links, _of_layers, remove_layer)
        self._changes.want(touched.union(link.digest.raw for link in stuck))
        self.are_aside = False

    def _keep_rewritten(self) -> bool:
        """Put back the revisions that were written to since they were taken; False: none was."""
        found = False

        def keep(group: LinkGroup, link: LinkedDigest) -> None:
            nonlocal found
            name, digest = link.repository, link.digest
            if not self._changes.is_unlinked(name, digest.raw):
                return
            if group.taken(digest) != link.stamp:
                self._changes.is_linked(name, digest.raw)
                found = True
                group.put_back(digest)

        self._each(self._plan.revisions, _of_revisions, keep)
        return found

    def _remove_history(self, group: LinkGroup, entry: HistoryEntry) -> None:
        if self._changes.is_unlinked(entry.repository, entry.digest.raw):
            self._remove(group, entry.digest, "history")
        else:
            group.put_back(entry.digest)

    def _remove_revision(self, group: LinkGroup, link: LinkedDigest) -> None:
        name, digest = link.repository, link.digest
        if self._changes.is_unlinked(name, digest.raw) and self._remove(group, digest, "revisions"):
            self._changes.removed_folder(name, digest.raw)

    def _remove(self, group: LinkGroup, digest: Digest, kind: str) -> bool:
        """Remove a link that lies aside, and its group; whether that is gone too."""
        removed = group.remove(digest)
        # Also where no link was: a killed sweep has left the group of one that it had removed.
        empty = group.remove_place(digest)
        if removed and (empty or group.stamp(digest) is None):
            self._count.add(kind, len(digest))  # else somebody has just written it again
        return empty

    # Putting back.

    def put_back(self) -> None:
        """Put all back that was taken and not removed."""
        self._each(self._plan.history, _of_history, self._put_back)
        self._each(self._plan.revisions, _of_revisions, self._put_back)
        self._each(self._plan.layer_links, _of_layers, self._put_back)
        self.are_aside = False

    def _put_back(self, group: LinkGroup, link: LinkedDigest | HistoryEntry) -> None:
        group.put_back(link.digest)

    def _begin(self) -> None:
        if not self.are_aside:
            self.are_aside = True
            self._aside.begin([blob.digest for blob in self._plan.blobs])

    def end(self) -> None:
        """Note that the sweep has come to its end."""
        # Where something could not be done, the next collection looks everywhere.
        if not self._count.failures:
            with self._count.errors(self._places.ours):
                self._aside.end()

    # Each.

    def _each(
        self,
        links: Sequence[AnyLink],
        group_of: Callable[[AnyLink], "_Key"],
        do: Callable[[LinkGroup, AnyLink], None],
    ) -> list[AnyLink]:
        """Do something to each link whose group is there, and return where that failed."""
        failed: list[AnyLink] = []
        for group, some in self._by_group(links, group_of):
            if group is None:
                continue
            for link in some:
                try:
                    do(group, link)
                except StorageError as error:
                    self._count.failed(group.place(link.digest), error.message)
                    failed.append(link)
        return failed

    def _by_group(
        self, links: Sequence[AnyLink], group_of: Callable[[AnyLink], "_Key"]
    ) -> Iterator[tuple[LinkGroup | None, list[AnyLink]]]:
        """Yield the links by the group that they are in, held open meanwhile.

        None is yielded for a group that is not there or cannot be opened.
        """
        for (kind, repository, tag, algorithm), found in groupby(links, key=group_of):
            group = None
            with self._count.errors(self._place(kind, repository, tag, algorithm)):
                if kind is None:
                    group = self._aside.history(repository, tag, algorithm)
                else:
                    group = self._aside.group(kind, repository, algorithm)
            if group is None:
                yield None, list(found)
                continue
            with group:
                yield group, list(found)

    def _place(self, kind: LinkKind | None, repository: str, tag: str, algorithm: str) -> Place:
        if kind is None:
            return self._places.history(repository, tag, algorithm)
        return self._places.links(kind, repository, algorithm)


_Key = tuple[LinkKind | None, str, str, str]


def _of_layers(link: LinkedDigest) -> _Key:
    return LinkKind.LAYER, link.repository, "", link.digest.algorithm


def _of_revisions(link: LinkedDigest) -> _Key:
    return LinkKind.REVISION, link.repository, "", link.digest.algorithm


def _of_history(entry: HistoryEntry) -> _Key:
    return None, entry.repository, entry.tag, entry.digest.algorithm
