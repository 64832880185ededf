"""A storage in a bucket, asked as any other."""

from collections.abc import Iterator

from jettison.model.plausibility import Owner
from jettison.storage.filesystem.owners import owners_in_tree
from jettison.storage.objects.checking import ObjectCheck
from jettison.storage.objects.documents import ObjectDocuments
from jettison.storage.objects.mending import ObjectMending
from jettison.storage.objects.monitoring import ObjectMonitoring
from jettison.storage.objects.probing import require_strong_listing
from jettison.storage.objects.serving import ObjectServing
from jettison.storage.objects.uploading import ObjectUploading
from jettison.storage.objects.writing import ObjectWriting
from jettison.storage.protocol import Stamp, Writer

__all__ = ["ObjectStorage"]


class ObjectStorage(ObjectWriting):
    """Distribution's tree in a bucket (:class:`~jettison.storage.protocol.Storage`)."""

    def documents(self, collection: str) -> ObjectDocuments:
        """Open a collection of documents of ours, such as ``runs``."""
        return ObjectDocuments(self.bucket, collection)

    def exists(self, place: str) -> bool:
        """Whether anything is in a place."""
        return self.bucket.exists(place)

    def checking(self, idle: Stamp) -> ObjectCheck:
        """Begin a check; what was written after ``idle`` may still be being written."""
        self.trust_nothing_kept()
        return ObjectCheck(self, idle)

    def require_strong_listing(self) -> None:
        """Raise :class:`~jettison.errors.Refused` for a store whose listings are behind."""
        require_strong_listing(self.bucket)

    def mending(self) -> ObjectMending:
        """Begin a repair, or its undo."""
        return ObjectMending(self)

    def serving(self) -> ObjectServing:
        """Return what answers requests."""
        return ObjectServing(self)

    def uploading(self) -> ObjectUploading:
        """Return what takes in blobs piece by piece."""
        return ObjectUploading(self)

    def monitoring(self) -> ObjectMonitoring:
        """Return what tells how the bucket is."""
        return ObjectMonitoring(self.bucket, self.sweeps)

    def owners(self) -> tuple[Owner, ...]:
        """Return whom objects at the root name, as files of a tree do; two requests."""
        return tuple(owners_in_tree(lambda place: self.bucket.look(place) is not None))

    def detached(self) -> tuple[str, ...]:
        """Return none: a bucket is one."""
        return ()

    def writers(self, configuration: str) -> Iterator[Writer]:  # noqa: ARG002 - they may be anywhere
        """Yield none: who writes to a bucket may be on any machine."""
        return iter(())
