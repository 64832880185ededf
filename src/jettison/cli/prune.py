"""``jettison prune``."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli import policy_options as flags
from jettison.cli.in_use import InUse, InUseMayBeEmpty, read_held
from jettison.cli.options import (
    AssumeQuiescent,
    Connection,
    DryRun,
    Grace,
    Output,
    Storage,
    Yes,
    confirm,
    parse_duration,
    run,
    with_connection,
)
from jettison.cli.output import Format, command_line, counted, dim, emit, note, size, write
from jettison.cli.progress import reporting
from jettison.errors import JettisonError, NotFoundError, NotQuiescent, PartlyDone, UsageError

if TYPE_CHECKING:
    from jettison.api.registry import AsyncRegistrySession
    from jettison.jobs.prune import PreparedPrune, PruneJob, PruneRequest
    from jettison.jobs.remove import RemovalSettings
    from jettison.model.journal import RemovalEntry
    from jettison.model.retention.decide import Held
    from jettison.model.retention.policy import Policy
    from jettison.model.retention.prune_plan import Allowed, PrunePlan
    from jettison.model.retention.pulls import KnownPulls

__all__ = ["EXAMPLE", "apply_plan", "make_settings", "prune", "read_pulls"]

EXAMPLE = (
    "Example: jettison prune localhost:5000 --untagged 7d -n · "
    "jettison prune 'localhost:5000/team/*' --match 'pr-*' --keep-last 10 --keep-within 30d · "
    "jettison prune --policy retention.yml /var/lib/registry --reclaim --yes"
)

CHANGES = 3
"""The exit code of ``--exit-code`` where a dry run finds something to remove."""

_LOOKS_WRONG = "What looks wrong"
AllowAllTags = Annotated[
    bool,
    typer.Option(
        "--allow-all-tags",
        help="Allow every tag of a repository to go.",
        rich_help_panel=_LOOKS_WRONG,
    ),
]
AllowIncomplete = Annotated[
    bool,
    typer.Option(
        "--allow-incomplete",
        help="Allow a repository whose list of tags has gaps to be pruned.",
        rich_help_panel=_LOOKS_WRONG,
    ),
]
AllowForeignOwner = Annotated[
    bool,
    typer.Option(
        "--allow-foreign-owner",
        help="Allow a storage that belongs to a program such as Harbor to be pruned.",
        rich_help_panel=_LOOKS_WRONG,
    ),
]
IgnoreClock = Annotated[
    bool,
    typer.Option(
        "--ignore-clock",
        help="Allow the registry's clock and this machine's to differ.",
        rich_help_panel=_LOOKS_WRONG,
    ),
]
MaxRemoval = Annotated[
    str | None,
    typer.Option(
        "--max-removal",
        metavar="PERCENT",
        help="Refuse to remove more than this share of the tags or of their bytes; 30% unless the "
        "policy has another.",
        rich_help_panel=_LOOKS_WRONG,
    ),
]
PullsFile = Annotated[
    Path | None,
    typer.Option("--pulls", metavar="FILE", help="The book of pulls that `jettison listen` keeps."),
]
TrustTimes = Annotated[
    bool,
    typer.Option(
        "--trust-times",
        help="Take the times of a storage's links as they are, even if a copy seems to have made "
        "them.",
        rich_help_panel=_LOOKS_WRONG,
    ),
]
Backup = Annotated[
    Path | None,
    typer.Option(
        "--backup", metavar="DIR", help="Save everything as an OCI layout first, to undo from."
    ),
]
WithoutUndo = Annotated[
    bool,
    typer.Option(
        "--without-undo",
        help="Allow a removal that cannot be undone, because the registry drops blobs at once.",
    ),
]
UndoWindow = Annotated[
    float,
    typer.Option(
        "--undo-window",
        parser=parse_duration,
        metavar="DURATION",
        help="With a storage: how long collections keep what was removed, so that undo works.",
    ),
]
Reclaim = Annotated[
    bool,
    typer.Option(
        "--reclaim",
        help="Collect and verify at once; needs the storage. Cannot be undone without --backup.",
    ),
]
Summary = Annotated[
    bool, typer.Option("--summary", help="Print sums by repository and reason, not each tag.")
]
Whole = Annotated[
    bool, typer.Option("--list", help="Print each tag, also if they are many on a terminal.")
]


@with_connection
def prune(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="HOST[/GLOB]|CONFIG|DIR",
            help="A registry, or its storage alone. Default: the registry that the policy names.",
        ),
    ] = None,
    policy: flags.PolicyFile = None,
    match: flags.Match = None,
    but: flags.Except = None,
    group_by: flags.GroupBy = None,
    clock: flags.ClockOption = "auto",
    time_zone: flags.TimeZone = "UTC",
    keep_last: flags.Last = None,
    keep_within: flags.Within = None,
    keep_hourly: flags.Hourly = None,
    keep_daily: flags.Daily = None,
    keep_weekly: flags.Weekly = None,
    keep_monthly: flags.Monthly = None,
    keep_yearly: flags.Yearly = None,
    keep_pulled_within: flags.PulledWithin = None,
    keep_tag: flags.KeepTag = None,
    older_than: flags.OlderThan = None,
    beyond: flags.Beyond = None,
    and_beyond: flags.AndBeyond = None,
    or_beyond: flags.OrBeyond = None,
    not_pulled_within: flags.NotPulledWithin = None,
    untagged: flags.Untagged = None,
    orphans: flags.Orphans = None,
    in_use: InUse = None,
    pulls: PullsFile = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the plan, and remove nothing."),
    ] = None,
    exit_code: Annotated[
        bool,
        typer.Option(
            "--exit-code", help="With -n or --out: exit code 3 if anything would go, 0 if not."
        ),
    ] = False,
    summary: Summary = False,
    whole: Whole = False,
    reclaim: Reclaim = False,
    storage: Storage = None,
    backup: Backup = None,
    without_undo: WithoutUndo = False,
    undo_window: UndoWindow = "7d",  # type: ignore[assignment] # parsed by the option
    grace: Grace = "1h",  # type: ignore[assignment] # parsed by the option
    assume_quiescent: AssumeQuiescent = False,
    allow_all_tags: AllowAllTags = False,
    allow_incomplete: AllowIncomplete = False,
    allow_foreign_owner: AllowForeignOwner = False,
    ignore_clock: IgnoreClock = False,
    in_use_may_be_empty: InUseMayBeEmpty = False,
    trust_times: TrustTimes = False,
    max_removal: MaxRemoval = None,
    output: Output = Format.TABLE,
    *,
    connection: Connection,
) -> None:
    """Remove images by a retention policy, each with the reason, and undo it as one run.

    Options are one rule: of the tags that --match names, everything goes that no --keep-… option
    keeps. A policy file has any number of rules. Keep beats remove, what no rule names stays, and
    an image whose age is not known is never old. Images are counted: tags of one image take one
    place, and signatures, platforms and attestations follow their image. Exit code 4: the plan
    looks like a mistake, and nothing was changed. Run the same command to finish an interrupted
    run.
    """
    from jettison.configuration.policy_file import require_useful
    from jettison.model.retention.prune_plan import Allowed
    from jettison.model.retention.quantities import Share

    chosen = flags.PolicyFlags(
        match,
        but,
        group_by,
        clock,
        time_zone,
        keep_last,
        keep_within,
        keep_hourly,
        keep_daily,
        keep_weekly,
        keep_monthly,
        keep_yearly,
        keep_pulled_within,
        keep_tag,
        older_than,
        beyond,
        and_beyond,
        or_beyond,
        not_pulled_within,
        untagged,
        orphans,
    )
    rules = _policy(policy, chosen)
    where = target or rules.registry
    if not where:
        raise UsageError(
            "no registry is named",
            hint="Name one: jettison prune HOST --policy FILE, or registry: HOST in the policy.",
        )
    require_useful(rules)
    found = flags.find_target(where, storage)
    if reclaim and found.storage is None:
        raise UsageError(
            "--reclaim needs the registry's storage", hint="Add --storage CONFIG or --storage DIR."
        )
    settings = make_settings(
        reclaim=reclaim,
        grace=grace,
        window=undo_window,
        backup=backup,
        without_undo=without_undo,
        assume_quiescent=assume_quiescent,
    )
    allowed = Allowed(
        all_tags=allow_all_tags,
        clock=ignore_clock,
        incomplete=allow_incomplete,
        foreign_owner=allow_foreign_owner,
        most=None if max_removal is None else Share(max_removal),
    )
    work = _Prune(
        found,
        connection,
        output,
        settings,
        only=out is not None or dry_run,
        yes=yes,
        summary=summary,
        whole=whole,
    )
    if exit_code and not (dry_run or out):
        raise UsageError("--exit-code is about a plan that is not applied", hint="Add -n or --out.")
    if out is not None:
        _require_place(out)
    held = read_held(in_use, may_be_empty=in_use_may_be_empty)
    request = _request(found, rules, allowed, held, pulls, trust_times=trust_times)
    outcome = run(work.prune(request), changing=True)
    lists = [word for name in in_use or () for word in ("--in-use", name)]
    lists += [] if pulls is None else ["--pulls", str(pulls)]
    work.finish(outcome, out=out, exit_code=exit_code, more=lists)


def _policy(path: Path | None, chosen: flags.PolicyFlags) -> "Policy":
    from jettison.configuration.policy_file import read_policy
    from jettison.model.retention.patterns import Pattern
    from jettison.model.retention.policy import Protect

    if path is None:
        found = chosen.policy()
    elif chosen.say_rules:
        raise UsageError(
            "--policy and options that are a policy exclude each other",
            hint="Write it into the file; only --keep-tag adds to it.",
        )
    else:
        import msgspec

        found = read_policy(path)
        kept = tuple(map(Pattern, chosen.keep_tag or ()))
        protect = Protect(
            (*found.protect.tags, *kept), found.protect.repositories, found.protect.digests
        )
        found = msgspec.structs.replace(found, protect=protect)
    return found


def make_settings(
    *,
    reclaim: bool,
    grace: float,
    window: float,
    backup: Path | None,
    without_undo: bool,
    assume_quiescent: bool,
) -> "RemovalSettings":
    """Return the settings that the options mean."""
    from jettison.jobs.remove import RemovalSettings

    if reclaim and grace == 0 and not assume_quiescent:
        raise NotQuiescent(
            "--grace 0 on a registry that is serving could break a push that is going on",
            hint="Leave out --grace, or say that nobody pushes now:",
            again=("--assume-quiescent",),
        )
    return RemovalSettings(
        reclaim=reclaim,
        grace=grace,
        window=window,
        backup=None if backup is None else str(backup.absolute()),
        without_undo=without_undo,
    )


def read_pulls(path: Path) -> "KnownPulls":
    """Return what a book of pulls tells."""
    from jettison.storage.pulls import read_book

    known = read_book(path, time.time())
    if known is None:
        raise NotFoundError(f"there is no book of pulls in {path}", hint="See `jettison listen`.")
    return known


def _request(
    target: flags.Target,
    policy: "Policy",
    allowed: "Allowed",
    held: "Held",
    pulls: Path | None,
    *,
    trust_times: bool,
) -> "PruneRequest":
    from jettison.jobs.prune import PruneRequest
    from jettison.model.retention.patterns import Pattern

    return PruneRequest(
        policy,
        (str(target),),
        tuple(map(Pattern, target.repositories)),
        held,
        None if pulls is None else read_pulls(pulls),
        allowed,
        trust_times,
    )


class Outcome:
    """The plan that was made or read, and the run that applied it; each None if there is none."""

    def __init__(self, plan: "PrunePlan | None", entry: "RemovalEntry | None" = None) -> None:
        self.plan = plan
        self.entry = entry


class _Prune:
    """A prune on the command line: plan, print, ask, apply, print.

    ``only``: nothing is applied.
    """

    def __init__(
        self,
        target: flags.Target,
        connection: Connection,
        output: Format,
        settings: "RemovalSettings",
        *,
        only: bool,
        yes: bool,
        summary: bool,
        whole: bool,
    ) -> None:
        self._target = target
        self._connection = connection
        self._output = output
        self._settings = settings
        self._only = only
        self._yes = yes
        self._summary = summary
        self._whole = whole

    async def prune(self, request: "PruneRequest") -> Outcome:
        """Make a plan and apply it, or finish the interrupted run of the same command."""
        from jettison import connect
        from jettison.jobs.prune import PruneJob

        target = self._target
        async with connect(
            target.host, storage=target.storage, connection=self._connection
        ) as session:
            with reporting() as progress:
                job = PruneJob(session.workspace.reporting_to(progress))
                fingerprint = job.fingerprint(request, self._settings)
                begun, made = None, None
                if not self._only:
                    begun = await job.find_interrupted(
                        fingerprint, self._settings, request, session.cache
                    )
                if begun is None:
                    made = await job.plan(request, session.cache)
            if begun is not None:
                return await self._rest(session, begun)
            assert made is not None  # noqa: S101 - one of both
            return await self._go_on(session, made, fingerprint, made.decided)

    async def apply(
        self,
        made: "PrunePlan",
        held: "Held",
        pulls: "KnownPulls | None",
        allowed: "Allowed",
        *,
        skip_moved: bool,
    ) -> Outcome:
        """Apply a plan that was made earlier, or the rest of it."""
        from jettison import connect
        from jettison.jobs.prune import PruneJob

        target = self._target
        async with connect(
            target.host, storage=target.storage, connection=self._connection
        ) as session:
            with reporting() as progress:
                job = PruneJob(session.workspace.reporting_to(progress))
                fingerprint = job.fingerprint_of(made)
                begun = None
                if not self._only:
                    begun = await job.find_rest(made, self._settings, held, pulls, session.cache)
                done = None if begun is not None else job.find_done(fingerprint)
                looked = time.time()
                if begun is None and done is None:
                    made = await job.renew(
                        made,
                        held,
                        skip=skip_moved,
                        allowed=allowed,
                        pulls=pulls,
                        cache=session.cache,
                    )
            if begun is not None:
                return await self._rest(session, begun)
            if done is not None:
                note(f"This plan was applied already, as run {done.id}; nothing was changed.")
                if self._output is not Format.TABLE:
                    emit(self._output, {"run": done})
                return Outcome(None)
            return await self._go_on(session, made, fingerprint, looked)

    async def _go_on(
        self, session: "AsyncRegistrySession", made: "PrunePlan", fingerprint: str, looked: float
    ) -> Outcome:
        """Print a plan and, if that is wanted, apply it; ``looked`` is when it was made."""
        from jettison.jobs.prune import PruneJob

        nothing = self._only or not made.plan.steps
        if self._output is Format.TABLE:
            from jettison.cli.prune_plan import print_prune_plan

            print_prune_plan(made, summary=self._summary, whole=self._whole)
        elif nothing:
            from jettison.cli.prune_document import document_of

            emit(self._output, {"plan": document_of(made)})
        if nothing:
            if not self._only:
                PruneJob(session.workspace).note_untagged(made)
            return Outcome(made)
        return await self._apply(session, made, fingerprint, looked)

    async def _rest(self, session: "AsyncRegistrySession", begun: "PreparedPrune") -> Outcome:
        entry = begun.removal.begun
        assert entry is not None  # noqa: S101 - that is why it was found
        note(f"Run {entry.id} of the same command was interrupted; this finishes it.")
        steps = counted(len(entry.plan.steps), "step")
        confirm(f"Finish run {entry.id}, of {steps}?", yes=self._yes)
        return Outcome(None, await self._carried_out(session, begun))

    async def _apply(
        self, session: "AsyncRegistrySession", made: "PrunePlan", fingerprint: str, looked: float
    ) -> Outcome:
        from jettison.cli.receipt import what_goes
        from jettison.jobs.prune import PruneJob, require_unopposed

        require_unopposed(made)
        job = PruneJob(session.workspace)
        prepared = await job.prepare(made, self._settings, fingerprint, looked)
        job.removal.require_way_back(prepared.removal)
        promise = job.removal.promise(prepared.removal)
        if self._output is Format.TABLE:
            note(dim(f"Undo: {promise.sentence}."))
        plan = prepared.removal.plan
        what = what_goes(plan.tag_count, plan.manifest_count)
        final = "" if promise.possible else ", for good"
        place = self._target.host or self._target.storage
        gain = size(plan.estimate.freed_bytes)
        confirm(f"Remove {what} from {place}, making {gain} collectable{final}?", yes=self._yes)
        return Outcome(made, await self._carried_out(session, prepared))

    async def _carried_out(
        self, session: "AsyncRegistrySession", prepared: "PreparedPrune"
    ) -> "RemovalEntry":
        from jettison.cli.receipt import print_receipt, undo_line
        from jettison.jobs.prune import PruneJob

        with reporting() as progress:
            job = PruneJob(session.workspace.reporting_to(progress))
            try:
                entry = await job.apply(prepared, session.cache)
            except JettisonError:
                _tell_progress(job, self._output)
                raise
        if self._output is Format.TABLE:
            write("")
            print_receipt(entry)
            note(dim(f"undo: {undo_line(entry, time.time())}  (jettison undo {entry.id})"))
        else:
            emit(self._output, {"run": entry})
        return entry

    def finish(
        self,
        outcome: Outcome,
        *,
        out: Path | None = None,
        exit_code: bool = False,
        more: Sequence[str] = (),
    ) -> None:
        """Write the plan, and end with the exit code that the outcome has.

        ``more`` are the options that the plan is to be applied with.
        """
        from jettison.cli.receipt import require_all_done, require_verified
        from jettison.jobs.prune import require_unopposed

        made, entry = outcome.plan, outcome.entry
        if self._only and made is not None:
            require_unopposed(made)
        if out is not None and made is not None:
            _write_plan(out, made, more)
        if entry is not None:
            if entry.receipt is not None:
                require_verified(entry.receipt.findings, entry.id)
            require_all_done(entry)
        if made is None:
            return
        if entry is None and not made.plan.steps and self._output is Format.TABLE:
            note("Nothing is to be removed.")
        _require_whole(made, applied=entry is not None)
        if exit_code and self._only and made.plan.steps:
            raise typer.Exit(CHANGES)


def _require_whole(made: "PrunePlan", *, applied: bool) -> None:
    """Raise :class:`PartlyDone` (exit 3) if a repository was left out, or what changed."""
    if made.unread:
        more = f" (and {len(made.unread) - 1} more)" if len(made.unread) > 1 else ""
        first = made.unread[0]
        message = f"{first.subject} could not be read, and was left alone: {first.message}{more}"
        raise PartlyDone(message, hint="Run the command again when it can be read.")
    left_out = [one for one in made.objections if one.repository is not None]
    if applied and left_out:
        raise PartlyDone(left_out[0].message, hint=f"{left_out[0].option} allows it.")
    if made.left:
        more = f" (and {len(made.left) - 1} more)" if len(made.left) > 1 else ""
        raise PartlyDone(
            f"left, since it changed: {made.left[0]}{more}",
            hint="Make a new plan for it: jettison prune … --out FILE",
        )


def _tell_progress(job: "PruneJob", output: Format) -> None:
    """Print how far a run came that an error ended."""
    from jettison.cli.receipt import print_receipt

    last = job.removal.last
    if last is None:
        return
    if output is Format.TABLE:
        print_receipt(last)
    else:
        emit(output, {"run": last})


def _require_place(path: Path) -> None:
    """Raise before a long look at a registry if a file cannot be written there."""
    folder = path.absolute().parent
    if path.is_dir() or not folder.is_dir():
        what = "it is a folder" if path.is_dir() else f"there is no folder {folder}"
        raise UsageError(f"cannot write the plan to {path}: {what}")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageError(f"cannot write the plan to {path}: this user may not write there")


def _write_plan(path: Path, made: "PrunePlan", more: Sequence[str]) -> None:
    from jettison.errors import storage_errors
    from jettison.model import codec

    with storage_errors("write", path):
        path.write_bytes(codec.encode(made) + b"\n")
    again = command_line(["apply", str(path), *more])
    note(f"The plan is in {path}; nothing was removed. To apply it: {again}")


def apply_plan(
    made: "PrunePlan",
    target: flags.Target,
    connection: Connection,
    output: Format,
    settings: "RemovalSettings",
    held: "Held",
    pulls: "KnownPulls | None",
    allowed: "Allowed",
    *,
    dry_run: bool,
    yes: bool,
    summary: bool,
    whole: bool,
    skip_moved: bool,
) -> None:
    """Apply a plan from a file: the whole of ``jettison apply`` but its options."""
    work = _Prune(
        target, connection, output, settings, only=dry_run, yes=yes, summary=summary, whole=whole
    )
    outcome = run(work.apply(made, held, pulls, allowed, skip_moved=skip_moved), changing=True)
    work.finish(outcome)
