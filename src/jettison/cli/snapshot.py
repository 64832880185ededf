"""``jettison snapshot``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.options import Connection, Storage, run, with_connection
from jettison.cli.output import counted, note, write
from jettison.cli.policy_options import Target, find_target
from jettison.cli.progress import reporting
from jettison.cli.prune_options import PullsFile, TrustTimes, read_pulls
from jettison.errors import PartlyDone

if TYPE_CHECKING:
    from jettison.model.listing_problems import ListingProblem

__all__ = ["EXAMPLE", "snapshot"]

EXAMPLE = (
    "Example: jettison snapshot localhost:5000 > snapshot.json · "
    "jettison policy test retention.yml --on snapshot.json --at 2027-01-01"
)


@with_connection
def snapshot(
    target: Annotated[
        str,
        typer.Argument(metavar="HOST[/GLOB]|CONFIG|DIR", help="A registry, or its storage alone."),
    ],
    storage: Storage = None,
    pulls: PullsFile = None,
    trust_times: TrustTimes = False,
    *,
    connection: Connection,
) -> None:
    """Print what a registry has, and when it came there, for `jettison policy test`.

    It is JSON, a line for each repository, written while the registry is read. It has all that
    policies are decided on, and nothing that has to do with logins.
    """
    found = find_target(target, storage)
    problems = run(_snapshot(found, connection, pulls, trust=trust_times))
    if problems:
        note(*(f"warning: {problem}" for problem in problems[:10]))
        message = f"{counted(len(problems), 'item')} could not be read, and the snapshot says so"
        raise PartlyDone(message, hint="A policy removes nothing of what could not be read.")


async def _snapshot(
    target: Target, connection: Connection, pulls: Path | None, *, trust: bool
) -> "list[ListingProblem]":
    from jettison import connect
    from jettison.jobs.take_snapshot import find_product, take_snapshot
    from jettison.model.listing_problems import ListingProblem
    from jettison.model.retention.patterns import Pattern
    from jettison.model.retention.snapshot_document import (
        begin_document,
        end_document,
        repository_line,
    )

    problems: list[ListingProblem] = []
    async with connect(target.host, storage=target.storage, connection=connection) as session:
        with reporting() as progress:
            place = session.workspace.reporting_to(progress)
            place = place.trusting_times() if trust else place
            now = place.clock()
            written = 0

            async def begin() -> str:
                found = place.configuration
                immutable = () if found is None else found.immutable
                product = await find_product(place)
                return begin_document(place.source.name, product, now, immutable)

            async for found in take_snapshot(
                place,
                tuple(map(Pattern, target.repositories)),
                now=now,
                pulls=None if pulls is None else read_pulls(pulls),
                cache=session.cache,
            ):
                if isinstance(found, ListingProblem):
                    problems.append(found)
                    continue
                if not written:
                    write(await begin())
                write(repository_line(*found, first=not written))
                written += 1
            if not written:
                write(await begin())
            write(end_document(problems))
    return problems
