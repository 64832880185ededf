"""The content of a registry: tags, manifests, children, referrers, sizes.

Tags are always requested. Manifests never change, so they are fetched once and then come from a
cache, if there is one.
"""

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple, Protocol

import msgspec

from jettison.errors import (
    AccessDenied,
    InvalidDocument,
    InvalidManifest,
    JettisonError,
    LoginRefused,
    NotFoundError,
    StorageError,
    UnexpectedResponse,
    VerificationFailed,
)
from jettison.jobs.concurrency import each
from jettison.model import strict_json
from jettison.model.digest import Digest
from jettison.model.listing_problems import ListingProblem, ProblemCode, summarized
from jettison.model.manifest import Manifest, ManifestKind, parse_manifest
from jettison.model.names import RepoName, Tag
from jettison.model.snapshot import RepositorySnapshot, Snapshot
from jettison.progress import Progress, silent
from jettison.registry import ConfigFacts, RawManifest, Registry

__all__ = [
    "Extent",
    "Manifests",
    "ResolvedTags",
    "add_manifests",
    "add_referrers",
    "ask_sizes",
    "discover",
    "discover_repository",
    "discover_tags",
    "image_facts",
    "list_repositories",
    "resolve_tags",
]

UNTAGGED = "this registry's API does not list untagged manifests, which may share layers"
_SENTENCES: Final = 20
ELSEWHERE = "other repositories were not looked at, and may share layers"
NEAR: Final = 200
"""The most other repositories and tags that are read without ``--exact``."""
FAR = (
    f"other repositories have more than {NEAR} tags, were not looked at, and may share layers "
    "(--exact looks at them)"
)


class Extent(enum.Enum):
    """How far to look for images that share layers with the wanted repositories."""

    NAMED = "named"
    """The wanted repositories alone."""
    NEAR = "near"
    """All others too, if they have few tags or a storage is read instead of an API."""
    ALL = "all"
    """All others too."""


class Manifests(Protocol):
    """A disposable cache of manifests and facts about configs, by digest."""

    def get(self, digest: Digest) -> RawManifest | None:
        """Return the manifest, or None."""

    def put(self, manifest: RawManifest) -> None:
        """Keep it, or not."""


_BAD_ITEM: Final = (AccessDenied, InvalidManifest, StorageError, UnexpectedResponse)
"""Errors of one item of a listing that do not concern the others."""
_BAD_REPOSITORY: Final = (*_BAD_ITEM, LoginRefused)


async def list_repositories(
    registry: Registry, progress: Progress = silent
) -> tuple[list[RepoName], list[ListingProblem]]:
    """Return the names of all repositories, sorted, and the problems of the list."""
    names: list[RepoName] = []
    problems: list[ListingProblem] = []
    async with aclosing(registry.repositories()) as found:  # type: ignore[type-var]
        async for name in found:
            if isinstance(name, ListingProblem):
                problems.append(name)
                continue
            names.append(name)
            progress("listing repositories", len(names))
    return sorted(names), problems


class ResolvedTags(NamedTuple):
    """The tags of a repository: with a digest, without a manifest, and unresolved."""

    tags: dict[Tag, Digest]
    dangling: list[Tag]
    problems: list[ListingProblem]


async def resolve_tags(
    registry: Registry,
    repository: RepoName,
    progress: Progress = silent,
    listed: Sequence[Tag | ListingProblem] | None = None,
) -> ResolvedTags:
    """Return the digest of each tag; a tag that cannot be resolved does not stop the others.

    ``listed`` are the tags, if they have been listed already.
    """
    found = [item async for item in registry.tags(repository)] if listed is None else listed
    problems = [item for item in found if isinstance(item, ListingProblem)]
    names = [item for item in found if not isinstance(item, ListingProblem)]
    tags: dict[Tag, Digest] = {}
    dangling: list[Tag] = []

    async def resolve(tag: Tag) -> Digest | ListingProblem | None:
        try:
            return await registry.resolve(repository, tag)
        except _BAD_ITEM as error:
            return ListingProblem.of(tag, error)

    phase = f"resolving tags of {repository}"
    async for tag, digest in each(names, resolve):
        if digest is None:
            dangling.append(tag)
        elif isinstance(digest, ListingProblem):
            problems.append(digest)
        else:
            tags[tag] = digest
        progress(phase, len(tags) + len(dangling) + len(problems), len(found))
    problems.sort(key=lambda problem: problem.subject)
    return ResolvedTags(dict(sorted(tags.items())), sorted(dangling), problems)


