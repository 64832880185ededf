"""``jettison doctor``."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from jettison.cli.check import Checked, check_path, check_registry_of, print_items
from jettison.cli.options import (
    Connection,
    Output,
    Storage,
    connection_arguments,
    is_path,
    run,
    with_connection,
)
from jettison.cli.output import (
    Format,
    ago,
    bold,
    command_line,
    counted,
    dim,
    emit,
    moment,
    note,
    size,
    size_exactly,
    write,
    yellow,
)
from jettison.cli.progress import reporting
from jettison.errors import JettisonError, UsageError

if TYPE_CHECKING:
    from jettison.cli import documents
    from jettison.jobs.advice import Advice
    from jettison.jobs.doctor import Diagnosis, PolicyEffect, StorageMeasure
    from jettison.jobs.workspace import Workspace
    from jettison.manifest_cache import ManifestCache
    from jettison.model.retention.policy import Policy
    from jettison.model.space import Space

__all__ = ["EXAMPLE", "doctor"]

EXAMPLE = (
    "Example: jettison doctor /etc/docker/registry/config.yml · "
    "jettison doctor /var/lib/registry --policy retention.yml · "
    "jettison doctor localhost:5000 -o json"
)
_SHOWN: Final = 10


@with_connection
def doctor(
    target: Annotated[
        str,
        typer.Argument(
            metavar="HOST|CONFIG|DIR",
            help="A registry, its configuration file, or its storage.",
        ),
    ],
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy",
            metavar="FILE",
            help="Also tell what this policy would free. Default: the one that the server prunes "
            "by, if CONFIG names one.",
        ),
    ] = None,
    storage: Storage = None,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Tell all that `check` knows, where the space is, what can be freed, and what to do next.

    Changes nothing. What to do next are commands that can be pasted, the most useful first; those
    that remove anything print their plan and ask. The exit code is that of `check`.
    """
    local = is_path(target)
    if local and storage is not None:
        raise UsageError(f"{target} and --storage {storage} are two storages; give one")
    rules = _read(policy)
    if local:
        found, problem = _examine_path(target, policy, rules)
    else:
        found, problem = run(_examine_host(target, policy, rules, storage, connection))
    if output is Format.TABLE:
        _print(found)
    else:
        emit(output, _document(found))
    if problem is not None:
        raise problem


def _read(file: Path | None) -> "Policy | None":
    from jettison.configuration.policy_file import read_policy

    return None if file is None else read_policy(file)


def _examine_path(
    target: str, file: Path | None, rules: "Policy | None"
) -> "tuple[Diagnosis, JettisonError | None]":
    from jettison.jobs.doctor import Named, StorageMeasure, Told, diagnose
    from jettison.jobs.workspace import Workspace

    path = Path(target)
    with reporting() as progress:
        measure = StorageMeasure(progress)
        checked = check_path(path, measure=measure)
        place = Workspace(
            storage=measure.storage, configuration=checked.configuration, progress=progress
        )
        file, rules = _scheduled(checked, file, rules)
        effect = None
        if rules is not None and measure.storage is not None:
            effect = run(_effect(place.without_api(), file, rules))
        items = _items(checked, place, measure)
    problem = checked.problem
    if problem is None and measure.failure is not None:
        problem = measure.failure
    space = None if measure.found is None else measure.found.space
    told = Told(Named(target, storage=target), tuple(items), measure, space, effect, problem)
    return diagnose(target, told, os.environ), problem


def _scheduled(
    checked: Checked, file: Path | None, rules: "Policy | None"
) -> "tuple[Path | None, Policy | None]":
    """Return the policy that was given, or else that of the configuration."""
    configuration = checked.configuration
    if rules is not None or configuration is None or configuration.retention is None:
        return file, rules
    return configuration.retention.file, configuration.retention.policy


