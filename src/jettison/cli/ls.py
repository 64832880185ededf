"""``jettison ls``."""

import enum
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jettison.cli.options import (
    Connection,
    Output,
    Storage,
    looks_like_path,
    run,
    with_connection,
)
from jettison.cli.output import (
    Format,
    counted,
    dim,
    emit,
    note,
    size,
    stdout_ended,
    table,
    tag_name,
    write,
    yellow,
)
from jettison.cli.progress import reporting
from jettison.errors import PartlyDone, UsageError

if TYPE_CHECKING:
    from jettison.jobs.list import Row
    from jettison.model.listing_problems import ListingProblem
    from jettison.model.names import Location, RepoName, Tag
    from jettison.registry import Registry

__all__ = ["EXAMPLE", "ls"]

EXAMPLE = (
    "Example: jettison ls localhost:5000 · jettison ls localhost:5000/team/app · "
    "jettison ls localhost:5000/team/app -l --filter 'v1.*' · "
    "jettison ls localhost:5000/team/app --sort created --limit 20 · "
    "jettison ls localhost:5000/team/app --exclusive -o json · "
    "jettison ls config.yml/team/app"
)


def find_storage(text: str) -> "Location | None":
    """Return what ``CONFIG[/REPO]`` or ``DIR[/REPO]`` means; None for a registry's host.

    The storage is the shortest path that is a file, or a folder with a registry in it.
    """
    from jettison.model.names import Location, RepoName

    path = Path(text)
    for above in (*reversed(path.parents), path):
        if above.is_file() or (above / "docker" / "registry").is_dir():
            rest = str(path.relative_to(above))
            return Location(str(above), None if rest == "." else RepoName(rest))
    return Location(text) if looks_like_path(text) else None


class Sort(enum.StrEnum):
    """The order of a listing."""

    NAME = "name"
    TAGS = "tags"
    CREATED = "created"
    SIZE = "size"
    EXCLUSIVE = "exclusive"