async def discover_repository(
    registry: Registry,
    repository: RepoName,
    cache: Manifests | None = None,
    progress: Progress = silent,
    listed: Sequence[Tag | ListingProblem] | None = None,
) -> RepositorySnapshot:
    """Read one repository; raise :class:`NotFoundError` if it does not exist.

    With a registry that lists only tags, each tag costs one request, for its manifest. A storage is
    read in one step.
    """
    snapshot = await registry.snapshot(repository)
    if snapshot is not None:
        progress(f"reading manifests of {repository}", len(snapshot.manifests))
        return snapshot
    if listed is None:
        listed = [item async for item in registry.tags(repository)]
    revisions = await registry.revisions(repository)
    if revisions is None:
        return await _discover_by_tags(registry, repository, listed, cache, progress)
    tags, dangling, problems = await resolve_tags(registry, repository, progress, listed)
    start = {*tags.values(), *revisions}
    manifests, unreadable = await _read(registry, repository, start, {}, cache, progress)
    return RepositorySnapshot(
        repository,
        tags,
        manifests,
        unreadable,
        tuple(dangling),
        complete=True,
        problems=tuple(problems),
    )


async def _discover_by_tags(
    registry: Registry,
    repository: RepoName,
    listed: Sequence[Tag | ListingProblem],
    cache: Manifests | None,
    progress: Progress,
) -> RepositorySnapshot:
    names = [item for item in listed if not isinstance(item, ListingProblem)]
    found = await discover_tags(registry, repository, names, cache, progress)
    # Of a manifest whose bytes are damaged the digest may be had all the same.
    damaged = [p for p in found.problems if p.code is ProblemCode.DAMAGED]
    again = [Tag(problem.subject) for problem in damaged]
    tags, dangling, problems = await resolve_tags(registry, repository, progress, again)
    problems += [problem for problem in found.problems if problem not in damaged]
    problems += [item for item in listed if isinstance(item, ListingProblem)]
    return msgspec.structs.replace(
        found,
        tags=dict(sorted({**found.tags, **tags}.items())),
        unreadable=found.unreadable | frozenset(tags.values()),
        dangling=tuple(sorted([*found.dangling, *dangling])),
        problems=tuple(sorted(problems, key=lambda problem: problem.subject)),
    )


async def add_manifests(
    registry: Registry,
    repository: RepositorySnapshot,
    digests: Iterable[Digest],
    cache: Manifests | None = None,
) -> RepositorySnapshot:
    """Add manifests that no listing shows, with their children, if they exist.

    The registry is asked whether it has them, whatever the cache has.
    """

    async def ask(digest: Digest) -> Manifest | JettisonError | None:
        return await _fetch(registry, repository.name, digest, cache)

    manifests = dict(repository.manifests)
    unreadable = set(repository.unreadable)
    below: set[Digest] = set()
    wanted = [digest for digest in dict.fromkeys(digests) if digest not in manifests]
    async for digest, found in each(wanted, ask):
        if isinstance(found, Manifest):
            manifests[digest] = found
            below.update(child.digest for child in found.children)
        elif found is not None:
            unreadable.add(digest)
    manifests, lost = await _read(registry, repository.name, below, manifests, cache, named=False)
    return msgspec.structs.replace(
        repository, manifests=manifests, unreadable=lost.union(unreadable)
    )


async def add_referrers(
    registry: Registry,
    repository: RepositorySnapshot,
    subjects: Iterable[Digest],
    cache: Manifests | None = None,
) -> RepositorySnapshot:
    """Add the referrers of ``subjects``, to any depth, if the registry has that API."""
    if repository.complete:
        return repository
    todo = list(subjects)
    asked: set[Digest] = set()
    while todo:
        subject = todo.pop()
        if subject in asked:
            continue
        asked.add(subject)
        try:
            found = await registry.referrers(repository.name, subject)
        except UnexpectedResponse:
            found = None  # as without that API: what cannot be found stays
        if found is None:
            break
        repository = await add_manifests(registry, repository, found, cache)
        todo.extend(found)
    return repository


async def _fetch(
    registry: Registry, repository: RepoName, digest: Digest, cache: Manifests | None
) -> Manifest | JettisonError | None:
    """Return a manifest, None if the repository lacks it, or why it cannot be read."""
    try:
        raw = await registry.manifest(repository, digest)
        if raw is None:
            return None
        manifest = parse_manifest(raw.raw, raw.media_type, digest)
    except _BAD_ITEM as error:
        return error
    if cache is not None:
        cache.put(raw)
    return manifest


