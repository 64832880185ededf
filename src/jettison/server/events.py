"""What happens in the registry, told to those who asked to be notified."""

from typing import TYPE_CHECKING, Protocol

from jettison.model.digest import Digest
from jettison.model.reference import RepoName, Tag

if TYPE_CHECKING:
    from jettison.server.context import Call

__all__ = ["Events", "NoEvents"]


class Events(Protocol):
    """Takes note of what happened; never waits, never raises."""

    def manifest(
        self, call: "Call", action: str, digest: Digest, media_type: str, size: int, tag: str = ""
    ) -> None:
        """A manifest was pushed, pulled or deleted; ``tag`` if it was named by one."""

    def blob(
        self, call: "Call", action: str, digest: Digest, size: int, source: RepoName | None = None
    ) -> None:
        """A blob was pushed, pulled, deleted, or mounted from ``source``."""

    def tag(self, call: "Call", tag: Tag) -> None:
        """A tag was removed."""


class NoEvents:
    """Nobody listens."""

    def manifest(
        self, call: "Call", action: str, digest: Digest, media_type: str, size: int, tag: str = ""
    ) -> None:
        """Do nothing."""

    def blob(
        self, call: "Call", action: str, digest: Digest, size: int, source: RepoName | None = None
    ) -> None:
        """Do nothing."""

    def tag(self, call: "Call", tag: Tag) -> None:
        """Do nothing."""
