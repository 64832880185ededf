"""Prints plans and receipts for people."""

from collections.abc import Iterator
from pathlib import Path

from jettison.cli.output import (
    bold,
    counted,
    dim,
    green,
    note,
    red,
    size,
    size_exactly,
    table,
    tag_name,
    write,
    yellow,
)
from jettison.model.journal import (
    EntryHead,
    Finding,
    JobKind,
    JobState,
    JournalEntry,
    Receipt,
    RemovalEntry,
    RemovalHead,
)
from jettison.model.plan import Estimate, Plan, StepAction
from jettison.model.undo_promise import undo_promise_of

__all__ = [
    "bound",
    "print_findings",
    "print_plan",
    "print_receipt",
    "tell_undo",
    "undo_line",
    "what_goes",
]

_SHOWN = 20


def bound(estimate: Estimate) -> str:
    """Return ``≤`` before a figure that is an upper bound."""
    return "" if estimate.exact or not estimate.freed_bytes else "≤ "


def what_goes(tags: int, manifests: int) -> str:
    """Return ``2 tags and 1 manifest``, without zero counts."""
    parts = [counted(tags, "tag")] if tags or not manifests else []
    return " and ".join(parts + ([counted(manifests, "manifest")] if manifests else []))


def print_plan(plan: Plan) -> None:
    """Print what goes, what stays and why, and the bytes, of the plan that is then applied."""
    rows = []
    for step in plan.steps:
        verb = red("delete") if step.action is StepAction.DELETE else yellow("untag ")
        tags = ", ".join(map(tag_name, step.tags)) or "-"
        rows.append((verb, step.repository, tags, step.short, step.reason))
    table(["STEP", "REPOSITORY", "TAGS", "DIGEST", "BECAUSE"], rows)
    if plan.kept:
        write("")
        kept = [
            (
                green("keep"),
                item.repository,
                tag_name(item.tag or "-"),
                item.digest.short,
                item.reason,
            )
            for item in plan.kept
        ]
        table(["STAYS", "REPOSITORY", "TAG", "DIGEST", "BECAUSE"], kept)
    estimate = plan.estimate
    write("")
    gain = bold(bound(estimate) + size_exactly(estimate.freed_bytes))
    write(f"To go: {what_goes(plan.tag_count, plan.manifest_count)}; {gain} can be freed.")
    if plan.kept and not estimate.freed_bytes:
        write("Nothing is freed, since what stays needs all of it.")
    if estimate.together_bytes:
        write(f"{size_exactly(estimate.together_bytes)} of it only because these go together.")
    if estimate.shared:
        write(f"{size_exactly(estimate.shared_bytes)} stay, since others need them:")
        for blob in estimate.shared[:_SHOWN]:
            more = blob.holder_count - len(blob.holders)
            names = ", ".join(blob.holders) + (f" and {more} more" if more else "")
            write(f"  {blob.digest.short}  {size(blob.size):>8}  shared with {names}")
        if len(estimate.shared) > _SHOWN:
            write(f"  and {len(estimate.shared) - _SHOWN} more")
    note(*(dim(f"≤: {sentence}") for sentence in estimate.unknown))
    note(*(yellow(f"warning: {warning}") for warning in plan.warnings))


def print_findings(findings: tuple[Finding, ...]) -> None:
    """Print what was verified."""
    for finding in findings:
        mark = red("✗") if not finding.ok else yellow("!") if finding.before else green("✓")
        write(f"  {mark} {finding.text}")


def _left(run: RemovalEntry) -> Iterator[str]:
    """Yield a line for each step that was not done."""
    steps = run.plan.steps
    for left in run.left:
        # A document that others wrote may speak of a step that there is not.
        step = steps[left.step] if 0 <= left.step < len(steps) else None
        untagged = step is not None and step.deletes is not None and len(left.tags) < len(step.tags)
        but = f"; it still has {', '.join(left.tags)}" if left.tags else ""
        yield left.reason + (
            f" (its {'other ' * bool(but)}tags are removed{but})" if untagged else ""
        )


def print_receipt(run: JournalEntry) -> None:
    """Print what was predicted beside what was observed."""
    receipt = run.receipt
    if receipt is None:
        return
    write(bold(f"Run {run.id}: {_done(run, receipt)}"))
    fields: list[tuple[str, str]] = []
    if receipt.predicted_bytes is not None:
        marked = "" if receipt.exact or not receipt.predicted_bytes else "≤ "
        fields.append(("predicted", marked + size_exactly(receipt.predicted_bytes)))
    if receipt.garbage_bytes:
        fields.append(("garbage before", size_exactly(receipt.garbage_bytes)))
    if receipt.young_bytes:
        text = f"{size_exactly(receipt.young_bytes)}, not idle yet or held by another run's window"
        fields.append(("later", text))
    if receipt.freed_bytes is not None:
        fields.append(("freed", size_exactly(receipt.freed_bytes)))
    if receipt.blobs_before is not None and receipt.blobs_after is not None:
        text = f"{receipt.blobs_before:,} → {receipt.blobs_after:,} bytes of blobs"
        fields.append(("stored", text))
    if receipt.disk_free_before is not None and receipt.disk_free_after is not None:
        text = f"{size(receipt.disk_free_before)} → {size(receipt.disk_free_after)}"
        fields.append(("disk free", text))
    for name, text in fields:
        write(f"  {name:<15} {text}")
    _print_proof(run, receipt)


def _print_proof(run: JournalEntry, receipt: Receipt) -> None:
    print_findings(receipt.findings)
    for line in _left(run) if isinstance(run, RemovalEntry) else ():
        write(f"  {red('✗')} not done: {line}")
    for sentence in receipt.notes:
        write(f"  {sentence}")


def _done(run: JournalEntry, receipt: Receipt) -> str:
    verb = {
        JobKind.RM: "removed",
        JobKind.PRUNE: "pruned",
        JobKind.UNDO: "put back",
        JobKind.GC: "collected",
        JobKind.FSCK: "repaired",
    }[run.kind]
    what = what_goes(receipt.tags, receipt.manifests)
    if run.kind in {JobKind.GC, JobKind.FSCK}:
        return f"{verb} {run.storage}"
    if run.kind is JobKind.UNDO and not run.registry and not receipt.tags + receipt.manifests:
        return f"took back a repair of {run.storage}"
    return f"{verb} {what} on {run.place}"


def tell_undo(run: RemovalEntry, now: float) -> None:
    """Print whether and until when a run can be undone, and how if it can."""
    found = undo_promise_of(run, now)
    how = f"  (jettison undo {run.id})" if found is not None and found.possible else ""
    note(dim(f"undo: {undo_line(run, now)}{how}"))


def undo_line(run: EntryHead, now: float) -> str:
    """Return whether and until when a run can be undone."""
    found = undo_promise_of(run, now)
    if found is None:
        return "-"
    backup = run.backup if isinstance(run, RemovalHead) else None
    if run.state is JobState.UNDONE:
        return found.sentence
    if backup is not None and not Path(backup, "oci-layout").is_file():
        return f"{found.sentence}, which is not there now"
    return found.sentence
