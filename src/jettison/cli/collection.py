"""Prints a collection's plan and receipt."""

from typing import TYPE_CHECKING, Any, Final

from jettison.cli.output import (
    ago,
    bold,
    counted,
    dim,
    moment,
    note,
    size,
    size_exactly,
    table,
    write,
    yellow,
)
from jettison.errors import PartlyDone

if TYPE_CHECKING:
    from jettison.cli import documents
    from jettison.collector.plan import CollectionPlan, Tally
    from jettison.collector.sweep import CollectionReceipt

__all__ = ["not_all", "plan_document", "print_collected", "print_collection_plan", "print_problems"]

_CLASSES: Final = {
    "blobs": "blobs that nothing needs",
    "revisions": "untagged manifests",
    "layer_links": "layer links that nothing uses",
    "history": "history of removed manifests",
    "uploads": "abandoned uploads",
    "leftovers": "temporary files",
    "folders": "empty folders",
    "repositories": "empty repositories",
}


def print_collection_plan(plan: "CollectionPlan", disk_free: int | None) -> None:
    """Print what goes by class, and what stays and why; None: how much is free is not known."""
    from jettison.collector.undo_windows import FOREVER

    where = counted(plan.repositories, "repository", "repositories")
    room = "" if disk_free is None else f", {size(disk_free)} free on the disk"
    write(bold(f"{plan.root}: {where}{room}"))
    classes = plan.classes
    rows = [
        (text, f"{tally.count:,}", size_exactly(tally.bytes) if tally.bytes else "-")
        for name, text in _CLASSES.items()
        if (tally := classes[name]).count
    ]
    if rows:
        table(["TO GO", "FILES", "BYTES"], rows, right=["FILES"])
    if plan.kept.count:
        text = f"{counted(plan.kept.count, 'blob')}, {size_exactly(plan.kept.bytes)}"
        write(f"Of these: {text} that the disk does not get back: hard links elsewhere, or holes.")
    if plan.aside:
        text = f"{counted(plan.aside, 'blob')} that a killed collection has set aside"
        write(f"Counted as what they were: {text}; the next one puts them back first.")
    write(f"Stays: {counted(plan.kept_blobs, 'blob')} that something needs.")
    if plan.untagged.count:
        text = counted(plan.untagged.count, "untagged manifest")
        what = f"{text}, and up to {size_exactly(plan.untagged.bytes)} that nothing else needs"
        write(f"Stays: {what} (--untagged frees them, --untagged=30d those older than that).")
    if plan.young.count:
        text = f"{counted(plan.young.count, 'blob')}, {size_exactly(plan.young.bytes)}"
        write(f"Later: {text}, younger than the grace period of {ago(plan.options.grace)}.")
    for held in plan.held:
        until = "" if held.until >= FOREVER else f" until {moment(held.until)}"
        text = f"{counted(held.count, 'blob')}, {size_exactly(held.bytes)}"
        write(f"Later: {text}, held{until} for an undo of run {held.run} (--now frees them)")
    if plan.protected.count:
        text = f"{counted(plan.protected.count, 'blob')}, {size_exactly(plan.protected.bytes)}"
        write(f"Kept:  {text}, which what cannot be read may need.")
    print_problems(plan)
    if plan.empty:
        note(dim("There is nothing to collect."))


def print_problems(plan: "CollectionPlan") -> None:
    """Print what could not be understood."""
    for problem in plan.problems:
        note(yellow(f"warning: {problem.text}"))
    for one in plan.foreign:
        note(dim(f"note: {one.text}"))


def print_collected(plan: "CollectionPlan", receipt: "CollectionReceipt") -> None:
    """Print what went by class, beside what was to go."""

    def bytes_of(tally: "Tally") -> str:
        return size_exactly(tally.bytes) if tally.bytes else "-"

    rows = [
        (
            text,
            f"{planned.count:,}",
            f"{receipt.removed[name].count:,}",
            bytes_of(receipt.removed[name]),
        )
        for name, text in _CLASSES.items()
        if (planned := plan.classes[name]).count or receipt.removed[name].count
    ]
    if rows:
        table(["REMOVED", "PLANNED", "DONE", "BYTES"], rows, right=["PLANNED", "DONE"])
    if receipt.put_back.count:
        text = f"{counted(receipt.put_back.count, 'blob')}, {size_exactly(receipt.put_back.bytes)}"
        write(f"Put back: {text}, wanted by now or not to be removed.")
    if receipt.recovered:
        text = counted(receipt.recovered, "blob")
        write(f"Recovered: {text} that a killed collection had set aside.")


def not_all(problems: int, failures: int, *, dry_run: bool = False) -> PartlyDone:
    """Return the error if something could not be understood or removed (exit 3)."""
    told = [counted(problems, "problem")] if problems else []
    told += [f"{counted(failures, 'file')} could not be removed"] if failures else []
    if problems:
        told.append("what may be needed is kept" + (", the rest can go" if dry_run else ""))
    hint = "Mend what is told above, and collect again."
    if not failures:
        hint = (
            "See what is wrong with `jettison fsck`; its --repair moves aside what leads nowhere. "
            "Push the rest again, or delete it with `jettison rm`."
        )
    return PartlyDone("; ".join(told), hint=hint)


def plan_document(plan: "CollectionPlan", disk_free: int | None) -> "documents.CollectionDetails":
    """Return the plan for programs, without what only its execution needs."""
    import msgspec

    from jettison.model import codec

    execution: dict[str, Any] = {"seen": {}, "blob_names": {}, "blob_times": {}, "unfinished": ()}
    document = codec.plain(msgspec.structs.replace(plan, **execution))
    for name in (*execution, "hypothetical", "schema_version"):
        del document[name]
    found: documents.CollectionDetails = document
    found["classes"] = plan.classes
    found["disk_free_bytes"] = disk_free
    return found