async def _read(
    registry: Registry,
    repository: RepoName,
    start: Iterable[Digest],
    known: Mapping[Digest, Manifest],
    cache: Manifests | None,
    progress: Progress = silent,
    *,
    named: bool = True,
) -> tuple[dict[Digest, Manifest], frozenset[Digest]]:
    """Read manifests and their children; return ``known`` with them, and the unreadable ones.

    ``named``: a tag or a link names those of ``start``, so a missing one is damage. A child that an
    index lists may lawfully be missing.
    """

    async def read(digest: Digest) -> Manifest | JettisonError | None:
        raw = cache.get(digest) if cache is not None else None
        if raw is None:
            return await _fetch(registry, repository, digest, cache)
        try:
            return parse_manifest(raw.raw, raw.media_type, digest)
        except InvalidManifest as error:
            return error  # an older version took it

    manifests = dict(known)
    unreadable: set[Digest] = set()
    asked: set[Digest] = set()
    todo = set(start) - manifests.keys()
    needed = set(todo) if named else set()
    while todo:
        asked |= todo
        below: set[Digest] = set()
        async for digest, manifest in each(sorted(todo), read):
            if isinstance(manifest, Manifest):
                manifests[digest] = manifest
                below.update(child.digest for child in manifest.children)
                progress(f"reading manifests of {repository}", len(manifests))
            elif manifest is not None or digest in needed:
                unreadable.add(digest)
        todo = below - manifests.keys() - asked
    return manifests, frozenset(unreadable)


async def discover(
    registry: Registry,
    *,
    wanted: Iterable[RepoName] = (),
    extent: Extent = Extent.ALL,
    cache: Manifests | None = None,
    progress: Progress = silent,
) -> Snapshot:
    """Read the ``wanted`` repositories of a registry, and others as far as ``extent`` says.

    A wanted repository that does not exist or cannot be listed raises. ``unknown`` has a sentence
    for everything else that cannot be read: figures are then upper bounds.
    """
    unknown: list[str] = []
    names = sorted(set(wanted))
    found: dict[RepoName, RepositorySnapshot] = {}
    for name in names:
        found[name] = await discover_repository(registry, name, cache, progress)
    stored = await registry.blob_sizes()
    if extent is Extent.NAMED:
        unknown.append(ELSEWHERE)
    else:
        # Of a storage; some APIs list untagged manifests too, and each costs a request.
        local = stored is not None
        most = NEAR if extent is Extent.NEAR and not local else None
        await _look_at_others(registry, found, unknown, most, cache, progress)
    unknown += [
        f"{name}: {summarized(repository.problems, 'tag')}"
        for name, repository in found.items()
        if repository.problems
    ]
    if not all(repository.complete for repository in found.values()):
        unknown.append(UNTAGGED)
    sizes = stored if stored is not None else await ask_sizes(registry, found.values(), progress)
    return Snapshot(registry.name, found, sizes, stored is not None, _shortened(unknown))


async def _look_at_others(
    registry: Registry,
    found: dict[RepoName, RepositorySnapshot],
    unknown: list[str],
    most: int | None,
    cache: Manifests | None,
    progress: Progress,
) -> None:
    """Add all other repositories to ``found``, and to ``unknown`` what cannot be read.

    If they have more than ``most`` tags, none is added: some would not make figures exact.
    """
    try:
        names, problems = await list_repositories(registry, progress)
    except (NotFoundError, *_BAD_REPOSITORY) as error:
        unknown.append(f"other repositories could not be listed: {error.message}")
        return
    others = [name for name in names if name not in found]
    listed = await _few_tags(registry, others, most, progress) if most is not None else {}
    if listed is None:
        unknown.append(FAR)
        return
    for done, name in enumerate(others):
        progress("looking at repositories", done, len(others))
        try:
            found[name] = await discover_repository(registry, name, cache, listed=listed.get(name))
        except NotFoundError:
            continue  # deleted since it was listed, or listed without having tags
        except _BAD_REPOSITORY as error:
            problems.append(ListingProblem.of(name, error))
    if problems:
        unknown.append(summarized(problems, "repository"))


async def _few_tags(
    registry: Registry, names: Sequence[RepoName], most: int, progress: Progress
) -> dict[RepoName, list[Tag | ListingProblem]] | None:
    """Return the tags of repositories, or None once there are more than ``most`` of both."""

    async def tags(name: RepoName) -> list[Tag | ListingProblem] | None:
        try:
            return [item async for item in registry.tags(name)]
        except (NotFoundError, *_BAD_REPOSITORY):
            return None  # which is found out again, and told, where it is looked at

    listed: dict[RepoName, list[Tag | ListingProblem]] = {}
    left = most - len(names)
    if left < 0:
        return None
    async with aclosing(each(names, tags)) as lists:  # type: ignore[type-var]
        async for name, found in lists:
            progress("counting tags", len(listed), len(names))
            left -= len(found or ())
            if left < 0:
                return None
            if found is not None:
                listed[name] = found
    return listed


def _shortened(sentences: Sequence[str]) -> tuple[str, ...]:
    """Return the first sentences, and the number of the others."""
    more = len(sentences) - _SENTENCES
    if more <= 0:
        return tuple(sentences)
    return (*sentences[:_SENTENCES], f"and {more:,} more of this kind")


