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

if TYPE_CHECKING:
    from jettison.model.run import Finding, Run

__all__ = ["EXAMPLE", "verify"]

EXAMPLE = "Example: jettison verify last · jettison verify last --storage /var/lib/registry"


@with_connection
def verify(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN", help="Its id, a unique part of it, or `last`.")
    ],
    storage: Storage = None,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Look again whether what a run removed is gone, in the API and on the disk.

    Manifests are fetched and blobs begun to be read: a registry with a stale cache answers HEAD
    with 200 for bytes that are gone. Exit code 5 if something is not as promised.
    """
    found, findings = run(_verify(run_id, storage, connection))
    from jettison.cli.receipt import print_findings, require_verified

    if output is Format.TABLE:
        write(bold(f"Run {found.id} on {found.registry}"))
        print_findings(tuple(findings))
    else:
        emit(output, {"run": found.id, "findings": findings}, "findings")
    require_verified(findings, found.id)


async def _verify(
    text: str, storage: str | None, connection: Connection
) -> tuple["Run", list["Finding"]]:
    from jettison.lifecycle.place import open_place
    from jettison.lifecycle.removing import Remover

    users = user_journal()
    found = open_place(storage).journal(users).find_removal(text)
    place = open_place(storage or found.storage)
    async with connection.open(found.registry) as remote:
        with reporting() as progress:
            remover = Remover(remote, place, users, time.time, timestamp, progress)
            return found, await remover.verify(found)
