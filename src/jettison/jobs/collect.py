"""``jettison gc`` from options to receipt: plan, collect, and an entry in the journal."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from jettison.collector.mark_log import Tracing
from jettison.collector.plan import CollectionPlan, CollectOptions, LinkedDigest
from jettison.collector.planning import plan_collection
from jettison.collector.plausibility import find_objections, refuse
from jettison.collector.space import SpaceCount
from jettison.collector.sweep import (
    LONG_SETTLE_SECONDS,
    CollectionReceipt,
    collect,
    recover,
)
from jettison.collector.undo_windows import (
    held_manifests,
    plan_within_windows,
    removed_manifests,
    used_addresses,
)
from jettison.errors import JournalError, NotFoundError, NotQuiescent, StorageError
from jettison.jobs.quiescence import (
    Evidence,
    is_heeded,
    probe_address,
    require_no_memory,
    require_quiescent,
)
from jettison.jobs.verify_collection import medium, verify_collection, verify_gone
from jettison.jobs.workspace import Workspace
from jettison.model.digest import Digest
from jettison.model.journal import (
    CollectionEntry,
    Finding,
    FindingCode,
    JobState,
    Receipt,
    RemovalEntry,
    RemovalHead,
    UndoEntry,
    UndoHead,
)
from jettison.model.names import RepoName
from jettison.model.plausibility import NOTHING_SAID, Consent
from jettison.model.times import rfc3339
from jettison.progress import Progress
from jettison.storage.descriptor_cache import forget
from jettison.storage.journal import Journal, new_run_id, tree_journal
from jettison.storage.protocol import LinkKind, Problem, Protects, Storage

if TYPE_CHECKING:
    from jettison.configuration import Configuration

__all__ = [
    "Collection",
    "CollectionJob",
    "collect_and_forget",
    "forget_in_redis",
]


MOST_SAMPLED: Final = 100
"""The most removed blobs, and layer links, that are noted for a later proof."""

Item = TypeVar("Item")


class Collection(msgspec.Struct, frozen=True):
    """A collection's journal entry, and its receipt."""

    run: CollectionEntry
    receipt: CollectionReceipt


