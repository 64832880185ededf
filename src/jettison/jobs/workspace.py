"""The workspace of a job: a registry, its storage if at hand, journals and a clock."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from jettison.errors import (
    AccessDenied,
    InvalidManifest,
    LoginRefused,
    NotFoundError,
    StorageError,
    UnexpectedResponse,
    UsageError,
)
from jettison.model.journal import EntryHead
from jettison.model.plan import Plan
from jettison.model.times import rfc3339
from jettison.progress import Progress, silent
from jettison.registry import Registry
from jettison.storage.journal import Journal, tree_journal
from jettison.storage.opening import open_storage
from jettison.storage.protocol import Storage
from jettison.storage.registry import StorageRegistry

if TYPE_CHECKING:
    from jettison.configuration import Configuration
    from jettison.jobs.check import Item, Measure

__all__ = ["Workspace", "open_workspace"]

_COMPARED: Final = 8


@dataclass(frozen=True)
class Workspace:
    """The workspace of a job, which is ``plan``, ``apply`` and ``verify`` over one of these.

    ``remote`` is the registry over its API, ``storage`` its storage; each None if not at hand.
    ``users`` is the journal in the user's home, None for a program whose runs are in the storage
    alone. ``clock`` returns the time in seconds since the epoch, and ``progress`` gets the progress
    of a job. ``trust_times``: the times of a storage's links count even if they look like those of
    a copy.
    """

    remote: Registry | None = None
    storage: Storage | None = None
    configuration: "Configuration | None" = None
    users: Journal | None = None
    clock: Callable[[], float] = time.time
    progress: Progress = silent
    trust_times: bool = False

    def reporting_to(self, progress: Progress) -> Self:
        """Return the same workspace with another progress report."""
        return replace(self, progress=progress)

    def connected_to(self, remote: Registry) -> Self:
        """Return the same workspace with a registry."""
        return replace(self, remote=remote)

    def trusting_times(self) -> Self:
        """Return the same workspace, in which the times of a storage are taken as they are."""
        found = replace(self, trust_times=True)
        return found.without_api() if isinstance(self.remote, StorageRegistry) else found

    def without_api(self) -> Self:
        """Return the same workspace with its storage as the registry."""
        return replace(self, remote=self._as_registry(self.own_storage))

    def beside(self, entry: EntryHead) -> Self:
        """Return the same workspace with the storage of a journaled job, if it still exists."""
        if entry.storage is None:
            return self
        try:
            return replace(self, storage=open_storage(Path(entry.storage), {})[0])
        except StorageError:
            return self

    def look_again(self) -> None:
        """Let what is asked of the storage from now on be answered as things are by then."""
        if self.storage is not None:
            self.storage.look_again()

    def now(self) -> str:
        """Return the present time, RFC 3339 in UTC."""
        return rfc3339(self.clock())

    @property
    def registry(self) -> Registry:
        """The registry over its API. Raises :class:`UsageError` if there is none."""
        if self.remote is None:
            raise UsageError("no registry is given to work on", hint="Name its host.")
        return self.remote

    @property
    def host(self) -> str:
        """The registry's name, "" if it is reached through its storage alone."""
        return "" if isinstance(self.registry, StorageRegistry) else self.registry.name

    @property
    def own_storage(self) -> Storage:
        """The storage. Raises :class:`UsageError` if there is none."""
        if self.storage is None:
            raise UsageError("no storage is given to work on", hint="Give --storage CONFIG or DIR.")
        return self.storage

    @property
    def storage_registry(self) -> StorageRegistry | None:
        """The storage as a registry."""
        return None if self.storage is None else self._as_registry(self.storage)

    def _as_registry(self, storage: Storage) -> StorageRegistry:
        return StorageRegistry(storage, trust_times=self.trust_times)

    @property
    def source(self) -> Registry:
        """The storage if at hand, which shows untagged manifests and true sizes; else the API."""
        return self.storage_registry or self.registry

    @property
    def journal(self) -> Journal:
        """The journal for new entries: in the storage, where a collection honours them.

        Raises :class:`UsageError` if there is neither a storage nor a user's journal.
        """
        if self.storage is not None:
            known = self.configuration
            return tree_journal(self.storage, None if known is None else known.path)
        return self.users_journal

    @property
    def journals(self) -> tuple[Journal, ...]:
        """The journals that runs are looked for in: the user's and the storage's, each once.

        Raises :class:`UsageError` if there is neither.
        """
        if self.users is None or self.storage is None:
            return (self.journal,)
        return (self.users, self.journal)

    @property
    def users_journal(self) -> Journal:
        """The journal in the user's home. Raises :class:`UsageError` if there is none."""
        if self.users is None:
            raise UsageError("no journal is given, and nothing is removed without one")
        return self.users

    async def check(self, measure: "Measure | None" = None) -> "list[Item]":
        """Check that the storage can be reached from here, and is that of the registry.

        ``measure`` counts it.
        """
        # Most jobs check nothing, and are to start at once and stay small.
        from jettison.jobs.check import (  # noqa: PLC0415 - see above
            Item,
            Level,
            check_storage,
            count_storage,
        )
        from jettison.jobs.discover import list_repositories  # noqa: PLC0415 - same

        if self.storage is None:
            message = "not given, so bytes are upper bounds (≤) and nothing can be collected"
            return [Item(Level.INFO, "storage", message, "Give --storage CONFIG or DIR.")]
        try:
            repositories = set((await list_repositories(self.registry))[0])
        except (AccessDenied, LoginRefused, NotFoundError, UnexpectedResponse):
            repositories = set()  # there is nothing to compare it with
        here = set(self.storage.repositories())
        if repositories and not repositories & here:
            message = (
                f"{self.storage.location} has none of the repositories of {self.registry.name}"
            )
            return [Item(Level.ERROR, "storage", message, "Give the storage of that registry.")]
        return check_storage(self.storage, measure or count_storage)

    async def require_same(self, plan: Plan) -> None:
        """Raise :class:`StorageError` if the storage is not the one behind the registry.

        A few tags are compared; one without a manifest in either does not count.
        """
        if self.storage is None:
            return
        tags = [
            (step.repository, tag, step.digest)
            for step in plan.steps
            if step.digest
            for tag in step.tags
        ]
        # Untagged manifests say nothing of the API; the tags beside them do.
        seen = [(name, tag, digest) for name, of in plan.seen.items() for tag, digest in of.items()]
        for name, tag, digest in dict.fromkeys((*tags[:_COMPARED], *seen[:_COMPARED])):
            try:
                there = await self.registry.resolve(name, tag)
                here = await self.source.manifest(name, tag)
            except (InvalidManifest, StorageError, UnexpectedResponse):
                continue
            if here is None and there is None:
                continue
            if there != digest:
                message = (
                    f"{self.storage.location} is not the storage of {self.registry.name}: "
                    f"{name}:{tag} is {digest.short} there and "
                    f"{there.short if there else 'absent'} in the registry; nothing was changed"
                )
                raise StorageError(message, hint="Give the storage of that registry.")


def open_workspace(
    storage: str | None,
    environment: Mapping[str, str] | None = None,
    users: Journal | None = None,
) -> Workspace:
    """Open the storage that ``--storage`` names: a root directory, or a configuration file."""
    if storage is None:
        return Workspace(users=users)
    opened, configuration = open_storage(
        Path(storage), os.environ if environment is None else environment
    )
    return Workspace(storage=opened, configuration=configuration, users=users)
