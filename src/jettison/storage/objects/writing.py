"""Changing a bucket: references come after what they lead to, and go before it (rule 3).

Each object is there whole or not at all. Nobody can be kept out of a bucket: of two writers of a
tag the last one wins, and a collection beside them is met as
:mod:`~jettison.storage.objects.reliance` says.
"""

import contextlib
import hashlib
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Self, Unpack
from weakref import WeakValueDictionary

from jettison.errors import (
    PlanStale,
    StorageError,
    TagsAppeared,
    VerificationFailed,
)
from jettison.manifest_cache import ManifestCache
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.filesystem import layout
from jettison.storage.filesystem.layout import MalformedLinkError, parse_link
from jettison.storage.objects.bucket import Bucket, Writer
from jettison.storage.objects.pages import list_repository
from jettison.storage.objects.reliance import Reliance
from jettison.storage.objects.repository import LONGEST_LINK, ObjectRepository, is_unread
from jettison.storage.objects.scanning import ScanOptions
from jettison.storage.objects.sweeping import ObjectSweeping
from jettison.storage.protocol import LinkKind, TagsByManifest
from jettison.storage.whole_blobs import WholeBlobs

__all__ = ["ObjectBlobWriter", "ObjectWriting"]

_HINT: Final = "Run the command again to see the new plan."
_MANIFESTS: Final = ("_manifests",)
_DRAFTS: Final = f"{layout.OURS}/drafts"
_SOON: Final = 1.0
"""Seconds; no grace period is so short. A second is as exactly as stores tell the time."""


class ObjectBlobWriter:
    """A blob being written, in a ``with`` block; what was not committed is thrown away.

    It is drafted elsewhere, so that wrong bytes never lie under a digest.
    """

    def __init__(self, storage: "ObjectWriting", repository: RepoName, digest: Digest) -> None:
        self._storage = storage
        self._repository = repository
        self._digest = digest
        self._hash = hashlib.new(digest.algorithm)
        self._key = f"{_DRAFTS}/{uuid.uuid4()}"
        self._size = 0
        self._writer: Writer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer = None

    def write(self, chunk: bytes) -> None:
        """Append to the blob."""
        if self._writer is None:
            self._writer = self._storage.bucket.writer(self._key)
        self._hash.update(chunk)
        self._size += len(chunk)
        self._writer.write(chunk)

    def commit(self) -> None:
        """Put the blob in its place and link it, or raise if its digest is another."""
        digest, storage = self._digest, self._storage
        if self._hash.hexdigest() != digest.hex:
            raise VerificationFailed(f"the bytes written for blob {digest} do not have that digest")
        if self._writer is None:
            storage.place_blob(self._repository, digest, [])
            return
        self._writer.close()
        storage.place_blob(self._repository, digest, [(self._key, self._size)])
        with contextlib.suppress(StorageError):  # it grows old
            storage.bucket.remove_each([self._key])


