"""``jettison verify``."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.options import (
    Connection,
    Output,
    Storage,
    run,
    timestamp,
    user_journal,
    with_connection,
)
from jettison.cli.output import Format, bold, emit, write
from jettison.cli.progress import reporting
from jettison.errors import Refused

if TYPE_CHECKING:
    from jettison.lifecycle.place import Place
    from jettison.model.run import Finding, Run

__all__ = ["EXAMPLE", "verify"]

EXAMPLE = "Example: jettison verify last · jettison verify last --storage /var/lib/registry"


@with_connection
def verify(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN", help="Its id, a unique part of it, or `last`.")
    ],
    storage: Storage = None,
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            help="The registry that serves a collected storage, if it is not where the "
            "configuration said.",
        ),
    ] = None,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Look again whether what a run removed is gone, in the API and on the disk.

    Manifests are fetched and blobs begun to be read: a registry with a stale cache answers HEAD
    with 200 for bytes that are gone. Exit code 5 if something is not as promised. Of a collection
    a sample of what it removed is looked for.
    """
    found, findings = run(_verify(run_id, storage, registry, connection))
    from jettison.cli.receipt import print_findings, require_verified

    if output is Format.TABLE:
        write(bold(f"Run {found.id} on {found.registry or found.storage}"))
        print_findings(tuple(findings))
    else:
        emit(output, {"run": found.id, "findings": findings}, "findings")
    require_verified(findings, found.id)


async def _verify(
    text: str, storage: str | None, registry: str | None, connection: Connection
) -> tuple["Run", list["Finding"]]:
    from jettison.lifecycle.place import open_place
    from jettison.lifecycle.removing import Remover
    from jettison.model.run import Kind

    users = user_journal()
    found = open_place(storage).journal(users).find_removal(text)
    place = open_place(storage or found.storage)
    if found.kind not in {Kind.RM, Kind.GC}:
        message = f"run {found.id} is a {found.kind}; only removals and collections are verified"
        raise Refused(message, hint="See `jettison runs` for those.")
    if found.kind is Kind.GC:
        return found, await _verify_collection(found, place, registry, connection)
    async with connection.open(found.registry) as remote:
        with reporting() as progress:
            remover = Remover(remote, place, users, time.time, timestamp, progress)
            return found, await remover.verify(found)


async def _verify_collection(
    found: "Run", place: "Place", registry: str | None, connection: Connection
) -> list["Finding"]:
    from jettison.lifecycle.staleness import verify_collection, verify_gone

    if place.tree is None:
        return []
    findings = verify_gone(place.tree, found)
    host = registry or found.registry
    if host:
        async with connection.open(host) as remote:
            with reporting() as progress:
                findings += await verify_collection(remote, place.tree, found, progress)
    return findings
