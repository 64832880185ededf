"""What others did to the tree since the plan was made, and what they have come to want.

Nothing is asked of them: that somebody wrote shows in what is there. A manifest put since then has
a folder among its repository's revisions that was not there before, or a link in one that had none
(a DELETE leaves such folders); then the repository is marked anew. One that is stored and not
linked yet is a blob that was not there before. A blob that a push has uploaded or mounted has a
layer link; the plan's own links are gone by then, so whatever link there is means that somebody
wants the blob. Folders that did not change since they were last read are not read again, but for
those that changed so lately that their time cannot tell.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Final

import msgspec

from jettison.collector.mark import RepositoryMark, mark_repository, names_sum, without
from jettison.collector.plan import CollectionPlan, RepositoryFingerprint
from jettison.collector.unlinked import wanted_by, wanted_by_unlinked
from jettison.errors import InvalidManifest, StorageError
from jettison.model.digest import BinaryDigest, Digest, in_a_row
from jettison.model.manifest_references import references_of
from jettison.model.names import RepoName
from jettison.storage.protocol import (
    LinkKind,
    Problem,
    Protects,
    RepositoryScan,
    Stamp,
    Storage,
    stamp_at,
)

__all__ = ["CannotTellError", "ChangeDetector"]

_AT_ONCE: Final = 1024

SETTLED_SECONDS: Final = 2.0
"""How far the clocks of those who write, and of the storage, may differ from ours."""


class CannotTellError(Exception):
    """Something turned up that might reference everything; it is among the problems."""


@contextlib.contextmanager
def _kept(failures: list[StorageError]) -> Iterator[None]:
    """Keep an error for later, and go on with the next repository."""
    try:
        yield
    except StorageError as error:
        failures.append(error)


class ChangeDetector:
    """Looks again at what a plan was made from.

    ``wanted`` is what the plan was to remove and somebody wants by now: blobs, layers, manifests.
    ``problems`` is what turned up, ``relinked`` the links written again after they were removed, by
    the class of the plan that they were in.
    """

    def __init__(self, storage: Storage, plan: CollectionPlan) -> None:
        self._storage = storage
        self._plan = plan
        self._links = storage.link_quarantine()
        self._blobs = {blob.digest.binary for blob in plan.blobs}
        going = (link.digest.binary for link in (*plan.layer_links, *plan.revisions))
        self._concerned = self._blobs.union(going)
        self._seen = dict(plan.seen)
        self._emptied = {
            name: {digest.binary for digest in seen.emptied} for name, seen in plan.seen.items()
        }
        self._marks: dict[str, RepositoryMark] = {}
        self._layer_times = {name: seen.layer_times for name, seen in plan.seen.items()}
        self._named = {
            name: sorted(self._blobs.intersection(in_a_row(seen.unused)))
            for name, seen in plan.seen.items()
        }
        self._unlinked_layers: defaultdict[BinaryDigest, set[str]] = defaultdict(set)
        self._unlinked_revisions: defaultdict[str, set[BinaryDigest]] = defaultdict(set)
        self._kept_revisions: defaultdict[str, set[BinaryDigest]] = defaultdict(set)
        self._doubtful: set[str] = set()
        self._blob_names = dict(plan.blob_names)
        self._blob_times = dict(plan.blob_times)
        self._unfinished = {digest.binary for digest in plan.unfinished}
        # As the plan does it, and for clocks that differ a little.
        self._since = min(plan.cutoffs.idle, stamp_at(plan.started - SETTLED_SECONDS))
        self._known = set(plan.problems)
        self.wanted: set[BinaryDigest] = set()
        self.problems: list[Problem] = []
        self.relinked: list[tuple[str, Digest]] = []

    @property
    def has_unlinked(self) -> bool:
        """Whether links were removed that somebody may come to need."""
        return bool(self._unlinked_layers or self._unlinked_revisions)

    def needs(self, name: str, digest: BinaryDigest) -> bool:
        """Whether a repository that was written to since the plan needs a link."""
        marked = self._marks.get(name)
        return digest in self.wanted or (marked is not None and marked.wants(digest))

    def keep_revision(self, name: str, digest: BinaryDigest) -> None:
        """Note that a revision of the plan stays, for whatever reason, and needs what it needs."""
        self._kept_revisions[name].add(digest)
        self._doubtful.add(name)

    def unlinked_layer(self, name: str, digest: BinaryDigest) -> None:
        """Note that the sweep took a layer link, to be put back if somebody needs it."""
        self._unlinked_layers[digest].add(name)

    def unlinked_revision(self, name: str, digest: BinaryDigest) -> None:
        """Note that the sweep took a revision's link, to be put back if somebody needs it."""
        self._unlinked_revisions[name].add(digest)
        self._emptied.setdefault(name, set()).add(digest)

    def is_unlinked(self, name: str, digest: BinaryDigest) -> bool:
        """Whether the sweep took a revision's link and nobody has come to need it."""
        return digest in self._unlinked_revisions.get(name, ())

    def is_linked(self, name: str, digest: BinaryDigest) -> None:
        """Note that a revision that the sweep took is back, and needs what it needs."""
        self._unlinked_revisions[name].discard(digest)
        self.keep_revision(name, digest)

    def removed_folder(self, name: str, digest: BinaryDigest) -> None:
        """Note that the sweep removed the folder of a revision."""
        seen = self._seen[name]
        self._emptied.setdefault(name, set()).discard(digest)
        self._seen[name] = msgspec.structs.replace(seen, names=without(seen.names, digest))

    def look(self, *, layers: bool = False) -> None:
        """See what was written since the last look, and put back the links that it needs.

        ``layers`` also looks for blobs that a push has linked and whose manifest is still to come;
        that is only possible once the plan's own links are gone. Raises :class:`CannotTellError`,
        and :class:`~jettison.errors.StorageError` at the end if some repository could not be read.
        """
        if not self._concerned:
            return
        # First, since a storage that is listed answers all that follows from this listing.
        found = self._storage.scan_repositories()
        self._note(found.problems)
        self._look_at_blobs()
        names = [*found.names, *found.misnamed]
        failures: list[StorageError] = []
        for name in self._written(names, failures):
            with _kept(failures), self._storage.repository(name) as repository:
                self._mark(repository)
        if layers and self._blobs:
            named = self._named_layers(names, failures)
            linked = self._linked(LinkKind.LAYER, named, failures)
            self.wanted.update(digest for _, digest in linked)
        if failures:
            raise failures[0]

    # Repositories.

    def _written(self, names: Sequence[str], failures: list[StorageError]) -> list[str]:
        """Return the repositories into which a manifest or a tag was put."""
        emptied = [(name, digest) for name in names for digest in self._emptied.get(name, ())]
        linked = {name for name, _ in self._linked(LinkKind.REVISION, emptied, failures)}
        changes = self._changes(names, LinkKind.REVISION)
        found = []
        for name in names:
            with _kept(failures):
                if name in linked or self._was_written(name, changes.get(name, ())):
                    found.append(name)
        return found

    def _was_written(self, name: str, changes: tuple[Stamp, ...]) -> bool:
        if name not in self._seen or name in self._doubtful:
            return True
        seen = self._seen[name]
        if not changes or changes != seen.revision_times:
            with self._storage.repository(name) as repository:
                changes = repository.changes(LinkKind.REVISION)
                if names_sum(repository.revision_names()) != seen.names:
                    return True
            self._seen[name] = msgspec.structs.replace(seen, revision_times=changes)
        return self._was_tagged(name)

    def _was_tagged(self, name: str) -> bool:
        """Whether a tag was put, in place, on a revision that the sweep has removed."""
        unlinked = self._unlinked_revisions.get(name)
        if not unlinked:
            return False
        with self._storage.repository(name) as repository:
            tags = repository.tags()
        return bool(tags.problems) or not unlinked.isdisjoint(tags.current.values())

    def _changes(self, names: Sequence[str], kind: LinkKind) -> dict[str, tuple[Stamp, ...]]:
        try:
            return dict(zip(names, self._storage.changes_each(names, kind), strict=True))
        except StorageError:
            return {}  # each is looked at alone then

    def _linked(
        self,
        kind: LinkKind,
        pairs: Sequence[tuple[str, BinaryDigest]],
        failures: list[StorageError],
    ) -> Iterator[tuple[str, BinaryDigest]]:
        """Yield the repositories and digests that have a link."""
        for first in range(0, len(pairs), _AT_ONCE):
            some = pairs[first : first + _AT_ONCE]
            try:
                yield from compress(some, self._storage.are_linked(kind, some))
            except StorageError:
                for one in some:
                    with _kept(failures):
                        yield from compress([one], self._storage.are_linked(kind, [one]))

    def _mark(self, repository: RepositoryScan) -> None:
        name = repository.name
        times = repository.changes(LinkKind.REVISION)
        marked = mark_repository(
            self._storage,
            repository,
            untagged_before=self._plan.cutoffs.untagged,
            also=self._kept_revisions.get(name, ()),
        )
        self._doubtful.discard(name)
        self._note(marked.problems)
        known = self._emptied.get(name, set())
        self._emptied[name] = set(marked.emptied)
        self._seen[name] = RepositoryFingerprint(marked.names, times, ())
        self._marks[name] = marked
        for kept in (marked.reached, marked.protected):
            self.wanted.update(kept & self._concerned)
        self._restore(name, marked)
        # A folder without a link, made since the plan, is of a manifest that is being linked.
        made = [digest for digest in marked.emptied if digest not in known]
        self.want(wanted_by(self._storage, made))

    def _restore(self, name: str, marked: RepositoryMark) -> None:
        """Put back links that were removed just before somebody came to need them."""
        for digest in marked.reached | marked.protected:
            if name in self._unlinked_layers.get(digest, ()):
                self._link_layer(name, digest)
        for digest in list(self._unlinked_revisions.get(name, ())):
            if marked.problems or digest in marked.reached or self._is_about(digest, marked):
                self.link_revision(name, digest)

    def _is_about(self, digest: BinaryDigest, marked: RepositoryMark) -> bool:
        """Whether a manifest that is linked no more lives with a subject that is kept."""
        try:
            raw = self._storage.read_manifest(digest)
            return raw is not None and references_of(raw).subject in marked.reached
        except (InvalidManifest, StorageError):
            return True

    def _named_layers(
        self, names: Sequence[str], failures: list[StorageError]
    ) -> list[tuple[str, BinaryDigest]]:
        """Return the places of layer links that are about blobs of the plan.

        The plan's own links are gone by now, so somebody wants the blob of whatever link is there.
        """
        changes = self._changes(names, LinkKind.LAYER)
        for name in names:
            now = changes.get(name)
            if now and now == self._layer_times.get(name):
                continue
            with _kept(failures), self._storage.repository(name) as repository:
                self._layer_times[name] = repository.changes(LinkKind.LAYER)
                self._named[name] = sorted(repository.layers().named & self._blobs)
        return [(name, digest) for name in names for digest in self._named.get(name, ())]

    # Blobs.

    def _look_at_blobs(self) -> None:
        """Want what manifests need that were stored since the plan, linked or not."""
        new = {digest for digest in self._unfinished if self._storage.blob(digest) is not None}
        self._unfinished -= new
        for group, names in self._storage.changed_blob_groups(self._blob_times):
            if names_sum(names) != self._blob_names.get(group):
                new.update(digest for digest in names if self._is_new(digest))
        self.want(wanted_by_unlinked(self._storage, new))

    def _is_new(self, digest: BinaryDigest) -> bool:
        blob = self._storage.blob(digest)
        return blob is not None and blob.stamp > self._since

    def want(self, digests: set[BinaryDigest]) -> None:
        """Want digests, and their links wherever those were taken."""
        for digest in digests & self._concerned:
            self.wanted.add(digest)
            for name in self._unlinked_layers.get(digest, ()):
                self._link_layer(name, digest)
            for name, unlinked in list(self._unlinked_revisions.items()):
                if digest in unlinked:
                    self.link_revision(name, digest)

    # Links.

    def _link_layer(self, name: str, digest: BinaryDigest) -> None:
        long = Digest.from_binary(digest)
        if self._put_back(LinkKind.LAYER, name, long) or self._is_gone(digest):
            return
        if not self._is_there(LinkKind.LAYER, name, digest):
            self._storage.link_layer(RepoName(name), long)
            self.relinked.append(("layer_links", long))

    def link_revision(self, name: str, digest: BinaryDigest) -> None:
        """Link a manifest again, unless what it needs has been removed: nobody could pull it."""
        needed = wanted_by(self._storage, [digest])
        if any(map(self._is_gone, needed)):
            return
        long = Digest.from_binary(digest)
        back = self._put_back(LinkKind.REVISION, name, long)
        if not back and not self._is_there(LinkKind.REVISION, name, digest):
            self._storage.link_revision(RepoName(name), long)
            self.relinked.append(("revisions", long))
        # What it needs is to be wanted too.
        self.is_linked(name, digest)
        self.want(needed - {digest})
        self.wanted.add(digest)

    def _put_back(self, kind: LinkKind, name: str, digest: Digest) -> bool:
        group = self._links.group(kind, name, digest.algorithm)
        if group is None:
            return False
        with group:
            return group.put_back(digest)

    def _is_there(self, kind: LinkKind, name: str, digest: BinaryDigest) -> bool:
        with self._storage.repository(name) as repository, repository.links(kind) as links:
            return links.stamp(digest) is not None

    def _is_gone(self, digest: BinaryDigest) -> bool:
        """Whether it is a blob of the plan that is not even aside any more."""
        return digest in self._blobs and self._storage.is_blob_gone(digest)

    def _note(self, problems: Sequence[Problem]) -> None:
        for problem in problems:
            if problem not in self._known:
                self._known.add(problem)
                self.problems.append(problem)
            if problem.protects is Protects.EVERYTHING and self._concerned:
                raise CannotTellError
