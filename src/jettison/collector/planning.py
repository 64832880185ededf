"""Planning a collection: everything is looked at once, and nothing is changed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from jettison.collector.mark import NOTHING_REMOVED, AssumedRemoval, HeldManifest, names_sum
from jettison.collector.mark_log import Tracing, by_folders, traced
from jettison.collector.options import CollectOptions, Cutoffs
from jettison.collector.parallel import side_by_side
from jettison.collector.plan import (
    AbandonedUpload,
    CollectionPlan,
    HeldBack,
    HistoryEntry,
    LinkedDigest,
    RepositoryFingerprint,
    SweptBlob,
    Tally,
)
from jettison.collector.scan import EmptyPlace, RepositoryScanned, Scanner
from jettison.collector.space import SpaceCount
from jettison.collector.unlinked import drafted_references, wanted_by, wanted_by_unlinked
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.digest_set import DigestSet
from jettison.model.names import RepoName, Tag
from jettison.model.space import SpaceClass, SpaceSums
from jettison.progress import Progress, silent
from jettison.storage.protocol import (
    Blob,
    Leftover,
    LinkKind,
    Place,
    Problem,
    Protects,
    Scanning,
    Stamp,
    make_problem,
)

__all__ = ["plan_collection"]


def plan_collection(  # noqa: PLR0913 - what nobody gives has its default
    storage: Scanning,
    options: CollectOptions,
    now: float,
    held: Iterable[HeldManifest] = (),
    without: AssumedRemoval = NOTHING_REMOVED,
    progress: Progress = silent,
    *,
    tracing: Tracing | None = None,
    counting: SpaceCount | None = None,
    unlinked: Iterable[Digest] = (),
) -> CollectionPlan:
    """Find what can be removed from the tree, and change nothing.

    ``now`` is in seconds since the epoch. ``held`` are manifests that can still be brought back;
    those whose ``until`` has passed count no more. ``without`` treats a removal as done.
    ``tracing`` is told what is marked in each repository, ``counting`` whose each blob is.
    ``unlinked`` are blobs known to have lost their links on purpose, or to have been put back: when
    they came to their place does not matter.

    Raises:
    :class:`~jettison.errors.StorageError` if a part of the tree cannot be listed: nobody knows
    what it hides.
    """
    windows = [one for one in held if one.until > now]
    planner = _Planner(storage, options, now, progress, counting)
    planner.mark(windows, without, tracing)
    planner.speak_of(unlinked)
    return planner.plan({one.run: one.until for one in windows}, without)


class _Planner:
    def __init__(
        self,
        storage: Scanning,
        options: CollectOptions,
        now: float,
        progress: Progress,
        counting: SpaceCount | None,
    ) -> None:
        self._storage = storage
        self._counting = counting
        self._processes = None if storage.features.forks else 1
        self._options = options
        self._now = now
        self._cutoffs = Cutoffs.of(options, now)
        self._progress = progress
        self._problems: list[Problem] = []
        self._foreign: list[Problem] = []
        self._untagged = 0
        self._untagged_bytes = 0
        self._untagged_only = DigestSet()
        self._seen: dict[str, RepositoryFingerprint] = {}
        self._kept = DigestSet()
        self._held: dict[BinaryDigest, list[str]] = defaultdict(list)
        self._protected: set[bytes] = set()
        self._young: set[bytes] = set()
        self._young_links = 0
        self._spoken_of: set[BinaryDigest] = set()
        self._unlinked: Iterator[Digest] = iter(())
        self._layer_links: list[LinkedDigest] = []
        self._revisions: list[LinkedDigest] = []
        self._history: list[HistoryEntry] = []
        self._uploads: list[AbandonedUpload] = []
        self._leftovers: list[Leftover] = []
        self._folders: dict[Place, tuple[str, ...]] = {}
        self._vacant: list[RepoName] = []
        self._blob_names: dict[str, int] = {}
        self._blob_times: dict[str, int] = {}
        self._linking: set[BinaryDigest] = set()
        self._drafted: set[BinaryDigest] = set()
        self._unfinished: list[Digest] = []
        self._kept_blobs = 0

    def mark(
        self, windows: list[HeldManifest], without: AssumedRemoval, tracing: Tracing | None
    ) -> None:
        """Mark every repository, and those that only an undo window remembers."""
        found = self._storage.scan_repositories()
        self._problems += found.problems
        if self._counting is not None:
            self._counting.begin(found)
        remembered = {one.repository for one in windows}.difference(found.names)
        names = [*found.names, *found.misnamed, *sorted(remembered)]
        thorough, trace = self._options.thorough, tracing is not None
        scanner = Scanner(
            self._storage,
            self._cutoffs,
            windows,
            without,
            thorough=thorough,
            trace=trace,
            count=self._counting is not None,
        )
        self._spoken_of.update(digest.binary for _, digest in without.manifests)
        self._progress("marking repositories", 0, len(names))
        if tracing is None:
            scans = side_by_side(names, scanner.scan, self._processes)
        else:
            names = by_folders(names)
            scans = traced(names, side_by_side(names, scanner.scan, self._processes), tracing)
        for count, (name, scanned) in enumerate(scans, start=1):
            self._add(name, scanned)
            self._progress("marking repositories", count, len(names))
        self._note_unseen_uploads()
        self._empty_parents(found.empty)

    def _note_unseen_uploads(self) -> None:
        if self._options.uploads is not None and (why := self._storage.unseen_uploads()):
            message = f"not all abandoned uploads are seen, and what is not seen stays: {why}"
            place = self._storage.places.top
            self._foreign.append(make_problem(None, place, message, Protects.NOTHING))

    def speak_of(self, unlinked: Iterable[Digest]) -> None:
        """Take it that these have not come ahead of their links; they are read when it matters."""
        self._unlinked = iter(unlinked)

    def _is_spoken_of(self, digest: BinaryDigest) -> bool:
        if digest not in self._spoken_of:
            self._spoken_of.update(one.binary for one in self._unlinked)
        return digest in self._spoken_of

    def _add(self, name: str, scanned: RepositoryScanned) -> None:
        if self._counting is not None:
            self._counting.add(name, scanned)
        emptied = tuple(_digest(one.digest) for one in scanned.emptied)
        self._seen[name] = RepositoryFingerprint(
            scanned.names, scanned.revision_times, emptied, scanned.layer_times, scanned.unused
        )
        self._linking.update(BinaryDigest(digest) for digest in scanned.linking)
        self._problems += scanned.problems
        self._foreign += scanned.foreign
        self._untagged += scanned.untagged
        self._untagged_only.add_row(scanned.untagged_only)
        self._kept.add_row(scanned.reached)
        for digest in scanned.reached_long:
            self._kept.add(BinaryDigest(digest))
        self._protected.update(scanned.protected)
        for digest, run in scanned.held:
            self._held[BinaryDigest(digest)].append(run)
        self._young.update(scanned.young)
        self._young_links += scanned.young_links
        self._spoken_of.update(BinaryDigest(link.digest) for link in scanned.layer_links)
        self._spoken_of.update(BinaryDigest(link.digest) for link in scanned.revisions)
        self._spoken_of.update(
            BinaryDigest(one.digest)
            for one in (*scanned.emptied, *scanned.empty_layers)
            if one.idle
        )
        if scanned.problems:
            return
        repository = RepoName(name)
        self._layer_links += [
            LinkedDigest(repository, _digest(link.digest), link.stamp)
            for link in scanned.layer_links
        ]
        self._revisions += [
            LinkedDigest(repository, _digest(link.digest), link.stamp) for link in scanned.revisions
        ]
        self._history += [
            HistoryEntry(repository, Tag(tag), _digest(digest)) for tag, digest in scanned.history
        ]
        self._uploads += [
            AbandonedUpload(repository, one.id, one.files, one.bytes, one.moved)
            for one in scanned.uploads
        ]
        self._leftovers += scanned.leftovers
        self._add_folders(LinkKind.REVISION, name, scanned.emptied)
        self._add_folders(LinkKind.LAYER, name, scanned.empty_layers)
        if scanned.empty:
            self._vacant.append(repository)

    def _add_folders(self, kind: LinkKind, repository: str, found: list[EmptyPlace]) -> None:
        by_algorithm: defaultdict[str, list[str]] = defaultdict(list)
        for one in found:
            if one.idle:
                digest = _digest(one.digest)
                by_algorithm[digest.algorithm].append(digest.hex)
        for algorithm, names in by_algorithm.items():
            place = self._storage.places.links(kind, repository, algorithm)
            self._folders[place] = tuple(sorted(names))

    def _empty_parents(self, names: list[str]) -> None:
        """Take names that once were above repositories, and that nothing is under now."""
        found: defaultdict[Place, list[str]] = defaultdict(list)
        for name in names:
            stamp = self._storage.name_stamp(name)
            if name.isprintable() and (stamp or 0) <= self._cutoffs.idle:
                above, _, last = name.rpartition("/")
                found[self._storage.places.repository(above)].append(last)
        self._folders.update((above, tuple(sorted(names))) for above, names in found.items())

    def plan(self, windows: Mapping[str, float], without: AssumedRemoval) -> CollectionPlan:
        """Look at every blob that no repository keeps, and put each into one class."""
        folders = self._storage.blob_groups(self._problems)
        blobs: list[SweptBlob] = []
        fresh: list[BinaryDigest] = []
        young, protected = [0, 0], [0, 0]
        held = {run: [0, 0] for run in windows}
        blind = any(problem.protects is Protects.EVERYTHING for problem in self._problems)
        self._progress("looking for garbage", 0, len(folders))
        for name, look in side_by_side(folders, self._look_into, self._processes):
            self._add_look(name, look)
            for at, (digest, size, stamp, arrived, kept) in enumerate(look.loose):
                kind = self._class_of(digest, stamp, arrived, blind=blind)
                if self._counting is not None:
                    self._counting.loose(kind, size, look.holders[at])
                if kind is SpaceClass.GARBAGE:
                    blobs.append(SweptBlob(Digest.from_binary(digest), size, stamp, kept))
                    continue
                if kind is SpaceClass.PROTECTED:
                    tally = protected
                elif kind is SpaceClass.UNDO:
                    # What several runs hold back is free when the last of their windows has ended.
                    tally = held[max(self._held[digest], key=windows.__getitem__)]
                else:
                    tally = young
                    fresh.append(digest)
                tally[0] += 1
                tally[1] += size - kept
            self._progress("looking for garbage", len(self._blob_names), len(folders))
        blobs.sort(key=lambda blob: blob.digest)
        blobs = self._leave_to_unlinked(fresh, blobs, young)
        return CollectionPlan(
            root=self._storage.location,
            started=self._now,
            options=self._options,
            blobs=tuple(blobs),
            layer_links=tuple(_in_order(self._layer_links)),
            revisions=tuple(_in_order(self._revisions)),
            history=tuple(sorted(self._history, key=lambda one: (one.repository, one.tag))),
            uploads=tuple(sorted(self._uploads, key=lambda one: (one.repository, one.id))),
            leftovers=tuple(sorted(self._leftovers, key=lambda one: one.path)),
            folders=dict(sorted(self._folders.items())),
            vacant=tuple(sorted(self._vacant)),
            bytes=sum(blob.freed for blob in blobs),
            young=Tally(*young),
            young_links=self._young_links,
            held=tuple(
                HeldBack(run, windows[run], *tally) for run, tally in held.items() if tally[0]
            ),
            protected=Tally(*protected),
            kept_blobs=self._kept_blobs,
            repositories=len(self._seen),
            problems=tuple(dict.fromkeys(self._problems)),
            untagged=Tally(self._untagged, self._untagged_bytes),
            foreign=tuple(dict.fromkeys(self._foreign)),
            seen=self._seen,
            blob_names=self._blob_names,
            blob_times=self._blob_times,
            unfinished=tuple(self._unfinished),
            hypothetical=bool(without.tags or without.manifests),
        )

    def _class_of(
        self, digest: BinaryDigest, stamp: Stamp, arrived: Stamp, *, blind: bool
    ) -> SpaceClass:
        """Return why a blob stays that no repository reaches, or that it goes.

        ``blind``: something turned up that might reference everything.
        """
        if blind or digest in self._protected:
            return SpaceClass.PROTECTED
        if digest in self._held:
            return SpaceClass.UNDO
        if self._is_young(digest, stamp, arrived):
            return SpaceClass.YOUNG
        return SpaceClass.GARBAGE

    def _is_young(self, digest: BinaryDigest, stamp: Stamp, arrived: Stamp) -> bool:
        """Whether a blob was pushed or touched lately, or may have come ahead of its links.

        Where a tree is being copied in, files come with the times of the originals, and blobs
        before the repositories: only the time of arrival tells them from garbage. A blob that a
        link speaks of, or spoke of, has not come ahead.
        """
        idle = self._cutoffs.idle
        if digest in self._young or stamp > idle:
            return True
        return arrived > idle and not self._is_spoken_of(digest)

    def _leave_to_unlinked(
        self, fresh: list[BinaryDigest], blobs: list[SweptBlob], young: list[int]
    ) -> list[SweptBlob]:
        """Leave what manifests need that are stored and not linked yet, and its links."""
        wanted = wanted_by_unlinked(self._storage, fresh)
        wanted |= wanted_by(self._storage, self._linking | self._drafted)
        if not wanted:
            return blobs
        left: list[SweptBlob] = []
        going: list[SweptBlob] = []
        for blob in blobs:
            (left if blob.digest.binary in wanted else going).append(blob)
        if self._counting is not None:
            self._counting.keep_young((blob.digest.binary, blob.size) for blob in left)
        young[0] += len(left)
        young[1] += sum(blob.freed for blob in left)
        links = [link for link in self._layer_links if link.digest.binary not in wanted]
        self._young_links += len(self._layer_links) - len(links)
        self._layer_links = links
        self._revisions = [link for link in self._revisions if link.digest.binary not in wanted]
        self._history = [entry for entry in self._history if entry.digest.binary not in wanted]
        return going

    def _add_look(self, name: str, look: "_Look") -> None:
        self._blob_names[name] = look.names
        self._blob_times[name] = look.changed
        self._kept_blobs += look.kept
        self._problems += look.problems
        self._untagged_bytes += look.untagged_bytes
        self._leftovers += look.leftovers
        if self._counting is not None and look.sums is not None:
            self._counting.take(look.sums)
        self._drafted |= look.drafted
        self._unfinished += map(Digest.from_binary, look.unfinished)
        if look.removable:
            self._folders[self._storage.places.blob_group(name)] = tuple(look.removable)

    def _look_into(self, name: str) -> "_Look":
        """Look at the loose blobs in a folder of ``blobs/``, at all of them if thorough."""
        look = _Look(0, 0, [], [], [], set(), [], [])
        look.changed = self._storage.group_change(name)
        digests = self._storage.blobs_in(name, look.problems)
        look.names = names_sum(digests)
        keep = self._kept.among(name, digests)
        loose = [digest for digest in digests if digest not in keep]
        look.kept = len(digests) - len(loose)
        only_untagged = self._storage.blobs_each(list(self._untagged_only.among(name, digests)))
        look.untagged_bytes = sum(blob.size for blob in only_untagged if blob is not None)
        empty = []
        for digest, blob in zip(loose, self._storage.blobs_each(loose), strict=True):
            if blob is None:
                empty.append(digest)
            else:
                look.loose.append(blob)
        if self._counting is not None:
            staying = [digest for digest in digests if digest in keep]
            look.sums, look.holders = self._counting.kept(
                staying, self._storage.sizes_each(staying), [blob.digest for blob in look.loose]
            )
        for digest in digests if self._options.thorough else empty:
            found = self._storage.empty_blob(digest, self._cutoffs.idle)
            if found is None:
                continue
            look.leftovers += found.leftovers
            if found.removable:
                look.removable.append(digest.hex())
            elif digest in empty:
                look.unfinished.append(digest)
                look.drafted |= drafted_references(found.drafts)
        return look


class _Look(msgspec.Struct):
    """What is in a folder of ``blobs/``; ``names`` is the sum of all, ``kept`` their number.

    ``loose`` are the blobs that no repository keeps, ``removable`` the places that nothing is in,
    ``unfinished`` those that a blob is being written into, and ``drafted`` what those reference
    that are manifests. ``untagged_bytes`` are the sizes of those that only untagged manifests need.
    ``changed`` tells later whether a blob was made or removed. If space is counted, ``sums`` are
    those of the blobs that are kept, and ``holders`` the repositories of each loose one.
    """

    names: int
    kept: int
    loose: list[Blob]
    removable: list[str]
    unfinished: list[BinaryDigest]
    drafted: set[BinaryDigest]
    leftovers: list[Leftover]
    problems: list[Problem]
    untagged_bytes: int = 0
    changed: int = -1
    sums: SpaceSums | None = None
    holders: Sequence[Sequence[int]] = ()


def _digest(raw: bytes) -> Digest:
    return Digest.from_binary(BinaryDigest(raw))


def _in_order(links: list[LinkedDigest]) -> list[LinkedDigest]:
    return sorted(links, key=lambda one: (one.repository, one.digest))
