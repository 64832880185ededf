"""Whether a registry promises blobs that are gone: the check behind each ``verify``.

HEAD never counts: a registry with a descriptor cache answers 200 for blobs that a collection has
removed, and then sends no bytes (tests/e2e/test_defects.py, 8). A push that believes it
leaves a layer out, and the image is broken.
"""

from collections.abc import Collection, Sequence
from typing import Final, TypeVar

from jettison.errors import InvalidManifest, JettisonError, Unreachable
from jettison.jobs.image_lookup import RESTART, each_alone
from jettison.model.digest import Digest
from jettison.model.journal import CollectionEntry, Finding, FindingCode
from jettison.model.names import RepoName
from jettison.progress import Progress, silent
from jettison.registry import Registry
from jettison.storage.protocol import Storage

__all__ = [
    "not_looked_at",
    "number",
    "sample",
    "serves",
    "stale_finding",
    "verify_collected",
    "verify_collection",
    "verify_gone",
]

Item = TypeVar("Item")

SAMPLE: Final = 500
"""How many pairs are checked: a cache is stale in many places or in none."""


async def verify_collected(
    registry: Registry,
    removed: Sequence[tuple[RepoName, Digest]],
    progress: Progress = silent,
    *,
    storage: Storage | None = None,
) -> list[Finding]:
    """Check that the registry knows which layers and configs a collection removed.

    ``removed`` are the pairs of a repository and a digest that are no longer linked, of which at
    most ``SAMPLE``, spread evenly, are asked for. What is served with its bytes has come back
    since. Whether it has, ``storage`` can tell, the storage that was collected: without a link a
    cache is speaking, and the next push into that repository leaves the blob out.

    Raises what says that the registry as a whole cannot be asked; the error says for which blob.
    """
    asked = sample(removed)
    answers: dict[bool | None, list[str]] = {None: [], False: [], True: []}
    unlinked: list[str] = []
    done = 0
    failed: list[JettisonError] = []
    async for (repository, digest), answer in each_alone(
        asked, lambda item: serves(registry, *item)
    ):
        progress("verifying blobs", done, len(asked))
        done += 1
        if isinstance(answer, JettisonError):
            failed.append(answer)
            continue
        name = f"{repository}@{digest}"
        # The storage is asked after the registry, so that a push between the two is seen.
        if answer and storage is not None and not _is_linked(storage, repository, digest):
            unlinked.append(name)
        else:
            answers[answer].append(name)
    findings = not_looked_at(failed)
    if stale := answers[False]:
        findings.append(stale_finding(stale))
    if unlinked:
        sentence = f"served where the repository has no link to it; {RESTART}"
        findings.append(
            Finding(FindingCode.BLOB_PROMISED, ok=False, subject=_some(unlinked), sentence=sentence)
        )
    if absent := answers[None]:
        of = "" if len(asked) == len(removed) else f" (a sample of {len(removed):,})"
        subject = f"{number(len(absent), 'removed blob')}{of}"
        sentence = "not served any more"
        findings.append(Finding(FindingCode.BLOB_GONE, ok=True, subject=subject, sentence=sentence))
    if served := answers[True]:
        sentence = "served" if storage is None else "linked and served again, after it was removed"
        subject = number(len(served), "removed blob")
        findings.append(
            Finding(FindingCode.BLOB_SERVED, ok=True, subject=subject, sentence=sentence)
        )
    return findings


def medium(storage: Storage) -> str:
    """Return what a storage is on, for messages: ``disk`` or ``bucket``."""
    return "disk" if storage.features.capacity else "bucket"


def verify_gone(storage: Storage, run: CollectionEntry) -> list[Finding]:
    """Check that the blobs that a collection removed are gone from the storage."""
    if not run.blobs:
        return []
    found = storage.blobs_each([digest.binary for digest in run.blobs])
    back = sum(blob is not None for blob in found)
    sentence = f"gone from the {medium(storage)}"
    if back:
        sentence = f"looked for; {number(back, 'file')} of these came back since"
    subject = number(len(run.blobs), "removed blob")
    return [Finding(FindingCode.BLOB_GONE, ok=True, subject=subject, sentence=sentence)]


async def verify_collection(
    registry: Registry, storage: Storage, run: CollectionEntry, progress: Progress = silent
) -> list[Finding]:
    """Ask the registry that ``storage`` belongs to for what a collection noted as unlinked."""
    try:
        return await verify_collected(registry, run.links, progress, storage=storage)
    except Unreachable as error:
        sentence = f"not running, so it promises nothing: {error.message}"
        return [Finding(FindingCode.NOT_RUNNING, ok=True, subject=registry.name, sentence=sentence)]


def not_looked_at(errors: Sequence[JettisonError]) -> list[Finding]:
    """Return the finding for blobs about which the registry does not answer."""
    if not errors:
        return []
    sentence = f"could not be looked at: {errors[0].message}"
    subject = number(len(errors), "blob")
    return [Finding(FindingCode.NOT_LOOKED_AT, ok=False, subject=subject, sentence=sentence)]


async def serves(registry: Registry, repository: RepoName, digest: Digest) -> bool | None:
    """Whether bytes come (True), only HEAD says so (False), or neither (None).

    HEAD is sent last, because Jettison's server takes it for the wish of a push.
    """
    try:
        if await registry.has_blob(repository, digest):
            return True
        return None if await registry.blob_size(repository, digest) is None else False
    except InvalidManifest:
        return False
    except JettisonError as error:
        raise type(error)(f"while verifying {repository}@{digest}: {error.message}") from error


def _is_linked(storage: Storage, repository: RepoName, digest: Digest) -> bool:
    with storage.repository(repository) as reader:
        return isinstance(reader.layer_target(digest.binary), bytes)


def stale_finding(stale: Collection[str]) -> Finding:
    """Return the finding for blobs, each ``repository@digest``, about which HEAD lies."""
    sentence = f"HEAD answers 200 but no bytes come; {RESTART}"
    return Finding(FindingCode.BLOB_PROMISED, ok=False, subject=_some(stale), sentence=sentence)


def number(count: int, noun: str) -> str:
    """Return ``1,234 blobs``, or ``1 blob``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _some(names: Collection[str]) -> str:
    more = ", …" if len(names) > 1 else ""
    return f"{number(len(names), 'blob')} ({min(names)}{more}):"


def sample(items: Sequence[Item], most: int = SAMPLE) -> list[Item]:
    """Take ``most`` at most: the first, and others at even distances."""
    if len(items) <= most:
        return list(items)
    return [items[place * len(items) // most] for place in range(most)]
