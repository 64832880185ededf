"""``jettison du``."""

import enum
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.options import Connection, Output, Storage, run, with_connection
from jettison.cli.output import Format, counted, dim, emit, note, size_exactly, write, yellow
from jettison.cli.progress import reporting
from jettison.errors import NotFoundError, PartlyDone, UsageError

if TYPE_CHECKING:
    from jettison.model.names import Location
    from jettison.model.space import ClassTotals, RepositorySpace, Space

__all__ = ["EXAMPLE", "Order", "du"]

EXAMPLE = (
    "Example: jettison du /var/lib/registry · jettison du config.yml --sort garbage --limit 20 · "
    "jettison du localhost:5000 --filter 'team/*' -o json"
)


class Order(enum.StrEnum):
    """The order of repositories: the largest first, or by name."""

    SIZE = "size"
    NAME = "name"
    OWN = "own"
    SHARED = "shared"
    UNTAGGED = "untagged"
    HELD = "held"
    GARBAGE = "garbage"


@with_connection
def du(
    location: Annotated[
        str,
        typer.Argument(
            metavar="HOST[/REPO]|CONFIG|DIR",
            help="The registry, its configuration file, or its storage; with /REPO a repository.",
        ),
    ],
    pattern: Annotated[
        str | None, typer.Option("--filter", metavar="GLOB", help="Show only what matches.")
    ] = None,
    sort: Annotated[
        Order,
        typer.Option(
            metavar="KEY",
            help="Sort by name, own, shared, untagged, held, garbage, or by size: all but what "
            "is shared.",
        ),
    ] = Order.SIZE,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Show N at most.")] = None,
    storage: Storage = None,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Show how much space each repository takes, what it shares, and what of it is garbage.

    OWN is what tags of that repository alone need. SHARED is needed by tags and is in several
    repositories: it counts for each of them, and once in the total. UNTAGGED is needed by
    manifests without a tag alone. HELD is needed by nothing and stays for now: for an undo, within
    the grace period, or since something cannot be read. GARBAGE is what `gc` frees now.

    Nothing is changed. Over the API alone every tag is read, and HELD and GARBAGE are not known.
    Exit code 3: something could not be read.
    """
    from jettison.cli.ls import find_storage
    from jettison.model.names import Location

    local = find_storage(location)
    where = Location.parse(location) if local is None else local
    if local is not None and storage is not None:
        raise UsageError(f"{local.host} and --storage {storage} are two storages; give one")
    place = where.host if local is not None else storage
    if place is not None:
        space, problems = _measure_storage(place)
    else:
        space, problems = run(_measure_registry(where, connection))
    rows = _chosen(space, where, pattern, sort)
    if output is Format.TABLE:
        _print(space, rows[:limit], len(rows))
    elif output is Format.JSON:
        from jettison.cli.space import space_document

        emit(output, space_document(space, rows[:limit]))
    else:
        emit(output, {"place": space.place, "repositories": rows[:limit]}, "repositories")
    if problems:
        note(*(yellow(f"warning: {problem}") for problem in problems[:10]))
        raise PartlyDone(
            f"{counted(len(problems), 'item')} of {place or where.host} could not be read",
            hint="What may be needed by it counts as held, or is not in the figures at all.",
        )


def _measure_storage(place: str) -> "tuple[Space, list[str]]":
    from jettison.jobs.space import measure_storage
    from jettison.jobs.workspace import open_workspace

    with reporting() as progress:
        found = measure_storage(open_workspace(place).reporting_to(progress))
    return found.space, [one.text for one in found.plan.problems]


async def _measure_registry(where: "Location", connection: Connection) -> "tuple[Space, list[str]]":
    from jettison.jobs.space import measure_registry

    async with connection.open(where.host) as registry:
        with reporting() as progress, connection.cache() as cache:
            space, problems = await measure_registry(registry, cache, progress)
    return space, [str(problem) for problem in problems if problem.lacking]


def _chosen(
    space: "Space", where: "Location", pattern: str | None, sort: Order
) -> "list[RepositorySpace]":
    """Return the repositories that were asked for, in order."""
    from jettison.model.names import matches_glob

    rows = list(space.repositories)
    if where.repository is not None:
        rows = [row for row in rows if row.repository == where.repository]
        if not rows:
            message = f"there is no repository {where.repository} in {space.place}"
            raise NotFoundError(message, hint=f"See: jettison ls {where.host}")
    if pattern is not None:
        rows = [row for row in rows if matches_glob(row.repository, pattern)]
    if sort is Order.NAME:
        return rows
    return sorted(rows, key=lambda row: (-_size(row, sort), -row.shared.bytes, row.repository))


def _size(of: "ClassTotals", sort: Order) -> int:
    if sort is Order.SIZE:
        return of.alone
    found = getattr(of, sort)
    return 0 if found is None else int(found.bytes)


def _print(space: "Space", rows: "list[RepositorySpace]", chosen: int) -> None:
    from jettison.cli.space import print_repositories, print_unknown

    every = counted(len(space.repositories), "repository", "repositories")
    print_repositories(space, rows, f"total of {every}")
    if chosen > len(rows):
        more = counted(chosen - len(rows), "repository", "repositories")
        note(dim(f"and {more} more (--limit)"))
    least = "" if space.exact and space.total.garbage is not None else "at least "
    blobs = counted(space.total.blobs.count, "blob")
    write(f"{space.place}: {least}{size_exactly(space.total.bytes)} in {blobs}, each once.")
    print_unknown(space)
