"""Executing a collection's plan beside whatever else goes on in the tree.

References go before what they reference (design.md, rule 3). A blob is first renamed out of the
registry's sight, so that from then on a push that needs it is refused or brings it again; then
everything that was written since the plan is looked at once more; what somebody wants is put back,
and only the rest is removed (rule 6). Killed anywhere, this leaves garbage at worst: blobs that lie
aside are put back by the next collection.
"""

import contextlib
import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from jettison.errors import StorageError, UsageError
from jettison.gc.mark import RepositoryMark, mark_repository
from jettison.gc.plan import CollectionPlan, SweptBlob, Tally
from jettison.model.digest import Digest
from jettison.model.reference import RepoName
from jettison.progress import Progress, silent
from jettison.store import layout
from jettison.store.lock import StorageLock
from jettison.store.reading import Problem, Protects, storage_errors
from jettison.store.tree import StorageTree

__all__ = ["CollectionReceipt", "collect"]

BATCH: Final = 8192
"""How many blobs lie aside at a time: few enough to be put back soon, and enough to make looking
at all links again for each batch cheap."""

MOST_PROBLEMS: Final = 100
"""So many errors are told in full; all are counted."""

DRAFT_SECONDS: Final = 24 * 3600.0
"""A draft that was not touched for so long belongs to nobody any more."""

_SETTLED_NS: Final = 2_000_000_000


