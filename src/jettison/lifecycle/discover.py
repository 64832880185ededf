"""What is in a registry: tags, manifests, children, referrers, sizes.

Tags are always asked for; manifests never change, so they are fetched once and then come from a
cache, if one is given.
"""

from collections.abc import Iterable, Mapping
from contextlib import aclosing
from typing import Final, Protocol

import msgspec

from jettison.client.cache import ConfigFacts
from jettison.errors import (
    AccessDenied,
    InvalidDocument,
    InvalidManifest,
    NotFoundError,
    UnexpectedResponse,
)
from jettison.lifecycle.concurrency import each
from jettison.model import strict_json
from jettison.model.digest import Digest
from jettison.model.manifest import Kind, Manifest, parse_manifest
from jettison.model.reference import RepoName, Tag
from jettison.model.snapshot import RepositorySnapshot, Snapshot
from jettison.progress import Progress, silent
from jettison.registry import RawManifest, Registry

__all__ = [
    "Manifests",
    "add_manifests",
    "add_referrers",
    "discover",
    "discover_repository",
    "image_facts",
    "list_repositories",
    "resolve_tags",
]

UNTAGGED = "this registry's API does not list untagged manifests, which may share layers"
ELSEWHERE = "other repositories were not looked at, and may share layers"


class Manifests(Protocol):
    """A disposable cache of manifests and facts about configs, by digest."""

    def get(self, digest: Digest) -> RawManifest | None:
        """Return the manifest, if it is there."""

    def put(self, manifest: RawManifest) -> None:
        """Keep it, or not."""


async def list_repositories(registry: Registry, progress: Progress = silent) -> list[RepoName]:
    """Return the names of all repositories, sorted."""
    names: list[RepoName] = []
    async with aclosing(registry.repositories()) as found:  # type: ignore[type-var]
        async for name in found:
            names.append(name)
            progress("listing repositories", len(names))
    return sorted(names)


async def resolve_tags(
    registry: Registry, repository: RepoName, progress: Progress = silent
) -> tuple[dict[Tag, Digest], list[Tag]]:
    """Return the digest of each tag, and the tags that are listed without having one."""
    names = [tag async for tag in registry.tags(repository)]
    tags: dict[Tag, Digest] = {}
    dangling: list[Tag] = []
    phase = f"resolving tags of {repository}"
    async for tag, digest in each(names, lambda tag: registry.resolve(repository, tag)):
        if digest is None:
            dangling.append(tag)
        else:
            tags[tag] = digest
        progress(phase, len(tags) + len(dangling), len(names))
    return dict(sorted(tags.items())), sorted(dangling)


async def discover_repository(
    registry: Registry,
    repository: RepoName,
    cache: Manifests | None = None,
    progress: Progress = silent,
) -> RepositorySnapshot:
    """Look at one repository; raise :class:`NotFoundError` if there is none of that name."""
    tags, dangling = await resolve_tags(registry, repository, progress)
    revisions = await registry.revisions(repository)
    start = {*tags.values(), *(revisions or ())}
    manifests, unreadable = await _read(registry, repository, start, {}, cache, progress)
    return RepositorySnapshot(
        repository, tags, manifests, unreadable, tuple(dangling), complete=revisions is not None
    )


async def add_manifests(
    registry: Registry,
    repository: RepositorySnapshot,
    digests: Iterable[Digest],
    cache: Manifests | None = None,
) -> RepositorySnapshot:
    """Add manifests that no listing shows, with their children; those not there are left out."""
    found = [
        digest
        for digest in digests
        if digest not in repository.manifests
        and await registry.manifest(repository.name, digest) is not None
    ]
    manifests, unreadable = await _read(
        registry, repository.name, found, repository.manifests, cache, silent
    )
    return msgspec.structs.replace(
        repository, manifests=manifests, unreadable=repository.unreadable | unreadable
    )


async def add_referrers(
    registry: Registry,
    repository: RepositorySnapshot,
    subjects: Iterable[Digest],
    cache: Manifests | None = None,
) -> RepositorySnapshot:
    """Add what refers to ``subjects``, to any depth, where the registry can tell by its API."""
    if repository.complete:
        return repository
    todo = list(subjects)
    asked: set[Digest] = set()
    while todo:
        subject = todo.pop()
        if subject in asked:
            continue
        asked.add(subject)
        found = await registry.referrers(repository.name, subject)
        if found is None:
            break
        repository = await add_manifests(registry, repository, found, cache)
        todo.extend(found)
    return repository


