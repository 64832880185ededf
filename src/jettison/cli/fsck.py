"""``jettison fsck``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.options import (
    AllowForeignOwner,
    AssumeQuiescent,
    DryRun,
    Grace,
    Output,
    Yes,
    confirm,
    user_journal,
)
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
    from jettison.cli import documents
    from jettison.fsck import CheckOptions
    from jettison.jobs.workspace import Workspace
    from jettison.model.check_report import CheckReport
    from jettison.model.journal import RepairEntry
    from jettison.model.repair import RepairPlan

__all__ = ["EXAMPLE", "fsck"]

EXAMPLE = (
    "Example: jettison fsck /var/lib/registry · "
    "jettison fsck /etc/docker/registry/config.yml --quick · "
    "jettison fsck /var/lib/registry --repair"
)
_EXAMPLES = 5
_TAGS = 50
_LATER = "Once the grace period is over (see --grace), repair again"


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
            help="Move damaged files out of the way, and rebuild links that follow from the rest.",
        ),
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not read the content of blobs, only of manifests.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    grace: Grace = "1h",  # type: ignore[assignment] # parsed by the option
    assume_quiescent: AssumeQuiescent = False,
    allow_foreign_owner: AllowForeignOwner = False,
    output: Output = Format.TABLE,
) -> None:
    """Read the whole storage, and report damage and the tags that cannot be pulled.

    Exit code 5: damage keeps an image from being pulled, or holds up the collector. --repair
    deletes nothing: it moves damaged files into jettison/fsck/ in the storage, and `jettison undo`
    moves them back, unless a `gc --now` came in between. Exit code 3: some damage remains that only
    a push can heal. In a bucket a repair needs a registry that is stopped or read-only; else exit
    code 12.
    """
    from jettison.fsck import HASHING, CheckOptions
    from jettison.jobs.repair import RepairJob
    from jettison.jobs.workspace import open_workspace
    from jettison.model.plausibility import Consent

    if dry_run and not repair:
        raise UsageError("--dry-run is about --repair: without it, nothing is ever changed")
    place = open_workspace(target, users=user_journal())
    options = CheckOptions(grace=grace, quick=quick)
    if repair and not (dry_run or assume_quiescent):
        RepairJob(place, options).require_quiescent()
    with reporting(in_bytes=frozenset({HASHING})) as progress:
        report = RepairJob(place.reporting_to(progress), options).check()
    if output is Format.TABLE:
        _print(report)
    if not repair:
        if output is not Format.TABLE:
            _emit(output, report)
        _require_sound(report, target)
        return
    job = RepairJob(place, options)
    plan = job.plan(report)
    if output is Format.TABLE:
        _print_plan(plan)
    if plan.steps:
        job.require_own_tree(Consent(foreign_owner=allow_foreign_owner))
    if dry_run or not plan.steps:
        if output is not Format.TABLE:
            _emit(output, report, {"plan": plan, "moved_tags": plan.moved_tags}, closing=True)
        _require_sound(report, target, plan)
        return
    confirm(f"Repair {report.root} in {counted(len(plan.steps), 'step')}?", yes=yes)
    _repair(place, plan, report, options, (target,), output, assume_quiescent=assume_quiescent)


def _repair(
    place: "Workspace",
    plan: "RepairPlan",
    before: "CheckReport",
    options: "CheckOptions",
    request: tuple[str, ...],
    output: Format,
    *,
    assume_quiescent: bool,
) -> None:
    from jettison.jobs.repair import RepairJob

    configuration = place.configuration
    if configuration is not None and configuration.storage.cache == "inmemory":
        note(
            yellow("warning: the registry remembers blobs (inmemory); restart it after this, ")
            + yellow("else pushes may skip what was moved aside.")
        )
    with reporting() as progress:
        job = RepairJob(place.reporting_to(progress), options)
        run = job.apply(plan, request, assume_quiescent=assume_quiescent)
    with reporting() as progress:
        after = RepairJob(place.reporting_to(progress), options).verify(before)
    if output is Format.TABLE:
        _print_done(before, after, run)
    else:
        more = {"run": run, "plan": plan, "moved_tags": plan.moved_tags, "before": _counts(before)}
        _emit(output, after, more, closing=True)
    left = [] if run.receipt is None else [one for one in run.receipt.findings if not one.ok]
    if after.damage:
        later = [_LATER + "."] if any(skipped.waits for skipped in plan.skipped) else []
        raise PartlyDone(
            f"{counted(after.damage, 'defect is', 'defects are')} left{_cost(after)}",
            hint=" ".join([*later, *_by_hand(after)]) or None,
        )
    if left:
        raise PartlyDone(
            f"not everything was done: {left[-1].subject}: {left[-1].sentence}",
            hint="Look at what is named there, then check again.",
        )


def _cost(report: "CheckReport") -> str:
    tags = counted(len(report.unpullable), "tag")
    return f"; {tags} cannot be pulled whole" if report.unpullable else ""


def _by_hand(report: "CheckReport") -> Iterator[str]:
    """Yield what a person can do about damage."""
    from jettison.model.check_report import DefectClass

    damage = [defect for defect in report.defects if defect.is_damage]
    unread = [
        defect
        for defect in damage
        if defect.kind in {DefectClass.UNREADABLE, DefectClass.PERMISSIONS}
    ]
    # What a repair writes again heals a tag by itself.
    rest = [
        defect
        for defect in damage
        if defect not in unread and (defect.remedy is None or defect.remedy.content is None)
    ]
    if unread:
        yield (
            "See that what cannot be read can be: owner and mode, the disk, rights in a bucket; "
            "or run this as the registry's user."
        )
    if any(defect.tags for defect in rest):
        yield "Push the images that cannot be pulled again, or delete their tags."
    elif any(defect.remedy is None for defect in rest):
        yield "Look at the paths above: what does not belong there is for you to remove."


def _require_sound(report: "CheckReport", target: str, plan: "RepairPlan | None" = None) -> None:
    """Raise if there is damage, with a next step; ``plan`` is what a repair would do."""
    mendable = sum(defect.remedy is not None for defect in report.defects)
    step = f"jettison fsck {target} --repair (can mend {mendable:,} of {len(report.defects):,})"
    if plan is not None and not plan.steps:
        waiting = sum(skipped.waits for skipped in plan.skipped)
        step = _LATER if waiting else ""
        mendable = waiting
    if report.damage:
        harm = "does" if report.damage == 1 else "do"
        hint = " ".join(_by_hand(report))
        raise VerificationFailed(
            f"{report.root}: {counted(report.damage, 'defect')} that {harm} harm{_cost(report)}",
            hint=f"{step}. {hint} Without that repair a push may skip what is damaged."
            if mendable and hint
            else hint or (f"{step}." if step else None),
        )
    if mendable:
        note(f"{bold(' next:')} {step}, or the next gc: it takes most of it.")


def _emit(
    output: Format,
    report: "CheckReport",
    more: dict[str, object] | None = None,
    *,
    closing: bool = False,
) -> None:
    """Write the report; ``closing``: NDJSON ends with a line of all but the defects."""
    told: dict[str, object] = {
        "root": report.root,
        "hashed": report.hashed,
        "repositories": report.repositories,
        "blobs": report.blobs,
        "bytes": report.bytes,
        "seconds": report.seconds,
        **_counts(report),
        "flaws": report.defects,
        "unpullable": report.unpullable,
        **(more or {}),
    }
    if output is not Format.NDJSON:
        emit(output, told)
        return
    emit(output, {"root": report.root, "flaws": told.pop("flaws")}, "flaws")
    if closing:
        emit(output, told)


def _counts(report: "CheckReport") -> "documents.Counts":
    return {
        "damage": report.damage,
        "notices": len(report.defects) - report.damage,
        "classes": report.classes,
    }


def _print(report: "CheckReport") -> None:
    looked = "read and hashed" if report.hashed else "looked at, not read (--quick)"
    write(
        f"{report.root}: {counted(report.repositories, 'repository', 'repositories')}; "
        f"{counted(report.blobs, 'blob')}, {size(report.bytes)}, {looked}"
    )
    for kind, tally in report.classes.items():
        count = tally.count
        mark = red("✗") if tally.damage else yellow("·")
        write("", f"{mark} {bold(kind)} ({kind.meaning}): {count:,}")
        shown = [defect for defect in report.defects if defect.kind is kind][:_EXAMPLES]
        write(*(f"    {defect.path} {defect.sentence}" for defect in shown))
        if count > len(shown):
            write(dim(f"    and {count - len(shown):,} more; -o ndjson lists all"))
    unpullable = report.unpullable
    if unpullable:
        write("", bold(f"{counted(len(unpullable), 'tag')} cannot be pulled whole:"))
        write(*(f"  {tag.name}" for tag in unpullable[:_TAGS]))
        if len(unpullable) > _TAGS:
            write(dim(f"  and {len(unpullable) - _TAGS:,} more; -o json lists all"))
    if not report.damage:
        more = "" if not report.defects else ", despite the notices above"
        more += f", but for {report.may_lack}" if report.may_lack else ""
        if report.hashed:
            write("", green("✓") + f" Everything that is tagged or linked can be pulled{more}.")
        else:
            found = f"Nothing was seen that keeps an image from being pulled{more}"
            write("", green("✓") + f" {found}; the content of blobs was not read.")


def _print_plan(plan: "RepairPlan") -> None:
    write("", bold("To repair:"))
    for action, count in plan.counts.items():
        write(f"  {count:,} to do: {action}")
        shown = [step for step in plan.steps if step.action is action][:_EXAMPLES]
        write(*(f"    {step.path}" for step in shown))
        if count > len(shown):
            write(dim(f"    and {count - len(shown):,} more"))
    if plan.moved_tags:
        write("  Tags that are moved aside:", *(f"    {tag}" for tag in plan.moved_tags))
    if plan.steps:
        write(f"  What is moved goes to {plan.folder}; nothing is deleted.")
    else:
        write("  nothing that could be mended from what is there")
    for skipped in plan.skipped:
        note(yellow(f"left: {skipped.path} {skipped.reason}"))


def _print_done(before: "CheckReport", after: "CheckReport", run: "RepairEntry") -> None:
    from jettison.cli.receipt import print_receipt
    from jettison.model.check_report import DefectTally

    write("")
    print_receipt(run)
    write("")
    was, now, none = before.classes, after.classes, DefectTally()
    rows: list[tuple[str, str, str]] = [
        (kind, f"{was.get(kind, none).count:,}", f"{now.get(kind, none).count:,}")
        for kind in dict.fromkeys((*was, *now))
    ]
    rows.append(("tags not pullable", f"{len(before.unpullable):,}", f"{len(after.unpullable):,}"))
    table(["WHAT", "BEFORE", "AFTER"], rows, right=["BEFORE", "AFTER"])
    if after.unpullable:
        write("", "These cannot be pulled whole; those of damaged blobs can now be pushed again:")
        write(*(f"  {tag.name}" for tag in after.unpullable[:_TAGS]))
        if len(after.unpullable) > _TAGS:
            write(dim(f"  and {len(after.unpullable) - _TAGS:,} more; -o json lists all"))
    note(dim(f"To take it back: jettison undo {run.id}"))
