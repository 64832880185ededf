"""Executing a collection's plan beside whatever else goes on in the tree.

References go before what they reference (design.md, rule 3). A blob is first renamed out of the
registry's sight, so that from then on a push that needs it is refused or brings it again; then
everything that was written since the plan is looked at once more; what somebody wants is put back,
and only the rest is removed (rule 6). Killed anywhere, this leaves garbage at worst: blobs that lie
aside are put back by the next collection.

A registry takes a manifest in steps: it looks whether the repository has links to all that the
manifest references, and later links the manifest. A sweep that comes in between sees neither the
manifest nor a reason to keep its blobs. So between setting aside and removing there are at least
:data:`SETTLE_SECONDS`, in which everything is looked at again and again, and what is wanted is put
back at once; once the links are gone, the registry takes no other such manifest.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final

import msgspec

from jettison.errors import StorageError, UsageError
from jettison.gc.plan import CollectionPlan, LinkedDigest, SweptBlob, Tally
from jettison.gc.watch import BlindError, Watch
from jettison.model.digest import Digest, RawDigest
from jettison.model.reference import RepoName
from jettison.progress import Progress, silent
from jettison.store import layout
from jettison.store.aside import Aside
from jettison.store.folder import Folder
from jettison.store.lock import StorageLock
from jettison.store.reading import Problem, Protects
from jettison.store.repository import RepositoryReader
from jettison.store.tree import StorageTree

__all__ = ["CollectionReceipt", "collect", "recover"]

SETTLE_SECONDS: Final = 0.5
"""How long a registry may take from looking at what a manifest references to storing or linking it.

Syncing the disk is not in it: a manifest that is stored and not linked yet is seen
(:mod:`jettison.gc.pending`).
"""

POLL_SECONDS: Final = 0.05

BATCH: Final = 8192
"""How many blobs lie aside at a time, at least: few enough to be put back soon."""

MOST_BATCHES: Final = 16
"""In each of them everything is looked at again, so there are not more of them in a large sweep."""

MOST_PROBLEMS: Final = 100
"""So many errors are told in full; all are counted."""

DRAFT_SECONDS: Final = 24 * 3600.0
"""A draft that was not touched for so long belongs to nobody any more."""


class CollectionReceipt(msgspec.Struct, frozen=True):
    """What a collection did, to be put beside its plan.

    ``removed`` has a tally for each class of the plan. ``put_back`` are blobs of the plan that
    turned out to be wanted, ``recovered`` those that an earlier, killed collection had left aside.
    ``disk_free_before`` and ``disk_free_after`` are the file system's own figures in bytes, which
    others change too; ``blobs.bytes`` is exact. ``failures`` counts what could not be done;
    ``problems`` are those of the plan and the first of these; ``ended``: it ended before all was
    done. ``started`` is in seconds since the epoch.
    """

    started: float
    seconds: float
    predicted_bytes: int
    removed: dict[str, Tally]
    put_back: Tally
    recovered: int
    disk_free_before: int
    disk_free_after: int
    failures: int
    ended: bool
    problems: tuple[Problem, ...]

    @property
    def blobs(self) -> Tally:
        """The blobs that were removed."""
        return self.removed["blobs"]

    @property
    def layer_links(self) -> Tally:
        """The layer links that were removed."""
        return self.removed["layer_links"]

    @property
    def revisions(self) -> Tally:
        """The untagged manifests that were removed."""
        return self.removed["revisions"]

    @property
    def history(self) -> Tally:
        """The entries of tags' histories that were removed."""
        return self.removed["history"]

    @property
    def ok(self) -> bool:
        """Whether everything was understood and done; if not, the exit code is 3."""
        return not self.problems and not self.failures and not self.ended


def _nothing() -> None:
    pass