class CollectionJob:
    """One collection of the storage of a workspace: planned, applied, and verified.

    ``end_undo`` ends the undo windows first. ``consent`` is what the user allows. ``settle`` is for
    how many seconds what goes is kept out of the sight of a registry that takes pushes.
    """

    def __init__(
        self,
        workspace: Workspace,
        options: CollectOptions,
        *,
        end_undo: bool = False,
        consent: Consent = NOTHING_SAID,
        settle: float | None = None,
    ) -> None:
        self._workspace = workspace
        self.storage = workspace.own_storage
        self.configuration = workspace.configuration
        self._options = options
        self._end_undo = end_undo
        self._consent = consent
        self._recovered: list[Digest] = []
        self._unlinked: list[Digest] = []
        self._windows: set[str] = set()
        self._quiescent = False
        self._heeded = False
        self._beside = False
        self._settle = settle

    def require_quiescent(
        self,
        *,
        assumed: bool = False,
        quiesced: bool = False,
        heeded: bool = False,
        beside: bool = False,
    ) -> None:
        """Raise :class:`~jettison.errors.NotQuiescent` if pushes are possible and must not be.

        Without a grace period, with ``end_undo``, and for images in a bucket, the registry must be
        stopped or read-only. ``assumed``: who asks knows that it is. ``quiesced``: a command has
        just stopped it. ``heeded``: whoever pushes does so through our own server. ``beside``: a
        bucket may be collected beside another registry that takes pushes, if it remembers no blobs;
        what goes is then kept out of its sight for a time.
        """
        if assumed:
            self._quiescent = True
            return
        renames = self.storage.features.atomic_rename
        has_grace = self._options.grace > 0 and not self._end_undo
        if not renames and has_grace and not quiesced:
            self._heeded = heeded or is_heeded(self.configuration, self.addresses())
            if self._heeded:
                return
        if renames and has_grace:
            return
        evidence = Evidence(self.storage, self._workspace.clock(), self.addresses(), quiesced)
        try:
            require_quiescent(self.configuration, evidence=evidence)
        except NotQuiescent as error:
            if not beside or not has_grace:
                raise
            require_no_memory(self.configuration, error)
            self._beside = True
        else:
            self._quiescent = True

    @property
    def is_beside(self) -> bool:
        """Whether a bucket is collected beside a registry that may be taking pushes."""
        return self._beside

    @property
    def settle(self) -> float | None:
        """For how many seconds what goes is kept out of sight; None: as the storage does it."""
        if self._beside:
            return LONG_SETTLE_SECONDS if self._settle is None else self._settle
        return self._settle if self.storage.features.atomic_rename else None

    def addresses(self) -> tuple[str, ...]:
        """Return the possible addresses of the registry, from its configuration and the journal."""
        found = (_address(self.configuration), *used_addresses(self.storage))
        return tuple(dict.fromkeys(filter(None, found)))

    def plan(
        self,
        *,
        progress: Progress | None = None,
        tracing: Tracing | None = None,
        counting: SpaceCount | None = None,
    ) -> CollectionPlan:
        """Plan the collection, changing nothing; ``progress`` replaces the workspace's.

        ``tracing`` is told what is marked, ``counting`` whose each blob is.
        The quarantine of a killed collection is planned for as if :meth:`recover` had been called.
        """
        with self.storage.seeing_quarantine() as aside:
            noted = (*self._unlinked, *self.storage.link_quarantine().unlinked())
            unlinked = (*self._recovered, *noted, *map(Digest.from_binary, aside))
            # Beside pushes, what is young is told by the clock that has dated it.
            by_storage = self._heeded or self._beside
            now = self.storage.now() if by_storage else self._workspace.clock()
            told = progress or self._workspace.progress
            plan = self._plan(now, unlinked, told, tracing, counting)
        return msgspec.structs.replace(plan, aside=len(aside)) if aside else plan

    def _plan(
        self,
        now: float,
        unlinked: Sequence[Digest],
        progress: Progress,
        tracing: Tracing | None,
        counting: SpaceCount | None,
    ) -> CollectionPlan:
        storage, options = self.storage, self._options
        if not self._end_undo:
            return plan_within_windows(
                storage,
                options,
                now,
                progress=progress,
                tracing=tracing,
                counting=counting,
                unlinked=unlinked,
            )
        # A window that cannot be read cannot be ended.
        self._windows = {one.run for one in held_manifests(storage, now)}
        return plan_collection(
            storage,
            options,
            now,
            progress=progress,
            tracing=tracing,
            counting=counting,
            unlinked=chain(unlinked, removed_manifests(storage)),
        )

    def require_plausible(self, plan: CollectionPlan) -> None:
        """Raise :class:`~jettison.errors.Refused` for an implausible plan."""
        refuse(find_objections(self.storage, self.configuration, plan, self._consent))

    def recover(self) -> None:
        """Put back the quarantine of a killed collection, so that it is planned for."""
        self._unlinked += self.storage.link_quarantine().unlinked()
        self._recovered += recover(self.storage)

    def apply(
        self, plan: CollectionPlan, request: tuple[str, ...], *, progress: Progress | None = None
    ) -> Collection:
        """Execute the plan and note it in the journal, with its receipt and its proof.

        :meth:`require_quiescent` comes first, or a bucket is not collected.

        Removed blobs are forgotten in a Redis that the configuration names. A collection of nothing
        is not noted: it may run every hour.
        """
        place = self._workspace
        keeps_removed = self.storage.keeps_removed()  # while there is something to ask about
        receipt, forgotten = collect_and_forget(
            self.storage,
            self.configuration,
            plan,
            place.clock,
            progress or place.progress,
            end=self._windows,
            quiescent=self._quiescent,
            heeded=self._heeded,
            settle=self.settle,
        )
        recovered = receipt.recovered + len(self._recovered)
        receipt = msgspec.structs.replace(receipt, recovered=recovered)
        # Links first: a bucket is listed for them, and tells of blobs by the same listing then.
        links = tuple(_gone_links(self.storage, _sample(plan.layer_links)))
        gone = _gone_blobs(self.storage, plan)
        findings = [*_findings(self.storage, plan, receipt, len(gone)), *forgotten]
        run = CollectionEntry(
            id=new_run_id(plan.started),
            state=JobState.DONE,
            started=rfc3339(plan.started),
            registry=_address(self.configuration),
            request=request,
            storage=self.storage.location,
            receipt=Receipt(
                finished=place.now(),
                manifests=receipt.revisions.count,
                predicted_bytes=receipt.predicted_bytes,
                freed_bytes=0 if keeps_removed else receipt.blobs.bytes,
                disk_free_before=receipt.disk_free_before,
                disk_free_after=receipt.disk_free_after,
                findings=tuple(findings),
                notes=tuple(problem.text for problem in receipt.problems),
            ),
            # Only what was seen to be gone: a later proof takes it for removed.
            links=links,
            blobs=tuple(one.digest for one in _sample(plan.blobs) if one.digest in gone),
        )
        if not plan.empty:
            try:
                place.journal.write(run)
            except JournalError as error:  # a disk that is still full, say; the receipt is printed
                problem = Problem(
                    None, self.storage.places.journal, error.message, Protects.NOTHING
                )
                receipt = msgspec.structs.replace(receipt, problems=(*receipt.problems, problem))
            # A job may have no home; the entry is in the tree's own journal in any case.
            if place.users is not None:
                with suppress(JournalError, RuntimeError):
                    place.users.point(run, place.journal)
        return Collection(run, receipt)

    async def verify(self, entry: CollectionEntry) -> list[Finding]:
        """Check that what an earlier collection removed is gone, on the disk and for clients.

        The check for clients needs a registry in the workspace.
        """
        place = self._workspace
        findings = verify_gone(self.storage, entry)
        if place.remote is not None:
            findings += await verify_collection(place.remote, self.storage, entry, place.progress)
        sentence = "nothing was noted as removed, so there is nothing to look for"
        none = Finding(
            FindingCode.NOTHING_NOTED, ok=True, subject="the collection", sentence=sentence
        )
        return findings or [none]