class CollectionReceipt(msgspec.Struct, frozen=True):
    """What a collection did, to be put beside its plan.

    ``put_back`` are blobs of the plan that turned out to be wanted, ``recovered`` those that an
    earlier, killed collection had left aside. ``disk_free_before`` and ``disk_free_after`` are the
    file system's own figures in bytes, which others change too; ``blobs.bytes`` is exact.
    ``failures`` counts what could not be done; ``problems`` are those of the plan and the first
    of these. ``started`` is in seconds since the epoch.
    """

    started: float
    seconds: float
    predicted_bytes: int
    blobs: Tally
    put_back: Tally
    layer_links: Tally
    revisions: Tally
    history: Tally
    recovered: int
    disk_free_before: int
    disk_free_after: int
    failures: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether everything was understood and done; if not, the exit code is 3."""
        return not self.problems and not self.failures


class _StopError(Exception):
    """Something turned up that might reference everything."""


def collect(
    tree: StorageTree,
    plan: CollectionPlan,
    *,
    clock: Callable[[], float] = time.time,
    progress: Progress = silent,
) -> CollectionReceipt:
    """Remove what the plan lists and nobody has come to want since.

    Takes the tree's lock. Errors on single files are counted, and the rest goes on. Raises
    :class:`~jettison.errors.Locked` if another collection is at it,
    :class:`~jettison.errors.StorageError` if the tree cannot be written at all, and
    :class:`~jettison.errors.UsageError` for a plan that is not about this tree as it is.
    """
    if plan.hypothetical:
        raise UsageError("this plan is about a removal that was not made, and cannot be executed")
    if plan.root != str(tree.root):
        raise UsageError(f"this plan is about {plan.root}, not about {tree.root}")
    with StorageLock(tree, "collection"):
        return _Sweep(tree, plan, clock, progress).run()


class _Sweep:
    def __init__(
        self,
        tree: StorageTree,
        plan: CollectionPlan,
        clock: Callable[[], float],
        progress: Progress,
    ) -> None:
        self._tree = tree
        self._plan = plan
        self._clock = clock
        self._progress = progress
        self._planned = {blob.digest for blob in plan.blobs}
        self._wanted: set[Digest] = set()
        self._stamps: dict[str, str] = dict(plan.stamps)
        self._marks: dict[str, RepositoryMark] = {}
        self._layers_times: dict[str, int] = {}
        self._unlinked_layers: defaultdict[str, list[Digest]] = defaultdict(list)
        self._unlinked_revisions: defaultdict[str, list[Digest]] = defaultdict(list)
        self._tallies = {
            name: [0, 0] for name in ("blobs", "put_back", "layer_links", "revisions", "history")
        }
        self._failures = 0
        self._problems: list[Problem] = []

    def run(self) -> CollectionReceipt:
        started, free = self._clock(), self._disk_free()
        recovered = self._recover()
        try:
            self._look_again()
            self._remove_links()
            self._look_again(layers=True)
            first, total = 0, len(self._plan.blobs)
            while first < total:
                self._progress("removing blobs", first, total)
                # On a full disk one blob at a time, until its room is there.
                after = first + (BATCH if self._tree.has_room_aside() else 1)
                self._sweep(self._plan.blobs[first:after])
                first = after
            self._progress("removing blobs", total, total)
            self._look_again()
        except StorageError as error:
            self._failed(layout.MARKER, f"the collection was ended: {error.message}")
        except _StopError:
            pass  # its problem is noted
        return CollectionReceipt(
            started=started,
            seconds=self._clock() - started,
            predicted_bytes=self._plan.bytes,
            recovered=recovered,
            disk_free_before=free,
            disk_free_after=self._disk_free(),
            failures=self._failures,
            problems=tuple(dict.fromkeys([*self._plan.problems, *self._problems])),
            **{name: Tally(*tally) for name, tally in self._tallies.items()},
        )

    # What others did meanwhile.

    def _look_again(self, *, layers: bool = False) -> None:
        """Mark anew each repository in which a tag or manifest was written since last time.

        What it needs of the plan's blobs is wanted from now on, and its links that were removed
        are put back. ``layers`` also looks for blobs that a push has linked and whose manifest is
        still to come; that is only possible once the plan's own links are gone.
        """
        found = self._tree.scan_repositories()
        self._stop_if_blind(found.problems)
        for name in [*found.names, *found.strays]:
            stamp = self._tree.stamp(name)
            if not stamp or stamp != self._stamps.get(name):
                marked = mark_repository(
                    self._tree, name, untagged_before_ns=self._plan.untagged_before_ns
                )
                self._stop_if_blind(marked.problems)
                self._stamps[name] = stamp
                self._marks[name] = marked
                for kept in (marked.reached, marked.protected):
                    self._wanted |= kept & self._planned
                self._restore(name, marked)
            if layers:
                self._look_at_layers(name)

    def _look_at_layers(self, name: str) -> None:
        """Want the blobs that have a layer link; the plan's own links are gone by now."""
        changed = self._tree.layers_time(name)
        if changed == self._layers_times.get(name):
            return
        # A folder changed just now may change again without its time showing it.
        settled = changed < time.time_ns() - _SETTLED_NS
        self._layers_times[name] = changed if settled else -1
        for digest in self._tree.layers(name).named & self._planned:
            if self._tree.layer_time(name, digest) is not None:
                self._wanted.add(digest)
            else:
                # So that a link made in it later shows in the time of the folder above.
                folder = layout.layer_link(name, digest).removesuffix(f"/{layout.LINK}")
                self._tree.remove_folder_if_empty(folder)

    def _restore(self, name: str, marked: RepositoryMark) -> None:
        """Put back links that were removed just before somebody came to need them."""
        if name not in self._unlinked_layers and name not in self._unlinked_revisions:
            return
        repository = RepoName(name)
        for digest in self._unlinked_layers[name]:
            if marked.wants(digest) and self._tree.layer_time(name, digest) is None:
                self._tree.link_layer(repository, digest)
        for digest in self._unlinked_revisions[name]:
            if digest in marked.reached and self._tree.revision_time(name, digest) is None:
                self._tree.link_revision(repository, digest)

    def _stop_if_blind(self, problems: Sequence[Problem]) -> None:
        known = set(self._plan.problems)
        for problem in problems:
            if problem not in known:
                self._problems.append(problem)
            if problem.protects is Protects.EVERYTHING and self._planned:
                raise _StopError

    # Removing.

    def _remove_links(self) -> None:
        """Remove history entries, revisions and layer links, unless somebody needs them by now."""
        self._remove_revisions()
        tree, total = self._tree, len(self._plan.layer_links)
        for count, link in enumerate(self._plan.layer_links):
            if not count % 1024:
                self._progress("removing links", count, total)
            if self._needed(link.repository, link.digest):
                continue
            path = layout.layer_link(link.repository, link.digest)
            with self._counting(path):
                if tree.mtime(path) != link.mtime_ns:
                    continue
                if tree.unlink_layer(link.repository, link.digest):
                    self._unlinked_layers[link.repository].append(link.digest)
                    self._count("layer_links", len(link.digest))
        self._progress("removing links", total, total)

    def _remove_revisions(self) -> None:
        tree = self._tree
        for entry in self._plan.history:
            if self._needed(entry.repository, entry.digest):
                continue
            path = layout.history_link(entry.repository, entry.tag, entry.digest)
            with self._counting(path):
                if tree.unlink(path):
                    self._count("history", len(entry.digest))
                tree.remove_folder_if_empty(path.removesuffix(f"/{layout.LINK}"))
        for link in self._plan.revisions:
            if self._needed(link.repository, link.digest):
                continue
            path = layout.revision_link(link.repository, link.digest)
            with self._counting(path):
                if tree.mtime(path) == link.mtime_ns and tree.unlink(path):
                    self._unlinked_revisions[link.repository].append(link.digest)
                    self._count("revisions", len(link.digest))

    def _needed(self, name: str, digest: Digest) -> bool:
        marked = self._marks.get(name)
        return marked is not None and marked.wants(digest)

    def _sweep(self, batch: Sequence[SweptBlob]) -> None:
        """Move blobs aside, look again, and remove those that nobody wants."""
        aside: list[SweptBlob] = []
        try:
            for blob in batch:
                if blob.digest in self._wanted:
                    self._count("put_back", blob.size)
                    continue
                with self._counting(layout.blob_data(blob.digest)):
                    if self._tree.set_aside(blob.digest):
                        aside.append(blob)
            self._look_again(layers=True)
            while aside:
                self._remove_or_put_back(aside[-1])
                aside.pop()
        finally:
            # Ended by an error or by Ctrl-C: nothing stays out of sight.
            for blob in aside:
                with self._counting(layout.blob_data(blob.digest)):
                    if os.path.lexists(self._tree.path(self._tree.aside_path(blob.digest))):
                        self._tree.put_back(blob.digest)

    def _remove_or_put_back(self, blob: SweptBlob) -> None:
        path = self._tree.aside_path(blob.digest)
        with self._counting(path):
            # A push that found the blob a moment ago has touched it (rule 6).
            untouched = self._tree.mtime(path) == blob.mtime_ns
            if untouched and blob.digest not in self._wanted:
                if self._tree.unlink(path):
                    self._count("blobs", blob.size)
                self._tree.remove_folder_if_empty(layout.blob(blob.digest))
            else:
                self._tree.put_back(blob.digest)
                self._count("put_back", blob.size)

    # What an earlier process left behind.

    def _recover(self) -> int:
        """Put back what a killed collection left aside; throw away what was on its way out."""
        recovered = 0
        for digest in list(self._tree.aside()):
            with self._counting(layout.set_aside(digest)):
                recovered += self._tree.put_back(digest)
        shutil.rmtree(self._tree.path(layout.UNTAGGED), ignore_errors=True)
        with contextlib.suppress(OSError):
            for draft in Path(self._tree.path(layout.DRAFTS)).iterdir():
                if self._clock() - draft.stat().st_mtime > DRAFT_SECONDS:
                    draft.unlink()
        return recovered

    # Keeping count.

    @contextlib.contextmanager
    def _counting(self, path: str) -> Iterator[None]:
        """Count an error on one file, and go on."""
        try:
            yield
        except StorageError as error:
            self._failed(path, error.message)

    def _failed(self, path: str, message: str) -> None:
        self._failures += 1
        if self._failures <= MOST_PROBLEMS:
            self._problems.append(Problem(None, path, message, Protects.NOTHING))

    def _count(self, name: str, size: int) -> None:
        tally = self._tallies[name]
        tally[0] += 1
        tally[1] += size

    def _disk_free(self) -> int:
        with storage_errors("look at", self._tree.root):
            found = os.statvfs(self._tree.root)
        return found.f_bavail * found.f_frsize
