"""Events of the registry, for the endpoints of notifications."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from jettison.model.digest import Digest
from jettison.model.manifest import Descriptor
from jettison.model.names import RepoName, Tag
from jettison.server.observing.notifications import Event, Notifier, Referenced

if TYPE_CHECKING:
    from jettison.server.api.context import Call

__all__ = ["Events"]

Done = Literal["push", "pull", "delete"]


class Events:
    """Notes events; never waits, never raises, and costs nothing without endpoints."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self.enabled = notifier.enabled

    def manifest(
        self,
        call: "Call",
        action: Done,
        digest: Digest,
        *,
        media_type: str = "",
        size: int = 0,
        tag: str = "",
        references: Iterable[Descriptor] = (),
    ) -> None:
        """Note that a manifest was pushed, pulled or deleted, with the ``tag`` that named it."""
        if not self.enabled:
            return
        self._notifier.emit(
            Event(
                action,
                call.repository,
                call.exchange,
                digest=digest,
                media_type=media_type,
                size=size,
                url="" if action == "delete" else call.url(f"manifests/{digest}"),
                tag=tag,
                references=tuple(
                    Referenced(one.media_type, one.size or 0, one.digest) for one in references
                ),
            )
        )

    def blob(
        self,
        call: "Call",
        action: Literal[Done, "mount"],
        digest: Digest,
        size: int = 0,
        source: RepoName | None = None,
    ) -> None:
        """Note that a blob was pushed, pulled, deleted, or mounted from ``source``."""
        if not self.enabled:
            return
        gone = action == "delete"
        self._notifier.emit(
            Event(
                action,
                call.repository,
                call.exchange,
                digest=digest,
                media_type="" if gone else "application/octet-stream",
                size=size,
                url="" if gone else call.url(f"blobs/{digest}"),
                from_repository=source or "",
            )
        )

    def untagged(self, call: "Call", tag: Tag) -> None:
        """Note that a tag was removed."""
        if self.enabled:
            self._notifier.emit(Event("delete", call.repository, call.exchange, tag=tag))
