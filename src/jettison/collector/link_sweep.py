"""Removing links beside a registry that may be writing them again.

A link is taken out of the registry's sight in one step, and looked at when nobody finds it any
more: what was written to it since the plan shows, and it goes back. It is looked at once more
before it is removed, at least :data:`~jettison.collector.sweep.SETTLE_SECONDS` later:
Distribution 2.x opens a link and then writes, and may have opened it before it was taken. The
history of tags goes, and comes back, with the manifests that it names.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final, TypeVar

from jettison.collector.changes import ChangeDetector
from jettison.collector.count import Count
from jettison.collector.plan import CollectionPlan, HistoryEntry, LinkedDigest
from jettison.errors import StorageError
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import RepoName
from jettison.progress import Progress
from jettison.storage.protocol import LinkGroup, LinkKind, Outcome, Place, Stamp, Storage

__all__ = ["AT_ONCE", "LinkSweep"]

AT_ONCE: Final = 256
"""So many links or blobs are looked at and then removed, before the next are looked at."""

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
                    self._changes.keep_revision(link.repository, link.digest.binary)
        self._changes.look()
        self._begin()
        stuck = self._take_history()
        for group, links in self._by_group(self._plan.revisions, _of_revisions):
            free = [link for link in links if (link.repository, link.digest) not in stuck]
            taken = self._take(group, free)
            for link in links:
                if link.digest in taken:
                    self._changes.unlinked_revision(link.repository, link.digest.binary)
                else:
                    self._changes.keep_revision(link.repository, link.digest.binary)
        self._changes.look()  # those that were to go and stay need their layers
        return True

    def _take_history(self) -> set[tuple[RepoName, Digest]]:
        """Return those that could not be taken; nothing would look for them ever again."""

        def take(group: LinkGroup, entries: Sequence[HistoryEntry]) -> list[Outcome]:
            return group.take([(entry.digest, None) for entry in entries])

        needs = self._changes.needs
        going = [one for one in self._plan.history if not needs(one.repository, one.digest.binary)]
        stuck = self._each(going, _of_history, take)
        return {(entry.repository, entry.digest) for entry in stuck}

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
            taken = self._take(group, links)
            for link in links:
                if link.digest in taken:
                    self._changes.unlinked_layer(link.repository, link.digest.binary)
        progress("removing links", total, total)

    def _take(self, group: LinkGroup | None, links: Sequence[LinkedDigest]) -> set[Digest]:
        """Take links but those that were written again or are needed by now; return which."""
        if group is None:
            return set()
        free = [one for one in links if not self._changes.needs(one.repository, one.digest.binary)]
        taken: set[Digest] = set()

        def take(group: LinkGroup, links: Sequence[LinkedDigest]) -> list[Outcome]:
            found = group.take([(link.digest, link.stamp) for link in links])
            taken.update(one.digest for one, done in zip(links, found, strict=True) if done is True)
            return found

        self._each_in(group, free, take)
        return taken

    # Removing.

    def remove_revisions(self) -> None:
        """Remove the taken revisions, but for what somebody has written to or needs since then."""
        while self._keep_rewritten():
            self._changes.look()
        self.are_gone = True
        # What cannot be removed stays, and so does what it leads to.
        stuck = self._each(self._plan.history, _of_history, self._remove_history)
        for entry in stuck:
            self._changes.link_revision(entry.repository, entry.digest.binary)
        for link in self._each(self._plan.revisions, _of_revisions, self._remove_revisions):
            self._changes.link_revision(link.repository, link.digest.binary)
        self._each(stuck, _of_history, self._put_back)
        self._changes.look()

    def remove_layers(self) -> None:
        """Remove the taken layer links, and want the blobs of those that somebody wrote to."""
        self.are_gone = True
        touched: set[BinaryDigest] = set()

        def remove(group: LinkGroup, links: Sequence[LinkedDigest]) -> list[Outcome]:
            stamps = group.taken([link.digest for link in links])
            going: list[LinkedDigest] = []
            for link, taken in zip(links, stamps, strict=True):
                if taken == link.stamp:
                    going.append(link)
                elif taken is not None:
                    touched.add(link.digest.binary)
                    group.put_back(link.digest)
            removed = dict(zip(going, self._remove(group, going, "layer_links"), strict=True))
            return [removed.get(link, False) for link in links]

        stuck = self._each(self._plan.layer_links, _of_layers, remove)
        self._changes.want(touched.union(link.digest.binary for link in stuck))
        self.are_aside = False

    def _keep_rewritten(self) -> bool:
        """Put back the revisions that were written to since they were taken; False: none was."""
        found = False

        def keep(group: LinkGroup, links: Sequence[LinkedDigest]) -> list[Outcome]:
            nonlocal found
            stamps = group.taken([link.digest for link in links])
            for link, taken in zip(links, stamps, strict=True):
                name, digest = link.repository, link.digest
                if self._changes.is_unlinked(name, digest.binary) and taken != link.stamp:
                    self._changes.is_linked(name, digest.binary)
                    found = True
                    group.put_back(digest)
            return [True] * len(links)

        self._each(self._plan.revisions, _of_revisions, keep)
        return found

    def _remove_history(self, group: LinkGroup, entries: Sequence[HistoryEntry]) -> list[Outcome]:
        unlinked = self._changes.is_unlinked
        going = [one for one in entries if unlinked(one.repository, one.digest.binary)]
        outcomes = dict(zip(going, self._remove(group, going, "history"), strict=True))
        kept = [one for one in entries if one not in outcomes]
        outcomes |= dict(zip(kept, self._put_back(group, kept), strict=True))
        return [outcomes[one] for one in entries]

    def _remove_revisions(self, group: LinkGroup, links: Sequence[LinkedDigest]) -> list[Outcome]:
        unlinked = self._changes.is_unlinked
        going = [one for one in links if unlinked(one.repository, one.digest.binary)]
        removed = dict(zip(going, self._remove(group, going, "revisions"), strict=True))
        for link, is_gone in removed.items():
            if is_gone is True:
                self._changes.removed_folder(link.repository, link.digest.binary)
        return [removed.get(one, False) for one in links]

    def _remove(
        self, group: LinkGroup, links: Sequence[LinkedDigest | HistoryEntry], kind: str
    ) -> list[Outcome]:
        """Remove links that lie aside, and their places; whether each place is gone too."""
        digests = [link.digest for link in links]
        removed = group.remove(digests)
        # Also where no link was: a killed sweep has left the place of one that it had removed.
        emptied = group.remove_places(digests)
        outcomes: list[Outcome] = []
        for digest, is_removed, is_gone in zip(digests, removed, emptied, strict=True):
            outcomes.append(is_removed if isinstance(is_removed, StorageError) else is_gone)
            if is_removed is True and (is_gone is True or group.stamp(digest) is None):
                self._count.add(kind, len(digest))  # else somebody has just written it again
        return outcomes

    # Putting back.

    def put_back(self) -> None:
        """Put all back that was taken and not removed."""
        self._each(self._plan.history, _of_history, self._put_back)
        self._each(self._plan.revisions, _of_revisions, self._put_back)
        self._each(self._plan.layer_links, _of_layers, self._put_back)
        self.are_aside = False

    def _put_back(
        self, group: LinkGroup, links: Sequence[LinkedDigest] | Sequence[HistoryEntry]
    ) -> list[Outcome]:
        return group.put_back_each([link.digest for link in links])

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
        do: Callable[[LinkGroup, Sequence[AnyLink]], list[Outcome]],
    ) -> list[AnyLink]:
        """Do something to the links whose group is there, and return those where that failed."""
        failed: list[AnyLink] = []
        for group, some in self._by_group(links, group_of):
            if group is not None:
                failed += self._each_in(group, some, do)
        return failed

    def _each_in(
        self,
        group: LinkGroup,
        links: Sequence[AnyLink],
        do: Callable[[LinkGroup, Sequence[AnyLink]], list[Outcome]],
    ) -> list[AnyLink]:
        """Do it to the links of a group, some at a time: looked at, and done with."""
        failed: list[AnyLink] = []
        for first in range(0, len(links), AT_ONCE):
            some = links[first : first + AT_ONCE]
            try:
                outcomes = do(group, some)
            except StorageError as error:
                outcomes = [error] * len(some)
            for link, outcome in zip(some, outcomes, strict=True):
                if isinstance(outcome, StorageError):
                    self._count.failed(group.place(link.digest), outcome.message)
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
