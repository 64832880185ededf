"""``jettison runs``."""

import time
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.options import Output, Storage, user_journal
from jettison.cli.output import Format, dim, emit, note, size, table, tag_name, write

if TYPE_CHECKING:
    from jettison.cli import documents
    from jettison.model.journal import EntryHead, JournalEntry
    from jettison.model.plan import Step

__all__ = ["EXAMPLE", "runs"]

EXAMPLE = "Example: jettison runs · jettison runs last · jettison runs --storage /var/lib/registry"


def runs(
    run_id: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Show this run in full.")
    ] = None,
    storage: Storage = None,
    output: Output = Format.TABLE,
) -> None:
    """List the runs, newest first, or show one with its steps and its receipt."""
    from jettison.jobs.workspace import open_workspace
    from jettison.storage.journal import Unreadable

    journal = open_workspace(storage, users=user_journal()).journal
    if run_id is not None:
        found = journal.read(journal.find(run_id))
        log = journal.home_of(found.id).steps(found.id)
        if output is Format.TABLE:
            _print_one(found, log.done, log.begun)
        else:
            details: documents.RunDetails = {
                "run": _brief(found),
                "steps": [
                    {"step": step, "done": number in log.done, "begun": number in log.begun}
                    for number, step in enumerate(_steps(found))
                ],
                "receipt": found.receipt,
            }
            emit(output, details)
        return
    entries = list(journal.heads())[::-1]
    if output is not Format.TABLE:
        told: documents.Runs = {
            "runs": [
                {"id": entry.id, "unreadable": entry.reason}
                if isinstance(entry, Unreadable)
                else _brief(entry)
                for entry in entries
            ]
        }
        emit(output, told, "runs")
        return
    rows = [
        (entry.id, "?", "unreadable", "-", "-", entry.reason, "-")
        if isinstance(entry, Unreadable)
        else _row(entry)
        for entry in entries
    ]
    columns = ["RUN", "WHAT", "STATE", "TAGS", "FREED", "WHERE", "UNDO"]
    table(columns, rows, right=["TAGS", "FREED"])
    if not rows:
        note(dim(f"There are no runs in {journal.location} yet."))


def _steps(entry: "JournalEntry") -> "tuple[Step, ...]":
    from jettison.model.journal import RemovalEntry

    return entry.plan.steps if isinstance(entry, RemovalEntry) else ()


def _row(entry: "EntryHead") -> tuple[str, ...]:
    from jettison.cli.receipt import undo_line

    receipt = entry.receipt
    return (
        entry.id,
        entry.kind,
        entry.state,
        str(receipt.tags) if receipt else "-",
        size(receipt.freed_bytes) if receipt and receipt.freed_bytes is not None else "-",
        entry.place,
        undo_line(entry, time.time()),
    )


def _brief(entry: "EntryHead") -> "documents.ListedRun":
    """Return a run without the manifests that it saved."""
    from jettison.cli.receipt import undo_line
    from jettison.model.journal import RemovalHead, UndoHead

    return {
        "id": entry.id,
        "kind": entry.kind,
        "state": entry.state,
        "started": entry.started,
        "registry": entry.registry,
        "storage": entry.storage,
        "request": entry.request,
        "of": entry.of if isinstance(entry, UndoHead) else None,
        "window_until": entry.window_until if isinstance(entry, RemovalHead | UndoHead) else None,
        "undo": undo_line(entry, time.time()),
        "tags": entry.receipt.tags if entry.receipt else None,
        "left": entry.left if isinstance(entry, RemovalHead) else (),
        "freed_bytes": entry.receipt.freed_bytes if entry.receipt else None,
    }


def _print_one(entry: "JournalEntry", done: frozenset[int], begun: frozenset[int]) -> None:
    from jettison.cli.receipt import print_receipt, undo_line
    from jettison.model.journal import UndoHead

    fields = [
        ("run", entry.id),
        ("what", entry.kind + (f" of {entry.of}" if isinstance(entry, UndoHead) else "")),
        ("state", entry.state),
        ("started", entry.started),
        ("registry", entry.registry),
        ("storage", entry.storage or ""),
        ("request", " ".join(entry.request)),
        ("undo", undo_line(entry, time.time())),
    ]
    for name, text in fields:
        if text:
            write(f"  {name:<9} {text}")
    write("")
    steps = _steps(entry)
    if steps:
        states = {True: "done", False: "not begun"}
        rows = [
            (
                "begun" if number in begun and number not in done else states[number in done],
                step.action,
                step.repository,
                ", ".join(map(tag_name, step.tags)) or "-",
                step.short,
                step.reason,
            )
            for number, step in enumerate(steps)
        ]
        table(["STATE", "STEP", "REPOSITORY", "TAGS", "DIGEST", "BECAUSE"], rows)
        write("")
    print_receipt(entry)
