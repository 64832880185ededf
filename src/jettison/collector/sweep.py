"""Executing a collection's plan beside whatever else goes on in the tree.

References go before what they reference (decision 0017). A blob is first renamed out of the
registry's sight, so that from then on a push that needs it is refused or brings it again; then
everything that was written since the plan is looked at once more; what somebody wants is put back,
and only the rest is removed (decision 0003). Killed anywhere, this leaves garbage at worst: blobs
that lie aside are put back by the next collection.

A registry takes a manifest in steps: it looks whether the repository has links to all that the
manifest references, and later links the manifest. A sweep that comes in between sees neither the
manifest nor a reason to keep its blobs. So between setting aside and removing there are at least
:data:`SETTLE_SECONDS`, in which everything is looked at again and again, and what is wanted is put
back at once; once the links are gone, the registry takes no other such manifest.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from jettison.collector.changes import CannotTellError, ChangeDetector
from jettison.collector.count import Count
from jettison.collector.link_sweep import AT_ONCE, LinkSweep
from jettison.collector.plan import CollectionPlan, SweptBlob, Tally
from jettison.errors import NotQuiescent, StorageError, UsageError
from jettison.interrupts import uninterrupted
from jettison.model.digest import BinaryDigest, Digest
from jettison.progress import Progress, silent
from jettison.storage.protocol import Problem, Quarantine, Storage

__all__ = ["CollectionReceipt", "collect", "recover", "require_hiding"]

SETTLE_SECONDS: Final = 0.5
"""How long a registry may take from looking at what a manifest references to storing or linking it.

Syncing the disk is not in it: a manifest that is stored and not linked yet is seen
(:mod:`jettison.collector.unlinked`).
"""

LONG_SETTLE_SECONDS: Final = 300.0
"""The same where each thing that a registry looks at takes it a request to a store.

