"""``jettison gc``."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.options import (
    AssumeQuiescent,
    DryRun,
    Grace,
    Output,
    Yes,
    confirm,
    parse_duration,
    timestamp,
    user_journal,
)
from jettison.cli.output import (
    Format,
    ago,
    bold,
    counted,
    dim,
    emit,
    note,
    size,
    size_exactly,
    write,
    yellow,
)
from jettison.cli.progress import reporting
from jettison.errors import PartlyDone, UsageError

if TYPE_CHECKING:
    from jettison.gc.plan import CollectionPlan

__all__ = ["EXAMPLE", "gc"]

EXAMPLE = (
    "Example: jettison gc /var/lib/registry -n · "
    "jettison gc /etc/docker/registry/config.yml --yes · "
    "jettison gc config.yml --untagged 30d"
)


def gc(
    target: Annotated[
        str,
        typer.Argument(
            metavar="DIR|CONFIG", help="The storage's root directory, or the configuration file."
        ),
    ],
    dry_run: DryRun = False,
    yes: Yes = False,
    untagged: Annotated[
        float | None,
        typer.Option(
            "--untagged",
            parser=parse_duration,
            metavar="AGE",
            help="Also remove manifests that no tag, index or subject has held, pushed longer ago "
            "than this (0s: all that are idle).",
        ),
    ] = None,
    grace: Grace = "1h",  # type: ignore[assignment] # parsed by the option
    now: Annotated[
        bool, typer.Option("--now", help="End the undo windows first: what was removed is gone.")
    ] = False,
    assume_quiescent: AssumeQuiescent = False,
    output: Output = Format.TABLE,
) -> None:
    """Free what no tag, no kept manifest and no undo window needs.

    Safe beside a running registry: only what was not touched for the grace period is taken, and
    what somebody comes to want meanwhile is put back. --grace 0s and --now need a registry that is
    stopped or read-only. What cannot be read protects all it may need, and makes the exit code 3.
    """
    from jettison.gc.job import prepare_collection, run_collection
    from jettison.gc.plan import CollectOptions
    from jettison.gc.windows import tree_journal
    from jettison.store.configuration import open_storage

    if target.startswith(("http://", "https://")):
        raise UsageError(
            f"{target}: collecting needs the storage, and no registry collects over its API yet",
            hint="Run this where the storage is: jettison gc DIR or jettison gc CONFIG.",
        )
    tree, configuration = open_storage(Path(target), os.environ)
    with reporting() as progress:
        plan = prepare_collection(
            tree,
            configuration,
            CollectOptions(grace=grace, untagged=untagged),
            time.time(),
            end_undo=now,
            assume_quiescent=assume_quiescent,
            progress=progress,
        )
    if output is Format.TABLE:
        _print(plan)
    if dry_run:
        if output is not Format.TABLE:
            emit(output, {"plan": plan})
    else:
        if not plan.empty:
            gain = f"free {size(plan.bytes)} in {counted(len(plan.blobs), 'blob')}"
            confirm(f"Collect {tree.root}: {gain}, for good?", yes=yes)
        with reporting() as progress:
            done = run_collection(
                tree, plan, (target,), time.time, timestamp, end_undo=now, progress=progress
            )
        user_journal().point(done.run, tree_journal(tree))
        if output is Format.TABLE:
            from jettison.cli.receipt import print_receipt

            write("")
            print_receipt(done.run)
            _warn_of_cache(configuration.cache if configuration is not None else None)
        else:
            emit(output, {"run": done.run, "collection": done.receipt})
        if not done.receipt.ok:
            raise _undone(len(done.receipt.problems) or done.receipt.failures)
    if plan.problems:
        raise _undone(len(plan.problems))


def _undone(number: int) -> PartlyDone:
    return PartlyDone(
        f"{counted(number, 'problem')}; what they may need was kept, the rest was collected",
        hint="Push those images again or delete them, then collect again.",
    )


def _warn_of_cache(cache: str | None) -> None:
    if cache:
        note(
            yellow(f"warning: the registry remembers blobs ({cache}); restart it, else pushes may ")
            + yellow("skip blobs that are gone now.")
        )


def _print(plan: "CollectionPlan") -> None:
    write(f"{plan.root}: {counted(plan.repositories, 'repository', 'repositories')}")
    write(f"  {bold('free')}   {counted(len(plan.blobs), 'blob')}, {size_exactly(plan.bytes)}")
    if plan.revisions:
        write(f"         {counted(len(plan.revisions), 'untagged manifest')}")
    if plan.layer_links:
        write(f"         {counted(len(plan.layer_links), 'layer link')} that nothing uses")
    write(f"  keep   {counted(plan.kept_blobs, 'blob')} that something needs")
    if plan.young.count:
        write(
            f"         {counted(plan.young.count, 'blob')}, {size_exactly(plan.young.bytes)}, "
            f"younger than the grace period of {ago(plan.options.grace)}"
        )
    for held in plan.held:
        until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(held.until))
        write(
            f"         {counted(held.count, 'blob')}, {size_exactly(held.bytes)}, held until "
            f"{until} for an undo of run {held.run} (--now frees them)"
        )
    if plan.protected.count:
        text = f"{counted(plan.protected.count, 'blob')}, {size_exactly(plan.protected.bytes)}"
        write(f"         {text}, protected by problems")
    for problem in plan.problems:
        note(yellow(f"warning: {problem.path}: {problem.message}"))
    if plan.empty:
        note(dim("There is nothing to collect."))
