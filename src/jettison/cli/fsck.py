"""``jettison fsck``."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jettison.cli.options import DryRun, Grace, Output, Yes, confirm, timestamp, user_journal
from jettison.cli.output import (
    Format,
    bold,
    counted,
    dim,
    emit,
    green,
    note,
    red,
    size,
    table,
    write,
    yellow,
)
from jettison.cli.progress import reporting
from jettison.errors import PartlyDone, UsageError, VerificationFailed

if TYPE_CHECKING:
    from jettison.gc.fsck import CheckOptions
    from jettison.model.flaws import CheckReport
    from jettison.model.repair import RepairPlan
    from jettison.model.run import Run
    from jettison.store.tree import StorageTree

__all__ = ["EXAMPLE", "fsck"]

EXAMPLE = (
    "Example: jettison fsck /var/lib/registry · "
    "jettison fsck /etc/docker/registry/config.yml --quick · "
    "jettison fsck /var/lib/registry --repair"
)
_EXAMPLES = 5
_TAGS = 50


def fsck(
    target: Annotated[
        str,
        typer.Argument(
            metavar="DIR|CONFIG", help="The storage's root directory, or the configuration file."
        ),
    ],
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Move aside what is damaged, and rebuild what follows from what is there.",
        ),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not read the content of blobs, only of manifests.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    grace: Grace = "1h",  # type: ignore[assignment] # parsed by the option
    output: Output = Format.TABLE,
) -> None:
    """Read the whole storage and say what is wrong, and which tags cannot be pulled.

    Damage makes the exit code 5: an image cannot be pulled, or the collector is held up. --repair
    deletes nothing: what is damaged is moved into jettison/fsck/ in the storage, and `jettison
    undo` takes all of it back. What only a push can heal is left over, and the exit code is 3.
    """
    from jettison.gc.fsck import HASHING, CheckOptions, check_tree, plan_repair
    from jettison.store.configuration import open_storage
    from jettison.store.journal import new_run_id

    if dry_run and not repair:
        raise UsageError("--dry-run is about --repair: without it, nothing is ever changed")
    tree, configuration = open_storage(Path(target), os.environ)
    options = CheckOptions(grace=grace, quick=quick)
    with reporting(in_bytes=frozenset({HASHING})) as progress:
        report = check_tree(tree, options, time.time(), progress)
    if output is Format.TABLE:
        _print(report)
    if not repair:
        if output is not Format.TABLE:
            _emit(output, report)
        _require_sound(report, target)
        return
    now = time.time()
    plan = plan_repair(tree, report, new_run_id(now), now, grace)
    if output is Format.TABLE:
        _print_plan(plan)
    if dry_run or not plan.steps:
        if output is not Format.TABLE:
            _emit(output, report, {"plan": plan})
        _require_sound(report, target)
        return
    confirm(f"Repair {tree.root} in {counted(len(plan.steps), 'step')}?", yes=yes)
    if configuration is not None and configuration.cache:
        note(
            yellow(f"warning: the registry remembers blobs ({configuration.cache}); restart it ")
            + yellow("after this, else pushes may skip what was moved aside.")
        )
    _repair(tree, plan, report, options, (target,), output)


def _repair(
    tree: "StorageTree",
    plan: "RepairPlan",
    before: "CheckReport",
    options: "CheckOptions",
    request: tuple[str, ...],
    output: Format,
) -> None:
    from jettison.gc.fsck import check_again, run_repair
    from jettison.gc.windows import tree_journal

    def noted(run: "Run") -> None:
        user_journal().point(run, tree_journal(tree))

    with reporting() as progress:
        run = run_repair(tree, plan, request, time.time, timestamp, noted=noted, progress=progress)
    with reporting() as progress:
        after = check_again(tree, options, time.time(), before, progress)
    if output is Format.TABLE:
        _print_done(before, after, run)
    else:
        _emit(output, after, {"run": run, "plan": plan, "before": _counts(before)})
    left = [] if run.receipt is None else [one for one in run.receipt.findings if not one.ok]
    if after.damage or left:
        tags = counted(len(after.unpullable), "tag")
        raise PartlyDone(
            f"{counted(after.damage, 'flaw')} cannot be repaired from what is there; "
            f"{tags} cannot be pulled",
            hint="Push those images again: what was in their way is gone. Or delete the tags.",
        )


def _require_sound(report: "CheckReport", target: str) -> None:
    mendable = sum(flaw.remedy is not None for flaw in report.flaws)
    step = f"jettison fsck {target} --repair (can mend {mendable:,} of {len(report.flaws):,})"
    if report.damage:
        tags = counted(len(report.unpullable), "tag")
        push = "Push what cannot be pulled again, or delete it"
        raise VerificationFailed(
            f"{report.root}: {counted(report.damage, 'flaw')} that do harm; "
            f"{tags} cannot be pulled whole",
            hint=f"{step}. {push}; without that repair a push may skip what is damaged."
            if mendable
            else f"{push}.",
        )
    if mendable:
        note(f"{bold(' next:')} {step}, or the next gc: it takes most of it.")


def _emit(output: Format, report: "CheckReport", more: dict[str, Any] | None = None) -> None:
    if output is Format.NDJSON:
        emit(output, {"root": report.root, "flaws": report.flaws}, "flaws")
        return
    emit(
        output,
        {
            "root": report.root,
            "hashed": report.hashed,
            "repositories": report.repositories,
            "blobs": report.blobs,
            "bytes": report.bytes,
            "seconds": report.seconds,
            **_counts(report),
            "flaws": report.flaws,
            "unpullable": report.unpullable,
            **(more or {}),
        },
    )


def _counts(report: "CheckReport") -> dict[str, Any]:
    classes = {
        kind: {"damage": tally.damage, "untidiness": tally.untidiness}
        for kind, tally in report.classes.items()
    }
    return {
        "damage": report.damage,
        "untidiness": len(report.flaws) - report.damage,
        "classes": classes,
    }


def _print(report: "CheckReport") -> None:
    looked = "read and hashed" if report.hashed else "looked at, not read (--quick)"
    write(
        f"{report.root}: {counted(report.repositories, 'repository', 'repositories')}; "
        f"{counted(report.blobs, 'blob')}, {size(report.bytes)}, {looked}"
    )
    for kind, tally in report.classes.items():
        count = tally.damage + tally.untidiness
        mark = red("✗") if tally.damage else yellow("·")
        write("", f"{mark} {bold(kind)}  {count:,} {dim(kind.explanation)}")
        shown = [flaw for flaw in report.flaws if flaw.kind is kind][:_EXAMPLES]
        write(*(f"    {flaw.path} {flaw.sentence}" for flaw in shown))
        if count > len(shown):
            write(dim(f"    and {count - len(shown):,} more; -o ndjson lists all"))
    unpullable = report.unpullable
    if unpullable:
        write("", bold(f"{counted(len(unpullable), 'tag')} cannot be pulled whole:"))
        write(*(f"  {tag.name}" for tag in unpullable[:_TAGS]))
        if len(unpullable) > _TAGS:
            write(dim(f"  and {len(unpullable) - _TAGS:,} more; -o json lists all"))
    if not report.damage:
        more = "" if not report.flaws else ", some of it untidy"
        write("", green("✓") + f" Everything that is tagged or linked can be pulled{more}.")


def _print_plan(plan: "RepairPlan") -> None:
    write("", bold("To repair:"))
    for action, count in plan.counts.items():
        write(f"  {count:,} to do: {action}")
        shown = [step for step in plan.steps if step.action is action][:_EXAMPLES]
        write(*(f"    {step.path}" for step in shown))
        if count > len(shown):
            write(dim(f"    and {count - len(shown):,} more"))
    if plan.steps:
        write(f"  What is moved goes to {plan.folder}; nothing is deleted.")
    else:
        write("  nothing that could be mended from what is there")
    for skipped in plan.skipped:
        note(yellow(f"left: {skipped.path} {skipped.reason}"))


def _print_done(before: "CheckReport", after: "CheckReport", run: "Run") -> None:
    from jettison.cli.receipt import print_receipt

    write("")
    print_receipt(run)
    write("")
    kinds = dict.fromkeys((*before.classes, *after.classes))

    def count(report: "CheckReport", kind: Any) -> str:  # noqa: ANN401 - a class of flaws
        return f"{sum(report.classes.get(kind, (0, 0))):,}"

    rows: list[tuple[str, str, str]] = [
        (kind, count(before, kind), count(after, kind)) for kind in kinds
    ]
    rows.append(("tags not pullable", f"{len(before.unpullable):,}", f"{len(after.unpullable):,}"))
    table(["WHAT", "BEFORE", "AFTER"], rows, right=["BEFORE", "AFTER"])
    if after.unpullable:
        write("", "These cannot be pulled until they are pushed again, which now works:")
        write(*(f"  {tag.name}" for tag in after.unpullable[:_TAGS]))
        if len(after.unpullable) > _TAGS:
            write(dim(f"  and {len(after.unpullable) - _TAGS:,} more; -o json lists all"))
    note(dim(f"To take it back: jettison undo {run.id}"))
