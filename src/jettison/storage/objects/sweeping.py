"""Taking garbage out of a bucket.

In a bucket nothing can be renamed, so nothing can be hidden from a registry that runs. What a sweep
takes aside stays where it is: it is only left out of each new listing, for as long as it has not
been written again, so that the sweep's looks tell the same as on a disk. A sweep that is killed
leaves nothing to put back.

Where pushes go on meanwhile, what is aside is announced before each listing
(:mod:`~jettison.storage.objects.sweeps`), and removed only if it was announced before the last one.
Only our own servers heed that; beside another registry nothing may be pushed, and then what goes is
deleted a thousand at a time.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Self, Unpack

from jettison.errors import Locked
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import RepoName
from jettison.storage.filesystem import layout
from jettison.storage.objects.announcing import AnnouncedKeys
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.deleting import require_signing
from jettison.storage.objects.leases import LEASE_SECONDS, hold, holder
from jettison.storage.objects.listing import Listing
from jettison.storage.objects.scanning import ObjectScanning, ScanOptions
from jettison.storage.objects.sweeps import Sweeps
from jettison.storage.protocol import Leftover, LinkKind, Outcome, Place, Stamp

__all__ = ["ObjectSweeping"]

_LEASE: Final = f"{layout.OURS}/lease"
_MOST_NOTED: Final = 100_000
_LINE: Final = 160


class _AsideBlob(NamedTuple):
    """A blob that is left out of listings; nothing else shows it."""

    stamp: Stamp
    shared: bool = False


class ObjectQuarantine:
    """Blobs that are left out of listings (:class:`~jettison.storage.protocol.Quarantine`)."""

    def __init__(self, storage: "ObjectSweeping") -> None:
        self._storage = storage
        self._digests: dict[BinaryDigest, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._storage.look_again()

    def has_room(self) -> bool:
        """Whether many blobs can lie aside at once: always."""
        return True

    def put(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Leave blobs out of listings; False for one that was not there."""
        return list(map(self._put, digests))

    def _put(self, digest: BinaryDigest) -> bool:
        found = self._storage.listing.blobs.get(digest)
        if found is None or digest in self._digests:
            return False
        key = self._digests[digest] = self._storage.places.blob(Digest.from_binary(digest))
        self._storage.aside[key] = found.stamp
        return True

    def look(self, digests: Sequence[BinaryDigest]) -> list[_AsideBlob | None]:
        """Look at blobs that are left out; one that was written again has its new time."""
        return list(map(self._look, digests))

    def _look(self, digest: BinaryDigest) -> _AsideBlob | None:
        if digest not in self._digests:
            return None
        now = self._storage.listing.blobs.get(digest)
        return _AsideBlob(self._storage.aside[self._digests[digest]] if now is None else now.stamp)

    def remove(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Delete blobs that are left out, for good; False for another."""
        keys = [self._digests.get(digest) for digest in digests]
        outcomes = self._storage.remove_aside(keys)
        for digest, outcome in zip(digests, outcomes, strict=True):
            if outcome is True:
                del self._digests[digest]
        return outcomes

    def remove_places(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Return True for each: there is no place without an object."""
        return [True] * len(digests)

    def put_back(self, digest: BinaryDigest) -> bool:
        """Undo :meth:`put` for a blob; False if it was not left out."""
        key = self._digests.pop(digest, None)
        return key is not None and self._storage.keep_aside(key)

    def digests(self) -> Iterator[BinaryDigest]:
        """Yield the blobs that are left out: of this process, as one that was killed left none."""
        return iter(list(self._digests))


class ObjectLinkGroup:
    """Links of one kind in a repository, or of a tag's history, in a ``with`` block.

    ``place`` is the key above theirs, and ``listed`` tells when one was written by the last
    listing.
    """

    def __init__(
        self, storage: "ObjectSweeping", place: Place, listed: Callable[[Digest], Stamp | None]
    ) -> None:
        self._storage = storage
        self._place = place
        self._listed = listed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def place(self, digest: Digest) -> Place:
        """Return the key of a link."""
        return Place(f"{self._place}/{digest.hex}/{layout.LINK}")

    def stamp(self, digest: Digest) -> Stamp | None:
        """Return when a link was written, None if there is none or it is left out."""
        found = self._listed(digest)
        return None if self._storage.aside.get(self.place(digest)) == found else found

    def take(self, links: Sequence[tuple[Digest, Stamp | None]]) -> list[Outcome]:
        """Leave links out of listings; False for one that is not there, or has another time."""
        return [self._take(digest, stamp) for digest, stamp in links]

    def _take(self, digest: Digest, stamp: Stamp | None) -> bool:
        found = self.stamp(digest)
        if found is None or stamp not in {None, found}:
            return False
        self._storage.aside[self.place(digest)] = found
        return True

    def taken(self, digests: Sequence[Digest]) -> list[Stamp | None]:
        """Return when links that are left out were written, of one written again the new time."""
        return list(map(self._taken, digests))

    def _taken(self, digest: Digest) -> Stamp | None:
        aside = self._storage.aside.get(self.place(digest))
        return None if aside is None else self._listed(digest) or aside

    def put_back(self, digest: Digest) -> bool:
        """Undo :meth:`take` for a link; False if it was not left out."""
        return self._storage.keep_aside(self.place(digest))

    def remove(self, digests: Sequence[Digest]) -> list[Outcome]:
        """Delete links that are left out, for good; False for another."""
        return self._storage.remove_aside(list(map(self.place, digests)))

    def remove_places(self, digests: Sequence[Digest]) -> list[Outcome]:
        """Return True for each: there is no place without an object."""
        return [True] * len(digests)


class ObjectLinkQuarantine:
    """Links that are left out (:class:`~jettison.storage.protocol.LinkQuarantine`)."""

    def __init__(self, storage: "ObjectSweeping") -> None:
        self._storage = storage
        self._bucket = storage.bucket

    def begin(self, unlinked: Sequence[Digest] = ()) -> None:
        """Note which blobs lose their links on purpose, for who comes after a kill."""
        known = unlinked if len(unlinked) <= _MOST_NOTED else ()
        self._bucket.put(layout.LINKS_ASIDE, "\n".join(known).encode())

    def unlinked(self) -> list[Digest]:
        """Return the blobs that a sweep that did not come to its end was to remove."""
        raw = self._bucket.get(layout.LINKS_ASIDE, _MOST_NOTED * _LINE) or b""
        lines = raw.decode("latin-1").split("\n")
        found = (layout.digest_of(*line.partition(":")[::2]) for line in lines)
        return [digest for digest in found if digest is not None]

    def end(self) -> None:
        """Remove that note."""
        self._bucket.remove([layout.LINKS_ASIDE])

    @property
    def any_left(self) -> bool:
        """Whether a sweep goes on, or was killed."""
        return self._bucket.look(layout.LINKS_ASIDE) is not None

    def group(self, kind: LinkKind, repository: str, algorithm: str) -> ObjectLinkGroup:
        """Return the links of a kind, also where the last listing leaves out all there are."""
        place = self._storage.places.links(kind, repository, algorithm)

        def listed(digest: Digest) -> Stamp | None:
            found = self._storage.listing.repositories.get(repository)
            row = None if found is None else found.links[kind].get(digest.binary)
            return None if row is None else row.stamp

        return ObjectLinkGroup(self._storage, place, listed)

    def history(self, repository: str, tag: str, algorithm: str) -> ObjectLinkGroup:
        """Return the history of a tag, also where the last listing leaves out all of it."""
        place = self._storage.places.history(repository, tag, algorithm)
        listing: Listing | None = None
        stamps: dict[BinaryDigest, Stamp] = {}

        def listed(digest: Digest) -> Stamp | None:
            nonlocal listing, stamps
            if listing is not self._storage.listing:
                listing = self._storage.listing
                found = listing.repositories.get(repository)
                one = None if found is None else found.tags.get(tag)
                stamps = {} if one is None else dict(one.history)
            return stamps.get(digest.binary)

        return ObjectLinkGroup(self._storage, place, listed)

    def recover(self) -> None:
        """Remove the note of a killed sweep, which left nothing aside."""
        self.end()


class ObjectSweeping(ObjectScanning):
    """Removes what a plan lists (:class:`~jettison.storage.protocol.Sweeping`)."""

    def __init__(
        self, bucket: Bucket, cache: ManifestCache, **options: Unpack[ScanOptions]
    ) -> None:
        super().__init__(bucket, cache, **options)
        self.sweeps = Sweeps(bucket)
        self._announced: AnnouncedKeys | None = None

    @contextlib.contextmanager
    def lease(self, purpose: str, *, quiescent: bool = False) -> Iterator[None]:
        """Hold the bucket's lease: one collection at a time.

        Raises :class:`Locked`, and :class:`~jettison.errors.NotQuiescent` where pushes go on and no
        DELETE can be signed.
        """
        with hold(self.bucket, _LEASE, purpose) as held:
            if not held:
                message = f"{self.location} is locked: {holder(self.bucket, _LEASE)}"
                hint = (
                    f"Wait until it is done; the lease of a killed one ends after "
                    f"{LEASE_SECONDS:.0f} s. If it never does, remove {self.location}/{_LEASE}."
                )
                raise Locked(message, hint=hint)
            if quiescent:
                yield
                return
            require_signing(self.bucket)
            self._announced = AnnouncedKeys(self.bucket, self.sweeps)
            try:
                yield
            finally:
                self._announced.end()
                self._announced = None
                self.aside.clear()

    @property
    def sweeping(self) -> bool:
        """Whether this process holds the lease and announces what it removes."""
        return self._announced is not None

    def _list(self) -> Listing:
        if self._announced is None:
            return super()._list()
        with self._announced.looking(self.aside):
            return super()._list()

    def keep_aside(self, key: str) -> bool:
        """Show an object in listings again; False if it was not left out."""
        if self._announced is not None:
            self._announced.drop(key)
        return self.aside.pop(key, None) is not None

    def now(self) -> float:
        """Return the store's time, or up to two seconds less: it dates in whole seconds."""
        return self.bucket.now() / 1_000_000_000 - 1.0

    def quarantine(self) -> ObjectQuarantine:
        """Return what leaves blobs out of listings."""
        return ObjectQuarantine(self)

    def link_quarantine(self) -> ObjectLinkQuarantine:
        """Return what leaves links out of listings."""
        return ObjectLinkQuarantine(self)

    @contextlib.contextmanager
    def seeing_quarantine(self) -> Iterator[frozenset[BinaryDigest]]:
        """Yield nothing: whatever a killed sweep left out is in its place."""
        yield frozenset()

    def remove_aside(self, keys: Sequence[str | None]) -> list[Outcome]:
        """Delete objects that are left out of listings; False for another."""
        going = [key for key in keys if key is not None and key in self.aside]
        remove = self.bucket.remove_each if self._announced is None else self._announced.remove
        outcomes = dict(zip(going, remove(going), strict=True))
        for key, outcome in outcomes.items():
            if outcome is True:
                del self.aside[key]
        return [False if key is None else outcomes.get(key, False) for key in keys]

    def is_blob_gone(self, digest: BinaryDigest) -> bool:
        """Whether a blob is not in its place now, whatever the last listing says."""
        return self.bucket.look(self.places.blob(Digest.from_binary(digest))) is None

    def remove_upload(self, repository: RepoName, upload: str, moved: Stamp | None = None) -> bool:
        """Remove the objects of an upload; False if none is there, or it moved since ``moved``.

        Parts that no listing shows are ended by the bucket's own rule (docs/object-storage.md).
        """
        place = self.places.upload(repository, upload)
        entries = [entry for page in self.bucket.pages(place) for entry in page]
        if not entries or (moved is not None and max(one.stamp for one in entries) > moved):
            return False
        self.bucket.remove([one.key for one in entries])
        return True

    def remove_leftover(self, leftover: Leftover) -> bool:
        """Remove a temporary object, unless it was written since it was listed; False if so."""
        found = self.bucket.look(leftover.path)
        if found is None or found.stamp != leftover.stamp:
            return False
        self.bucket.remove([leftover.path])
        return True

    def remove_empty(self, place: Place, names: Sequence[str]) -> Iterator[str]:  # noqa: ARG002 - there is none
        """Yield nothing: there is no place without an object."""
        return iter(())

    def remove_repository(self, name: RepoName) -> bool:  # noqa: ARG002 - as above
        """Return False: what is empty is not there, but for objects that look like folders."""
        return False

    def remove_remains(self, before: float) -> None:
        """Remove nothing: a killed process leaves no draft."""
