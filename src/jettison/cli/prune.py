"""``jettison prune``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli import policy_options as flags
from jettison.cli import prune_options as pruning
from jettison.cli.in_use import InUse, InUseMayBeEmpty, read_held
from jettison.cli.options import (
    AssumeQuiescent,
    Connection,
    DryRun,
    Grace,
    Output,
    Storage,
    Yes,
    run,
    with_connection,
)
from jettison.cli.output import Format
from jettison.cli.prune_run import PruneCommand, require_place
from jettison.errors import UsageError

if TYPE_CHECKING:
    from jettison.jobs.prune import PruneRequest
    from jettison.model.retention.decide import Held
    from jettison.model.retention.policy import Policy
    from jettison.model.retention.prune_plan import Allowed

__all__ = ["EXAMPLE", "prune"]

EXAMPLE = (
    "Example: jettison prune 'localhost:5000/team/*' --match 'pr-*' --keep-last 10 -n · "
    "jettison prune /etc/docker/registry/config.yml --untagged 7d · "
    "jettison prune --policy retention.yml /var/lib/registry --reclaim --yes"
)


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
    pulls: pruning.PullsFile = None,
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
    summary: pruning.Summary = False,
    whole: pruning.Whole = False,
    reclaim: pruning.Reclaim = False,
    storage: Storage = None,
    backup: pruning.Backup = None,
    without_undo: pruning.WithoutUndo = False,
    undo_window: pruning.UndoWindow = "7d",  # type: ignore[assignment] # parsed by the option
    grace: Grace = "1h",  # type: ignore[assignment] # parsed by the option
    assume_quiescent: AssumeQuiescent = False,
    allow_all_tags: pruning.AllowAllTags = False,
    allow_incomplete: pruning.AllowIncomplete = False,
    allow_foreign_owner: pruning.AllowForeignOwner = False,
    ignore_clock: pruning.IgnoreClock = False,
    in_use_may_be_empty: InUseMayBeEmpty = False,
    trust_times: pruning.TrustTimes = False,
    max_removal: pruning.MaxRemoval = None,
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
    settings = pruning.make_settings(
        reclaim=reclaim,
        storage=found.storage,
        grace=grace,
        window=undo_window,
        backup=backup,
        without_undo=without_undo,
        assume_quiescent=assume_quiescent,
    )
    allowed = pruning.make_allowed(
        all_tags=allow_all_tags,
        clock=ignore_clock,
        incomplete=allow_incomplete,
        foreign_owner=allow_foreign_owner,
        most=max_removal,
    )
    work = PruneCommand(
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
        require_place(out)
    held = read_held(in_use, may_be_empty=in_use_may_be_empty)
    request = _request(found, rules, allowed, held, pulls, trust_times=trust_times)
    outcome = run(work.prune(request), changing=True)
    lists = [word for name in in_use or () for word in ("--in-use", name)]
    lists += [] if pulls is None else ["--pulls", str(pulls)]
    work.finish(outcome, out=out, exit_code=exit_code, more=lists)


def _policy(path: Path | None, chosen: flags.PolicyFlags) -> "Policy":
    from jettison.configuration.policy_file import read_policy
    from jettison.model.retention.policy import Policy, Protect

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
        kept = flags.read_patterns("--keep-tag", chosen.keep_tag)
        flags.check_options(Policy(protect=Protect(tags=kept)))
        protect = Protect(
            (*found.protect.tags, *kept), found.protect.repositories, found.protect.digests
        )
        found = msgspec.structs.replace(found, protect=protect)
    return found


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
        None if pulls is None else pruning.read_pulls(pulls),
        allowed,
        trust_times,
    )