async def _examine_host(
    target: str,
    file: Path | None,
    rules: "Policy | None",
    storage: str | None,
    connection: Connection,
) -> "tuple[Diagnosis, JettisonError | None]":
    from jettison import connect
    from jettison.jobs.doctor import Named, StorageMeasure, Told, diagnose
    from jettison.jobs.space import measure_registry
    from jettison.model.names import Location

    location = Location.parse(target)
    with reporting() as progress:
        async with connect(location.host, storage=storage, connection=connection) as session:
            place = session.workspace.reporting_to(progress)
            measure = StorageMeasure(progress)
            checked = await check_registry_of(place, location.repository, measure)
            file, rules = _scheduled(checked, file, rules)
            space, unread = None, None
            if measure.found is not None:
                space = measure.found.space
            elif storage is None:
                try:
                    space, _ = await measure_registry(place.registry, session.cache, progress)
                except JettisonError as error:
                    unread = error
            effect = None
            if rules is not None:
                effect = await _effect(place, file, rules, session.cache)
            items = _items(checked, place, measure, unread)
    problem = checked.problem or measure.failure
    options = (*connection_arguments(connection), *(("--storage", storage) if storage else ()))
    named = Named(location.host, options, storage)
    told = Told(named, tuple(items), measure, space, effect, problem)
    return diagnose(target, told, os.environ), problem


async def _effect(
    place: "Workspace", file: Path | None, rules: "Policy", cache: "ManifestCache | None" = None
) -> "PolicyEffect":
    from jettison.jobs.doctor import effect_of
    from jettison.jobs.prune import PruneJob, PruneRequest

    made = await PruneJob(place).plan(PruneRequest(rules), cache)
    return effect_of(str(file), made)


def _items(
    checked: Checked,
    place: "Workspace",
    measure: "StorageMeasure",
    unread: JettisonError | None = None,
) -> "list[Any]":
    from jettison.jobs.check import Item, Level
    from jettison.jobs.doctor import storage_items

    found = [*checked.items, *storage_items(measure, place, checked.items)]
    if unread is not None:
        found.append(Item(Level.WARNING, "space", f"not known: {unread.message}", unread.hint))
    return found


def _document(found: "Diagnosis") -> "documents.Diagnosis":
    from jettison.cli.space import space_document

    space = found.space
    return {
        "target": found.target,
        "items": found.items,
        "space": None if space is None else space_document(space, space.repositories),
        "frees_bytes": found.frees_bytes,
        "policy": found.policy,
        "next": [
            {
                "code": one.code,
                "command": command_line(one.arguments),
                "why": one.why,
                "bytes": one.bytes,
                "bound": one.bound,
            }
            for one in found.advice
        ],
    }


def _print(found: "Diagnosis") -> None:
    print_items(found.items)
    if found.space is not None:
        _print_space(found.space)
    if found.policy is not None:
        _print_policy(found.policy)
    write("")
    if not found.advice:
        write("Nothing to do: there is nothing to free.")
        return
    write(bold("What to do next, the most useful first:"))
    for one in found.advice:
        write(dim(f"  # {_why(one)}"), f"  {command_line(one.arguments)}")


def _print_space(space: "Space") -> None:
    from jettison.cli.space import print_classes, print_repositories, print_unknown

    write("")
    print_classes(space)
    write("")
    rows = sorted(space.repositories, key=lambda row: (-row.alone, -row.shared.bytes))
    every = counted(len(rows), "repository", "repositories")
    print_repositories(space, rows[:_SHOWN], f"total of {every}, each blob once")
    if len(rows) > _SHOWN:
        note(dim(f"and {len(rows) - _SHOWN:,} more; jettison du lists all"))
    if space.oldest_garbage_ns is not None:
        seconds = space.oldest_garbage_ns / 1e9
        age = ago(max(0.0, time.time() - seconds))
        write(f"Oldest garbage: last written or touched on {moment(seconds)}, {age} ago.")
    print_unknown(space)


def _print_policy(policy: "PolicyEffect") -> None:
    bound = "≤ " if policy.bound and policy.bytes else ""
    what = f"{counted(policy.tags, 'tag')} and {counted(policy.images, 'image')}"
    freed = f"{bound}{size_exactly(policy.bytes)}"
    write(f"Policy {policy.file}: {what} would go, and a collection then frees {freed}.")
    note(*(yellow(f"refused: {message}") for message in policy.objections[:_SHOWN]))


def _why(one: "Advice") -> str:
    if not one.bytes:
        return one.why
    return f"{one.why}: {'≤ ' if one.bound else ''}{size(one.bytes)}"
