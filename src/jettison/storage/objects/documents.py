"""Small documents of ours in a bucket, read; none can be written yet."""

from collections.abc import Iterable
from contextlib import AbstractContextManager

from jettison.storage.filesystem import layout
from jettison.storage.objects.bucket import Bucket
from jettison.storage.objects.unwritten import refusal

__all__ = ["ObjectDocuments"]


class ObjectDocuments:
    """Documents by name (:class:`~jettison.storage.protocol.Documents`)."""

    def __init__(self, bucket: Bucket, collection: str) -> None:
        self._bucket = bucket
        self._folder = f"{layout.OURS}/{collection}"

    @property
    def location(self) -> str:
        """Where they are, for messages."""
        return f"{self._bucket.location}/{self._folder}"

    def names(self) -> list[str]:
        """Return the names of all documents."""
        skipped = len(self._folder) + 1
        names = [one.key[skipped:] for page in self._bucket.pages(self._folder) for one in page]
        return [name for name in names if name and "/" not in name]

    def read(self, name: str, limit: int) -> bytes | None:
        """Return a document, None if there is none; raises for more than ``limit`` bytes."""
        return self._bucket.get(f"{self._folder}/{name}", limit)

    def beginning(self, name: str, size: int) -> bytes | None:
        """Return the first ``size`` bytes of a document, None if there is none."""
        return self._bucket.beginning(f"{self._folder}/{name}", size)

    def write(self, name: str, content: bytes) -> None:  # noqa: ARG002 - refused whatever it is
        """Refuse."""
        raise refusal(f"write {self.location}/{name}")

    def append(self, name: str, lines: Iterable[bytes]) -> None:  # noqa: ARG002 - same
        """Refuse."""
        raise refusal(f"write {self.location}/{name}")

    def remove(self, name: str) -> bool:
        """Refuse."""
        raise refusal(f"remove {self.location}/{name}")

    def has_room(self, size: int) -> bool:  # noqa: ARG002 - same
        """Refuse: who asks is about to change something, and keeps a journal of it here."""
        raise refusal(f"keep a journal in {self.location}")

    def lease(self, name: str, patience: float = 0.0) -> AbstractContextManager[bool]:  # noqa: ARG002 - same
        """Refuse: what only one may do at a time is writing."""
        raise refusal(f"write {self.location}/{name}")
