"""What ``ls`` and ``inspect`` tell."""

from collections.abc import Iterator, Mapping

import msgspec

from jettison.client.cache import ConfigFacts, ManifestCache
from jettison.errors import InvalidManifest, NotFoundError, Refused
from jettison.lifecycle.concurrency import each
from jettison.lifecycle.discover import image_facts, list_repositories
from jettison.lifecycle.planning import Request, decide, view
from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.manifest import Kind, Manifest, referenced_digest
from jettison.model.plan import Plan
from jettison.model.reclaim import Ledger
from jettison.model.reference import Reference, RepoName, Tag
from jettison.model.snapshot import RepositorySnapshot
from jettison.progress import Progress, silent
from jettison.registry import Registry

__all__ = ["Layer", "Listing", "Part", "Report", "Row", "inspect", "list_tags", "tag_counts"]


class Row(msgspec.Struct, frozen=True):
    """A tag, or (``tag`` None) an untagged manifest.

    Sizes in bytes: ``size`` with everything it references, ``exclusive_size`` what removing that
    image alone would free. ``created`` is RFC 3339, as its config says. ``siblings`` are the
    other tags of the same digest.
    """

    tag: Tag | None
    digest: Digest | None
    media_type: str
    what: str
    size: int | None
    exclusive_size: int | None
    created: str | None
    siblings: tuple[Tag, ...]


class Listing(msgspec.Struct, frozen=True):
    """The rows of a repository; with ``unknown`` sentences, exclusive sizes are upper bounds."""

    rows: tuple[Row, ...]
    unknown: tuple[str, ...]


async def tag_counts(registry: Registry, progress: Progress = silent) -> dict[RepoName, int]:
    """Return every repository with the number of its tags: one request each, none for a tag."""
    names, _ = await list_repositories(registry, progress)

    async def count(name: RepoName) -> int | None:
        try:
            return sum([1 async for tag in registry.tags(name) if isinstance(tag, Tag)])
        except NotFoundError:
            return None  # deleted since, or listed by the catalog without being a repository

    counts: dict[RepoName, int] = {}
    async for name, number in each(names, count):
        counts[name] = number or 0
        progress("counting tags", len(counts), len(names))
    return dict(sorted(counts.items()))


async def list_tags(
    registry: Registry,
    repository: RepoName,
    *,
    quick: bool = False,
    cache: ManifestCache | None = None,
    progress: Progress = silent,
) -> Listing:
    """Return the tags of a repository with sizes, ages and siblings, and its untagged manifests."""
    snapshot = await view(registry, [repository], quick=quick, cache=cache, progress=progress)
    here = snapshot.repositories[repository]
    ledger = Ledger(snapshot)
    weights = ledger.weights(repository)
    tags_of = here.tags_of()
    loose = _untagged(here)
    shown = [here.manifests[d] for d in {*tags_of, *loose} if d in here.manifests]
    facts = await image_facts(registry, repository, _dated(here, shown), cache, progress)
    rows = []
    for tag, digest in here.tags.items():
        manifest = here.manifests.get(digest)
        weight = weights[digest]
        siblings = tuple(other for other in tags_of[digest] if other != tag)
        rows.append(
            Row(
                tag,
                digest,
                manifest.media_type if manifest else "",
                _what(manifest, tag),
                weight.size if manifest else None,
                weight.exclusive if manifest else None,
                _created(manifest, facts),
                siblings,
            )
        )
    rows += [
        Row(tag, None, "", "broken: no manifest", None, None, None, ()) for tag in here.dangling
    ]
    for digest in loose:
        manifest = here.manifests[digest]
        removed = {(repository, child) for child in _alone(here, ledger, digest)}
        alone = ledger.estimate(removed)
        size = alone.freed_bytes + alone.shared_bytes
        created = _created(manifest, facts)
        what = _what(manifest)
        media_type = manifest.media_type
        rows.append(Row(None, digest, media_type, what, size, alone.freed_bytes, created, ()))
    return Listing(tuple(rows), snapshot.unknown)


def _alone(here: RepositorySnapshot, ledger: Ledger, digest: Digest) -> list[Digest]:
    """Return an untagged manifest with what only it keeps."""
    owners = ledger.owners(here.name)
    return [d for d in reach([digest], here.edges, {}).manifests if owners.get(d) == digest]


def _untagged(repository: RepositorySnapshot) -> list[Digest]:
    """Return the manifests that no tag names and no index lists; only a storage shows them."""
    listed = {c.digest for m in repository.manifests.values() for c in m.children}
    tagged = set(repository.tags.values())
    return sorted(d for d in repository.manifests if d not in listed and d not in tagged)


