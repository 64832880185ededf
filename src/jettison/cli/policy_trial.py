"""``jettison policy test``."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jettison.cli.in_use import InUse, InUseMayBeEmpty, read_held
from jettison.cli.options import Output
from jettison.cli.output import Format, counted, dim, emit, note, red, timestamp, write
from jettison.cli.prune_options import CHANGES, Summary, Whole
from jettison.errors import UsageError, VerificationFailed, storage_errors

if TYPE_CHECKING:
    from jettison.cli import documents
    from jettison.model.retention.policy import Policy
    from jettison.model.retention.prune_plan import PrunePlan

__all__ = ["TEST_EXAMPLE", "try_policy_file"]

TEST_EXAMPLE = (
    "Example: jettison policy test retention.yml · "
    "jettison policy test retention.yml --on snapshot.json --at 2027-01-01 · "
    "jettison policy test retention.yml --on snapshot.json --expect golden.json"
)

_SHOWN = 20


def try_policy_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The policy.")],
    on: Annotated[
        Path | None,
        typer.Option(
            "--on", metavar="SNAPSHOT", help="Decide on what `jettison snapshot` printed."
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="The moment: 2027-01-01, or 2027-01-01T08:30, in the policy's time zone unless "
            "it has its own. Default: when the snapshot was taken.",
        ),
    ] = None,
    in_use: InUse = None,
    in_use_may_be_empty: InUseMayBeEmpty = False,
    expect: Annotated[
        Path | None,
        typer.Option(
            "--expect",
            metavar="FILE",
            help="What `-o json` printed once: exit code 5 if other things go or stay now.",
        ),
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit code 3 if anything would go, 0 if not.")
    ] = False,
    summary: Summary = False,
    whole: Whole = False,
    output: Output = Format.TABLE,
) -> None:
    """Check a policy file, and show what it would do to a registry at any moment.

    Without --on the file alone is checked. No registry is asked, and nothing is changed.
    """
    from jettison.configuration.policy_file import read_policy

    policy = read_policy(file)
    if on is None:
        if at or in_use or expect or exit_code:
            raise UsageError("there is nothing to decide on", hint="Give --on SNAPSHOT.")
        _tell(file, policy, output)
        return
    made = _decide(policy, on, at, in_use, may_be_empty=in_use_may_be_empty)
    wrong = None if expect is None else _compare(expect, made)
    if output is Format.TABLE and expect is None:
        _print(made, summary=summary, whole=whole)
    elif output is Format.TABLE and not wrong:
        write(f"{file} does what {expect} expects: {counted(len(made.decisions), 'item')} would go")
    elif output is not Format.TABLE:
        trial: documents.PolicyTrial = {"plan": _shown(made)}
        emit(output, trial)
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise VerificationFailed(
            "\n".join([f"{file} does not do what {expect} expects", *wrong[:_SHOWN], *more]),
            hint=f"If that is meant, write it anew: add -o json > {expect}, without --expect.",
        )
    if exit_code and made.decisions:
        raise typer.Exit(CHANGES)


def _tell(file: Path, policy: "Policy", output: Format) -> None:
    if output is not Format.TABLE:
        told: documents.CheckedPolicy = {"policy": policy, "fingerprint": policy.fingerprint}
        emit(output, told)
        return
    write(f"{file}: {counted(len(policy.rules), 'rule')}, no mistakes")
    if not any(rule.removes for rule in policy.rules):
        note("warning: no rule has remove, so nothing goes, and `jettison prune` refuses it")
    note(*(f"question: {question}" for question in policy.questions))
    note(dim("To see what it does: jettison snapshot HOST > FILE, and --on FILE"))


def _decide(
    policy: "Policy", on: Path, at: str | None, in_use: list[str] | None, *, may_be_empty: bool
) -> "PrunePlan":
    from jettison.model.retention.snapshot_document import read_document
    from jettison.model.retention.trial import try_policy

    held = read_held(in_use, may_be_empty=may_be_empty)
    document = read_document(_content(on), str(on))
    moment = document.taken if at is None else _moment(at, policy)
    return try_policy(document, policy, at=moment, held=held)


def _content(path: Path) -> bytes:
    from jettison.model.codec import LARGEST

    with storage_errors("read", path), path.open("rb") as file:
        return file.read(LARGEST + 1)


def _moment(text: str, policy: "Policy") -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--at {text!r} is no time", hint="Write 2027-01-01, or 2027-01-01T08:30+01:00."
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=policy.zone)).timestamp()


def _compare(path: Path, made: "PrunePlan") -> list[str]:
    from jettison.model.retention.trial import differences, read_expected

    return differences(read_expected(_content(path), str(path)), made)


def _shown(made: "PrunePlan") -> "documents.TrialDetails":
    """Return what a golden file should have: nothing that depends on how it was carried out."""
    from jettison.cli.prune_document import document_of

    whole = document_of(made)
    return {
        "registry": made.plan.registry,
        "at": whole["decided"],
        "policy_fingerprint": whole["policy_fingerprint"],
        "decisions": whole["decisions"],
        "stays": whole["stays"],
        "counts": whole["counts"],
        "bytes": whole["bytes"],
        "sums": whole["sums"],
        "groups": whole["groups"],
        "objections": whole["objections"],
        "notes": whole["notes"],
    }


def _print(made: "PrunePlan", *, summary: bool, whole: bool) -> None:
    from jettison.cli.prune_plan import print_prune_plan

    note(dim(f"{made.plan.registry}, as if it were {timestamp(made.decided)}"))
    print_prune_plan(made, summary=summary, whole=whole)
    for one in made.refused:
        note(red(f"refused by a prune: {one.message}") + dim(f" ({one.option} allows it)"))
    if not made.decisions:
        note("Nothing is to be removed.")
