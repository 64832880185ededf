"""What others did to the tree since the plan was made, and what they have come to want.

Nothing is asked of them: that somebody wrote shows in what is there. A manifest put since then has
a folder among its repository's revisions that was not there before, or a link in one that had none
(a DELETE leaves such folders); then the repository is marked anew. A blob that a push has uploaded
or mounted has a layer link; the plan's own links are gone by then, so whatever link there is means
that somebody wants the blob. Folders that did not change since they were last read are not read
again, but for those that changed so lately that their time cannot tell.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Sequence

from jettison.gc.mark import RepositoryMark, mark_repository, names_sum
from jettison.gc.plan import CollectionPlan, Seen
from jettison.model.digest import Digest, RawDigest
from jettison.model.reference import RepoName
from jettison.store import layout
from jettison.store.reading import Problem, Protects
from jettison.store.repository import RepositoryReader
from jettison.store.tree import StorageTree

__all__ = ["BlindError", "Watch"]

_SETTLED_NS = 2_000_000_000


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
        self._known = set(plan.problems)
        self.wanted: set[RawDigest] = set()
        self.problems: list[Problem] = []

    def needs(self, name: str, digest: RawDigest) -> bool:
        """Whether a repository that was written to since the plan needs a link."""
        marked = self._marks.get(name)
        return marked is not None and marked.wants(digest)

    def unlinked_layer(self, name: str, digest: RawDigest) -> None:
        """Note that the sweep removed a layer link, to be put back if somebody needs it."""
        self._unlinked_layers[name].add(digest)

    def unlinked_revision(self, name: str, digest: RawDigest) -> None:
        """Note that the sweep removed a revision, to be put back if a tag is put on it."""
        self._unlinked_revisions[name].add(digest)

    def removed_folder(self, name: str, digest: RawDigest) -> None:
        """Note that the sweep removed an empty folder of a revision."""
        seen = self._seen[name]
        self._seen[name] = Seen(
            (seen.names - names_sum([digest])) % 2**64,
            seen.revision_times,
            seen.layer_times,
            tuple(one for one in seen.emptied if one != Digest.from_raw(digest)),
        )

    def look(self, *, layers: bool = False) -> None:
        """See what was written since the last look.

        ``layers`` also looks for blobs that a push has linked and whose manifest is still to come;
        that is only possible once the plan's own links are gone. Raises :class:`BlindError`.
        """
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
        # In place, a tag may have been put on a revision that the sweep has removed.
        if name not in self._seen or self._unlinked_revisions.get(name):
            return True
        seen = self._seen[name]
        times = repository.times(layout.REVISIONS)
        if times != seen.revision_times or not _settled(times):
            if names_sum(repository.revision_folders()) != seen.names:
                return True
            self._seen[name] = Seen(seen.names, times, seen.layer_times, seen.emptied)
        return any(repository.revision_time(digest.raw) is not None for digest in seen.emptied)

    def _mark(self, repository: RepositoryReader) -> None:
        name = repository.name
        times = repository.times(layout.REVISIONS)
        marked = mark_repository(
            self._tree, repository, untagged_before_ns=self._plan.moments.untagged
        )
        self._note(marked.problems)
        emptied = tuple(Digest.from_raw(digest) for digest in marked.emptied)
        self._seen[name] = Seen(marked.names, times, (), emptied)
        self._marks[name] = marked
        for kept in (marked.reached, marked.protected):
            self.wanted.update(kept.intersection(self._planned))
        self._restore(repository, marked)

    def _look_at_layers(self, repository: RepositoryReader) -> None:
        """Want the blobs that have a layer link; the plan's own links are gone by now."""
        name = repository.name
        times = repository.times(layout.LAYERS)
        if times != self._layer_times.get(name) or not _settled(times):
            self._layer_times[name] = times
            self._hollow[name] = sorted(repository.layers().named.intersection(self._planned))
        linked = [d for d in self._hollow[name] if repository.layer_time(d) is not None]
        self.wanted.update(linked)

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
    return max(times) < time.time_ns() - _SETTLED_NS
