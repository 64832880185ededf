"""``jettison ls``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jettison.cli.options import Connection, Output, Quick, Storage, run, with_connection
from jettison.cli.output import Format, counted, dim, emit, note, size, table, tag_name
from jettison.cli.progress import reporting

if TYPE_CHECKING:
    from jettison.lifecycle.listing import Row

__all__ = ["EXAMPLE", "ls"]

EXAMPLE = "Example: jettison ls localhost:5000 · jettison ls localhost:5000/team/app -o json"


@with_connection
def ls(
    location: Annotated[str, typer.Argument(metavar="HOST[/REPO]", help="What to list.")],
    storage: Storage = None,
    quick: Quick = False,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """List repositories, or the tags of one with what each would free.

    EXCLUSIVE is what removing that image alone would free: bytes that nothing else in the
    registry needs.
    """
    from jettison.model.reference import Location

    run(_ls(Location.parse(location), storage, output, connection, quick=quick))


async def _ls(
    location: Any,  # noqa: ANN401 - a Location, imported only when the command runs
    storage: str | None,
    output: Format,
    connection: Connection,
    *,
    quick: bool,
) -> None:
    from jettison.lifecycle.listing import list_tags, tag_counts
    from jettison.lifecycle.place import open_place

    async with connection.open(location.host) as remote:
        registry = open_place(storage).source(remote)
        if location.repository is None:
            with reporting() as progress:
                counts = await tag_counts(registry, progress)
            if output is Format.TABLE:
                rows = [(name, str(tags)) for name, tags in counts.items()]
                table(["REPOSITORY", "TAGS"], rows, right=["TAGS"])
                note(dim(counted(len(rows), "repository", "repositories")))
                return
            items = [{"repository": name, "tags": tags} for name, tags in counts.items()]
            emit(output, {"registry": location.host, "repositories": items}, "repositories")
            return
        with reporting() as progress, connection.cache() as cache:
            listing = await list_tags(
                registry, location.repository, quick=quick, cache=cache, progress=progress
            )
    if output is not Format.TABLE:
        emit(
            output,
            {
                "registry": location.host,
                "repository": location.repository,
                "exact": not listing.unknown,
                "unknown": listing.unknown,
                "tags": listing.rows,
            },
            "tags",
        )
        return
    bound = "≤ " if listing.unknown else ""
    columns = ["TAG", "DIGEST", "WHAT", "SIZE", "EXCLUSIVE", "CREATED", "SIBLINGS"]
    table(columns, [_cells(row, bound) for row in listing.rows], right=["SIZE", "EXCLUSIVE"])
    note(*(dim(f"≤: {sentence}") for sentence in listing.unknown))


def _cells(row: "Row", bound: str) -> list[str]:
    return [
        tag_name(row.tag or "(untagged)"),
        row.digest.short if row.digest else "?",
        row.what,
        size(row.size),
        bound + size(row.exclusive_size),
        (row.created or "").partition("T")[0] or "-",
        ", ".join(map(tag_name, row.siblings)) or "-",
    ]