def collect(
    tree: StorageTree,
    plan: CollectionPlan,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    progress: Progress = silent,
    begin: Callable[[], None] = _nothing,
) -> CollectionReceipt:
    """Remove what the plan lists and nobody has come to want since.

    Takes the tree's lock, and then calls ``begin``. Errors on single files are counted, and the
    rest goes on. Raises
    :class:`~jettison.errors.Locked` if another collection is at it,
    :class:`~jettison.errors.StorageError` if the tree cannot be written at all, and
    :class:`~jettison.errors.UsageError` for a plan that is not about this tree as it is.
    """
    if plan.hypothetical:
        raise UsageError("this plan is about a removal that was not made, and cannot be executed")
    if plan.root != str(tree.root):
        raise UsageError(f"this plan is about {plan.root}, not about {tree.root}")
    with StorageLock(tree, "collection"), Aside(tree) as aside:
        begin()
        return _Sweep(tree, plan, aside, clock, sleep, progress).run()


def recover(tree: StorageTree) -> list[Digest]:
    """Put back what a killed collection left aside, and return which blobs that were.

    Before a plan is made, so that they are in it. Takes the tree's lock if there are any; raises
    as :func:`collect`.
    """
    with Aside(tree) as aside:
        if not any(True for _ in aside.digests()):
            return []
        with StorageLock(tree, "collection"):
            found = [digest for digest in list(aside.digests()) if aside.put_back(digest)]
            return [Digest.from_raw(digest) for digest in found]