def _findings(
    storage: Storage, plan: CollectionPlan, receipt: CollectionReceipt, gone: int
) -> Iterator[Finding]:
    """Compare freed and predicted bytes, and both with the disk, where ``gone`` blobs are not."""
    freed = receipt.blobs.bytes
    hidden = freed and storage.keeps_removed()
    if freed == plan.bytes:
        yield Finding(
            FindingCode.FREED,
            ok=not receipt.ended,
            subject=f"{freed:,} bytes",
            sentence="removed, as predicted" if hidden else "freed, as predicted",
        )
    else:
        reasons = []
        if receipt.put_back.count:
            count, size = receipt.put_back.count, receipt.put_back.bytes
            reasons.append(
                f"{count} blobs ({size:,} bytes) were put back, wanted or not to be removed"
            )
        if receipt.failures:
            reasons.append(f"{receipt.failures} files could not be removed")
        if receipt.ended:
            reasons.append("the collection was ended early, since not everything could be read")
        sentence = "; ".join(reasons) or "others changed the storage meanwhile"
        subject = f"freed {freed:,} of {plan.bytes:,} bytes predicted"
        ok = not receipt.failures and not receipt.ended
        yield Finding(FindingCode.FREED_OTHER, ok=ok, subject=subject, sentence=sentence)
    if plan.blobs:
        subject = f"{gone:,} of {len(plan.blobs):,} blob files"
        ok = gone == len(plan.blobs) or not (receipt.failures or receipt.ended)
        sentence = f"gone from the {medium(storage)}"
        yield Finding(FindingCode.BLOB_GONE, ok=ok, subject=subject, sentence=sentence)
    if hidden:
        sentence = "hidden and not freed: the bucket keeps versions until a rule of it ends them"
        subject = f"{freed:,} bytes"
        yield Finding(FindingCode.FREED_NOTHING, ok=True, subject=subject, sentence=sentence)
    if plan.kept.count:
        subject = f"{plan.kept.count:,} of the blobs, {plan.kept.bytes:,} bytes"
        sentence = "gave the disk nothing back: hard links show them elsewhere, or they are holes"
        yield Finding(FindingCode.FREED_NOTHING, ok=True, subject=subject, sentence=sentence)


def _gone_links(
    storage: Storage, links: Sequence[LinkedDigest]
) -> Iterator[tuple[RepoName, Digest]]:
    if not links:
        return
    pairs = [(link.repository, link.digest.binary) for link in links]
    for link, linked in zip(links, storage.are_linked(LinkKind.LAYER, pairs), strict=True):
        if not linked:
            yield RepoName(link.repository), link.digest


def _gone_blobs(storage: Storage, plan: CollectionPlan) -> set[Digest]:
    found = storage.blobs_each([blob.digest.binary for blob in plan.blobs])
    pairs = zip(plan.blobs, found, strict=True)
    return {blob.digest for blob, there in pairs if there is None}


