"""``jettison verify``."""

from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.last_run import confirm_last, tell_last
from jettison.cli.options import (
    Connection,
    Output,
    Storage,
    Yes,
    run,
    user_journal,
    with_connection,
)
from jettison.cli.output import Format, bold, emit, write
from jettison.cli.progress import reporting
from jettison.errors import NotFoundError, Refused

if TYPE_CHECKING:
    from jettison.cli import documents
    from jettison.jobs.workspace import Workspace
    from jettison.model.journal import CollectionEntry, Finding, JournalEntry
    from jettison.storage.journal import Journal

__all__ = ["EXAMPLE", "verify"]

EXAMPLE = "Example: jettison verify last · jettison verify last --storage /var/lib/registry"


@with_connection
def verify(
    run_id: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Its id, the beginning or end of it, or `last`."),
    ],
    storage: Storage = None,
    registry: Annotated[
        str | None,
        typer.Option(
            metavar="HOST",
            help="The registry that serves a collected storage, if not the one in the "
            "configuration; with `last`: the last run on it.",
        ),
    ] = None,
    read_data: Annotated[
        bool,
        typer.Option(
            "--read-data", help="Read everything that stays in full, and compare digests."
        ),
    ] = False,
    yes: Yes = False,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Check again, in the API and on the disk, that what a run removed is gone.

    Fetches manifests, begins to read blobs and compares their lengths, because a registry with a
    stale cache answers HEAD with 200 for bytes that are gone. Only --read-data reads blobs in full.
    After a collection, looks for a sample of what it removed. Exit code 5: something is not as
    promised. `last` is your last removal, or with --storage the last in that storage; if your last
    run was on another registry, the command asks first.
    """
    from jettison.jobs.workspace import open_workspace

    journal = open_workspace(storage, users=user_journal()).journal
    last = _last(journal, run_id, storage, registry)
    tell_last(run_id, last)
    confirm_last(run_id, last, journal, named=bool(storage or registry), yes=yes)
    found, findings = run(_verify(last, storage, registry, connection, read_data=read_data))
    from jettison.cli.receipt import print_findings
    from jettison.jobs.outcome import require_verified

    if output is Format.TABLE:
        write(bold(f"Run {found.id} on {found.registry or found.storage}"))
        print_findings(tuple(findings))
    else:
        told: documents.Verified = {"run": found.id, "findings": findings}
        emit(output, told, "findings")
    require_verified(findings, found.id)


def _last(
    journal: "Journal", text: str, storage: str | None, registry: str | None
) -> "JournalEntry":
    """Find the run; the last on ``registry``, which may also only serve the ``storage``."""
    try:
        return journal.find_removal(text, registry)
    except NotFoundError:
        if storage is None:
            raise
        return journal.find_removal(text)


async def _verify(
    found: "JournalEntry",
    storage: str | None,
    registry: str | None,
    connection: Connection,
    *,
    read_data: bool,
) -> tuple["JournalEntry", list["Finding"]]:
    from jettison import connect
    from jettison.jobs.workspace import open_workspace
    from jettison.model.journal import CollectionEntry, JobState, RemovalEntry

    where = storage or found.storage
    if found.state is JobState.UNDONE:
        message = f"run {found.id} was undone, so what it removed is to be there"
        raise Refused(message, hint="See `jettison runs` for others.")
    if isinstance(found, CollectionEntry):
        place = open_workspace(where, users=user_journal())
        return found, await _verify_collection(found, place, registry, connection)
    if not isinstance(found, RemovalEntry):
        message = f"run {found.id} is a {found.kind}; only removals and collections are verified"
        raise Refused(message, hint="See `jettison runs` for those.")
    async with connect(found.registry or None, storage=where, connection=connection) as session:
        with reporting() as progress:
            told = session.reporting_to(progress)
            return found, await told.verify(found, read_data=read_data)


async def _verify_collection(
    found: "CollectionEntry", place: "Workspace", registry: str | None, connection: Connection
) -> list["Finding"]:
    from jettison.collector.options import CollectOptions
    from jettison.jobs.collect import CollectionJob

    if place.storage is None:
        return []
    host = registry or found.registry
    if not host:
        return await CollectionJob(place, CollectOptions()).verify(found)
    async with connection.open(host) as remote:
        with reporting() as progress:
            there = place.connected_to(remote).reporting_to(progress)
            return await CollectionJob(there, CollectOptions()).verify(found)