class _Sweep:
    def __init__(
        self,
        tree: StorageTree,
        plan: CollectionPlan,
        aside: Aside,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        progress: Progress,
    ) -> None:
        self._tree = tree
        self._plan = plan
        self._aside = aside
        self._clock = clock
        self._sleep = sleep
        self._progress = progress
        self._watch = Watch(tree, plan)
        self._classes = tuple(plan.classes)
        self._tallies = {name: [0, 0] for name in (*self._classes, "put_back")}
        self._failures = 0
        self._problems: list[Problem] = []

    def run(self) -> CollectionReceipt:
        started, free = self._clock(), self._tree.disk_free()
        recovered = self._recover()
        ended = True
        try:
            self._sweep_all()
            ended = False
        except StorageError as error:
            self._failed(layout.MARKER, f"the collection was ended: {error.message}")
        except BlindError:
            pass  # its problem is noted
        finally:
            if ended and self._watch.has_unlinked:
                # Also after Ctrl-C: whoever relies on a link that is gone gets it back.
                with contextlib.suppress(StorageError, BlindError):
                    self._settle({})
        tallies = {name: Tally(*tally) for name, tally in self._tallies.items()}
        problems = [*self._plan.problems, *self._watch.problems, *self._problems]
        return CollectionReceipt(
            started=started,
            seconds=self._clock() - started,
            predicted_bytes=self._plan.bytes,
            removed={name: tallies[name] for name in self._classes},
            put_back=tallies["put_back"],
            recovered=recovered,
            disk_free_before=free,
            disk_free_after=self._tree.disk_free(),
            failures=self._failures,
            ended=ended,
            problems=tuple(dict.fromkeys(problems)),
        )

    def _sweep_all(self) -> None:
        self._watch.look()
        self._remove_revisions()
        self._remove_layer_links()
        self._remove_uploads()
        self._remove_leftovers()
        self._remove_folders()
        self._watch.look(layers=True)
        if self._plan.blobs:
            self._remove_blobs()
        elif self._watch.has_unlinked:
            self._settle({})
        self._remove_repositories()
        self._watch.look()

    # Links.

    def _remove_revisions(self) -> None:
        """Remove history entries and revisions, unless somebody needs them by now."""
        if not self._plan.revisions:
            return
        # One that was put again since the plan stays, and so does what lives with it.
        for name, folder, links in self._by_folder(self._plan.revisions, layout.revisions):
            for link in links:
                if self._time(folder, link) != link.mtime_ns:
                    self._watch.keep_revision(name, link.digest.raw)
        self._watch.look()
        stuck = self._remove_history()
        for name, folder, links in self._by_folder(self._plan.revisions, layout.revisions):
            for link in links:
                stays = (name, link.digest) in stuck
                if not stays and self._unlink(folder, name, link, "revisions"):
                    self._watch.unlinked_revision(name, link.digest.raw)
                else:
                    self._watch.keep_revision(name, link.digest.raw)
        self._watch.look()  # those that were to go and stay need their layers

    def _remove_history(self) -> set[tuple[RepoName, Digest]]:
        """Return those that could not be removed; nothing would look for them ever again."""
        stuck: set[tuple[RepoName, Digest]] = set()
        for entry in self._plan.history:
            if self._watch.needs(entry.repository, entry.digest.raw):
                continue
            path = layout.history_link(entry.repository, entry.tag, entry.digest)
            try:
                if self._tree.unlink(path):
                    self._count("history", len(entry.digest))
                self._tree.remove_folder_if_empty(path.removesuffix(f"/{layout.LINK}"))
            except StorageError as error:
                self._failed(path, error.message)
                stuck.add((entry.repository, entry.digest))
        return stuck

    def _time(self, folder: Folder | None, link: LinkedDigest) -> int | None:
        try:
            return None if folder is None else folder.time(f"{link.digest.hex}/{layout.LINK}")
        except StorageError:
            return None  # what cannot be looked at stays

    def _remove_layer_links(self) -> None:
        done, total = 0, len(self._plan.layer_links)
        for name, folder, links in self._by_folder(self._plan.layer_links, layout.layers):
            self._progress("removing links", done, total)
            done += len(links)
            for link in links:
                if self._unlink(folder, name, link, "layer_links"):
                    self._watch.unlinked_layer(name, link.digest.raw)
        self._progress("removing links", total, total)

    def _by_folder(
        self, links: Sequence[LinkedDigest], where: Callable[[str], str]
    ) -> Iterator[tuple[RepoName, Folder | None, list[LinkedDigest]]]:
        """Yield the links by the folder that they are in, held open meanwhile.

        None is yielded for a folder that is not there or cannot be opened.
        """
        for (name, algorithm), group in groupby(
            links, key=lambda link: (link.repository, link.digest.algorithm)
        ):
            path = f"{where(name)}/{algorithm}"
            folder = None
            with self._counting(path):
                folder = self._tree.folder(path)
            if folder is None:
                yield name, None, list(group)
                continue
            with folder:
                yield name, folder, list(group)

    def _unlink(self, folder: Folder | None, name: RepoName, link: LinkedDigest, kind: str) -> bool:
        """Remove a link and its folder, unless it was written again or is needed by now."""
        if folder is None or self._watch.needs(name, link.digest.raw):
            return False
        encoded = link.digest.hex
        path = f"{encoded}/{layout.LINK}"
        try:
            if folder.time(path) != link.mtime_ns or not folder.unlink(path):
                return False
        except StorageError as error:
            self._failed(self._tree.relative(f"{folder.path}/{path}"), error.message)
            return False
        self._count(kind, len(link.digest))
        with self._counting(self._tree.relative(f"{folder.path}/{encoded}")):
            folder.remove_if_empty(encoded)
        return True

    # Everything else that is no blob.

    def _remove_uploads(self) -> None:
        for upload in self._plan.uploads:
            with self._counting(f"{layout.uploads(upload.repository)}/{upload.id}"):
                with RepositoryReader(self._tree, upload.repository) as repository:
                    found = {one.id: one.moved_ns for one in repository.uploads()}
                if found.get(upload.id) == upload.moved_ns and self._tree.remove_upload(
                    upload.repository, upload.id
                ):
                    self._count("uploads", upload.bytes, upload.files)

    def _remove_leftovers(self) -> None:
        for leftover in self._plan.leftovers:
            with self._counting(leftover.path):
                if self._tree.mtime(leftover.path) == leftover.mtime_ns and self._tree.unlink(
                    leftover.path
                ):
                    self._count("leftovers", leftover.size)

    def _remove_folders(self) -> None:
        for path, names in self._plan.folders.items():
            revisions = _repository_of_revisions(path)
            with self._counting(path):
                folder = self._tree.folder(path)
                if folder is None:
                    continue
                with folder:
                    for name in names:
                        if folder.remove_if_empty(name):
                            self._count("folders", 0)
                            if revisions is not None:
                                self._watch.removed_folder(
                                    revisions, RawDigest(bytes.fromhex(name))
                                )

    def _remove_repositories(self) -> None:
        """Remove the folders of repositories that nothing is in, the inner ones first."""
        for name in reversed(self._plan.vacant):
            with self._counting(layout.repository(name)):
                if not self._tree.remove_vacant(name):
                    continue
                self._count("repositories", 0)

    # Blobs.

    def _remove_blobs(self) -> None:
        total = len(self._plan.blobs)
        size = max(BATCH, -(-total // MOST_BATCHES))
        first = 0
        while first < total:
            self._progress("removing blobs", first, total)
            # On a full disk one blob at a time, until its room is there.
            after = first + (size if self._aside.has_room() else 1)
            self._sweep(self._plan.blobs[first:after])
            first = after
        self._progress("removing blobs", total, total)

    def _sweep(self, batch: Sequence[SweptBlob]) -> None:
        """Move blobs aside, look again, and remove those that nobody wants."""
        aside: dict[RawDigest, SweptBlob] = {}
        try:
            for blob in batch:
                digest = blob.digest.raw
                if digest in self._watch.wanted:
                    self._count("put_back", blob.size)
                    continue
                aside[digest] = blob  # before it is so: Ctrl-C may come in between
                there = False
                with self._counting(layout.blob_data(blob.digest)):
                    there = self._aside.put(digest)
                if not there:
                    del aside[digest]
            self._settle(aside)
            for digest, blob in list(aside.items()):
                with self._counting(layout.set_aside(blob.digest)):
                    # A push that found the blob a moment ago has touched it (rule 6).
                    if self._aside.time(digest) == blob.mtime_ns and self._aside.remove(digest):
                        self._count("blobs", blob.size)
                        self._watch.removed_blob(digest)
                        del aside[digest]
        finally:
            # Touched, or ended by an error or by Ctrl-C: nothing stays out of sight.
            self._put_back(aside, list(aside))

    def _settle(self, aside: dict[RawDigest, SweptBlob]) -> None:
        """Look again until whatever was under way has shown itself; put back what is wanted."""
        wait = SETTLE_SECONDS if self._plan.options.grace > 0 else 0.0
        end = time.monotonic() + wait
        while True:
            last = time.monotonic() >= end
            self._watch.look(layers=True)
            self._put_back(aside, [digest for digest in aside if digest in self._watch.wanted])
            if last:
                return
            self._sleep(min(POLL_SECONDS, max(0.0, end - time.monotonic())))

    def _put_back(self, aside: dict[RawDigest, SweptBlob], digests: Sequence[RawDigest]) -> None:
        for digest in digests:
            blob = aside[digest]
            with self._counting(layout.blob_data(blob.digest)):
                if self._aside.put_back(digest):
                    self._count("put_back", blob.size)
            del aside[digest]

    # What an earlier process left behind.

    def _recover(self) -> int:
        recovered = 0
        for digest in list(self._aside.digests()):
            with self._counting(layout.SET_ASIDE):
                recovered += self._aside.put_back(digest)
        with self._counting(layout.OURS):
            self._tree.remove_remains(self._clock() - DRAFT_SECONDS)
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

    def _count(self, name: str, size: int, files: int = 1) -> None:
        tally = self._tallies[name]
        tally[0] += files
        tally[1] += size


def _repository_of_revisions(path: str) -> str | None:
    """Return the repository if a folder is one that holds its revisions' folders."""
    above, _, _ = path.rpartition("/")
    name = above.removesuffix(f"/{layout.REVISIONS}")
    return None if name == above else name.removeprefix(f"{layout.REPOSITORIES}/")
