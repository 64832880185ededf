"""Whatever would change a bucket: refused in words. There is no code here that could do it.

Reading needs a few answers of what changes storages: that nothing lies aside, since nothing ever
was set aside.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from typing import NoReturn

from jettison.errors import Refused
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.objects.bucket import Bucket
from jettison.storage.protocol import (
    BlobWriter,
    Mending,
    Monitoring,
    Serving,
    TagsByManifest,
    Uploading,
)

__all__ = ["Unwritten", "refusal"]


def refusal(action: str) -> Refused:
    """Return the error for what cannot be done to a bucket; ``action`` follows "cannot"."""
    hint = "A storage in a bucket can be read and collected: check, ls, inspect, fsck and gc work."
    return Refused(f"cannot {action}: in a bucket that cannot be done yet", hint=hint)


class Unwritten:
    """All that writes, sweeps, mends and serves, refused."""

    bucket: Bucket

    def _refuse(self, action: str, repository: str = "") -> NoReturn:
        place = f"{repository} in {self.bucket.location}" if repository else self.bucket.location
        raise refusal(f"{action} {place}")

    # Writing.

    @property
    def writable(self) -> bool:
        """Whether this process may change the storage: no."""
        return False

    def writing(self, repository: RepoName, *, make: bool = False) -> AbstractContextManager[None]:  # noqa: ARG002 - refused whatever it is
        """Refuse."""
        self._refuse("write to", repository)

    def new_blob(self, repository: RepoName, digest: Digest) -> BlobWriter:  # noqa: ARG002 - same
        """Refuse."""
        self._refuse("write to", repository)

    def put_blob(self, repository: RepoName, digest: Digest, chunks: Iterable[bytes]) -> None:  # noqa: ARG002 - same
        """Refuse."""
        self._refuse("write to", repository)

    def put_manifest(
        self,
        repository: RepoName,
        digest: Digest,  # noqa: ARG002 - same
        raw: bytes,  # noqa: ARG002 - same
        tags: Iterable[Tag] = (),  # noqa: ARG002 - same
    ) -> None:
        """Refuse."""
        self._refuse("write to", repository)

    def touch(self, digest: Digest) -> bool:  # noqa: ARG002 - same
        """Refuse."""
        self._refuse("write to")

    def untag(self, repository: RepoName, tag: Tag, expected: Digest | None = None) -> bool:  # noqa: ARG002 - same
        """Refuse."""
        self._refuse("remove a tag of", repository)

    def unlink_layer(self, repository: RepoName, digest: Digest) -> bool:  # noqa: ARG002 - same
        """Refuse."""
        self._refuse("remove a layer of", repository)

    def delete_revision(
        self,
        repository: RepoName,
        digest: Digest,  # noqa: ARG002 - same
        only: AbstractSet[Tag] | None = None,  # noqa: ARG002 - same
        tagged: TagsByManifest | None = None,  # noqa: ARG002 - same
    ) -> bool:
        """Refuse."""
        self._refuse("delete a manifest of", repository)

    # Mending and serving.

    def mending(self) -> Mending:
        """Refuse."""
        self._refuse("repair")

    def serving(self) -> Serving:
        """Refuse."""
        self._refuse("serve")

    def uploading(self) -> Uploading:
        """Refuse."""
        self._refuse("serve")

    def monitoring(self) -> Monitoring:
        """Refuse."""
        self._refuse("serve")