An image has at most 127 layers; Distribution makes two requests for each, one after another. That
is enough for a second each.
"""

POLL_SECONDS: Final = 0.05
_MOST_POLLS: Final = 300
_FEWEST_POLLS: Final = 10

BATCH: Final = 8192
"""How many blobs are moved aside at a time, at least: few enough to be put back soon."""

MOST_WAITING: Final = 3
"""So many times that number lie aside at once, at most."""

MOST_BATCHES: Final = 16
"""In each of them everything is looked at again, so there are not more of them in a large sweep."""

DRAFT_SECONDS: Final = 24 * 3600.0
"""A draft that was not touched for so long belongs to nobody any more."""


class CollectionReceipt(msgspec.Struct, frozen=True):
    """What a collection did, to be put beside its plan.

    ``removed`` has a tally for each class of the plan. ``put_back`` are blobs of the plan that
    turned out to be wanted, ``recovered`` those that an earlier, killed collection had left aside.
    ``disk_free_before`` and ``disk_free_after`` are the file system's own figures in bytes, which
    others change too, None in a bucket; those of ``removed`` are exact. ``failures`` counts what
    could not be done; ``problems`` are those of the plan and the first of these; ``ended``: it
    ended before all was done. ``started`` is in seconds since the epoch.
    """

    started: float
    seconds: float
    predicted_bytes: int
    removed: dict[str, Tally]
    put_back: Tally
    recovered: int
    disk_free_before: int | None
    disk_free_after: int | None
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


def collect(  # noqa: PLR0913 - what nobody gives has its default
    storage: Storage,
    plan: CollectionPlan,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    progress: Progress = silent,
    begin: Callable[[], None] = _nothing,
    quiescent: bool = False,
    heeded: bool = False,
    settle: float | None = None,
) -> CollectionReceipt:
    """Remove what the plan lists and nobody has come to want since.

    Takes the tree's lock, and then calls ``begin``. Errors on single files are counted, and the
    rest goes on. A storage that cannot rename needs one of three: ``quiescent``, nothing is
    pushed meanwhile; ``heeded``, all who push heed what a collection announces, as our own
    server does; or ``settle``, for how many seconds what goes is kept out of sight, so that what
    was under way shows itself. Raises :class:`~jettison.errors.NotQuiescent` where neither is so,
    :class:`~jettison.errors.Locked` if another collection is at it,
    :class:`~jettison.errors.StorageError` if the tree cannot be written at all, and
    :class:`~jettison.errors.UsageError` for a plan that is not about this tree as it is.
    """
    if not quiescent and not heeded and settle is None:
        require_hiding(storage)
    if plan.hypothetical:
        raise UsageError("this plan is about a removal that was not made, and cannot be executed")
    if plan.root != storage.location:
        raise UsageError(f"this plan is about {plan.root}, not about {storage.location}")
    hiding = settle is not None
    lease = storage.lease("collection", quiescent=quiescent, hiding=hiding and not heeded)
    if settle is None:
        beside = plan.options.grace > 0 and storage.features.atomic_rename
        settle = SETTLE_SECONDS if beside else 0.0
    with lease, storage.quarantine() as aside:
        begin()
        return _Sweep(storage, plan, aside, clock, sleep, progress, settle=settle).run()


def require_hiding(storage: Storage) -> None:
    """Raise :class:`NotQuiescent` for a storage in which nothing can be hidden from a registry.

    To take it away beside one that takes pushes would break images.
    """
    if not storage.features.atomic_rename:
        message = f"nothing can be hidden in {storage.location} from a registry that takes pushes"
        hint = (
            "Let `jettison gc CONFIG` do it, which keeps what goes out of sight for some minutes; "
            "or stop the registry, or make it read-only."
        )
        raise NotQuiescent(f"{message} at once, so it is not collected here", hint=hint)


def recover(storage: Storage) -> list[Digest]:
    """Put back what a killed collection left aside, and return which blobs that were.

    Before a plan is made, so that they are in it. Takes the tree's lock if there are any; raises
    as :func:`collect`.
    """
    links = storage.link_quarantine()
    with storage.quarantine() as aside:
        if not links.any_left and not any(True for _ in aside.digests()):
            return []
        with storage.lease("collection", quiescent=True):  # nothing is removed
            if links.any_left:
                links.recover()
            found = [digest for digest in list(aside.digests()) if aside.put_back(digest)]
            return [Digest.from_binary(digest) for digest in found]


@dataclass
class _Hidden:
    """Blobs that lie aside, and from when on they can be removed (monotonic clock)."""

    blobs: dict[BinaryDigest, SweptBlob]
    settled: float


class _Sweep:
    def __init__(
        self,
        storage: Storage,
        plan: CollectionPlan,
        aside: Quarantine,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        progress: Progress,
        *,
        settle: float,
    ) -> None:
        self._settle_seconds = settle
        self._storage = storage
        self._places = storage.places
        self._plan = plan
        self._aside = aside
        self._clock = clock
        self._sleep = sleep
        self._progress = progress
        self._removed: list[BinaryDigest] = []
        self._changes = ChangeDetector(storage, plan)
        self._classes = tuple(plan.classes)
        self._count = Count((*self._classes, "put_back"))
        self._links = LinkSweep(storage, plan, self._changes, self._count)

    def run(self) -> CollectionReceipt:
        started, free = self._clock(), self._storage.free_bytes()
        recovered = self._recover()
        ended = True
        try:
            self._sweep_all()
            ended = False
            self._links.end()
        except StorageError as error:
            self._count.failed(self._places.top, f"the collection was ended: {error.message}")
        except CannotTellError:
            pass  # its problem is noted
        finally:
            if ended:
                self._take_back()
            self._remove_places()
        for name, digest in self._changes.relinked:
            self._count.add(name, -len(digest), -1)
        problems = [*self._plan.problems, *self._changes.problems, *self._count.problems]
        return CollectionReceipt(
            started=started,
            seconds=self._clock() - started,
            predicted_bytes=self._plan.bytes,
            removed={name: self._count.tally(name) for name in self._classes},
            put_back=self._count.tally("put_back"),
            recovered=recovered,
            disk_free_before=free,
            disk_free_after=self._storage.free_bytes(),
            failures=self._count.failures,
            ended=ended,
            problems=tuple(dict.fromkeys(problems)),
        )

    def _sweep_all(self) -> None:
        self._changes.look()
        if self._links.take_revisions():
            self._settle(self._settled())
            self._links.remove_revisions()
        self._links.take_layers(self._progress)
        self._remove_uploads()
        self._remove_leftovers()
        self._changes.look(layers=True)
        if self._plan.blobs:
            self._remove_blobs()
        elif self._changes.has_unlinked:
            self._remove_layers()
        self._changes.look()
        # Last, since a folder in which something was removed is listed again by the next look.
        self._remove_folders()
        self._remove_repositories()

    def _take_back(self) -> None:
        """Put back what lies aside, and also after Ctrl-C what was removed and somebody needs."""
        if self._links.are_aside:
            with uninterrupted():
                self._links.put_back()
        if self._links.are_gone and self._changes.has_unlinked:
            with contextlib.suppress(StorageError, CannotTellError):
                self._settle(self._settled())

    # Everything else that is no blob.

    def _remove_uploads(self) -> None:
        for upload in self._plan.uploads:
            with self._count.errors(self._places.upload(upload.repository, upload.id)):
                if self._storage.remove_upload(upload.repository, upload.id, upload.moved):
                    self._count.add("uploads", upload.bytes, upload.files)

    def _remove_leftovers(self) -> None:
        for leftover in self._plan.leftovers:
            with self._count.errors(leftover.path):
                if self._storage.remove_leftover(leftover):
                    self._count.add("leftovers", leftover.size)

    def _remove_folders(self) -> None:
        for place, names in self._plan.folders.items():
            with self._count.errors(place):
                for _ in self._storage.remove_empty(place, names):
                    self._count.add("folders", 0)

    def _remove_places(self) -> None:
        """Remove what is left of the blobs that were removed, once nothing is looked at again."""
        for some in _some(self._removed):
            with self._count.errors(self._places.top):
                for digest, outcome in zip(some, self._aside.remove_places(some), strict=True):
                    if isinstance(outcome, StorageError):
                        place = self._places.blob(Digest.from_binary(digest))
                        self._count.failed(place, outcome.message)

    def _remove_repositories(self) -> None:
        """Remove the folders of repositories that nothing is in, the inner ones first."""
        for name in reversed(self._plan.vacant):
            with self._count.errors(self._places.repository(name)):
                if not self._storage.remove_repository(name):
                    continue
                self._count.add("repositories", 0)

    # Blobs.

    def _remove_blobs(self) -> None:
        """Move blobs aside, look again, and remove those that nobody wants.

        While some settle, the next are moved aside.
        """
        total = len(self._plan.blobs)
        size = max(BATCH, -(-total // MOST_BATCHES))
        waiting: deque[_Hidden] = deque()
        first = 0
        try:
            while first < total or waiting:
                self._progress("removing blobs", first, total)
                # On a full disk one blob at a time, until its room is there.
                room = self._aside.has_room()
                is_due = bool(waiting) and time.monotonic() >= waiting[0].settled
                if first < total and not is_due and len(waiting) < (MOST_WAITING if room else 1):
                    after = first + (size if room else 1)
                    self._hide_all(self._plan.blobs[first:after], waiting)
                    first = after
                else:
                    self._discard_first(waiting)
            self._progress("removing blobs", total, total)
        finally:
            # Touched, or ended by an error or by Ctrl-C: nothing stays out of sight.
            with uninterrupted():
                for hidden in waiting:
                    self._put_back(hidden.blobs, list(hidden.blobs))

    def _remove_layers(self) -> None:
        """Remove links where there is no blob to remove."""
        self._settle(self._settled(), ())
        if self._links.are_aside:
            self._links.remove_layers()

    def _hide_all(self, batch: Sequence[SweptBlob], waiting: "deque[_Hidden]") -> None:
        hidden = _Hidden({}, 0.0)
        waiting.append(hidden)  # before it is so: Ctrl-C may come in between
        going: dict[BinaryDigest, SweptBlob] = {}
        for blob in batch:
            digest = blob.digest.binary
            if digest in self._changes.wanted:
                self._count.add("put_back", blob.freed)
            else:
                going[digest] = blob
        for some in _some(list(going)):
            hidden.blobs.update((digest, going[digest]) for digest in some)
            with self._count.errors(self._places.aside):
                self._hide(hidden.blobs, some)
        hidden.settled = self._settled()

    def _discard_first(self, waiting: "deque[_Hidden]") -> None:
        """Remove those that lie aside the longest, once they have settled."""
        hidden = waiting[0]
        self._settle(hidden.settled, waiting)
        if self._links.are_aside:
            self._links.remove_layers()
            for one in waiting:
                self._put_back_wanted(one.blobs)
        for some in _some(list(hidden.blobs)):
            with self._count.errors(self._places.aside):
                self._discard(hidden.blobs, some)
        with uninterrupted():
            self._put_back(hidden.blobs, list(hidden.blobs))
        waiting.popleft()

    def _hide(self, aside: dict[BinaryDigest, SweptBlob], digests: Sequence[BinaryDigest]) -> None:
        for digest, outcome in zip(digests, self._aside.put(digests), strict=True):
            if isinstance(outcome, StorageError):
                self._count.failed(self._places.blob(aside[digest].digest), outcome.message)
            if outcome is not True:
                del aside[digest]

    def _discard(
        self, aside: dict[BinaryDigest, SweptBlob], digests: Sequence[BinaryDigest]
    ) -> None:
        freed: dict[BinaryDigest, int] = {}
        for digest, look in zip(digests, self._aside.look(digests), strict=True):
            blob = aside[digest]
            # A push that found the blob a moment ago has touched it (decision 0003).
            if look is None or look.stamp != blob.stamp:
                self._changes.want({digest})
            else:
                freed[digest] = 0 if look.shared else blob.freed
        going = list(freed)
        for digest, outcome in zip(going, self._aside.remove(going), strict=True):
            if isinstance(outcome, StorageError):
                place = self._places.aside_blob(aside[digest].digest)
                self._count.failed(place, outcome.message)
            elif outcome:
                self._count.add("blobs", freed[digest])
                self._removed.append(digest)
                del aside[digest]

    def _settled(self) -> float:
        """Return when what is taken by now will have settled, by the monotonic clock."""
        return time.monotonic() + self._settle_seconds

    def _settle(self, until: float, waiting: "Iterable[_Hidden] | None" = None) -> None:
        """Look again until whatever was under way has shown itself; put back what is wanted.

        ``waiting`` is None as long as the layers' own links have not been taken. What is under way
        shows itself soon, so there are more looks at the beginning.
        """
        began, whole = time.monotonic(), self._settle_seconds
        least = max(POLL_SECONDS, whole / _MOST_POLLS)
        most = max(POLL_SECONDS, whole / _FEWEST_POLLS)
        while True:
            last = time.monotonic() >= until
            self._changes.look(layers=last and waiting is not None)
            for hidden in waiting or ():
                self._put_back_wanted(hidden.blobs)
            if last:
                return
            pause = min(most, max(least, time.monotonic() - began))
            self._sleep(min(pause, max(0.0, until - time.monotonic())))

    def _put_back_wanted(self, aside: dict[BinaryDigest, SweptBlob]) -> None:
        self._put_back(aside, [digest for digest in aside if digest in self._changes.wanted])

    def _put_back(
        self, aside: dict[BinaryDigest, SweptBlob], digests: Sequence[BinaryDigest]
    ) -> None:
        for digest, outcome in zip(digests, self._aside.put_back_each(digests), strict=True):
            blob = aside.pop(digest)
            if isinstance(outcome, StorageError):
                self._count.failed(self._places.blob(blob.digest), outcome.message)
            elif outcome:
                self._count.add("put_back", blob.freed)

    # What an earlier process left behind.

    def _recover(self) -> int:
        recovered = 0
        links = self._storage.link_quarantine()
        if links.any_left:
            with self._count.errors(self._places.ours):
                links.recover()
        for digest in list(self._aside.digests()):
            with self._count.errors(self._places.aside):
                recovered += self._aside.put_back(digest)
        with self._count.errors(self._places.ours):
            self._storage.remove_remains(self._clock() - DRAFT_SECONDS)
        return recovered


def _some(digests: Sequence[BinaryDigest]) -> Iterator[Sequence[BinaryDigest]]:
    """Yield some at a time, each of which is looked at and then done with."""
    for first in range(0, len(digests), AT_ONCE):
        yield digests[first : first + AT_ONCE]
