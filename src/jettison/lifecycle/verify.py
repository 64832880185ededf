"""Prove it: what was promised beside what is there, in the API and on the disk.

HEAD never counts: a registry with a descriptor cache answers 200 for blobs that a collection has
removed, and then sends no bytes (registry-facts, "Their collector", 8). So manifests are fetched
and blobs are begun to be read.
"""

from datetime import UTC, datetime

from jettison.errors import InvalidManifest, JettisonError, UnexpectedResponse
from jettison.gc.options import CollectOptions
from jettison.gc.pending import wanted_by_pending
from jettison.gc.plan import plan_collection
from jettison.lifecycle.concurrency import each
from jettison.lifecycle.discover import add_manifests
from jettison.lifecycle.planning import planned_nodes
from jettison.lifecycle.present import list_tags
from jettison.lifecycle.staleness import RESTART, number, serves, stale_finding
from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.plan import Plan
from jettison.model.reference import RepoName, Tag
from jettison.model.run import Finding, Run
from jettison.model.snapshot import RepositorySnapshot
from jettison.progress import Progress, silent
from jettison.registry import Registry
from jettison.store.tree import StorageTree

__all__ = ["verify_blobs", "verify_references", "verify_restored", "verify_storage"]


async def verify_references(
    registry: Registry, run: Run, progress: Progress = silent
) -> list[Finding]:
    """Look whether what was to go is gone, and whether what was to stay can be read in full."""
    plan = run.plan
    if plan is None:
        return []
    found = [
        *await _removed_tags(registry, run, progress),
        *await _removed_manifests(registry, run, progress),
        *await _kept(registry, plan, progress),
    ]
    return [finding for finding in found if finding is not None]


async def _removed_tags(registry: Registry, run: Run, progress: Progress) -> list[Finding | None]:
    """Look for tags in the list, and by GET where the list does not settle it.

    That is where a tag is still listed, and where its manifest stays, so that nobody looks for it.
    """
    tags = {
        (step.repository, tag): (step.digest, step.deletes is None)
        for step in run.removed
        for tag in step.tags
    }
    listed: set[tuple[RepoName, Tag]] = set()
    for repository in sorted({repository for repository, _ in tags}):
        try:
            listed |= {(repository, tag) for tag in await list_tags(registry, repository)}
        except UnexpectedResponse:
            listed |= {item for item in tags if item[0] == repository}  # so each is asked for
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
            findings.append(Finding(ok=False, subject=name, sentence=now.message))
        elif now is not None and now == was:
            findings.append(Finding(ok=False, subject=name, sentence="the tag is still there"))
        elif now is not None:
            sentence = f"was given to another image since: {now.short}"
            findings.append(Finding(ok=True, subject=name, sentence=sentence))
        elif (repository, tag) in listed:
            sentence = "the tag is still listed, though it leads nowhere"
            findings.append(Finding(ok=False, subject=name, sentence=sentence))
        else:
            gone += 1
    return [_count(gone, "tag", "is gone", "are gone"), *findings]


async def _removed_manifests(
    registry: Registry, run: Run, progress: Progress
) -> list[Finding | None]:
    nodes = planned_nodes(run.removed)
    findings: list[Finding | None] = []
    gone = 0
    async for (repository, digest), now in each(nodes, lambda node: registry.manifest(*node)):
        progress("verifying manifests", gone, len(nodes))
        if now is None:
            gone += 1
            continue
        sentence = "the manifest is still served, or was pushed again"
        findings.append(Finding(ok=False, subject=f"{repository}@{digest}", sentence=sentence))
    return [
        _count(gone, "manifest", "answers 404 to GET", "answer 404 to GET"),
        *findings,
    ]


async def verify_restored(
    registry: Registry, run: Run, progress: Progress = silent
) -> list[Finding]:
    """Look whether everything that a run removed is there again, and can be read in full."""
    findings: list[Finding | None] = []
    tags = 0
    for count, entry in enumerate(run.saved):
        progress("verifying", count, len(run.saved))
        for tag in entry.tags:
            if await registry.resolve(entry.repository, tag) == entry.digest:
                tags += 1
            else:
                name = f"{entry.repository}:{tag}"
                findings.append(Finding(ok=False, subject=name, sentence="does not point there"))
        problem = await _problem(registry, entry.repository, entry.digest)
        if problem is not None:
            name = f"{entry.repository}@{entry.digest}"
            findings.append(Finding(ok=False, subject=name, sentence=problem))
    findings.insert(0, _count(tags, "tag", "is back", "are back"))
    if not any(finding is not None and not finding.ok for finding in findings):
        manifests = _count(len(run.saved), "manifest", "can be read in full", "can be read in full")
        findings.insert(1, manifests)
    return [finding for finding in findings if finding is not None]