class ObjectWriting(ObjectSweeping, WholeBlobs):
    """Puts and deletes (:class:`~jettison.storage.protocol.Writing`)."""

    def __init__(
        self, bucket: Bucket, cache: ManifestCache, **options: Unpack[ScanOptions]
    ) -> None:
        super().__init__(bucket, cache, **options)
        self.reliance = Reliance(self.sweeps)
        self._writers: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._writers_lock = threading.Lock()

    @property
    def writable(self) -> bool:
        """Whether this process may change the storage: only trying would tell, so yes."""
        return True

    @contextlib.contextmanager
    def writing(self, repository: RepoName, *, make: bool = False) -> Iterator[None]:  # noqa: ARG002 - there is no place to make
        """Keep other writers of this process out, and be sure at the end of what is relied on.

        Raises :class:`~jettison.errors.SweptMeanwhile` where a collection has taken something of
        that: then all of it is to be done again.
        """
        with self._writers_lock:
            lock = self._writers.setdefault(repository, threading.Lock())
        with lock, self.reliance.sure():
            yield

    # Putting.

    def new_blob(self, repository: RepoName, digest: Digest) -> ObjectBlobWriter:
        """Return a draft to write a blob into."""
        return ObjectBlobWriter(self, repository, digest)

    def place_blob(
        self, repository: RepoName, digest: Digest, drafts: Sequence[tuple[str, int]]
    ) -> None:
        """Make drafts, which together have a digest, a blob of the repository.

        ``drafts`` are keys and sizes in bytes. They stay.
        """
        data, link = self.places.blob(digest), self.places.link(LinkKind.LAYER, repository, digest)

        def place() -> None:
            match drafts:
                case []:
                    self.bucket.put(data, b"")
                case [(key, size)]:
                    self.bucket.copy(key, data, size)
                case _ if self.bucket.parts_over:
                    self._join(drafts, data)
                case _:
                    joined = f"{_DRAFTS}/{uuid.uuid4()}"
                    self._join(drafts, joined)
                    self.bucket.copy(joined, data, sum(size for _, size in drafts))
                    self.bucket.remove_each([joined])
            self.bucket.put(link, digest.encode())

        self.reliance.again((data, link), place)
        self.changed()

    def _join(self, drafts: Sequence[tuple[str, int]], to: str) -> None:
        writer = self.bucket.writer(to)
        for key, _ in drafts:
            for piece in self.bucket.stream(key, 0, 1024 * 1024):
                writer.write(piece)
        writer.close()

    def put_manifest(
        self, repository: RepoName, digest: Digest, raw: bytes, tags: Iterable[Tag] = ()
    ) -> None:
        """Store a manifest and link it into the repository, then point ``tags`` to it.

        In a block of :meth:`writing` in which it was seen that all is there, a tag never leads to a
        manifest that lacks something, not even of a push that is killed.
        """
        if not digest.matches(raw):
            raise VerificationFailed(f"the manifest to store does not have the digest {digest}")
        link = self.places.link(LinkKind.REVISION, repository, digest)
        data, content = self.places.blob(digest), digest.encode()
        further, histories = iter(tags), dict[Tag, str]()

        def put() -> None:
            began = self.reliance.clock()
            self.bucket.put(data, raw)
            self.bucket.put(link, content)
            for tag in further:
                histories[tag] = self.places.history_link(repository, tag, digest)
            if histories:
                self.reliance.on(*histories.values())
                # A sweep that is announced later sees the young revision, and leaves its history.
                self.reliance.make_sure()
            for tag, history in histories.items():
                # A history alone, of whoever is killed between the two, would be listed as a tag.
                self.bucket.put(self.places.tag(repository, tag), content)
                self.bucket.put(history, content)
            if histories and self.reliance.clock() - began > _SOON:
                # Who stood still until the link was old, untagged as it was, has to look again.
                self.reliance.on(data, link, *histories.values())

        self.reliance.again((data, link), put)
        self.changed()

    def link_layer(self, repository: RepoName, digest: Digest) -> None:
        """Make a blob readable through a repository.

        Raises :class:`~jettison.errors.SweptMeanwhile` if a collection has taken the blob.
        """
        self._put_link(LinkKind.LAYER, repository, digest)

    def link_revision(self, repository: RepoName, digest: Digest) -> None:
        """Make a manifest part of a repository; raises as :meth:`link_layer`."""
        self._put_link(LinkKind.REVISION, repository, digest)

    def _put_link(self, kind: LinkKind, repository: RepoName, digest: Digest) -> None:
        key = self.places.link(kind, repository, digest)
        if self.sweeping:  # it puts back what it has taken itself
            self.bucket.put(key, digest.encode())
            return
        with self.reliance.sure():
            self.reliance.on(self.places.blob(digest), key)
            self.bucket.put(key, digest.encode())
        self.changed()

    def touch(self, digest: Digest) -> bool:
        """Note that a blob is wanted, so that no sweep takes it (rule 6); False: there is none.

        In a block of :meth:`writing`, in which it is linked or referenced: else nothing keeps it.
        """
        key = self.places.blob(digest)
        self.reliance.on(key)
        return self.bucket.look(key) is not None

    # Removing.

    def untag(self, repository: RepoName, tag: Tag, expected: Digest | None = None) -> bool:
        """Remove a tag and nothing else; False if it was not there."""
        key = self.places.tag(repository, tag)
        if expected is not None:
            raw = self.bucket.get(key, LONGEST_LINK)
            if raw is None:
                return False
            if raw != expected.encode():
                message = f"{repository}:{tag} does not point to {expected.short} any more"
                raise PlanStale(message, hint=_HINT)
        place = layout.tag_folder(repository, tag)
        keys = [entry.key for page in self.bucket.pages(place) for entry in page]
        # The link last, by itself: stores that take one key a request remove several in any order,
        # and whoever is killed would leave a history alone, which is no tag and yet is listed.
        self.bucket.remove([one for one in keys if one != key])
        self.bucket.remove([key] if key in keys else [])
        self.changed()
        return bool(keys)

    def unlink_layer(self, repository: RepoName, digest: Digest) -> bool:
        """Remove a blob from a repository, and nothing else; False if it was not there."""
        return self._unlink(LinkKind.LAYER, repository, digest)

    def _unlink(self, kind: LinkKind, repository: RepoName, digest: Digest) -> bool:
        key = self.places.link(kind, repository, digest)
        found = self.bucket.look(key) is not None
        if found:
            self.bucket.remove([key])
            self.changed()
        return found

    def delete_revision(
        self,
        repository: RepoName,
        digest: Digest,
        only: AbstractSet[Tag] | None = None,
        tagged: TagsByManifest | None = None,  # noqa: ARG002 - a listing tells as much
    ) -> bool:
        """Remove the tags that point to a manifest, then it itself from the repository.

        With ``only``, raises :class:`~jettison.errors.TagsAppeared`, and removes nothing, if any
        other tag points to it, or one of these to anything else.
        """
        listing = list_repository(self.bucket, repository, _MANIFESTS)
        with ObjectRepository(self.bucket, repository, lambda: listing) as reader:
            found = reader.tags()
        unread = [one for one in found.broken.values() if is_unread(one)]
        if unread:
            message = f"{unread[0].path} {unread[0].message}"
            raise StorageError(message, hint="Try again: it may be a tag of the manifest.")
        tags = {tag for tag, target in found.current.items() if target == digest.binary}
        for tag in sorted(() if only is None else (tags ^ only) & found.current.keys()):
            now = Digest.from_binary(found.current[tag]).short
            raise TagsAppeared(f"{repository}:{tag} points to {now} now", hint=_HINT)
        for tag in tags:
            self.untag(repository, tag, digest)
        return self._unlink(LinkKind.REVISION, repository, digest) or bool(tags)

    # For who answers requests.

    def read_link(self, key: str) -> Digest | None:
        """Return what the link at a key leads to, None if it is absent.

        Raises :class:`~jettison.errors.StorageError` for one that is damaged.
        """
        raw = self.bucket.get(key, LONGEST_LINK)
        if raw is None:
            return None
        try:
            return parse_link(raw)
        except MalformedLinkError as error:
            message = f"{self.bucket.location}/{key}: {error}"
            hint = "Push the image again, or look at `jettison fsck`."
            raise StorageError(message, hint=hint) from None