async def _read(
    registry: Registry,
    repository: RepoName,
    start: Iterable[Digest],
    known: Mapping[Digest, Manifest],
    cache: Manifests | None,
    progress: Progress,
) -> tuple[dict[Digest, Manifest], frozenset[Digest]]:
    """Read manifests and all that they list; return ``known`` with them, and the unreadable."""

    async def read(digest: Digest) -> Manifest | InvalidManifest | None:
        raw = cache.get(digest) if cache is not None else None
        if raw is not None:
            return parse_manifest(raw.raw, raw.media_type)
        try:
            raw = await registry.manifest(repository, digest)
            if raw is None:
                return None
            manifest = parse_manifest(raw.raw, raw.media_type)
        except InvalidManifest as error:
            return error
        if cache is not None:
            cache.put(raw)
        return manifest

    manifests = dict(known)
    unreadable: set[Digest] = set()
    named = set(start)
    asked: set[Digest] = set()
    todo = named - manifests.keys()
    while todo:
        asked |= todo
        below: set[Digest] = set()
        async for digest, manifest in each(sorted(todo), read):
            if isinstance(manifest, Manifest):
                manifests[digest] = manifest
                below.update(child.digest for child in manifest.children)
                progress(f"reading manifests of {repository}", len(manifests))
            elif manifest is not None or digest in named:
                # A child that an index lists and the repository lacks is simply not there; a
                # tagged or linked manifest that cannot be had is damage.
                unreadable.add(digest)
        todo = below - manifests.keys() - asked
    return manifests, frozenset(unreadable)


async def discover(
    registry: Registry,
    *,
    wanted: Iterable[RepoName] = (),
    whole: bool = True,
    cache: Manifests | None = None,
    progress: Progress = silent,
) -> Snapshot:
    """Look at a registry: at the ``wanted`` repositories, and if ``whole`` at all the others too.

    A wanted repository that does not exist raises :class:`NotFoundError`. If the registry does
    not let us list the others, or one of them cannot be read by us, the snapshot says so in
    ``unknown``: what is computed from it is then an upper bound.
    """
    unknown: list[str] = []
    names = sorted(set(wanted))
    found: dict[RepoName, RepositorySnapshot] = {}
    for name in names:
        found[name] = await discover_repository(registry, name, cache, progress)
    if whole:
        try:
            names = await list_repositories(registry, progress)
        except (AccessDenied, NotFoundError, UnexpectedResponse) as error:
            names = []
            unknown.append(f"other repositories could not be listed: {error.message}")
        others = [name for name in names if name not in found]
        for done, name in enumerate(others):
            progress("looking at repositories", done, len(others))
            try:
                found[name] = await discover_repository(registry, name, cache)
            except NotFoundError:
                continue  # deleted since it was listed, or listed without having tags
            except AccessDenied as error:
                unknown.append(f"{name} could not be looked at: {error.message}")
    else:
        unknown.append(ELSEWHERE)
    stored = await registry.blob_sizes()
    if not all(repository.complete for repository in found.values()):
        unknown.append(UNTAGGED)
    sizes = stored if stored is not None else await _ask_sizes(registry, found.values(), progress)
    return Snapshot(registry.name, found, sizes, stored is not None, tuple(unknown))


async def _ask_sizes(
    registry: Registry, repositories: Iterable[RepositorySnapshot], progress: Progress
) -> dict[Digest, int]:
    """Ask for the sizes that no descriptor tells.

    Schema 1 gives none, and a non-distributable layer may well not be in the registry at all.
    """
    asked: dict[Digest, RepoName] = {}
    for repository in repositories:
        for manifest in repository.manifests.values():
            for blob in manifest.blobs:
                if blob.size is None or not blob.distributable:
                    asked[blob.digest] = repository.name
    sizes: dict[Digest, int] = {}

    async def ask(item: tuple[Digest, RepoName]) -> int | None:
        return await registry.blob_size(item[1], item[0])

    async for (digest, _), size in each(asked.items(), ask):
        sizes[digest] = size or 0
        progress("asking for sizes", len(sizes), len(asked))
    return sizes


_MAX_CONFIG: Final = 4 << 20


class Facts(Protocol):
    """The part of the cache that remembers configs."""

    def get_config(self, digest: Digest) -> ConfigFacts | None:
        """Return the facts, if they are known."""

    def put_config(self, digest: Digest, facts: ConfigFacts) -> None:
        """Keep them, or not."""


async def image_facts(
    registry: Registry,
    repository: RepoName,
    manifests: Iterable[Manifest],
    cache: Facts | None = None,
    progress: Progress = silent,
) -> dict[Digest, ConfigFacts]:
    """Return, by manifest digest, what the configs tell. Unreadable configs tell nothing."""
    wanted = list(manifests)

    async def ask(manifest: Manifest) -> ConfigFacts:
        config = manifest.config
        if manifest.kind is not Kind.IMAGE or config is None or (config.size or 0) > _MAX_CONFIG:
            return ConfigFacts(created=manifest.annotations.get("org.opencontainers.image.created"))
        digest = config.digest
        known = cache.get_config(digest) if cache is not None else None
        if known is not None:
            return known
        try:
            raw = b"".join([chunk async for chunk in registry.read_blob(repository, digest)])
            facts = strict_json.decode(raw, ConfigFacts)
        except (InvalidDocument, NotFoundError, InvalidManifest):
            return ConfigFacts(None)
        if cache is not None:
            cache.put_config(digest, facts)
        return facts

    facts = {}
    async for manifest, found in each(wanted, ask):
        facts[manifest.digest] = found
        progress("reading image configurations", len(facts), len(wanted))
    return facts
