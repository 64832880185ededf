"""Whether a run did all that it should: an error for one that did not, or cannot prove it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jettison.errors import PartlyDone, VerificationFailed
from jettison.model.journal import Finding, LeftCode, RemovalEntry

if TYPE_CHECKING:  # a removal of named images loads no policy
    from jettison.model.retention.prune_plan import PrunePlan

__all__ = ["and_more", "require_success", "require_verified", "require_whole"]


def require_verified(findings: Sequence[Finding], run_id: str) -> None:
    """Raise :class:`VerificationFailed` (exit 5) with the first finding that is not as promised."""
    bad = [finding for finding in findings if not finding.ok]
    if bad:
        raise VerificationFailed(
            f"verification failed: {bad[0].text}{and_more(bad)}",
            hint=f"When that is mended: jettison verify {run_id}",
        )


def require_success(run: RemovalEntry) -> None:
    """Raise for a finished run that cannot be proved, or did not do its whole plan.

    That is :class:`VerificationFailed` (exit 5), or :class:`PartlyDone` (exit 3).
    """
    if run.receipt is not None:
        require_verified(run.receipt.findings, run.id)
    if run.left:
        total = len(run.plan.steps)
        steps = f"{total:,} step{'s' * (total != 1)}"
        message = f"{len(run.left)} of {steps} were not done: {run.left[0].reason}"
        rest = "Run the command again for the rest"
        if all(left.code is LeftCode.REFUSED for left in run.left):
            rest = "The registry refuses that, so nothing is to be done again"
        hint = f"{rest}, or `jettison undo {run.id}` to take it back."
        raise PartlyDone(message + and_more(run.left), hint=hint)


def require_whole(made: "PrunePlan") -> None:
    """Raise :class:`PartlyDone` (exit 3) if a repository is left out, or what changed.

    That is so for a plan as for its application: a dry run ends as the run would.
    """
    if made.unread:
        first = made.unread[0]
        message = f"{first.subject} could not be read, and was left alone: {first.message}"
        raise PartlyDone(
            message + and_more(made.unread), hint="Run the command again when it can be read."
        )
    left_out = [one for one in made.objections if one.repository is not None]
    if left_out:
        raise PartlyDone(left_out[0].message, hint=f"{left_out[0].option} allows it.")
    if made.left:
        raise PartlyDone(
            f"left, since it changed: {made.left[0]}{and_more(made.left)}",
            hint="Make a new plan for it: jettison prune … --out FILE",
        )


def and_more(of: Sequence[object]) -> str:
    """Return how many there are beside the first, which is told."""
    return f" (and {len(of) - 1} more)" if len(of) > 1 else ""