async def ask_sizes(
    registry: Registry, repositories: Iterable[RepositorySnapshot], progress: Progress
) -> dict[Digest, int]:
    """Request the sizes that no descriptor gives.

    Schema 1 gives none, and a non-distributable layer may not be in the registry at all.
    """
    asked: dict[Digest, RepoName] = {}
    for repository in repositories:
        for manifest in repository.manifests.values():
            for blob in manifest.blobs:
                if blob.size is None or not blob.distributable:
                    asked[blob.digest] = repository.name
    sizes: dict[Digest, int] = {}

    async def ask(item: tuple[Digest, RepoName]) -> int | None:
        try:
            return await registry.blob_size(item[1], item[0])
        except _BAD_ITEM:
            return None  # as one that is absent, whose size nothing tells either

    async for (digest, _), size in each(asked.items(), ask):
        sizes[digest] = size or 0
        progress("asking for sizes", len(sizes), len(asked))
    return sizes


async def discover_tags(
    registry: Registry,
    repository: RepoName,
    names: Collection[Tag],
    cache: Manifests | None = None,
    progress: Progress = silent,
) -> RepositorySnapshot:
    """Read these tags and no others, with one request for each, for its manifest.

    A child of an index comes from the cache, or costs one more request the first time.
    """

    async def ask(tag: Tag) -> Manifest | ListingProblem | None:
        try:
            raw = await registry.manifest(repository, tag)
            manifest = None if raw is None else parse_manifest(raw.raw, raw.media_type)
        except _BAD_ITEM as error:
            return ListingProblem.of(tag, error)
        if raw is not None and cache is not None:
            cache.put(raw)
        return manifest

    tags: dict[Tag, Digest] = {}
    manifests: dict[Digest, Manifest] = {}
    dangling: list[Tag] = []
    problems: list[ListingProblem] = []
    async for tag, found in each(names, ask):
        if found is None:
            dangling.append(tag)
        elif isinstance(found, ListingProblem):
            problems.append(found)
        else:
            tags[tag] = found.digest
            manifests[found.digest] = found
        done = len(tags) + len(dangling) + len(problems)
        progress(f"reading tags of {repository}", done, len(names))
    below = {child.digest for manifest in manifests.values() for child in manifest.children}
    manifests, unreadable = await _read(
        registry, repository, below, manifests, cache, progress, named=False
    )
    problems.sort(key=lambda problem: problem.subject)
    return RepositorySnapshot(
        repository,
        dict(sorted(tags.items())),
        manifests,
        unreadable,
        tuple(sorted(dangling)),
        problems=tuple(problems),
    )


_MAX_CONFIG: Final = 4 << 20


class Facts(Protocol):
    """The part of the cache for configs."""

    def get_config(self, digest: Digest) -> ConfigFacts | None:
        """Return the facts, or None."""

    def put_config(self, digest: Digest, facts: ConfigFacts) -> None:
        """Keep them, or not."""


async def image_facts(
    registry: Registry,
    repository: RepoName,
    manifests: Iterable[Manifest],
    cache: Facts | None = None,
    progress: Progress = silent,
) -> dict[Digest, ConfigFacts]:
    """Return the facts in configs by manifest digest; unreadable configs have none."""
    wanted = list(manifests)

    async def ask(manifest: Manifest) -> ConfigFacts:
        config = manifest.config
        if (
            manifest.kind is not ManifestKind.IMAGE
            or config is None
            or (config.size or 0) > _MAX_CONFIG
        ):
            return ConfigFacts(created=manifest.annotations.get("org.opencontainers.image.created"))
        digest = config.digest
        known = cache.get_config(digest) if cache is not None else None
        if known is not None:
            return known
        try:
            raw = await _read_config(registry, repository, digest, config.size)
            facts = strict_json.decode(raw, ConfigFacts)
        except (InvalidDocument, NotFoundError, VerificationFailed, *_BAD_ITEM):
            return ConfigFacts(None)
        if cache is not None:
            cache.put_config(digest, facts)
        return facts

    facts = {}
    async for manifest, found in each(wanted, ask):
        facts[manifest.digest] = found
        progress("reading image configurations", len(facts), len(wanted))
    return facts


async def _read_config(
    registry: Registry, repository: RepoName, digest: Digest, size: int | None
) -> bytes:
    """Return a config's bytes; raise InvalidManifest for one that is too long."""
    parts: list[bytes] = []
    read = 0
    blob = registry.read_blob(repository, digest, size=size)
    async with aclosing(blob) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            parts.append(chunk)
            read += len(chunk)
            if read > _MAX_CONFIG:
                raise InvalidManifest(f"the config {digest} has more than {_MAX_CONFIG} bytes")
    return b"".join(parts)
