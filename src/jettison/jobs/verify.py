"""The proof: what was promised beside what exists, in the API and on the disk.

A sentence says what was checked, and no more. HEAD never counts (:mod:`.image_lookup`): manifests
are fetched, the first bytes of blobs are read, and only what was read in full is called whole.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final

import msgspec

from jettison.collector.options import CollectOptions
from jettison.collector.planning import plan_collection
from jettison.collector.undo_windows import held_manifests
from jettison.collector.unlinked import wanted_by_unlinked
from jettison.errors import InvalidManifest, JettisonError, JournalError, UnexpectedResponse
from jettison.jobs.concurrency import each
from jettison.jobs.current_state import list_tags
from jettison.jobs.image_lookup import (
    blobs_of,
    each_alone,
    look_at_blobs,
    look_at_manifests,
    what_is_wrong,
)
from jettison.jobs.removal_plan import planned_nodes
from jettison.jobs.verify_collection import (
    SAMPLE,
    medium,
    not_looked_at,
    number,
    sample,
    serves,
    stale_finding,
)
from jettison.model.digest import Digest
from jettison.model.journal import Finding, FindingCode, RemovalEntry
from jettison.model.names import RepoName, Tag
from jettison.model.plan import Plan
from jettison.model.restoration import NotBack, UndoPlan, needs_of
from jettison.model.snapshot import Node
from jettison.model.times import moment
from jettison.progress import Progress, silent
from jettison.registry import Registry
from jettison.storage.protocol import Blob, Storage, stamp_at

__all__ = ["Proof", "verify_blobs", "verify_references", "verify_restored", "verify_storage"]

FEW: Final = 20
"""How many neighbours, and blobs that were not collected, are checked: checking all would cost more
than the removal.
"""


class Proof(msgspec.Struct, frozen=True):
    """Findings, and how many of the blobs that nothing needs are gone.

    ``gone`` and ``left`` count the blobs that were looked for, without manifests, which an undo has
    from the journal.
    """

    findings: tuple[Finding, ...] = ()
    gone: int = 0
    left: int = 0


async def verify_references(
    registry: Registry, run: RemovalEntry, progress: Progress = silent, *, read_data: bool = False
) -> list[Finding]:
    """Check that what was to go is gone, and that what was to stay exists.

    ``read_data``: read in full the blobs of what stays.
    """
    found = [
        *await _removed_tags(registry, run, progress),
        *await _removed_manifests(registry, run, progress),
        *await _kept(registry, run, progress, read_data=read_data),
    ]
    return [finding for finding in found if finding is not None]


async def _removed_tags(
    registry: Registry, run: RemovalEntry, progress: Progress
) -> list[Finding | None]:
    """Look for tags in the list, and by GET if the list does not decide.

    It does not if a tag is still listed, or if its manifest stays and so is not looked for.
    """
    tags = {
        (step.repository, tag): (step.digest, step.deletes is None)
        for step in run.removed
        for tag in step.tags
    }
    lists = await _lists(registry, tags)
    listed = {(repository, tag) for repository, names in lists.items() for tag in names}
    asked = [item for item, (_, alone) in tags.items() if alone or item in listed]
    findings: list[Finding | None] = []
    gone = len(tags) - len(asked)

    async def look(item: tuple[RepoName, Tag]) -> Digest | JettisonError | None:
        try:
            manifest = await registry.manifest(*item)
        except (InvalidManifest, UnexpectedResponse) as error:
            return error
        return None if manifest is None else manifest.digest

    async for (repository, tag), now in each(asked, look):
        progress("verifying tags", gone, len(tags))
        name = f"{repository}:{tag}"
        was = tags[repository, tag][0]
        if isinstance(now, JettisonError):
            findings.append(
                Finding(FindingCode.NOT_LOOKED_AT, ok=False, subject=name, sentence=now.message)
            )
        elif now is not None and now == was:
            findings.append(
                Finding(
                    FindingCode.TAG_THERE, ok=False, subject=name, sentence="the tag is still there"
                )
            )
        elif now is not None:
            sentence = f"points to another image now: {now.short}"
            findings.append(
                Finding(FindingCode.TAG_MOVED, ok=True, subject=name, sentence=sentence)
            )
        elif (repository, tag) in listed:
            # Removed, and so answered: the list comes from a cache, or from a broken registry. But
            # of a tag that led nowhere before, the list is all there is to see.
            sentence = "the tag answers 404 to GET, and is still in the registry's list"
            if beside := _begins_with(tag, lists[repository]):
                sentence += f"; on S3, docker-registry 2.8 leaves it there beside {beside}"
            gone_now = was is not None
            findings.append(
                Finding(FindingCode.TAG_LISTED, ok=gone_now, subject=name, sentence=sentence)
            )
        else:
            gone += 1
    return [_count(FindingCode.TAG_GONE, gone, "tag", "is gone", "are gone"), *findings]


async def _lists(
    registry: Registry, tags: Iterable[tuple[RepoName, Tag]]
) -> dict[RepoName, list[Tag]]:
    """Return what is listed in the repositories of ``tags``, sorted.

    Where the registry does not answer, these count as listed, so that each is asked for.
    """
    found: dict[RepoName, list[Tag]] = {}
    for repository in sorted({repository for repository, _ in tags}):
        try:
            found[repository] = sorted(await list_tags(registry, repository))
        except UnexpectedResponse:
            found[repository] = sorted(tag for name, tag in tags if name == repository)
    return found


def _begins_with(tag: Tag, names: list[Tag]) -> Tag | None:
    """Return a tag whose key comes before those of ``tag`` in a bucket, and begins as they do.

    docker-registry 2.8 with its driver for S3 does not remove ``1`` beside ``1-alpine`` or ``1.0``
    (docs/object-storage.md). ``names`` are sorted.
    """
    for longer in (f"{tag}-", f"{tag}."):
        at = bisect_left(names, longer)
        if at < len(names) and names[at].startswith(longer):
            return names[at]
    return None


async def _removed_manifests(
    registry: Registry, run: RemovalEntry, progress: Progress
) -> list[Finding | None]:
    nodes = planned_nodes(run.removed)
    findings: list[Finding | None] = []
    gone = 0
    async for (repository, digest), now in each_alone(nodes, lambda node: registry.manifest(*node)):
        progress("verifying manifests", gone, len(nodes))
        if now is None:
            gone += 1
            continue
        code, sentence = FindingCode.MANIFEST_THERE, "the manifest is served"
        if isinstance(now, JettisonError):
            code = FindingCode.NOT_LOOKED_AT
            sentence = f"cannot be looked at: {now.message}"
        name = f"{repository}@{digest}"
        findings.append(Finding(code, ok=False, subject=name, sentence=sentence))
    return [
        _count(
            FindingCode.MANIFEST_GONE, gone, "manifest", "answers 404 to GET", "answer 404 to GET"
        ),
        *findings,
    ]


async def verify_restored(
    registry: Registry,
    plan: UndoPlan,
    left: Iterable[NotBack] = (),
    progress: Progress = silent,
) -> list[Finding]:
    """Check that what an undo restored exists: tags, manifests, and what they need.

    What it left is not checked, nor what was missing before the run.
    """
    names = {one.subject for one in left}
    tags = {
        (repository, tag): digest
        for repository, tag, digest in (*plan.there, *plan.tags)
        if f"{repository}:{tag}" not in names
    }
    tagged = {(repository, digest) for (repository, _), digest in tags.items()}
    # What only a tag leads to that is left is named with the tag.
    failed = {(r, digest) for r, tag, digest in plan.tags if f"{r}:{tag}" in names} - tagged
    others = {
        (one.repository, one.digest)
        for one in plan.manifests
        if f"{one.repository}@{one.digest}" not in names
    }
    manifests = tagged | (others - failed)
    findings: list[Finding | None] = []
    back = 0
    async for item, now in each_alone(tags, lambda item: registry.resolve(*item)):
        progress("verifying tags", back, len(tags))
        if now == tags[item]:
            back += 1
            continue
        code, sentence = FindingCode.TAG_ABSENT, "is not there"
        if isinstance(now, Digest):
            code, sentence = FindingCode.TAG_MOVED, f"points to {now} instead"
        name = f"{item[0]}:{item[1]}"
        findings.append(Finding(code, ok=False, subject=name, sentence=sentence))
    found = await _look(registry, manifests, progress, missing=frozenset(plan.missing))
    findings += found.findings({node: f"{node[0]}@{node[1]}" for node in manifests})
    count = len(manifests) - len(found.wrong) - len(found.before)
    return [
        finding
        for finding in (
            _count(FindingCode.TAG_BACK, back, "tag", "is back", "are back"),
            _count(FindingCode.IMAGE_WHOLE, count, "manifest", *_THERE),
            *findings,
        )
        if finding is not None
    ]


_THERE: Final = (
    "is there, with its blobs and their sizes",
    "are there, with their blobs and their sizes",
)
_READ: Final = (
    "is whole: all its bytes were read, and have their digests",
    "are whole: all their bytes were read, and have their digests",
)


async def _kept(
    registry: Registry, run: RemovalEntry, progress: Progress, *, read_data: bool
) -> list[Finding | None]:
    """Check the neighbours that the removal left.

    One that is gone right after the run went with it; later, others may have removed it.
    """
    plan = run.plan
    kept_ones = plan.kept if read_data else sample(plan.kept, FEW)
    tags = {(kept.repository, kept.tag): kept.digest for kept in kept_ones if kept.tag is not None}
    untagged = {(kept.repository, kept.digest) for kept in kept_ones if kept.tag is None}
    findings: list[Finding | None] = []
    names: dict[Node, str] = {node: f"{node[0]}@{node[1].short}" for node in untagged}
    async for (repository, tag), now in each_alone(tags, lambda item: registry.resolve(*item)):
        name, was = f"{repository}:{tag}", tags[repository, tag]
        if now == was:
            names[repository, was] = name
            continue
        if isinstance(now, JettisonError):
            code, ok = FindingCode.NOT_LOOKED_AT, False
            sentence = f"cannot be looked at: {now.message}"
        elif now is None:
            code, ok = FindingCode.TAG_ABSENT, run.receipt is not None
            sentence = "was to stay, and is not there any more"
        else:
            code, ok = FindingCode.TAG_MOVED, True
            sentence = f"points to another image now: {now.short}"
        findings.append(Finding(code, ok=ok, subject=name, sentence=sentence))
    broken = frozenset((one.repository, digest) for one in plan.missing for digest in one.absent)
    found = await _look(registry, names, progress, missing=broken, read_data=read_data)
    findings += found.findings(names)
    count = len(names) - len(found.wrong) - len(found.before)
    said = _READ if read_data else _THERE
    if len(kept_ones) < len(plan.kept):
        said = (said[0], f"{said[1]} (a sample of {len(plan.kept):,})")
    return [_count(FindingCode.IMAGE_WHOLE, count, "neighbour", *said), *findings]


class _Looked(msgspec.Struct, frozen=True):
    """Defects by image; ``before`` are images that had them before the run."""

    wrong: dict[Node, str]
    before: dict[Node, str]

    def findings(self, names: Mapping[Node, str]) -> list[Finding]:
        found = [
            Finding(FindingCode.IMAGE_BROKEN, ok=False, subject=names[node], sentence=problem)
            for node, problem in sorted(self.wrong.items())
        ]
        return found + [
            Finding(
                FindingCode.IMAGE_BROKEN,
                ok=True,
                subject=names[node],
                sentence=f"is broken, as before: {problem}",
                before=True,
            )
            for node, problem in sorted(self.before.items())
        ]


async def _look(
    registry: Registry,
    nodes: Iterable[Node],
    progress: Progress,
    *,
    missing: AbstractSet[Node] = frozenset(),
    read_data: bool = False,
) -> _Looked:
    """Check images; those in ``missing`` did not exist before."""
    wanted = list(nodes)
    looked = await look_at_manifests(registry, wanted, progress=progress)
    blobs = await look_at_blobs(registry, blobs_of(looked), progress, read_data=read_data)
    since = {blob: problem for blob, problem in blobs.items() if blob not in missing}
    wrong: dict[Node, str] = {}
    before: dict[Node, str] = {}
    for node in wanted:
        # A child that was not there before is lawful: a sparse index.
        if problem := what_is_wrong(node, looked, since, missing):
            wrong[node] = problem
        elif problem := what_is_wrong(node, looked, blobs, missing):
            before[node] = problem
    return _Looked(wrong, before)


def verify_storage(
    storage: Storage, run: RemovalEntry, now: float, progress: Progress = silent
) -> Proof:
    """Check that the files of what was to be freed are gone; say why others are not."""
    plan = run.plan
    sizes = {item.digest: item.size for item in plan.estimate.freed}
    found = zip(sizes, storage.blobs_each([digest.binary for digest in sizes]), strict=True)
    left = {digest: blob for digest, blob in found if blob is not None}
    # An undo has manifests from the journal, and is not to bring back what was not there.
    others = {saved.digest for saved in run.saved} | _missing_before(plan)
    counts = (len(sizes.keys() - left.keys() - others), len(left.keys() - others))
    gone = sum(size for digest, size in sizes.items() if digest not in left)
    findings = []
    if len(left) < len(sizes):
        subject = f"{number(len(sizes) - len(left), 'blob file')}, {gone:,} bytes"
        sentence = f"gone from the {medium(storage)}"
        findings.append(Finding(FindingCode.BLOB_GONE, ok=True, subject=subject, sentence=sentence))
    if left:
        findings += _why_left(storage, run, left, now, progress)
    return Proof(tuple(findings), *counts)


def _why_left(
    storage: Storage,
    run: RemovalEntry,
    left: Mapping[Digest, Blob],
    now: float,
    progress: Progress,
) -> list[Finding]:
    loose = plan_collection(storage, CollectOptions(grace=0.0), now, progress=progress)
    garbage = {blob.digest for blob in loose.blobs}
    held = _held(storage, now)
    idle = stamp_at(now - run.grace)
    young = [digest.binary for digest, blob in left.items() if blob.stamp > idle]
    pending = wanted_by_unlinked(storage, young)
    groups: dict[tuple[FindingCode, bool, str], list[int]] = {}
    findings = []
    for digest, blob in left.items():
        if digest not in garbage:
            why = "needed again by something in the registry, or protected by a problem"
            reason = (FindingCode.BLOB_NEEDED, True, why)
        elif digest in held:
            until = moment(held[digest])
            why = f"held for undo until {until}; `gc --now` frees it"
            reason = (FindingCode.BLOB_HELD, True, why)
        elif blob.stamp > idle or blob.digest in pending:
            why = "younger than the grace period; the next `gc` after it takes it"
            reason = (FindingCode.BLOB_YOUNG, True, why)
        else:
            why = "not collected yet; `jettison gc` takes it"
            reason = (FindingCode.BLOB_UNCOLLECTED, not run.reclaim, why)
        groups.setdefault(reason, []).append(blob.size)
    for (code, ok, why), found in groups.items():
        subject = f"{number(len(found), 'blob file')}, {sum(found):,} bytes"
        findings.append(Finding(code, ok=ok, subject=subject, sentence=why))
    return findings


def _missing_before(plan: Plan) -> set[Digest]:
    return {digest for one in plan.missing for digest in one.absent}


def _held(storage: Storage, now: float) -> dict[Digest, float]:
    """Return what the undo windows of all runs hold, and until when, as far as readable."""
    held: dict[Digest, float] = {}
    with suppress(JournalError):  # a collection will speak of it, and take nothing
        for one in held_manifests(storage, now):
            for digest in (one.digest, *needs_of(one.raw, "").blobs):
                held[digest] = max(one.until, held.get(digest, 0.0))
    return held


async def verify_blobs(
    registry: Registry, run: RemovalEntry, *, stored: bool, progress: Progress = silent
) -> Proof:
    """Ask the registry for a sample of what was to be freed: HEAD must not promise bytes in vain.

    ``stored``: the storage was checked too, and tells better what is not collected yet.
    """
    plan = run.plan
    freed = {item.digest for item in plan.estimate.freed} - _missing_before(plan)
    pairs = {
        (saved.repository, blob)
        for saved in run.saved
        if saved.removed
        for blob in needs_of(saved.raw, saved.media_type).blobs
        if blob in freed
    }
    # Where nothing was collected, nearly all of it is there.
    asked = sample(sorted(pairs), SAMPLE if run.reclaim else FEW)
    answers: dict[bool | None, set[Node]] = {None: set(), False: set(), True: set()}
    failed: list[JettisonError] = []
    done = 0
    async for item, answer in each_alone(asked, lambda item: serves(registry, *item)):
        done += 1
        progress("verifying blobs", done, len(asked))
        if isinstance(answer, JettisonError):
            failed.append(answer)
        else:
            answers[answer].add(item)
    gone, lied, left = answers[None], answers[False], answers[True]
    of = "" if len(asked) == len(pairs) else f" (a sample of {len(pairs):,})"
    findings = not_looked_at(failed)
    if lied:
        findings.append(stale_finding([f"{repository}@{digest}" for repository, digest in lied]))
    if gone:
        subject = f"{number(len(gone), 'blob')}{of}"
        sentence = "not served any more"
        findings.append(Finding(FindingCode.BLOB_GONE, ok=True, subject=subject, sentence=sentence))
    if left and not stored:
        sentence = "still served; a collection of the registry frees what nothing needs"
        subject = f"{number(len(left), 'blob')}{of}"
        findings.append(
            Finding(FindingCode.BLOB_SERVED, ok=True, subject=subject, sentence=sentence)
        )
    return Proof(tuple(findings), len(gone) + len(lied), len(left))


def _count(code: FindingCode, count: int, noun: str, singular: str, plural: str) -> Finding | None:
    if count == 0:
        return None
    sentence = singular if count == 1 else plural
    return Finding(code, ok=True, subject=number(count, noun), sentence=sentence)