def _dated(repository: RepositorySnapshot, shown: list[Manifest]) -> list[Manifest]:
    """Return the manifests whose configs tell when the shown were made: of an index, a child."""
    found = {}
    for manifest in shown:
        first = next(
            (c.digest for c in manifest.children if c.digest in repository.manifests), None
        )
        dated = repository.manifests[first] if first is not None else manifest
        found[dated.digest] = dated
    return list(found.values())


def _created(manifest: Manifest | None, facts: Mapping[Digest, ConfigFacts]) -> str | None:
    if manifest is None:
        return None
    for digest in (manifest.digest, *(child.digest for child in manifest.children)):
        known = facts.get(digest)
        # Builders that want the same bytes each time write the year 1, which tells nothing.
        if known is not None and known.created and not known.created.startswith("0001-"):
            return known.created
    return manifest.annotations.get("org.opencontainers.image.created")


def _what(manifest: Manifest | None, tag: Tag | None = None) -> str:
    """Say in a few words what it is."""
    if manifest is None:
        return "unreadable"
    about = referenced_digest(tag) if tag is not None else None
    subject = manifest.subject or about
    if subject is not None and manifest.kind is not Kind.INDEX:
        kind = {".sig": "signature", ".att": "attestation", ".sbom": "SBOM"}.get(
            "." + (tag or "").rpartition(".")[2], manifest.artifact_type or "referrer"
        )
        return f"{kind} of {subject.short}"
    if about is not None:
        return f"referrers of {about.short}"
    if manifest.kind is Kind.INDEX:
        platforms = [str(c.platform) for c in manifest.children if c.platform]
        shown = ", ".join(platforms[:3]) + (", …" if len(platforms) > 3 else "")  # noqa: PLR2004
        return f"index of {len(manifest.children)}" + (f": {shown}" if shown else "")
    return manifest.artifact_type or str(manifest.kind)


class Layer(msgspec.Struct, frozen=True):
    """A blob of an image: its size in bytes, and who else needs it (at most five are named)."""

    digest: Digest
    media_type: str
    size: int
    holders: tuple[str, ...]
    holder_count: int


class Part(msgspec.Struct, frozen=True):
    """A child or a referrer, and what it is."""

    digest: Digest
    what: str


class Report(msgspec.Struct, frozen=True):
    """What an image is, who shares its layers, and the plan of its removal.

    Sizes in bytes. ``removal`` is None, and ``refusal`` says why, where it would be refused.
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
    quick: bool = False,
    cache: ManifestCache | None = None,
    progress: Progress = silent,
) -> Report:
    """Look at one image: ``reference`` has a tag or a digest. ``created`` is the time now."""
    request = Request((reference,), quick=quick)
    request.check()
    name = reference.repository
    snapshot = await view(registry, [name], quick=quick, cache=cache, progress=progress)
    removal, refusal = None, None
    try:
        decision = await decide(registry, request, snapshot, created=created, cache=cache)
        removal, snapshot, ledger = decision.plan, decision.snapshot, decision.ledger
    except Refused as error:
        refusal, ledger = error.message, Ledger(snapshot)
    here = snapshot.repositories[name]
    digest = here.tags[reference.tag] if reference.tag is not None else reference.digest
    if digest is None or digest not in here.manifests:
        message = f"the manifest of {reference} cannot be read"
        raise InvalidManifest(message, hint="`jettison rm` can still remove the tag.")
    manifest = here.manifests[digest]
    found = reach([digest], here.edges, {})
    facts = await image_facts(registry, name, _dated(here, [manifest]), cache, progress)
    platforms = [f"{f.os}/{f.architecture}" for f in facts.values() if f.os and f.architecture]
    return Report(
        reference=str(reference),
        digest=digest,
        media_type=manifest.media_type,
        what=_what(manifest, reference.tag),
        tags=tuple(here.tags_of().get(digest, ())),
        created=_created(manifest, facts),
        platform=platforms[0] if platforms and manifest.kind is Kind.IMAGE else None,
        size=sum(map(ledger.size_of, found.manifests | found.blobs)),
        subject=manifest.subject,
        children=tuple(Part(c.digest, str(c.platform or c.media_type)) for c in manifest.children),
        referrers=tuple(
            Part(d, _what(here.manifests.get(d), next(iter(here.tags_of().get(d, ())), None)))
            for d in sorted(set(ledger.referrers(name).get(digest, ())))
        ),
        layers=tuple(_layers(here, ledger, sorted(found.manifests), set(found.manifests))),
        removal=removal,
        refusal=refusal,
    )


def _layers(
    here: RepositorySnapshot, ledger: Ledger, manifests: list[Digest], inside: set[Digest]
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
