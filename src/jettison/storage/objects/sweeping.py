"""Taking garbage out of a bucket.

In a bucket nothing can be renamed, so nothing can be hidden from a registry that runs. What a sweep
takes aside stays where it is: it is only left out of each new listing, for as long as it has not
been written again, so that the sweep's looks tell the same as on a disk. A sweep that is killed
leaves nothing to put back.

Where pushes go on meanwhile, what is aside is announced before each listing
(:mod:`~jettison.storage.objects.sweeps`), and removed only if it was announced before the last one.
Only our own servers heed that. Beside another registry what is aside is really out of its place, in
a way that can be taken back (:mod:`~jettison.storage.objects.hiding`). Where nothing is pushed,
what goes is deleted a thousand at a time.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Self, Unpack

from jettison.errors import Locked, StorageError
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import RepoName
from jettison.storage.filesystem import layout
from jettison.storage.objects.announcing import AnnouncedKeys
from jettison.storage.objects.bucket import Bucket, Entry
from jettison.storage.objects.deleting import require_signing
from jettison.storage.objects.failures import StoreDenied
from jettison.storage.objects.hiding import Hiding, begin_hiding
from jettison.storage.objects.leases import LEASE_SECONDS, Lease, hold, holder
from jettison.storage.objects.left_hidden import LeftHidden
from jettison.storage.objects.listing import Listing, link_tag
from jettison.storage.objects.manifests import LARGEST_MANIFEST
from jettison.storage.objects.pages import list_tree
from jettison.storage.objects.scanning import ObjectScanning, ScanOptions
from jettison.storage.objects.sweeps import Sweeps
from jettison.storage.objects.unfinished import begun_below, end_upload, look_at
from jettison.storage.protocol import Leftover, LinkKind, Outcome, Place, Stamp, stamp_at

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
        going: dict[BinaryDigest, Entry] = {}
        for digest in digests:
            found = self._storage.listing.blobs.get(digest)
            if found is not None and digest not in self._digests:
                key = self._storage.places.blob(Digest.from_binary(digest))
                self._digests[digest] = key
                going[digest] = Entry(key, found.number, found.stamp, "")
        outcomes = dict(zip(going, self._storage.take_aside(list(going.values())), strict=True))
        for digest, outcome in outcomes.items():
            if outcome is not True:
                del self._digests[digest]
        return [outcomes.pop(digest, False) for digest in digests]

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
        """Undo :meth:`put` for a blob; False if it was not left out, or was pushed again."""
        if digest not in self._digests:
            return self._storage.bring_back_left(digest)
        return _only(self.put_back_each([digest]))

    def put_back_each(self, digests: Sequence[BinaryDigest]) -> list[Outcome]:
        """Undo :meth:`put` for blobs, many at a time."""
        outcomes = self._storage.keep_aside([self._digests.get(digest) for digest in digests])
        for digest, outcome in zip(digests, outcomes, strict=True):
            if not isinstance(outcome, StorageError):
                self._digests.pop(digest, None)
        return outcomes

    def digests(self) -> Iterator[BinaryDigest]:
        """Yield the blobs that are left out, or that a killed sweep has left out of sight."""
        yield from list(self._digests)
        yield from (one for one in self._storage.left_blobs() if one not in self._digests)


class ObjectLinkGroup:
    """Links of one kind in a repository, or of a tag's history, in a ``with`` block.

    ``place`` is the key above theirs, ``listed`` tells when one was written by the last listing.
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
        going: dict[Digest, Entry] = {}
        for digest, stamp in links:
            found = self.stamp(digest)
            if found is not None and stamp in {None, found}:
                going[digest] = Entry(self.place(digest), len(digest), found, "")
        outcomes = dict(zip(going, self._storage.take_aside(list(going.values())), strict=True))
        return [outcomes.pop(digest, False) for digest, _ in links]

    def taken(self, digests: Sequence[Digest]) -> list[Stamp | None]:
        """Return when links that are left out were written, of one written again the new time."""
        return list(map(self._taken, digests))

    def _taken(self, digest: Digest) -> Stamp | None:
        aside = self._storage.aside.get(self.place(digest))
        return None if aside is None else self._listed(digest) or aside

    def put_back(self, digest: Digest) -> bool:
        """Undo :meth:`take` for a link; False if it was not left out, or was written again."""
        return _only(self.put_back_each([digest]))

    def put_back_each(self, digests: Sequence[Digest]) -> list[Outcome]:
        """Undo :meth:`take` for links, many at a time."""
        return self._storage.keep_aside(list(map(self.place, digests)))

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
        self._storage.note_unlinked(unlinked)

    def unlinked(self) -> list[Digest]:
        """Return the blobs that a sweep that did not come to its end was to remove."""
        raw = self._storage.noted() or b""
        lines = raw.decode("latin-1").split("\n")
        found = (layout.digest_of(*line.partition(":")[::2]) for line in lines)
        return [digest for digest in found if digest is not None]

    def end(self) -> None:
        """Remove that note, unless something may still be out of sight."""
        if not self._storage.aside:
            self._storage.forget_note()

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
        """Write again the links that a killed sweep took; its note stays while blobs are away."""
        LeftHidden(self._bucket).bring_back_links()


