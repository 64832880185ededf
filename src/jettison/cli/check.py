"""``jettison check``."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from jettison.cli.options import (
    Connection,
    Output,
    Storage,
    is_path,
    run,
    with_connection,
)
from jettison.cli.output import Format, dim, emit, green, note, red, write, yellow
from jettison.errors import DeletionDisabled, JettisonError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jettison.cli import documents
    from jettison.configuration import Configuration
    from jettison.jobs.check import Item, Measure
    from jettison.jobs.workspace import Workspace
    from jettison.model.names import RepoName

__all__ = [
    "EXAMPLE",
    "Checked",
    "check",
    "check_path",
    "check_registry_of",
    "print_items",
]

EXAMPLE = (
    "Example: jettison check localhost:5000 · "
    "jettison check --fix /etc/docker/registry/config.yml · jettison check /var/lib/registry · "
    "jettison check --probe /etc/docker/registry/config.yml"
)


@with_connection
def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="HOST[/REPO]|CONFIG|DIR",
            help="A registry, its configuration file, or its storage.",
        ),
    ],
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Enable deletion in CONFIG, keeping its comments."),
    ] = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Try what the store of a bucket enforces: writes to it, and removes that again.",
        ),
    ] = False,
    storage: Storage = None,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Check whether images can be deleted and space freed, and what to change.

    Changes nothing, except CONFIG with --fix, and with --probe a few objects below jettison/probe/
    in a bucket, for some seconds. Exit code 11: deletion is not enabled. Exit code 4: the store's
    listing is behind what was written, so that gc and serve would lose images.
    """
    path, local = Path(target), is_path(target)
    if fix and not local:
        raise UsageError("--fix needs a configuration file", hint="jettison check --fix CONFIG")
    if probe and (not local or path.is_dir()):
        message = "--probe needs the configuration file of a storage in a bucket"
        raise UsageError(message, hint="jettison check --probe CONFIG")
    if local:
        found = check_path(path, fix=fix, probe=probe)
    else:
        found = run(_check_host(target, storage, connection))
    if output is Format.TABLE:
        print_items(found.items)
    else:
        told: documents.Checked = {"target": target, "items": found.items}
        emit(output, told, "items")
    if found.problem is not None:
        raise found.problem


class Checked(NamedTuple):
    """What a check found, the error that it ends with, and the configuration if there is one."""

    items: "list[Item]"
    problem: JettisonError | None
    configuration: "Configuration | None" = None


def check_path(
    path: Path, *, fix: bool = False, probe: bool = False, measure: "Measure | None" = None
) -> Checked:
    """Check a configuration, or a storage; ``measure`` counts the storage."""
    from jettison.jobs.check import check_storage, count_storage
    from jettison.jobs.check_configuration import DELETE_VARIABLE, check_configuration
    from jettison.storage.filesystem.containers import require_here
    from jettison.storage.opening import open_storage

    if path.is_dir():
        if fix:
            raise UsageError(f"{path} is a folder; --fix needs the configuration file")
        items = check_storage(open_storage(path, os.environ)[0], measure or count_storage)
        return Checked(items, _in_the_way(items))
    if not path.exists():
        require_here(path)
    if fix:
        from jettison.configuration.enabling import enable_deletion

        change = enable_deletion(path)
        if change.changed:
            note(f"{change.path}: {change.key} is now true. Restart the registry to apply it.")
        else:
            note(f"{change.path}: {change.key} is true already; nothing was changed.")
    configuration, items, error = check_configuration(
        path, os.environ, time.time(), probe=probe, measure=measure or count_storage
    )
    if error is not None:
        return Checked(items, error, configuration)
    if configuration.storage.delete_enabled:
        # That a file is mended here whose storage is elsewhere is all that was asked for.
        return Checked(items, None if fix else _in_the_way(items), configuration)
    hint = f"`jettison check --fix {path}` sets it, or {DELETE_VARIABLE}=true where the registry "
    hint += "is started, such as docker run -e; restart it then."
    error = DeletionDisabled(f"{path}: deletion is not enabled", hint=hint)
    return Checked(items, error, configuration)


def _in_the_way(items: list["Item"]) -> JettisonError | None:
    """Return the first item that keeps space from being freed."""
    found = [item for item in items if item.level == "error"]
    if not found:
        return None
    return StorageError(f"{found[0].subject}: {found[0].message}", hint=found[0].next)


async def _check_host(target: str, storage: str | None, connection: Connection) -> Checked:
    from jettison.jobs.workspace import open_workspace
    from jettison.model.names import Location

    location = Location.parse(target)
    async with connection.open(location.host) as registry:
        place = open_workspace(storage).connected_to(registry)
        return await check_registry_of(place, location.repository)


async def check_registry_of(
    place: "Workspace", repository: "RepoName | None", measure: "Measure | None" = None
) -> Checked:
    """Check the registry of a workspace, and its storage if there is one."""
    from jettison.jobs.check import check_registry
    from jettison.jobs.deletion import deletion_problem

    found, items = await check_registry(place.registry, repository)
    items += await place.check(measure)
    # What was asked about a repository of the catalog, or the storage, may be in the way as well.
    problem = deletion_problem(place.registry.name, found, repository)
    return Checked(items, problem or _in_the_way(items), place.configuration)


def print_items(items: "Sequence[Item]") -> None:
    """Print what a check found, each with what to do about it."""
    marks = {
        "ok": green("ok  "),
        "info": dim("info"),
        "warning": yellow("warn"),
        "error": red("FAIL"),
    }
    width = max(len(item.subject) for item in items)
    for item in items:
        write(f"{marks[item.level]}  {item.subject:<{width}}  {item.message}")
        if item.next:
            write(f"{'':4}  {'':<{width}}  {dim('→ ' + item.next)}")
