"""What others did to the tree since the plan was made, and what they have come to want.

Nothing is asked of them: that somebody wrote shows in what is there. A manifest put since then has
a folder among its repository's revisions that was not there before, or a link in one that had none
(a DELETE leaves such folders); then the repository is marked anew. One that is stored and not
linked yet is a blob that was not there before. A blob that a push has uploaded or mounted has a
layer link; the plan's own links are gone by then, so whatever link there is means that somebody
wants the blob. Folders that did not change since they were last read are not read again, but for
those that changed so lately that their time cannot tell.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Sequence

from jettison.gc.mark import RepositoryMark, mark_repository, names_sum
from jettison.gc.pending import wanted_by, wanted_by_pending
from jettison.gc.plan import CollectionPlan, Seen
from jettison.model.digest import Digest, RawDigest
from jettison.model.reference import RepoName
from jettison.store import layout
from jettison.store.reading import SETTLED_NS, Problem, Protects
from jettison.store.repository import RepositoryReader
from jettison.store.tree import StorageTree

__all__ = ["BlindError", "Watch"]


class BlindError(Exception):
    """Something turned up that might reference everything; it is among the problems."""


class Watch:
    """Looks again at what a plan was made from.

    ``wanted`` are the plan's blobs that somebody wants by now, ``problems`` what turned up.
    """

    def __init__(self, tree: StorageTree, plan: CollectionPlan) -> None:
        self._tree = tree
        self._plan = plan
        self._planned: Collection[RawDigest] = {blob.digest.raw for blob in plan.blobs}
        self._seen = dict(plan.seen)
        self._marks: dict[str, RepositoryMark] = {}
        self._layer_times: dict[str, tuple[int, ...]] = {}
        self._hollow: dict[str, list[RawDigest]] = {}
        self._unlinked_layers: defaultdict[str, set[RawDigest]] = defaultdict(set)
        self._unlinked_revisions: defaultdict[str, set[RawDigest]] = defaultdict(set)
        self._kept_revisions: defaultdict[str, set[RawDigest]] = defaultdict(set)
        self._doubtful: set[str] = set()
        self._blob_names = dict(plan.blob_names)
        self._blob_times: dict[str, int] = {}
        self._known = set(plan.problems)
        self.wanted: set[RawDigest] = set()
        self.problems: list[Problem] = []

    def needs(self, name: str, digest: RawDigest) -> bool:
        """Whether a repository that was written to since the plan needs a link."""
        marked = self._marks.get(name)
        return digest in self.wanted or (marked is not None and marked.wants(digest))

    def keep_revision(self, name: str, digest: RawDigest) -> None:
        """Note that a revision of the plan stays, for whatever reason, and needs what it needs."""
        self._kept_revisions[name].add(digest)
        self._doubtful.add(name)

    def unlinked_layer(self, name: str, digest: RawDigest) -> None:
        """Note that the sweep removed a layer link, to be put back if somebody needs it."""
        self._unlinked_layers[name].add(digest)

    def unlinked_revision(self, name: str, digest: RawDigest) -> None:
        """Note that the sweep removed a revision, to be put back if a tag is put on it."""
        self._unlinked_revisions[name].add(digest)
        self._lost_folder(name, digest)

    def removed_folder(self, name: str, digest: RawDigest) -> None:
        """Note that the sweep removed an empty folder of a revision."""
        self._lost_folder(name, digest)

    def _lost_folder(self, name: str, digest: RawDigest) -> None:
        seen = self._seen[name]
        self._seen[name] = Seen(
            (seen.names - names_sum([digest])) % 2**62,
            seen.revision_times,
            seen.layer_times,
            tuple(one for one in seen.emptied if one != Digest.from_raw(digest)),
        )

    def removed_blob(self, digest: RawDigest) -> None:
        """Note that the sweep removed a blob, and its folder."""
        folder = layout.blob_file(digest).rpartition("/")[0].rpartition("/")[0]
        self._blob_names[folder] = (self._blob_names[folder] - names_sum([digest])) % 2**62

    def look(self, *, layers: bool = False) -> None:
        """See what was written since the last look.

        ``layers`` also looks for blobs that a push has linked and whose manifest is still to come;
        that is only possible once the plan's own links are gone. Raises :class:`BlindError`.
        """
        self._look_at_blobs()
        found = self._tree.scan_repositories()
        self._note(found.problems)
        for name in [*found.names, *found.strays]:
            with RepositoryReader(self._tree, name) as repository:
                if self._was_written(repository):
                    self._mark(repository)
                if layers and self._planned:
                    self._look_at_layers(repository)

    def _was_written(self, repository: RepositoryReader) -> bool:
        name = repository.name
        if name not in self._seen or name in self._doubtful:
            return True
        seen = self._seen[name]
        times = repository.times(layout.REVISIONS)
        if times != seen.revision_times or not _settled(times):
            if names_sum(repository.revision_folders()) != seen.names:
                return True
            self._seen[name] = Seen(seen.names, times, seen.layer_times, seen.emptied)
        if any(repository.revision_time(digest.raw) is not None for digest in seen.emptied):
            return True
        return self._was_tagged(repository)

    def _was_tagged(self, repository: RepositoryReader) -> bool:
        """Whether a tag was put, in place, on a revision that the sweep has removed."""
        unlinked = self._unlinked_revisions.get(repository.name)
        if not unlinked:
            return False
        tags = repository.tags()
        return bool(tags.problems) or not unlinked.isdisjoint(tags.current.values())

    def _mark(self, repository: RepositoryReader) -> None:
        name = repository.name
        times = repository.times(layout.REVISIONS)
        marked = mark_repository(
            self._tree,
            repository,
            untagged_before_ns=self._plan.moments.untagged,
            also=self._kept_revisions.get(name, ()),
        )
        self._doubtful.discard(name)
        self._note(marked.problems)
        emptied = tuple(Digest.from_raw(digest) for digest in marked.emptied)
        self._seen[name] = Seen(marked.names, times, (), emptied)
        self._marks[name] = marked
        for kept in (marked.reached, marked.protected):
            self.wanted.update(kept.intersection(self._planned))
        self._restore(repository, marked)
        # A folder without a link, made since the plan, is of a manifest that is being linked.
        with repository.links(layout.REVISIONS) as links:
            made = [d for d in marked.emptied if self._is_since(links.folder_time(d))]
        self._want(wanted_by(self._tree, made))

    def _look_at_layers(self, repository: RepositoryReader) -> None:
        """Want the blobs that have a layer link; the plan's own links are gone by now."""
        name = repository.name
        times = repository.times(layout.LAYERS)
        if times != self._layer_times.get(name) or not _settled(times):
            self._layer_times[name] = times
            self._hollow[name] = sorted(repository.layers().named.intersection(self._planned))
        linked = [d for d in self._hollow[name] if repository.layer_time(d) is not None]
        self.wanted.update(linked)

    def _look_at_blobs(self) -> None:
        """Want what manifests need that were stored since the plan, linked or not."""
        top = self._tree.blobs_folder
        if top is None or not self._planned:
            return
        new: list[RawDigest] = []
        for folder, names in self._tree.changed_blob_folders(self._blob_times):
            if names_sum(names) != self._blob_names.get(folder):
                new += [digest for digest in names if self._is_new(digest)]
        self._want(wanted_by_pending(self._tree, new))

    def _want(self, digests: set[RawDigest]) -> None:
        """Want blobs, and their links wherever those were removed."""
        for digest in digests.intersection(self._planned).difference(self.wanted):
            self.wanted.add(digest)
            for name, unlinked in self._unlinked_layers.items():
                if digest in unlinked:
                    self._link_layer(name, digest)

    def _is_new(self, digest: RawDigest) -> bool:
        blob = self._tree.blob(digest)
        return blob is not None and self._is_since(blob.mtime_ns)

    def _is_since(self, time_ns: int | None) -> bool:
        return time_ns is not None and time_ns > self._plan.started * 1e9 - SETTLED_NS

    def _link_layer(self, name: str, digest: RawDigest) -> None:
        with RepositoryReader(self._tree, name) as repository:
            if repository.layer_time(digest) is None:
                self._tree.link_layer(RepoName(name), Digest.from_raw(digest))

    def _restore(self, repository: RepositoryReader, marked: RepositoryMark) -> None:
        """Put back links that were removed just before somebody came to need them."""
        name = repository.name
        for digest in self._unlinked_layers.get(name, ()):
            if marked.wants(digest) and repository.layer_time(digest) is None:
                self._tree.link_layer(RepoName(name), Digest.from_raw(digest))
        for digest in self._unlinked_revisions.get(name, ()):
            if digest in marked.reached and repository.revision_time(digest) is None:
                self._tree.link_revision(RepoName(name), Digest.from_raw(digest))

    def _note(self, problems: Sequence[Problem]) -> None:
        for problem in problems:
            if problem not in self._known:
                self._known.add(problem)
                self.problems.append(problem)
            if problem.protects is Protects.EVERYTHING and self._planned:
                raise BlindError


def _settled(times: Sequence[int]) -> bool:
    """Whether a folder's time tells of every change: file systems keep time in ticks."""
    return max(times) < time.time_ns() - SETTLED_NS
