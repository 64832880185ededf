"""The images of a repository as a person counts them.

An image is what somebody pushed as one thing: an index with its platforms and attestations, a
manifest that no index lists. Signatures, attestations, SBOMs and whatever else refers to an image
by ``subject`` or by a tag ``sha256-<hex>…`` follow it, and so do the children of an index, also
those with a tag of their own.

cosign can keep signatures in a repository of their own (``COSIGN_REPOSITORY``). Where no other tag
is, what a tag ``sha256-<hex>…`` signs is elsewhere, and not gone.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from jettison.model.digest import Digest
from jettison.model.graph import reach
from jettison.model.manifest import Manifest, ManifestKind, referenced_digest
from jettison.model.names import Tag
from jettison.model.retention.policy import State
from jettison.model.snapshot import RepositorySnapshot
from jettison.model.traversal import postorder
from jettison.model.untag_placeholder import MARK

__all__ = ["Image", "Images", "find_images"]

_CACHE: Final = "application/vnd.buildkit.cacheconfig.v0"


class Image(msgspec.Struct, frozen=True):
    """An image: its manifest or index, and the tags that point to it, sorted.

    ``types`` are what its type may be called: of the artifact, of the config, of the manifest.
    ``ordinary``: it is no build cache and no throw-away manifest of a removal, and takes a place
    where images are counted. ``known``: what it is can be told.
    """

    digest: Digest
    tags: tuple[Tag, ...]
    state: State
    types: tuple[str, ...]
    ordinary: bool = True
    known: bool = True


class Images(msgspec.Struct, frozen=True):
    """The images of a repository.

    ``following`` are tags, not of the form ``sha256-<hex>…``, of what follows an image.
    """

    images: tuple[Image, ...]
    following: Mapping[Tag, Digest]


def find_images(repository: RepositorySnapshot) -> Images:
    """Return the images of a repository, sorted by digest."""
    there = repository.manifests.keys() | repository.unreadable
    own: defaultdict[Digest, list[Tag]] = defaultdict(list)
    referring: dict[Tag, Digest] = {}
    for tag in sorted(repository.tags):
        subject = referenced_digest(tag)
        if subject is None:
            own[repository.tags[tag]].append(tag)
        else:
            referring[tag] = subject
    referrers: defaultdict[Digest, list[Digest]] = defaultdict(list)
    for manifest in repository.manifests.values():
        if manifest.subject is not None:
            referrers[manifest.subject].append(manifest.digest)

    def refers(digest: Digest) -> Digest | None:
        manifest = repository.manifests.get(digest)
        return None if manifest is None else manifest.subject

    named = {digest for digest in own if digest in there}
    tagged = _tops(repository, referrers, named)
    by_tag = {repository.tags[tag] for tag in referring}
    followers = reach(tagged, repository.lists, referrers).manifests | by_tag
    loose = [digest for digest in repository.manifests if digest not in followers]
    # What such a tag points to stays or goes with its subject, and so does all that it lists.
    attached = reach(by_tag, repository.lists, referrers).manifests
    untagged = [one for one in _tops(repository, referrers, loose) if one not in attached]
    found = [
        _image(repository, digest, tuple(own[digest]), State.TAGGED)
        for digest in tagged
        if refers(digest) is None
    ]
    found += [
        _image(repository, digest, (), State.UNTAGGED)
        for digest in untagged
        if refers(digest) is None
    ]
    # What refers to something that is not there: by its subject, or by its tag. What refers to a
    # platform that is missing belongs to the index that lists it.
    known = {*there, *(c.digest for m in repository.manifests.values() for c in m.children)}
    lost = {
        digest: tuple(own.get(digest, ()))
        for digest in {*tagged, *untagged}
        if (subject := refers(digest)) is not None and subject not in known
    }
    for tag, subject in referring.items() if named else ():
        digest = repository.tags[tag]
        if subject not in known and digest in there and digest not in own:
            lost[digest] = (*lost.get(digest, ()), tag)
    found += [_image(repository, digest, tags, State.ORPHANED) for digest, tags in lost.items()]
    images = tuple(sorted(found, key=lambda image: image.digest))
    mine = {tag for image in images for tag in image.tags}
    following = {
        tag: digest
        for digest, tags in own.items()
        for tag in tags
        if tag not in mine and digest in there
    }
    return Images(images, following)


def _tops(
    repository: RepositorySnapshot,
    referrers: Mapping[Digest, list[Digest]],
    among: Iterable[Digest],
) -> list[Digest]:
    """Return those manifests that no other of them leads to; of a cycle, one."""
    among = set(among)
    below: set[Digest] = set()
    todo: list[Digest] = []

    def enter(digest: Digest) -> None:
        todo.extend(repository.children(digest))
        todo.extend(referrers.get(digest, ()))

    for digest in among:
        enter(digest)
    while todo:
        digest = todo.pop()
        if digest not in below:
            below.add(digest)
            if digest not in among:
                enter(digest)
    tops = sorted(among - below)
    if below.isdisjoint(among):
        return tops
    covered = reach(tops, repository.lists, referrers).manifests
    return tops + _tops_of_cycles(repository, referrers, among & below - covered)


def _tops_of_cycles(
    repository: RepositorySnapshot,
    referrers: Mapping[Digest, list[Digest]],
    left: AbstractSet[Digest],
) -> list[Digest]:
    """Return one manifest of each cycle that nothing else leads to.

    An index may refer to a child of its own. What ends last in a walk is above all that is left;
    and the walk enters a cycle where something refers to nothing, which then is the image.
    """

    def lead_to(digest: Digest) -> list[Digest]:
        return [*repository.children(digest), *referrers.get(digest, ())]

    def refers(digest: Digest) -> bool:
        manifest = repository.manifests.get(digest)
        return manifest is not None and manifest.subject is not None

    tops: list[Digest] = []
    covered: set[Digest] = set()
    starts = sorted(left, key=lambda digest: (refers(digest), digest))
    for digest in postorder(starts, lead_to)[::-1]:
        if digest in left and digest not in covered:
            tops.append(digest)
            covered |= reach([digest], repository.lists, referrers, covered).manifests
    return tops


def _image(
    repository: RepositorySnapshot, digest: Digest, tags: tuple[Tag, ...], state: State
) -> Image:
    manifest = repository.manifests.get(digest)
    if manifest is None:
        return Image(digest, tags, state, (), known=False)
    config = manifest.config.media_type if manifest.config is not None else None
    types = tuple(filter(None, (manifest.artifact_type, config, manifest.media_type)))
    known = manifest.kind is not ManifestKind.OPAQUE
    ordinary = not _is_cache(manifest) and not _is_placeholder(manifest)
    return Image(digest, tags, state, types, ordinary, known)


def _is_placeholder(manifest: Manifest) -> bool:
    """Whether an interrupted removal left it in place of an image."""
    return MARK in manifest.annotations and not manifest.children


def _is_cache(manifest: Manifest) -> bool:
    """Whether it is a build cache, in any of the forms that BuildKit exports."""
    return any(blob.media_type == _CACHE for blob in manifest.blobs)
