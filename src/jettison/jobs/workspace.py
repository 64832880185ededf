"""Where a job looks and writes: the registry over its API, and its storage if that is at hand."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from jettison.collector.undo_windows import tree_journal
from jettison.configuration import Configuration
from jettison.errors import (
    AccessDenied,
    InvalidManifest,
    LoginRefused,
    NotFoundError,
    StorageError,
    UnexpectedResponse,
)
from jettison.jobs.check import Item, Level, check_storage
from jettison.jobs.discover import list_repositories
from jettison.model.journal import JournalEntry
from jettison.model.plan import Plan
from jettison.registry import Registry
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.journal import Journal
from jettison.storage.opening import open_storage
from jettison.storage.registry import StorageRegistry

__all__ = ["Workspace", "open_workspace", "open_workspace_of"]

_COMPARED: Final = 8


class Workspace(msgspec.Struct, frozen=True):
    """A storage that is at hand, or (``tree`` None) none."""

    tree: StorageTree | None = None
    configuration: Configuration | None = None

    @property
    def storage(self) -> StorageRegistry | None:
        """The storage as a registry."""
        return None if self.tree is None else StorageRegistry(self.tree)

    def source(self, remote: Registry) -> Registry:
        """Return where to look: the storage shows more, untagged manifests and true sizes."""
        return self.storage or remote

    def journal(self, users: Journal) -> Journal:
        """Return where runs are written: into the tree, where a collection honours them."""
        return users if self.tree is None else tree_journal(self.tree)

    async def check(self, remote: Registry) -> list[Item]:
        """Say whether the storage can be reached from here, and is that of the registry."""
        if self.tree is None:
            message = "not given, so bytes are upper bounds (≤) and nothing can be collected"
            return [Item(Level.INFO, "storage", message, "Give --storage CONFIG or DIR.")]
        try:
            repositories = set((await list_repositories(remote))[0])
        except (AccessDenied, LoginRefused, NotFoundError, UnexpectedResponse):
            repositories = set()  # there is nothing to compare it with
        here = set(self.tree.repositories())
        if repositories and not repositories & here:
            message = f"{self.tree.root} has none of the repositories of {remote.name}"
            return [Item(Level.ERROR, "storage", message, "Give the storage of that registry.")]
        return check_storage(self.tree.root)

    async def require_same(self, remote: Registry, plan: Plan) -> None:
        """Raise :class:`StorageError` if the storage is not the one behind the registry.

        A few tags tell; one that leads nowhere, in the one or in the other, tells nothing.
        """
        if self.tree is None:
            return
        tags = [(step, tag) for step in plan.steps if step.digest for tag in step.tags]
        for step, tag in tags[:_COMPARED]:
            try:
                there = await remote.resolve(step.repository, tag)
                here = await self.source(remote).manifest(step.repository, tag)
            except (InvalidManifest, StorageError, UnexpectedResponse):
                continue
            if here is None and there is None:
                continue
            if there != step.digest:
                message = (
                    f"{self.tree.root} is not the storage of {remote.name}: {step.repository}:"
                    f"{tag} is {step.short} there and "
                    f"{there.short if there else 'absent'} in the registry; nothing was changed"
                )
                raise StorageError(message, hint="Give the storage of that registry.")


def open_workspace_of(run: JournalEntry) -> Workspace:
    """Open the storage that was at hand in a run, if it still is."""
    if run.storage is None:
        return Workspace()
    try:
        return Workspace(StorageTree(Path(run.storage)))
    except StorageError:
        return Workspace()


def open_workspace(storage: str | None, environment: Mapping[str, str] | None = None) -> Workspace:
    """Open the storage that ``--storage`` names: a root directory, or a configuration file."""
    if storage is None:
        return Workspace()
    tree, configuration = open_storage(
        Path(storage), os.environ if environment is None else environment
    )
    return Workspace(tree, configuration)
