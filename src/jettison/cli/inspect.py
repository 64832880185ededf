"""``jettison inspect``."""

from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.options import (
    Connection,
    Exact,
    Output,
    Quick,
    Storage,
    extent_of,
    run,
    with_connection,
)
from jettison.cli.output import Format, bold, dim, emit, note, size, size_exactly, table, write
from jettison.cli.progress import reporting

if TYPE_CHECKING:
    from jettison.cli import documents
    from jettison.jobs.discover import Extent
    from jettison.jobs.inspect import Report

__all__ = ["EXAMPLE", "inspect"]

EXAMPLE = "Example: jettison inspect localhost:5000/team/app:1.0"


@with_connection
def inspect(
    reference: Annotated[str, typer.Argument(metavar="HOST/REPO:TAG|@DIGEST", help="The image.")],
    storage: Storage = None,
    quick: Quick = False,
    exact: Exact = False,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Show what an image is, which images share its layers, and what removing it frees."""
    extent = extent_of(quick=quick, exact=exact)
    report = run(_inspect(reference, storage, connection, extent))
    if output is Format.TABLE:
        _print(report)
    else:
        told: documents.InspectedImage = {"image": report}
        emit(output, told)


async def _inspect(
    text: str, storage: str | None, connection: Connection, extent: "Extent"
) -> "Report":
    from jettison import connect
    from jettison.model.names import Reference

    reference = Reference.parse(text)
    async with connect(reference.host, storage=storage, connection=connection) as registry:
        with reporting() as progress:
            return await registry.reporting_to(progress).inspect(reference, extent=extent)


def _print(report: "Report") -> None:
    from jettison.cli.receipt import bound

    fields = [
        ("digest", str(report.digest)),
        ("type", f"{report.what} ({report.media_type})"),
        ("tags", ", ".join(report.tags) or "none"),
        ("created", report.created or "unknown"),
        ("platform", report.platform or ""),
        ("size", size_exactly(report.size)),
        ("refers to", str(report.subject or "")),
        *(("child", f"{part.digest.short}  {part.what}") for part in report.children),
        *(("referrer", f"{part.digest.short}  {part.what}") for part in report.referrers),
    ]
    write(bold(report.reference), *(f"  {name:<10} {text}" for name, text in fields if text), "")
    exact = report.removal is not None and report.removal.estimate.exact
    nobody = "nobody else" if exact else "nobody else seen"
    rows = []
    for layer in report.layers:
        more = layer.holder_count - len(layer.holders)
        shared = ", ".join(layer.holders) + (f" and {more} more" if more > 0 else "")
        rows.append((layer.digest.short, size(layer.size), shared or nobody))
    table(["BLOB", "SIZE", "ALSO NEEDED BY"], rows, right=["SIZE"])
    write("")
    if report.removal is None:
        write(f"Removing it is refused: {report.refusal}")
        return
    estimate = report.removal.estimate
    write(f"Removing it frees {bound(estimate)}{size_exactly(estimate.freed_bytes)}.")
    left = [kept for kept in report.removal.kept if kept.tag is not None]
    if left:
        names = ", ".join(str(kept.tag) for kept in left)
        write(f"Nothing is freed while the same manifest has the tags: {names}.")
    note(*(dim(f"≤: {sentence}") for sentence in estimate.unknown))