def _link_entry(key: str, content: str, stamp: Stamp) -> Entry:
    """Return what a listing will say of a link once it is written again."""
    digest = layout.digest_of(*content.partition(":")[::2])
    return Entry(key, len(content), stamp, "" if digest is None else link_tag(digest.binary))


def _only(outcomes: Sequence[Outcome]) -> bool:
    """Return the one outcome, or raise its error."""
    [outcome] = outcomes
    if isinstance(outcome, StorageError):
        raise outcome
    return outcome


class ObjectSweeping(ObjectScanning):
    """Removes what a plan lists (:class:`~jettison.storage.protocol.Sweeping`)."""

    def __init__(
        self, bucket: Bucket, cache: ManifestCache, **options: Unpack[ScanOptions]
    ) -> None:
        super().__init__(bucket, cache, **options)
        self.sweeps = Sweeps(bucket)
        self._announced: AnnouncedKeys | None = None
        self._hiding: Hiding | None = None
        self._left: LeftHidden | None = None
        self._seen: dict[str, Entry] = {}
        self._note: bytes | None = None
        self._noted = False
        self._cannot_end = False

    @contextlib.contextmanager
    def lease(
        self, purpose: str, *, quiescent: bool = False, hiding: bool = False
    ) -> Iterator[None]:
        """Hold the bucket's lease: one collection at a time.

        Raises :class:`Locked`, and :class:`~jettison.errors.NotQuiescent` where pushes go on and no
        DELETE can be signed.
        """
        with hold(self.bucket, _LEASE, purpose) as held:
            if held is None:
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
            if hiding:
                yield from self._hide(held)
            else:
                yield from self._announce()

    def _announce(self) -> Iterator[None]:
        self._announced = AnnouncedKeys(self.bucket, self.sweeps)
        try:
            yield
        finally:
            self._announced.end()
            self._announced = None
            self.aside.clear()

    def _hide(self, lease: Lease) -> Iterator[None]:
        self._hiding = begin_hiding(self.bucket, lease)
        try:
            yield
        finally:
            # What could not be brought back stays noted, and the next collection does it.
            self._hiding = None
            self.aside.clear()

    @property
    def sweeping(self) -> bool:
        """Whether this process holds the lease, beside pushes, and knows what it has taken."""
        return self._announced is not None or self._hiding is not None

    def _list(self) -> Listing:
        if self._hiding is not None or self._seen:
            return self._list_hidden()
        if self._announced is None:
            return super()._list()
        with self._announced.looking(self.aside):
            return super()._list()

    def _list_hidden(self) -> Listing:
        """List what is in its place, and what is known to be out of sight as it would be there.

        What is in its place though it was hidden has been brought again, whatever its time is.
        """
        found, hidden = Listing(), self.aside.keys() | self._seen.keys()
        back: set[str] = set()
        for page in list_tree(self.bucket, self._splitting):
            found.add(page)
            back.update(entry.key for entry in page if entry.key in hidden)
        found.add([entry for key, entry in self._seen.items() if key not in back])
        found.add_hidden((key, stamp) for key, stamp in self.aside.items() if key not in back)
        found.settle(stamp_at(time.time()))
        return found

    def take_aside(self, entries: Sequence[Entry]) -> list[Outcome]:
        """Leave objects out of listings; beside another registry really out of their places."""
        if not entries:
            return []
        # First, since Ctrl-C may come in between.
        self.aside.update((entry.key, entry.stamp) for entry in entries)
        if self._hiding is None:
            return [True] * len(entries)
        self.note_unlinked(())
        outcomes = self._hiding.hide(entries)
        for entry, outcome in zip(entries, outcomes, strict=True):
            if outcome is not True:
                self.aside.pop(entry.key, None)
        return outcomes

    def keep_aside(self, keys: Sequence[str | None]) -> list[Outcome]:
        """Show objects in listings again; False for one not left out, or pushed again by now."""
        kept = [key for key in keys if key is not None and key in self.aside]
        outcomes: dict[str, Outcome] = dict.fromkeys(kept, True)
        if self._announced is not None:
            for key in kept:
                self._announced.drop(key)
        if self._hiding is not None:
            outcomes |= zip(kept, self._hiding.bring_back(kept), strict=True)
        for key, outcome in outcomes.items():
            if not isinstance(outcome, StorageError):
                del self.aside[key]
        return [False if key is None else outcomes.get(key, False) for key in keys]

    # What a killed sweep left out of sight.

    def note_unlinked(self, digests: Sequence[Digest]) -> None:
        """Note that a sweep has begun, and which blobs lose their links on purpose."""
        if digests or not self._noted:
            known = digests if len(digests) <= _MOST_NOTED else ()
            self.bucket.put(layout.LINKS_ASIDE, "\n".join(known).encode())
            self._noted = True

    def forget_note(self) -> None:
        """Remove that note."""
        self.bucket.remove([layout.LINKS_ASIDE])
        self._noted = False

    def noted(self) -> bytes | None:
        """Return the note of a sweep that goes on or was killed; None if there is none."""
        if self._note is not None:
            return self._note
        return self.bucket.get(layout.LINKS_ASIDE, _MOST_NOTED * _LINE)

    def left_blobs(self) -> list[BinaryDigest]:
        """Return the blobs that a killed sweep has left out of sight."""
        if self.bucket.look(layout.LINKS_ASIDE) is None:
            return []
        self._left = LeftHidden(self.bucket)
        named = map(self.places.named, self._left.blobs)
        return [one.digest.binary for one in named if one is not None]

    def bring_back_left(self, digest: BinaryDigest) -> bool:
        """Let a blob that a killed sweep hid be in its place again; False if there is none."""
        if self._left is None:
            return False
        return self._left.bring_back_blob(self.places.blob(Digest.from_binary(digest)))

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
        """See what a killed sweep left out of sight in its place meanwhile; yields the blobs."""
        note = self.bucket.get(layout.LINKS_ASIDE, _MOST_NOTED * _LINE)
        self._note = note or b""
        try:
            if note is None:
                yield frozenset()
                return
            left = LeftHidden(self.bucket)
            now = stamp_at(time.time())
            links = {key: _link_entry(key, text, now) for key, text in left.links.items()}
            self._seen = left.blobs | links
            self.look_again()
            named = map(self.places.named, left.blobs)
            yield frozenset(one.digest.binary for one in named if one is not None)
        finally:
            self._note = None
            if self._seen:
                self._seen = {}
                self.look_again()

    def read_manifest(self, digest: BinaryDigest) -> bytes | None:
        """Return a manifest's bytes, also of one that is out of sight."""
        found = super().read_manifest(digest)
        if found is not None or self._hiding is None:
            return found
        key = self.places.blob(Digest.from_binary(digest))
        return self._hiding.read(key, LARGEST_MANIFEST) if key in self.aside else None

    def remove_aside(self, keys: Sequence[str | None]) -> list[Outcome]:
        """Delete objects that are left out of listings; False for another."""
        going = [key for key in keys if key is not None and key in self.aside]
        if self._hiding is not None:
            remove: Callable[[Sequence[str]], list[Outcome]] = self._hiding.forget
        elif self._announced is not None:
            remove = self._announced.remove
        else:
            remove = self.bucket.remove_each
        outcomes = dict(zip(going, remove(going), strict=True))
        for key, outcome in outcomes.items():
            if outcome is True:
                del self.aside[key]
        return [False if key is None else outcomes.get(key, False) for key in keys]

    def is_blob_gone(self, digest: BinaryDigest) -> bool:
        """Whether a blob is neither in its place now nor out of sight, whatever was listed."""
        key = self.places.blob(Digest.from_binary(digest))
        if self._hiding is not None and key in self.aside:
            return False
        return self.bucket.look(key) is None

    def remove_upload(self, repository: RepoName, upload: str, moved: Stamp | None = None) -> bool:
        """End the parts of an upload, and remove its objects.

        False if none is there, or it moved since ``moved``. Whoever has no right to end parts is
        told so once, and False of each upload with parts after that.
        """
        place = self.places.upload(repository, upload)
        entries = [entry for page in self.bucket.pages(place) for entry in page]
        begun = begun_below(self.bucket, f"{place}/")
        if begun and self._cannot_end:
            return False
        try:
            looks = [look_at(self.bucket, one) for one in begun]
            stamps = [one.stamp for one in entries]
            stamps += [look.moved for look in looks if look is not None]
            if not stamps or (moved is not None and max(stamps) > moved):
                return False
            for one in begun:
                end_upload(self.bucket, one)
        except StoreDenied:
            self._cannot_end = True
            raise
        self.bucket.remove([one.key for one in entries])  # last: they have the upload's name
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

    def remove_repository(self, name: RepoName) -> bool:
        """Return whether nothing is in a repository any more: what is empty is not there."""
        return not any(self.bucket.pages(self.places.repository(name)))

    def remove_remains(self, before: float) -> None:
        """Remove nothing: a killed process leaves no draft."""