def _sample(removed: Sequence[Item]) -> Sequence[Item]:
    """Return a sample for a later proof, from all parts of the tree."""
    return removed[:: max(1, len(removed) // MOST_SAMPLED)][:MOST_SAMPLED]


def _address(configuration: "Configuration | None") -> str:
    """Return the address of the registry, or "" if it is unknown."""
    address = None if configuration is None else probe_address(configuration)
    if address is None:
        return ""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def collect_and_forget(  # noqa: PLR0913 - what nobody gives has its default
    storage: Storage,
    configuration: "Configuration | None",
    plan: CollectionPlan,
    clock: Callable[[], float],
    progress: Progress,
    *,
    end: AbstractSet[str] = frozenset(),
    quiescent: bool = False,
    heeded: bool = False,
    settle: float | None = None,
) -> tuple[CollectionReceipt, list[Finding]]:
    """Execute a plan, and make the configured Redis forget what went.

    Returns the receipt, with a problem if Redis still remembers, and the findings about it.
    ``quiescent``, ``heeded`` and ``settle`` as in :func:`~jettison.collector.sweep.collect`. The
    undo windows of the runs ``end`` end first. Redis is made to forget even if an error or Ctrl-C
    ends the collection. Raises :class:`~jettison.errors.Refused` where listings are behind.
    """
    cache = None if configuration is None else configuration.storage.cache
    findings: list[Finding] = []
    if not plan.empty:
        storage.require_strong_listing()
    try:
        receipt = collect(
            storage,
            plan,
            clock=clock,
            progress=progress,
            # First, since nothing may promise what is gone; and only once it is certain to go.
            begin=lambda: _end_windows(storage, plan, end),
            quiescent=quiescent,
            heeded=heeded,
            settle=settle,
        )
    finally:
        if configuration is not None and cache == "redis" and not plan.empty:
            # What was put back is forgotten too, which costs the registry one look.
            going = (*plan.layer_links, *plan.revisions)
            links = [(link.repository, link.digest) for link in going]
            gone = [blob.digest for blob in plan.blobs]
            findings.append(forget_in_redis(configuration, gone, links))
    if findings and not findings[0].ok:
        problem = Problem(None, "redis", findings[0].sentence, Protects.NOTHING)
        receipt = msgspec.structs.replace(receipt, problems=(*receipt.problems, problem))
    return receipt, findings


def forget_in_redis(
    configuration: "Configuration", blobs: Iterable[Digest], links: Iterable[tuple[str, Digest]]
) -> Finding:
    """Make the configured Redis forget these, and return whether it did."""
    server = configuration.redis
    if server is None:
        sentence = "the configuration names no Redis to make forget: empty its database"
        subject = "the descriptor cache"
        return Finding(FindingCode.CACHE_STALE, ok=False, subject=subject, sentence=sentence)
    try:
        count = forget(server, blobs, links)
    except StorageError as error:
        sentence = f"still remembers what was removed, and breaks pushes: {error.message}"
        subject = f"Redis at {server.address}"
        return Finding(FindingCode.CACHE_STALE, ok=False, subject=subject, sentence=sentence)
    subject = f"{count:,} entries in Redis"
    sentence = "forgotten with what they described"
    return Finding(FindingCode.CACHE_CLEARED, ok=True, subject=subject, sentence=sentence)


def _end_windows(storage: Storage, plan: CollectionPlan, runs: AbstractSet[str]) -> None:
    """Note in the journal what a collection that begins no longer keeps for an undo.

    That is what ``runs`` removed, whose windows end, and the young content that removals with a
    collection of their own had left.
    """
    if plan.empty and not runs:
        return
    journal, now = tree_journal(storage), plan.started
    for head in journal.heads():
        if not isinstance(head, RemovalHead | UndoHead):
            continue
        if head.id in runs and head.window_until is not None and head.window_until > now:
            _end_window(journal, head.id, now)
        elif isinstance(head, RemovalHead) and head.left_young:
            # A disk that is still full, say: it is a word in a list. Or it has left since.
            with suppress(JournalError, NotFoundError):
                _end_window(journal, head.id, now)


def _end_window(journal: Journal, run_id: str, now: float) -> None:
    run = journal.read(run_id)
    if isinstance(run, RemovalEntry | UndoEntry):
        journal.write(msgspec.structs.replace(run, window_until=now))