@with_connection
def ls(
    location: Annotated[
        str,
        typer.Argument(
            metavar="HOST[/REPO]|CONFIG|DIR",
            help="The registry, its configuration file, or its storage; with /REPO a repository.",
        ),
    ],
    long: Annotated[
        bool,
        typer.Option(
            "--long",
            "-l",
            help="Show the number of tags of each repository, or digest, size and "
            "siblings of each tag.",
        ),
    ] = False,
    created: Annotated[
        bool, typer.Option("--created", help="Show when each image was made.")
    ] = False,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="Show what removing each image alone would free.")
    ] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="With --exclusive, look at this repository only; bytes become upper bounds (≤).",
        ),
    ] = False,
    pattern: Annotated[
        str | None, typer.Option("--filter", metavar="GLOB", help="List only what matches.")
    ] = None,
    sort: Annotated[
        Sort | None,
        typer.Option(
            metavar="KEY",
            help="Sort by name, tags, created, size or exclusive, the newest and the "
            "largest first. Default: the order of the registry.",
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="Reverse the order.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="List N at most.")] = None,
    storage: Storage = None,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """List repositories, or the tags of one.

    Names alone cost one request a page, and each page is printed as it arrives. --long costs one
    request for each repository or tag, --created one more for each image that was not seen before,
    and --exclusive reads the whole registry. --created, --exclusive and a --sort by a figure imply
    --long.

    Exit code 3: something could not be read; the rest is listed.
    """
    from jettison.model.names import Location

    local = find_storage(location)
    where = Location.parse(location) if local is None else local
    if local is not None and storage is not None:
        raise UsageError(f"{local.host} and --storage {storage} are two storages; give one")
    mine = {Sort.NAME, Sort.TAGS} if where.repository is None else {*Sort} - {Sort.TAGS}
    if sort is not None and sort not in mine:
        keys = ", ".join(key for key in Sort if key in mine)
        raise UsageError(f"--sort {sort} goes not with {where}", hint=f"Use one of: {keys}.")
    if where.repository is None and (created or exclusive):
        raise UsageError(
            "--created and --exclusive go with a repository",
            hint=f"Name it, for example {where}/REPO; jettison ls {where} lists them.",
        )
    if reverse and sort is None:
        sort = Sort.NAME
    created |= sort is Sort.CREATED
    exclusive |= sort is Sort.EXCLUSIVE
    long |= created or exclusive or sort in {Sort.TAGS, Sort.SIZE}
    asked = _Ls(where, long, created, exclusive, quick, pattern, sort, reverse, limit, output)
    run(asked.run(storage, connection) if local is None else asked.run_alone(connection))


@dataclass
class _Ls:
    """One call of the command, and what could not be read."""

    where: "Location"
    long: bool
    created: bool
    exclusive: bool
    quick: bool
    pattern: str | None
    sort: Sort | None
    reverse: bool
    limit: int | None
    output: Format
    problems: "list[ListingProblem]" = field(default_factory=list)

    async def run(self, storage: str | None, connection: Connection) -> None:
        """List, and report at the end what could not be listed."""
        from jettison.jobs.workspace import open_workspace

        async with connection.open(self.where.host) as remote:
            await self._list(open_workspace(storage).connected_to(remote).source, connection)

    async def run_alone(self, connection: Connection) -> None:
        """List what is in a storage, without its registry."""
        from jettison.jobs.workspace import open_workspace

        await self._list(open_workspace(self.where.host).without_api().source, connection)

    async def _list(self, registry: "Registry", connection: Connection) -> None:
        if not self.long:
            await self._names(registry)
        elif self.where.repository is None:
            await self._repositories(registry)
        else:
            await self._tags(registry, self.where.repository, connection)
        for problem in self.problems:
            note(yellow(f"warning: {problem}"))
        lacking = [problem for problem in self.problems if problem.lacking]
        if lacking:
            noun = "name" if self.where.repository is None else "tag"
            raise PartlyDone(
                f"{counted(len(lacking), noun)} of {self.where} could not be read",
                hint="What is listed is right; what is told above is not in it.",
            )

    # What is listed.

    async def _found(self, registry: "Registry") -> "AsyncGenerator[RepoName | Tag, None]":
        """Yield the requested names as they arrive; keep the problems."""
        from jettison.jobs.list import list_names
        from jettison.model.listing_problems import ListingProblem
        from jettison.model.names import matches_glob

        async with aclosing(list_names(registry, self.where.repository)) as names:
            async for name in names:
                if isinstance(name, ListingProblem):
                    self.problems.append(name)
                elif self.pattern is None or matches_glob(name, self.pattern):
                    yield name

    async def _chosen(self, registry: "Registry") -> "list[Any]":
        """Return the names in order, or all of them if a figure will sort them."""
        limit = self.limit if self.sort in {None, Sort.NAME} else None
        with reporting() as progress:
            names = []
            async with aclosing(self._found(registry)) as found:
                async for name in found:
                    names.append(name)
                    progress("listing names", len(names))
                    if self.sort is None and len(names) == limit:
                        break
        return sorted(names, reverse=self.reverse)[:limit]

    async def _names(self, registry: "Registry") -> None:
        """List names alone, each page as it arrives unless they are sorted."""
        title, key = self._title
        if self.sort is not None:
            self._emit([{key: str(name)} for name in await self._chosen(registry)])
            return
        rows = []
        number = 0
        async with aclosing(self._found(registry)) as found:
            async for name in found:
                number += 1
                if self.output is Format.TABLE:
                    write(*([dim(title)] if number == 1 else []), name)
                elif self.output is Format.NDJSON:
                    self._emit([{key: str(name)}])
                else:
                    rows.append({key: str(name)})
                if number == self.limit or stdout_ended():
                    break
        if self.output is Format.JSON or not number:
            self._emit(rows)
        else:
            self._count(number)

    async def _repositories(self, registry: "Registry") -> None:
        from jettison.jobs.list import tag_counts

        names = await self._chosen(registry)
        with reporting() as progress:
            counted_tags = await tag_counts(registry, names, progress)
        self.problems += counted_tags.problems
        items = list(counted_tags.tags.items())
        if self.sort is Sort.TAGS:
            items.sort(key=lambda item: -item[1])
        if self.reverse:
            items.reverse()
        items = items[: self.limit]
        if self.output is Format.TABLE:
            table(["REPOSITORY", "TAGS"], [(n, str(tags)) for n, tags in items], right=["TAGS"])
        else:
            self._emit([{"repository": str(name), "tags": tags} for name, tags in items])
        self._count(len(items))

    async def _tags(
        self, registry: "Registry", repository: "RepoName", connection: Connection
    ) -> None:
        from jettison.jobs.list import Figures, arranged, list_tags

        figures = Figures(self.created, self.exclusive, self.quick)
        names = await self._chosen(registry)
        with reporting() as progress, connection.cache() as cache:
            listing = await list_tags(
                registry,
                repository,
                names,
                figures,
                untagged=self.pattern is None and self.limit is None,
                cache=cache,
                progress=progress,
            )
        self.problems += listing.problems
        sort = self.sort or Sort.NAME
        rows = arranged(listing.rows, sort, reverse=self.reverse, limit=self.limit)
        if self.output is not Format.TABLE:
            self._emit(rows, listing.unknown)
            return
        bound = "≤ " if listing.unknown else ""
        columns = ["TAG", "DIGEST", "WHAT", "SIZE", "EXCLUSIVE", "CREATED", "SIBLINGS"]
        left_out = {"EXCLUSIVE": not self.exclusive, "CREATED": not self.created}
        shown = [at for at, name in enumerate(columns) if not left_out.get(name)]
        cells = [_cells(row, bound) for row in rows]
        table(
            [columns[at] for at in shown],
            [[row[at] for at in shown] for row in cells],
            right=["SIZE", "EXCLUSIVE"],
        )
        note(*(dim(f"≤: {sentence}") for sentence in listing.unknown))

    # How it is told.

    @property
    def _title(self) -> tuple[str, str]:
        of_registry = self.where.repository is None
        return ("REPOSITORY", "repository") if of_registry else ("TAG", "tag")

    def _count(self, number: int) -> None:
        if self.output is Format.TABLE and self.where.repository is None:
            note(dim(counted(number, "repository", "repositories")))

    def _emit(self, rows: "list[Any]", unknown: tuple[str, ...] = ()) -> None:
        """Print rows as one document, or (NDJSON) one document for each."""
        if self.output is Format.TABLE:
            title, key = self._title
            table([title], [[row[key]] for row in rows])
            self._count(len(rows))
            return
        content: dict[str, Any] = {"registry": self.where.host}
        items = "repositories"
        if self.where.repository is not None:
            items = "tags"
            content["repository"] = self.where.repository
            content |= {"exact": not unknown, "unknown": unknown}
        if self.output is Format.JSON:
            content["problems"] = self.problems
        emit(self.output, {**content, items: rows}, items)


def _cells(row: "Row", bound: str) -> list[str]:
    """Return all cells of a row; those not requested are dropped afterwards."""
    return [
        tag_name(row.tag or "(untagged)"),
        row.digest.short if row.digest else "?",
        row.what or "",
        size(row.size if isinstance(row.size, int) else None),
        bound + size(row.exclusive_size if isinstance(row.exclusive_size, int) else None),
        (row.created or "").partition("T")[0] or "-",
        _siblings(row),
    ]


def _siblings(row: "Row") -> str:
    named = ", ".join(map(tag_name, row.siblings or ()))
    more = (row.sibling_count or 0) - len(row.siblings or ())
    return f"{named} and {more:,} more" if more else named or "-"
