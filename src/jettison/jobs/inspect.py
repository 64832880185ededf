"""The report of ``inspect`` about one image."""

from collections.abc import Iterator

import msgspec

from jettison.errors import InvalidManifest, Refused, UsageError
from jettison.jobs.description import created_at, dated_by, what_it_is
from jettison.jobs.discover import Extent, image_facts
from jettison.jobs.removal_plan import RemovalRequest, decide, in_full, view
from jettison.manifest_cache import ManifestCache
from jettison.model.accounting import ByteAccounting
from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.manifest import ManifestKind
from jettison.model.names import Reference, Tag
from jettison.model.plan import Plan
from jettison.model.snapshot import RepositorySnapshot
from jettison.progress import Progress, silent
from jettison.registry import Registry

__all__ = ["Layer", "Part", "Report", "inspect"]


class Layer(msgspec.Struct, frozen=True):
    """A blob of an image: its size in bytes, and at most five other images that need it."""

    digest: Digest
    media_type: str
    size: int
    holders: tuple[str, ...]
    holder_count: int


class Part(msgspec.Struct, frozen=True):
    """A child or a referrer, and its description."""

    digest: Digest
    what: str


class Report(msgspec.Struct, frozen=True):
    """An image, those that share its layers, and the plan of its removal.

    Sizes in bytes. If the removal would be refused, ``removal`` is None and ``refusal`` says why.
    """

    reference: str
    digest: Digest
    media_type: str
    what: str
    tags: tuple[Tag, ...]
    created: str | None
    platform: str | None
    size: int
    subject: Digest | None
    children: tuple[Part, ...]
    referrers: tuple[Part, ...]
    layers: tuple[Layer, ...]
    removal: Plan | None
    refusal: str | None = None


async def inspect(
    registry: Registry,
    reference: Reference,
    *,
    created: str,
    extent: Extent = Extent.NEAR,
    cache: ManifestCache | None = None,
    progress: Progress = silent,
) -> Report:
    """Read one image; ``reference`` has a tag or a digest, ``created`` is the present time."""
    if reference.tag is None and reference.digest is None and reference.short is None:
        where = f"{reference.host}/{reference.repository}"
        message = f"{reference} is not one image"
        raise UsageError(
            message, hint=f"Give a tag or a digest; they are listed by: jettison ls {where}"
        )
    request = RemovalRequest((reference,), extent=extent)
    name = reference.repository
    snapshot = await view(registry, [name], extent=extent, cache=cache, progress=progress)
    removal, refusal = None, None
    try:
        decision = await decide(registry, request, snapshot, created=created, cache=cache)
        removal, snapshot, ledger = decision.plan, decision.snapshot, decision.ledger
    except Refused as error:
        refusal, ledger = error.message, ByteAccounting(snapshot)
    here = snapshot.repositories[name]
    reference = in_full(here, reference)
    digest = here.tags.get(reference.tag) if reference.tag is not None else reference.digest
    if digest is None or digest not in here.manifests:
        message = f"the manifest of {reference} cannot be read"
        raise InvalidManifest(message, hint="`jettison rm` can still remove the tag.")
    manifest = here.manifests[digest]
    found = reach([digest], here.edges, {})
    facts = await image_facts(registry, name, dated_by(here, [manifest]), cache, progress)
    platforms = [f"{f.os}/{f.architecture}" for f in facts.values() if f.os and f.architecture]
    return Report(
        reference=str(reference),
        digest=digest,
        media_type=manifest.media_type,
        what=what_it_is(manifest, reference.tag),
        tags=tuple(here.tags_of().get(digest, ())),
        created=created_at(manifest, facts),
        platform=platforms[0] if platforms and manifest.kind is ManifestKind.IMAGE else None,
        size=sum(map(ledger.size_of, found.manifests | found.blobs)),
        subject=manifest.subject,
        children=tuple(Part(c.digest, str(c.platform or c.media_type)) for c in manifest.children),
        referrers=tuple(
            Part(d, what_it_is(here.manifests.get(d), next(iter(here.tags_of().get(d, ())), None)))
            for d in sorted(set(ledger.referrers(name).get(digest, ())))
        ),
        layers=tuple(_layers(here, ledger, sorted(found.manifests), set(found.manifests))),
        removal=removal,
        refusal=refusal,
    )


def _layers(
    here: RepositorySnapshot, ledger: ByteAccounting, manifests: list[Digest], inside: set[Digest]
) -> Iterator[Layer]:
    """Yield every blob of these manifests once, with its holders outside of them."""
    seen: set[Digest] = set()
    for digest in manifests:
        manifest = here.manifests.get(digest)
        for blob in manifest.blobs if manifest is not None else ():
            if blob.digest in seen:
                continue
            seen.add(blob.digest)
            others = [
                node
                for node in ledger.holders_of(blob.digest)
                if not (node[0] == here.name and node[1] in inside)
            ]
            names = sorted({ledger.name(node) for node in others})
            size = ledger.size_of(blob.digest)
            yield Layer(blob.digest, blob.media_type, size, tuple(names[:5]), len(names))
