"""Whatever would change a bucket: refused in words. There is no code here that could do it.

Reading needs a few answers of what changes storages: that nothing lies aside, since nothing ever
was set aside.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from typing import NoReturn

from jettison.errors import Refused
from jettison.model.digest import BinaryDigest, Digest
from jettison.model.names import RepoName, Tag
from jettison.storage.objects.bucket import Bucket
from jettison.storage.protocol import (
    BlobWriter,
    Leftover,
    LinkGroup,
    LinkKind,
    Mending,
    Monitoring,
    Place,
    Quarantine,
    Serving,
    Stamp,
    TagsByManifest,
    Uploading,
)

__all__ = ["NothingAside", "Unwritten", "refusal"]


def refusal(action: str) -> Refused:
    """Return the error for what cannot be done to a bucket; ``action`` follows "cannot"."""
    hint = "A storage in a bucket can only be read: check, ls, inspect, gc -n and fsck work."
    return Refused(f"cannot {action}: nothing can be changed in a bucket yet", hint=hint)


class NothingAside:
    """The links that lie aside: none (:class:`~jettison.storage.protocol.LinkQuarantine`)."""

    any_left = False

    def __init__(self, location: str) -> None:
        self._location = location

    def begin(self, unlinked: Sequence[Digest] = ()) -> None:  # noqa: ARG002 - refused whatever it is
        """Refuse."""
        raise refusal(f"collect {self._location}")

    def unlinked(self) -> list[Digest]:
        """Return nothing."""
        return []

    def end(self) -> None:
        """Refuse."""
        raise refusal(f"collect {self._location}")

    def group(self, kind: LinkKind, repository: str, algorithm: str) -> LinkGroup | None:  # noqa: ARG002 - there are none
        """Return None: there are none."""
        return None

    def history(self, repository: str, tag: str, algorithm: str) -> LinkGroup | None:  # noqa: ARG002 - same
        """Return None: there are none."""
        return None

    def recover(self) -> None:
        """Refuse."""
        raise refusal(f"collect {self._location}")


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

    def link_layer(self, repository: RepoName, digest: Digest) -> None:  # noqa: ARG002 - same
        """Refuse."""
        self._refuse("write to", repository)

    def link_revision(self, repository: RepoName, digest: Digest) -> None:  # noqa: ARG002 - same
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

    # Sweeping.

    def lease(self, purpose: str) -> AbstractContextManager[object]:  # noqa: ARG002 - same
        """Refuse: what needs a lock changes something."""
        self._refuse("change")

    def quarantine(self) -> Quarantine:
        """Refuse."""
        self._refuse("collect")

    def link_quarantine(self) -> NothingAside:
        """Return that no link lies aside."""
        return NothingAside(self.bucket.location)

    @contextlib.contextmanager
    def seeing_quarantine(self) -> Iterator[frozenset[BinaryDigest]]:
        """Yield nothing: nothing lies aside."""
        yield frozenset()

    def remove_upload(self, repository: RepoName, upload: str, moved: Stamp | None = None) -> bool:  # noqa: ARG002 - same
        """Refuse."""
        self._refuse("remove an upload of", repository)

    def remove_leftover(self, leftover: Leftover) -> bool:  # noqa: ARG002 - same
        """Refuse."""
        self._refuse("collect")

    def remove_empty(self, place: Place, names: Sequence[str]) -> Iterator[str]:  # noqa: ARG002 - same
        """Refuse."""
        self._refuse("collect")

    def remove_repository(self, name: RepoName) -> bool:
        """Refuse."""
        self._refuse("remove", name)

    def remove_remains(self, before: float) -> None:  # noqa: ARG002 - same
        """Refuse."""
        self._refuse("collect")

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
