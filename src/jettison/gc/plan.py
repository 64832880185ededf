"""Planning a collection: what is garbage and idle, what is not, and why, to the byte.

The plan is made without changing anything. It is one frozen object: a dry run prints it, and
``collect`` executes it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from jettison.gc.mark import NOTHING_REMOVED, HeldManifest, RepositoryMark, Without, mark_repository
from jettison.model.digest import Digest
from jettison.model.reference import RepoName, Tag
from jettison.progress import Progress, silent
from jettison.store.reading import Blob, Problem, Protects, TreeReader

__all__ = [
    "CollectOptions",
    "CollectionPlan",
    "HeldBack",
    "HistoryEntry",
    "LinkedDigest",
    "SweptBlob",
    "Tally",
    "decode_plan",
    "encode_plan",
    "plan_collection",
]

PLAN_SCHEMA: Final = 1


class CollectOptions(msgspec.Struct, frozen=True):
    """``grace`` in seconds: nothing younger is swept (design.md, rule 6).

    ``untagged``: also remove manifests that no tag, index or subject holds and that were pushed
    more than so many seconds ago (and more than ``grace``); None: they are kept.
    """

    grace: float = 3600.0
    untagged: float | None = None


class Tally(msgspec.Struct, frozen=True):
    """How many files, and their exact bytes."""

    count: int = 0
    bytes: int = 0


class SweptBlob(msgspec.Struct, frozen=True):
    """A blob to remove: its size in bytes, and its time (nanoseconds) when it was looked at."""

    digest: Digest
    size: int
    mtime_ns: int


class LinkedDigest(msgspec.Struct, frozen=True):
    """A link to remove, of a layer or a revision, and its time (nanoseconds) when looked at."""

    repository: RepoName
    digest: Digest
    mtime_ns: int


class HistoryEntry(msgspec.Struct, frozen=True):
    """An entry to remove from what a tag once pointed to."""

    repository: RepoName
    tag: Tag
    digest: Digest


class HeldBack(msgspec.Struct, frozen=True):
    """What the undo window of one run keeps until ``until`` (seconds since the epoch)."""

    run: str
    until: float
    count: int
    bytes: int


class CollectionPlan(msgspec.Struct, frozen=True):
    """What a collection of the tree at ``root`` removes, and what it leaves and why.

    ``bytes`` is the exact sum of the sizes of ``blobs``. Blobs that nothing reaches and that stay
    are in exactly one of ``young``, ``held`` and ``protected``. ``stamps`` tell, by repository,
    whether a tag or manifest was written since. A ``hypothetical`` plan is about the tree as it
    would be after a removal, and cannot be executed. ``started`` is in seconds since the epoch.
    """

    root: str
    started: float
    options: CollectOptions
    blobs: tuple[SweptBlob, ...]
    layer_links: tuple[LinkedDigest, ...]
    revisions: tuple[LinkedDigest, ...]
    history: tuple[HistoryEntry, ...]
    bytes: int
    young: Tally
    young_links: int
    held: tuple[HeldBack, ...]
    protected: Tally
    kept_blobs: int
    repositories: int
    problems: tuple[Problem, ...]
    stamps: dict[str, str]
    hypothetical: bool = False
    schema_version: int = PLAN_SCHEMA

    @property
    def cutoff_ns(self) -> int:
        """Only what was written or touched at or before this moment is idle (nanoseconds)."""
        return _cutoff(self.started, self.options.grace)

    @property
    def untagged_before_ns(self) -> int | None:
        """Untagged manifests linked after this moment stay (nanoseconds); None: all stay."""
        return _untagged_before(self.options, self.started)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.blobs or self.layer_links or self.revisions or self.history)


def encode_plan(plan: CollectionPlan) -> bytes:
    """Return the plan as a JSON document."""
    return msgspec.json.encode(plan, enc_hook=_encode)


def decode_plan(document: bytes) -> CollectionPlan:
    """Read what :func:`encode_plan` wrote; raises :class:`msgspec.ValidationError`."""
    return msgspec.json.decode(document, type=CollectionPlan, dec_hook=_decode)


def plan_collection(
    tree: TreeReader,
    options: CollectOptions,
    now: float,
    held: Iterable[HeldManifest] = (),
    without: Without = NOTHING_REMOVED,
    progress: Progress = silent,
) -> CollectionPlan:
    """Find what can be removed from the tree, and change nothing.

    ``now`` is in seconds since the epoch. ``held`` are manifests that can still be brought back;
    those whose ``until`` has passed count no more. ``without`` treats a removal as done. Raises
    :class:`~jettison.errors.StorageError` if a part of the tree cannot be listed: nobody knows
    what it hides.
    """
    windows = [one for one in held if one.until > now]
    planner = _Planner(tree, options, now, progress)
    planner.mark(windows, without)
    return planner.plan({one.run: one.until for one in windows}, without)


class _Planner:
    def __init__(
        self, tree: TreeReader, options: CollectOptions, now: float, progress: Progress
    ) -> None:
        self._tree = tree
        self._options = options
        self._now = now
        self._progress = progress
        self._cutoff = _cutoff(now, options.grace)
        self._problems: list[Problem] = []
        self._stamps: dict[str, str] = {}
        self._kept: set[Digest] = set()
        self._held: dict[Digest, list[str]] = defaultdict(list)
        self._protected: set[Digest] = set()
        self._young: set[Digest] = set()
        self._young_links = 0
        self._layer_links: list[LinkedDigest] = []
        self._revisions: list[LinkedDigest] = []
        self._history: list[HistoryEntry] = []
        self._blobs: dict[Digest, Blob | None] = {}

    def mark(self, windows: Sequence[HeldManifest], without: Without) -> None:
        """Mark every repository, and those that only an undo window remembers."""
        held: defaultdict[str, list[HeldManifest]] = defaultdict(list)
        for one in windows:
            held[one.repository].append(one)
        found = self._tree.scan_repositories()
        self._problems += found.problems
        names = [*found.names, *found.strays, *sorted(held.keys() - {*found.names})]
        before = _untagged_before(self._options, self._now)
        for count, name in enumerate(names):
            self._progress("marking repositories", count, len(names))
            # Before it is read: what is written meanwhile will be seen as changed.
            self._stamps[name] = self._tree.stamp(name)
            marked = mark_repository(
                self._tree, name, untagged_before_ns=before, held=held[name], without=without
            )
            self._problems += marked.problems
            self._kept |= marked.reached
            self._protected |= marked.protected
            for digest, run in marked.held.items():
                self._held[digest].append(run)
            if not marked.problems:
                self._links(RepoName(name), marked)
        self._progress("marking repositories", len(names), len(names))

    def _links(self, name: RepoName, marked: RepositoryMark) -> None:
        """Sort the links that nothing needs into those to remove and those too young."""
        since = min(self._cutoff, self._pushing_since(name)) if marked.unused else 0
        for digest in sorted(marked.unused):
            linked = self._tree.layer_time(name, digest)
            if linked is None:
                continue  # an empty folder
            blob = self._blob(digest)
            if linked > since:
                self._young_links += 1
                self._young.add(digest)
            elif blob is not None and blob.mtime_ns > self._cutoff:
                # Touched: somebody was told that it is there, and may be about to use this link.
                self._young_links += 1
            else:
                self._layer_links.append(LinkedDigest(name, digest, linked))
        if marked.unlinked:
            for digest, linked in sorted(marked.unlinked.items()):
                self._revisions.append(LinkedDigest(name, digest, linked))
            for tag in sorted(self._tree.tags(name).current):
                gone = self._tree.history(name, tag) & marked.unlinked.keys()
                self._history += [HistoryEntry(name, tag, digest) for digest in sorted(gone)]

    def _pushing_since(self, name: RepoName) -> int:
        """Return when the pushes going on in a repository may have begun (nanoseconds).

        Their first layers may be linked since longer than the grace period, and no manifest uses
        them before the last layer is there.
        """
        moving = [one for one in self._tree.uploads(name) if one.moved_ns > self._cutoff]
        grace_ns = int(self._options.grace * 1e9)
        return min((one.started_ns - grace_ns for one in moving), default=self._cutoff)

    def plan(self, windows: dict[str, float], without: Without) -> CollectionPlan:
        """Look at every blob that no repository keeps, and put each into one class."""
        blind = any(problem.protects is Protects.EVERYTHING for problem in self._problems)
        blobs: list[SweptBlob] = []
        young, protected = [0, 0], [0, 0]
        held = {run: [0, 0] for run in windows}
        kept = 0
        for count, digest in enumerate(self._tree.blob_digests(self._problems)):
            if not count % 1024:
                self._progress("looking for garbage", count)
            if digest in self._kept:
                kept += 1
                continue
            blob = self._blob(digest)
            if blob is None:
                continue
            if blind or digest in self._protected:
                tally = protected
            elif digest in self._held:
                # What several runs hold back is free when the last of their windows has ended.
                tally = held[max(self._held[digest], key=windows.__getitem__)]
            elif blob.mtime_ns > self._cutoff or digest in self._young:
                tally = young
            else:
                blobs.append(SweptBlob(digest, blob.size, blob.mtime_ns))
                continue
            tally[0] += 1
            tally[1] += blob.size
        return CollectionPlan(
            root=str(self._tree.root),
            started=self._now,
            options=self._options,
            blobs=tuple(blobs),
            layer_links=tuple(self._layer_links),
            revisions=tuple(self._revisions),
            history=tuple(self._history),
            bytes=sum(blob.size for blob in blobs),
            young=Tally(*young),
            young_links=self._young_links,
            held=tuple(
                HeldBack(run, windows[run], *tally) for run, tally in held.items() if tally[0]
            ),
            protected=Tally(*protected),
            kept_blobs=kept,
            repositories=len(self._stamps),
            problems=tuple(dict.fromkeys(self._problems)),
            stamps=self._stamps,
            hypothetical=bool(without.tags or without.manifests),
        )

    def _blob(self, digest: Digest) -> Blob | None:
        if digest not in self._blobs:
            self._blobs[digest] = self._tree.blob(digest)
        return self._blobs[digest]


def _cutoff(now: float, grace: float) -> int:
    return int((now - grace) * 1e9)


def _untagged_before(options: CollectOptions, now: float) -> int | None:
    if options.untagged is None:
        return None
    return _cutoff(now, max(options.untagged, options.grace))


def _encode(value: Any) -> Any:  # noqa: ANN401 - the signature is msgspec's
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(type(value))


def _decode(wanted: type, value: Any) -> Any:  # noqa: ANN401 - the signature is msgspec's
    if issubclass(wanted, str):
        return wanted(value)
    raise NotImplementedError(wanted)