async def _kept(registry: Registry, plan: Plan, progress: Progress) -> list[Finding | None]:
    """Read what the removal came close to and left: manifest, children, first bytes of blobs."""
    nodes = {(kept.repository, kept.digest): kept.tag for kept in plan.kept}
    findings: list[Finding | None] = []
    whole = 0
    for (repository, digest), tag in sorted(nodes.items()):
        progress("verifying what stays", whole, len(nodes))
        name = f"{repository}:{tag}" if tag else f"{repository}@{digest.short}"
        if tag is not None and await registry.resolve(repository, tag) != digest:
            findings.append(Finding(ok=True, subject=name, sentence="was moved or removed since"))
            continue
        problem = await _problem(registry, repository, digest)
        if problem is None:
            whole += 1
        else:
            findings.append(Finding(ok=False, subject=name, sentence=problem))
    return [_count(whole, "neighbour", "is whole", "are whole"), *findings]


async def _problem(registry: Registry, repository: RepoName, digest: Digest) -> str | None:
    view = await add_manifests(registry, RepositorySnapshot(repository, {}, {}), [digest])
    if digest not in view.manifests:
        return "its manifest cannot be fetched"
    found = reach([digest], view.edges, {})
    lost = sorted(found.lost)
    if lost:
        return f"its child {lost[0]} cannot be fetched"
    optional = {
        blob.digest
        for manifest in view.manifests.values()
        for blob in manifest.blobs
        if not blob.distributable
    }
    needed = sorted(found.blobs - optional)
    async for blob, there in each(needed, lambda blob: registry.has_blob(repository, blob)):
        if not there:
            claimed = await registry.blob_size(repository, blob)
            stale = f"; HEAD still answers 200, {RESTART}" if claimed is not None else ""
            return f"its blob {blob} cannot be read{stale}"
    return None


def verify_storage(
    tree: StorageTree, run: Run, now: float, progress: Progress = silent
) -> list[Finding]:
    """Look whether the files of what was to be freed are gone; say of each that is not, why."""
    plan = run.plan
    if plan is None:
        return []
    sizes = {item.digest: item.size for item in plan.estimate.freed}
    left = {digest: blob for digest in sizes if (blob := tree.blob(digest.raw)) is not None}
    gone = sum(size for digest, size in sizes.items() if digest not in left)
    findings = []
    if len(left) < len(sizes):
        subject = f"{number(len(sizes) - len(left), 'blob file')}, {gone:,} bytes"
        findings.append(Finding(ok=True, subject=subject, sentence="gone from the disk"))
    if not left:
        return findings
    grace = float(run.details.get("grace") or 0.0)
    loose = plan_collection(tree, CollectOptions(grace=0.0), now, progress=progress)
    garbage = {blob.digest for blob in loose.blobs}
    held = run.window_until is not None and run.window_until > now
    idle = (now - grace) * 1e9
    young = [digest.raw for digest, blob in left.items() if blob.mtime_ns > idle]
    pending = wanted_by_pending(tree, young)
    groups: dict[tuple[bool, str], list[int]] = {}
    for digest, blob in left.items():
        if digest not in garbage:
            reason = (True, "needed again by something in the registry, or protected by a problem")
        elif held and run.window_until is not None:
            until = datetime.fromtimestamp(run.window_until, UTC).isoformat(" ", "minutes")
            reason = (True, f"held for undo until {until[:16]} UTC; `gc --now` frees it")
        elif blob.mtime_ns > idle or blob.digest in pending:
            reason = (True, "younger than the grace period; the next `gc` after it takes it")
        else:
            reason = (not run.reclaim, "not collected yet; `jettison gc` takes it")
        groups.setdefault(reason, []).append(blob.size)
    for (ok, why), found in groups.items():
        subject = f"{number(len(found), 'blob file')}, {sum(found):,} bytes"
        findings.append(Finding(ok=ok, subject=subject, sentence=why))
    return findings


async def verify_blobs(
    registry: Registry, run: Run, *, stored: bool, progress: Progress = silent
) -> list[Finding]:
    """Ask the registry for what was to be freed: HEAD must not promise bytes that do not come.

    ``stored``: the storage was looked at too, which says better what is not collected yet.
    """
    plan = run.plan
    if plan is None:
        return []
    manifests = {saved.digest for saved in run.saved}
    blobs = [item.digest for item in plan.estimate.freed if item.digest not in manifests]
    asked = [(repository, digest) for repository in sorted(plan.seen) for digest in blobs]
    findings: list[Finding] = []
    absent = 0
    pending: set[Digest] = set()
    stale: list[str] = []
    async for (repository, digest), answer in each(asked, lambda item: serves(registry, *item)):
        progress("verifying blobs", absent + len(pending), len(asked))
        if answer is None:
            absent += 1
        elif answer:
            pending.add(digest)
        else:
            stale.append(f"{repository}@{digest}")
    if stale:
        findings.append(stale_finding(stale))
    if absent and not pending and not findings:
        subject = number(len(blobs), "blob")
        findings.append(Finding(ok=True, subject=subject, sentence="not served any more"))
    if pending and not stored:
        sentence = "still there until the registry is collected"
        findings.append(Finding(ok=True, subject=number(len(pending), "blob"), sentence=sentence))
    return findings


def _count(count: int, noun: str, singular: str, plural: str) -> Finding | None:
    if count == 0:
        return None
    sentence = singular if count == 1 else plural
    return Finding(ok=True, subject=number(count, noun), sentence=sentence)
