"""What is in a bucket: a listing of it, and the manifests that it names."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Final, TypedDict, Unpack

from jettison.errors import InvalidManifest, InvalidName
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import ALGORITHMS, BinaryDigest, Digest
from jettison.model.manifest_references import References, references_of
from jettison.model.names import RepoName
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.places import TreePlaces
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.listing import Listing
from jettison.storage.objects.manifests import ManifestReader
from jettison.storage.objects.names import is_repository, names_after
from jettison.storage.objects.pages import Splitting, list_repository, list_tree
from jettison.storage.objects.repository import InParts, ObjectRepository, leftovers_among
from jettison.storage.objects.unfinished import UploadsInParts
from jettison.storage.protocol import (
    Absence,
    Blob,
    EmptyBlob,
    Features,
    LinkKind,
    Problem,
    Protects,
    Repositories,
    Stamp,
    make_problem,
    stamp_at,
)

__all__ = ["ObjectScanning", "ScanOptions"]

_NOT_TOLD: Final = -1
_MANY: Final = 1000
"""Blobs that are not asked for one by one."""

_LARGEST_DRAFT: Final = 4 * 1024 * 1024
_FEATURES: Final = Features(
    atomic_rename=False,
    append=False,
    change_detection=False,
    capacity=False,
    forks=False,
    local=False,
)
_PLACES: Final = TreePlaces()
_AMONG_BLOBS: Final = tuple(f"{layout.BLOBS}/{name}/" for name in ALGORITHMS)


class ScanOptions(TypedDict, total=False):
    """How a bucket is looked into: see :class:`ObjectScanning`."""

    splitting: Splitting | None
    live: bool


class ObjectScanning:
    """Looks into a bucket (:class:`~jettison.storage.protocol.Scanning`).

    The bucket is listed by each call of :meth:`scan_repositories` or :meth:`repositories`, and from
    then on everything is answered from the last listing; before that, and after something was
    written, single things are asked for as they are now. ``live``: they always are, as a server
    needs it. Contents are read when they are asked for. Listings are divided as ``splitting`` says.
    """

    def __init__(
        self, bucket: Bucket, cache: ManifestCache, **options: Unpack[ScanOptions]
    ) -> None:
        self.bucket = bucket
        self._live = options.get("live", False)
        self.absence = Absence.NOTHING
        self._manifests = ManifestReader(bucket, cache, self._size)
        self._splitting = options.get("splitting")
        self._listed: Listing | None = None
        self._scanned = False
        self._versions: bool | None = None
        self._in_parts: UploadsInParts | None = None
        self._changes = 0
        self.aside: dict[str, Stamp] = {}
        """Keys that listings leave out, as long as these are their times."""

    @property
    def location(self) -> str:
        """The bucket and the root in it: ``s3://bucket/root``."""
        return self.bucket.location

    @property
    def features(self) -> Features:
        """What a bucket can do: nothing is renamed, and what went leaves no trace."""
        return _FEATURES

    @property
    def places(self) -> TreePlaces:
        """The keys of things, relative to the root."""
        return _PLACES

    def _size(self, digest: BinaryDigest) -> int | None:
        listed = None if self._listed is None else self._listed.blobs.get(digest)
        if listed is not None:
            return listed.number
        # Blobs may have been listed before it was pushed, and what leads to it after that.
        found = self._look_at(digest)
        return None if found is None else found.size

    def trust_nothing_kept(self) -> None:
        """Read manifests from the bucket from now on, and not from the cache."""
        self._manifests = ManifestReader(self.bucket, ManifestCache(None), self._size)

    # The listing.

    @property
    def listing(self) -> Listing:
        """The last listing, made if there is none."""
        kept, changes = self._listed, self._changes
        if kept is not None:
            return kept
        found = self._list()
        # What another thread wrote meanwhile may be missing in it.
        if not self._live and changes == self._changes:
            self._listed = found
        return found

    def _list(self) -> Listing:
        """List the bucket."""
        found = Listing()
        for page in list_tree(self.bucket, self._splitting):
            found.add(page, self.aside)
        found.settle(stamp_at(time.time()))
        return found

    def look_again(self) -> None:
        """Forget the listing: what is asked from now on is answered as it is by then."""
        self._changes += 1
        self._listed = None
        self._in_parts = None
        self._scanned = False

    def changed(self) -> None:
        """Forget the listing, since something was written; one that sweeps goes on with its own."""
        self._changes += 1
        if not self.aside:
            self.look_again()

    def _scan(self) -> Listing:
        if self._scanned:
            self.look_again()
        found = self.listing
        self._scanned = True
        return found

    # Repositories.

    def scan_repositories(self) -> Repositories:
        """Return all repositories; their manifests are expected to be asked for in this order."""
        listing = self._scan()
        found = Repositories([], [], [], [])
        for name in sorted({*listing.repositories, *self._all_in_parts().repositories}):
            try:
                found.names.append(RepoName(name))
            except InvalidName:
                found.misnamed.append(name)
        taken = {above for name in listing.names for above in _above(name)}
        taken.update(above for name in listing.repositories for above in (name, *_above(name)))
        found.empty.extend(sorted(listing.names.keys() - taken))
        self._manifests.expect(
            digest
            for name in (*found.names, *found.misnamed)
            if name in listing.repositories
            for digest in listing.repositories[name].links[LinkKind.REVISION]
        )
        return found

    def repositories(self) -> list[RepoName]:
        """Return the names of all repositories, sorted."""
        if self._live:
            return list(names_after(self.bucket))
        found = []
        for name in sorted(self._scan().repositories):
            with contextlib.suppress(InvalidName):
                found.append(RepoName(name))
        return found

    def repository(self, name: str) -> ObjectRepository:
        """Look into a repository: as the last listing shows it, or without one as it is now."""
        listing: Listing | None = None
        made = -1

        def listed() -> Listing:
            nonlocal listing, made
            if (kept := self._listed) is not None:
                return kept
            if listing is None or made != self._changes:
                made = self._changes
                listing = list_repository(self.bucket, name, taken=self.aside)
            return listing

        def in_parts() -> InParts:
            if self._listed is not None:
                return self._all_in_parts().of(name)
            return UploadsInParts.below(self.bucket, name).of(name)

        return ObjectRepository(self.bucket, name, listed, in_parts)

    @property
    def sweeping(self) -> bool:
        """Whether a collection goes on, which has seen the unfinished uploads before."""
        return False

    def _all_in_parts(self) -> UploadsInParts:
        """Return the uploads in parts, asked for once after each listing."""
        if self._in_parts is None:
            self._in_parts = (
                UploadsInParts(self.bucket, (), None)
                if self.sweeping
                else UploadsInParts.below(self.bucket)
            )
        return self._in_parts

    def unseen_uploads(self) -> str | None:
        """Return why uploads in parts may not all be seen; None if they are."""
        return self._all_in_parts().why_unseen

    def has_repository(self, name: str) -> bool:
        """Whether there is a repository of this name; a name above others is none."""
        if self._listed is None:
            return is_repository(self.bucket.folders(layout.repository(name)))
        return name in self._listed.repositories

    def name_stamp(self, name: str) -> Stamp | None:
        """Return when something was last written under a name of repositories."""
        listing, below = self.listing, f"{name}/"
        stamps = [
            *(s for n, s in listing.names.items() if n == name or n.startswith(below)),
            *(r.newest for n, r in listing.repositories.items() if n.startswith(below)),
        ]
        if name in listing.repositories:
            stamps.append(listing.repositories[name].newest)
        return max(stamps, default=None)

    def changes_each(self, names: Sequence[str], kind: LinkKind) -> list[tuple[Stamp, ...]]:  # noqa: ARG002 - of none it can be told
        """Return nothing for each repository: a bucket does not tell that something went."""
        return [()] * len(names)

    def are_linked(self, kind: LinkKind, pairs: Sequence[tuple[str, BinaryDigest]]) -> list[bool]:
        """Tell of each repository and digest whether there is a link of that kind."""
        repositories = self.listing.repositories
        return [
            name in repositories and digest in repositories[name].links[kind]
            for name, digest in pairs
        ]

    # Blobs.

    def blob_groups(self, problems: list[Problem] | None = None) -> list[str]:
        """Return the groups of blobs, sorted. What is none is noted in ``problems``."""
        if problems is not None:
            message = "is no blob, and lies among them"
            problems += [
                make_problem(None, entry.key, message, Protects.NOTHING)
                for entry in self.listing.strays
                if entry.key.startswith(_AMONG_BLOBS)
                and not layout.is_foreign(entry.key.rpartition("/")[2])
            ]
        short = {f"sha256/{first:02x}" for first in self.listing.blobs.first_bytes()}
        others = (*self.listing.blobs.long, *self.listing.drafts)
        return sorted(short.union(map(_group_of, others)))

    def blobs_in(self, group: str, problems: list[Problem] | None = None) -> list[BinaryDigest]:  # noqa: ARG002 - noted with the groups
        """Return the blobs that have a place in a group, sorted."""
        algorithm, _, first = group.partition("/")
        if algorithm == "sha256":
            found = self.listing.blobs.beginning_with(int(first, 16))
        else:
            found = [one for one in self.listing.blobs.long if _group_of(one) == group]
        drafts = [one for one in self.listing.drafts if _group_of(one) == group]
        return sorted({*found, *drafts}) if drafts else found

    def group_change(self, group: str) -> int:  # noqa: ARG002 - of none it can be told
        """Return that a group may have changed."""
        return _NOT_TOLD

    def changed_blob_groups(self, seen: dict[str, int]) -> Iterator[tuple[str, list[BinaryDigest]]]:
        """Yield all groups, with all blobs: each may have changed."""
        for group in self.blob_groups():
            seen[group] = _NOT_TOLD
            yield group, self.blobs_in(group)

    def blob(self, digest: BinaryDigest) -> Blob | None:
        """Return a blob's size and time, or None if there is none."""
        return self._look_at(digest) if self._listed is None else _listed(self._listed, digest)

    def _look_at(self, digest: BinaryDigest) -> Blob | None:
        """Ask the bucket for what it has of a blob now."""
        entry = self.bucket.look(self.places.blob(Digest.from_binary(digest)))
        return None if entry is None else Blob(digest, entry.size, entry.stamp, entry.stamp)

    def blobs_each(self, digests: Sequence[BinaryDigest]) -> list[Blob | None]:
        """Return the size and time of each blob."""
        # To list everything takes fewer requests than to ask for many.
        listing = self.listing if len(digests) > _MANY else self._listed
        if listing is None:
            return list(self.bucket.pool.map(self._look_at, digests))
        return [_listed(listing, digest) for digest in digests]

    def sizes_each(
        self,
        digests: Sequence[BinaryDigest],
        *,
        readable: bool = False,  # noqa: ARG002 - a request for each would take hours
    ) -> list[int | None]:
        """Return the size of each blob; what is listed counts as readable."""
        return [None if found is None else found.size for found in self.blobs_each(digests)]

    def blobs(self) -> Iterator[Blob]:
        """Yield every blob with its size and time."""
        for digest, row in self.listing.blobs.items():
            yield Blob(digest, row.number, row.stamp, row.stamp)

    def empty_blob(self, digest: BinaryDigest, before: Stamp) -> EmptyBlob | None:
        """Look at what else is in the place of a blob; no place is empty in a bucket."""
        others = self.listing.drafts.get(digest, [])
        if not others:
            known = digest in self.listing.blobs
            return EmptyBlob([], removable=False, drafts=[]) if known else None
        left = leftovers_among(others, before)
        small = [one.key for one in others if 0 < one.size <= _LARGEST_DRAFT]
        contents = self.bucket.get_each(small, _LARGEST_DRAFT)
        drafts = [raw for _, raw in contents if isinstance(raw, bytes)]
        removable = digest not in self.listing.blobs and len(left) == len(others)
        return EmptyBlob(left, removable, drafts)

    # Contents.

    def manifests(
        self, digests: Sequence[BinaryDigest]
    ) -> Iterator[tuple[BinaryDigest, References]]:
        """Yield what manifests reference, those that are whole and understood."""
        for digest, raw in self.whole_manifests(digests):
            with contextlib.suppress(InvalidManifest):
                references = references_of(raw)
                if references.edges is not None:
                    yield digest, references

    def whole_manifests(
        self, digests: Sequence[BinaryDigest]
    ) -> Iterator[tuple[BinaryDigest, bytes]]:
        """Yield the bytes of manifests that have the digest asked for."""
        yield from self._manifests.each(digests)

    def read_manifest(self, digest: BinaryDigest) -> bytes | None:
        """Return a manifest's bytes, whatever they are, or None if there is no such blob."""
        return self._manifests.read(digest)

    def read_blob(self, digest: BinaryDigest, chunk: int = 256 * 1024) -> Iterator[bytes]:
        """Yield a blob's bytes in pieces of ``chunk`` bytes; nothing if there is no such blob."""
        key = f"{layout.BLOBS}/{layout.blob_file(digest)}"
        if self._listed is not None and digest not in self._listed.blobs:
            return iter(())
        return self.bucket.pieces(key, chunk)

    def keeps_removed(self) -> bool:
        """Whether the bucket keeps versions: asked of one blob, once."""
        if self._versions is None:
            first = next(iter(self.listing.blobs), None)
            key = None if first is None else self.places.blob(Digest.from_binary(first))
            self._versions = key is not None and self.bucket.has_version(key)
        return self._versions

    def free_bytes(self) -> None:
        """Return None: a bucket has no bounds that are known."""


def _listed(listing: Listing, digest: BinaryDigest) -> Blob | None:
    found = listing.blobs.get(digest)
    return None if found is None else Blob(digest, found.number, found.stamp, found.stamp)


def _above(name: str) -> Iterator[str]:
    """Yield the names above one."""
    while name := name.rpartition("/")[0]:
        yield name


def _group_of(digest: BinaryDigest) -> str:
    algorithm = next(name for name, length in ALGORITHMS.items() if length == 2 * len(digest))
    return f"{algorithm}/{Digest.from_binary(digest).hex[:2]}"
