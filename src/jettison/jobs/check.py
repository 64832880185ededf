"""``check``: what a registry or storage is and can do, and what keeps space from being freed."""

import enum
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from jettison.errors import (
    AccessDenied,
    LoginRefused,
    NotFoundError,
    UnexpectedResponse,
)
from jettison.jobs.deletion import deletion_problem
from jettison.model.names import RepoName
from jettison.model.plausibility import NOTHING_SAID, Amount, Facts, objections
from jettison.registry import Capabilities, Deletion, Registry
from jettison.storage.protocol import Repositories, Storage

__all__ = [
    "Item",
    "Level",
    "Measure",
    "StorageCount",
    "check_registry",
    "check_storage",
    "count_storage",
]


class Level(enum.StrEnum):
    """What an item means for deleting and collecting."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Item(msgspec.Struct, frozen=True):
    """One result of the check; ``next`` is what to do about it, in the imperative."""

    level: Level
    subject: str
    message: str
    next: str | None = None


async def check_registry(
    registry: Registry, repository: RepoName | None = None
) -> tuple[Capabilities, list[Item]]:
    """Probe a registry over its API, changing nothing.

    Without a repository, the probe uses the first one of the catalog, because rights are given
    by repository. Raises the errors of the client if there is no registry or no login.
    """
    if repository is None:
        try:
            async for name in registry.repositories():
                if isinstance(name, RepoName):
                    repository = name
                    break
        except (AccessDenied, LoginRefused, NotFoundError, UnexpectedResponse):
            repository = None
    found = await registry.capabilities(repository)
    items = [
        Item(Level.OK, "registry", f"{registry.name} speaks the distribution API: {found.product}"),
        _login(found, registry.name),
        _deletion(found, registry.name, repository),
        _tri(
            "untag",
            found.untag,
            "a tag can be removed by itself",
            "no DELETE of a tag: rm points it to a throw-away manifest first, siblings are safe",
            "not found out, since deletion could not be probed",
        ),
        _tri(
            "referrers",
            found.referrers,
            "served, so signatures and the like are found",
            "not served; those that clients put under sha256-… tags are found all the same",
            "not found out",
        ),
        _tri(
            "paging",
            found.paging,
            "lists come in pages",
            "lists of tags come whole",
            "not found out, too little to page",
        ),
    ]
    if found.catalog is not True:
        items.append(_catalog(found))
    return found, items


def _login(found: Capabilities, host: str) -> Item:
    name = {"basic": "Basic", "bearer": "Bearer token"}.get(found.login, found.login)
    if found.login == "none":
        return Item(Level.OK, "login", "not needed to read")
    if found.logged_in:
        return Item(Level.OK, "login", f"needed ({name}) and accepted")
    message = f"none given, and none needed to read ({name}: anybody gets in)"
    return Item(Level.INFO, "login", message, f"To be somebody: jettison login {host}")


def _deletion(found: Capabilities, host: str, repository: RepoName | None) -> Item:
    problem = deletion_problem(host, found, repository)
    said = f": the registry answers {found.said}" if found.said else ""
    if found.deletion is Deletion.ENABLED:
        return Item(Level.OK, "deletion", "enabled")
    if problem is not None:
        message = {
            Deletion.DISABLED: f"disabled{said}",
            Deletion.READ_ONLY: f"the registry is read-only{said}",
            Deletion.BLOCKED: f"something in front of the registry refuses it: {found.said}",
            Deletion.NEEDS_LOGIN: "needs a login, and none was given",
            Deletion.DENIED: f"this login may not delete: {found.said}",
        }.get(found.deletion, problem.message)
        return Item(Level.ERROR, "deletion", message, problem.hint)
    if repository is None:
        message = f"not found out, since there is no repository to ask about{said}"
        return Item(Level.INFO, "deletion", message, f"Name one: jettison check {host}/REPO")
    message = f"the registry does not tell{said}; rm asks it, and its answers show"
    return Item(Level.WARNING, "deletion", message)


def _catalog(found: Capabilities) -> Item:
    said = f" ({found.catalog_said})" if found.catalog_said else ""
    message = f"the repositories cannot be listed{said}, so sharing between them is not seen (≤)"
    # What is out of order is not mended by another login.
    login = "Log in as someone who may list, or name the repositories."
    return Item(
        Level.WARNING,
        "catalog",
        message,
        login if found.catalog is False else "Try again, or name the repositories.",
    )


def _tri(subject: str, answer: bool | None, yes: str, no: str, unknown: str) -> Item:  # noqa: FBT001 - three answers
    message = unknown if answer is None else yes if answer else no
    return Item(Level.OK if answer else Level.INFO, subject, message)


class StorageCount(NamedTuple):
    """What a storage lists as repositories, and how many blobs and bytes there are."""

    scan: Repositories
    blobs: int
    bytes: int


Measure = Callable[[Storage], StorageCount]
"""Counts a storage, for a check of it; a check asks once."""


def count_storage(storage: Storage) -> StorageCount:
    """Count the blobs of a storage."""
    count, total = 0, 0
    scan = storage.scan_repositories()
    for blob in storage.blobs():
        count += 1
        total += blob.size
    return StorageCount(scan, count, total)


def check_storage(storage: Storage, measure: Measure = count_storage) -> list[Item]:
    """Check a storage."""
    scan, count, total = measure(storage)
    items = [
        Item(
            Level.OK,
            "storage",
            f"{storage.location}: {len(scan.names):,} "
            f"{'repository' if len(scan.names) == 1 else 'repositories'}, "
            f"{count:,} blobs, {total:,} bytes{_room(storage)}",
        )
    ]
    if not storage.features.atomic_rename:
        if storage.keeps_removed():
            message = "the bucket keeps versions: what is removed is hidden, and not freed"
            hint = "Let a rule of the bucket end noncurrent versions."
            items.append(Item(Level.WARNING, "storage", message, hint))
    elif not storage.writable:
        message = "not writable by this user: it can be looked at, not collected"
        items.append(
            Item(Level.ERROR, "storage", message, f"Run as the owner of {storage.location}.")
        )
    items += _doubts(storage, len(scan.names) + len(scan.misnamed), count)
    items += [
        Item(Level.WARNING, problem.path, problem.message, "Nothing it may reference is collected.")
        for problem in scan.problems
    ]
    return items


def _room(storage: Storage) -> str:
    free = storage.free_bytes()
    return "" if free is None else f", {free:,} bytes free on the disk"


def _doubts(storage: Storage, repositories: int, blobs: int) -> Iterator[Item]:
    """Yield the doubts about a collection that need no plan."""
    facts = Facts(
        root=storage.location,
        repositories=repositories,
        images=bool(repositories),
        going=Amount(),
        staying=Amount(blobs),
        owners=storage.owners(),
        mounts=storage.detached(),
    )
    for one in objections(facts, NOTHING_SAID):
        yield Item(Level.ERROR, "collecting", f"refused: {one.message}", one.advice)
