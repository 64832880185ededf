"""Prints what a policy decides: for ``prune``, ``apply`` and ``policy test``."""

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from jettison.cli.output import (
    bold,
    counted,
    dim,
    green,
    note,
    red,
    size_exactly,
    table,
    tag_name,
    write,
    yellow,
)
from jettison.cli.receipt import what_goes

if TYPE_CHECKING:
    from jettison.model.digest import Digest
    from jettison.model.names import RepoName
    from jettison.model.retention.decide import GroupSizes, Sums
    from jettison.model.retention.prune_plan import PrunePlan, Stay
    from jettison.model.retention.reasons import Decision, Reason

__all__ = ["print_decisions", "print_prune_plan", "print_stays"]

MOST_ROWS: Final = 200
"""On a terminal a longer list is summed up, unless it is asked for."""
_SHOWN: Final = 10
_NO_RULE: Final = "no-rule"


def print_prune_plan(made: "PrunePlan", *, summary: bool, whole: bool) -> None:
    """Print what goes and why, what stays by reason, the bytes, and repositories that are left out.

    ``summary``: by repository and reason. ``whole``: every line, also on a terminal.
    """
    left_out = made.left_out
    goes = [one for one in made.decisions if one.repository not in left_out]
    short = summary or (not whole and len(goes) > MOST_ROWS and sys.stdout.isatty())
    if not goes:
        pass
    elif short:
        print_summary(goes)
        if not summary:
            note(dim(f"{len(goes):,} lines are summed up; --list prints each."))
    else:
        print_decisions(goes, made.deleted)
    if goes and made.stays:
        write("")
    print_stays(made.stays)
    if not goes and made.stays and all(one.reason == _NO_RULE for one in made.stays):
        note(yellow("note: no rule names any of them; see `tags` and `repositories`, or --match"))
    _print_groups(made.groups)
    _print_sums(made.sums)
    _print_bytes(made, sum(one.tag is None for one in goes))
    note(*(yellow(f"note: {sentence}") for sentence in made.notes[:_SHOWN]))
    if len(made.notes) > _SHOWN:
        note(yellow(f"note: and {len(made.notes) - _SHOWN:,} more (-o json has all)"))
    note(*(yellow(f"warning: {warning}") for warning in made.plan.warnings[:_SHOWN]))
    opposed = [one for one in made.objections if one.repository is not None]
    for one in opposed[:_SHOWN]:
        note(red(f"refused: {one.message}") + dim(f" ({one.option} allows it)"))
    if len(opposed) > _SHOWN:
        note(red(f"refused: and {len(opposed) - _SHOWN:,} more (-o json has all)"))


def print_decisions(
    decisions: "Collection[Decision]", deleted: "Collection[tuple[RepoName, Digest]]" = ()
) -> None:
    """Print a line for each tag and untagged image, with its reason.

    A tag whose manifest is not ``deleted`` is only untagged.
    """

    def rows() -> "Iterator[tuple[str, ...]]":
        for one in decisions:
            tag = "(untagged)" if one.tag is None else tag_name(one.tag)
            yield _verb(one, deleted), one.repository, tag, one.digest.short, one.sentence

    table(["", "REPOSITORY", "TAG", "DIGEST", "BECAUSE"], rows)


def _verb(decision: "Decision", deleted: "Collection[tuple[RepoName, Digest]]") -> str:
    if not decision.removed:
        return green("keep  ")
    if decision.tag is None or (decision.repository, decision.digest) in deleted:
        return red("delete")
    return yellow("untag ")


def print_summary(decisions: "Iterable[Decision]") -> None:
    """Print how much goes, by repository and reason."""
    counts = Counter((one.repository, one.rule, one.reason) for one in decisions)
    rows = [
        (f"{count:,}", repository, _reason(reason, rule))
        for (repository, rule, reason), count in sorted(counts.items())
    ]
    table(["GOES", "REPOSITORY", "BECAUSE"], rows, right=["GOES"])


def print_stays(stays: "Iterable[Stay]") -> None:
    """Print how much stays, by reason, all repositories together."""
    counts: Counter[tuple[Reason, str]] = Counter()
    for stay in stays:
        counts[stay.reason, stay.rule] += stay.count
    if not counts:
        return
    rows = [
        (f"{count:,}", _reason(reason, rule))
        for (reason, rule), count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    ]
    table(["STAYS", "BECAUSE"], rows, right=["STAYS"])


def _reason(reason: "Reason", rule: str) -> str:
    return reason.meaning + (f" [{rule}]" if rule else "")


def _print_groups(groups: "Sequence[GroupSizes]") -> None:
    if not groups:
        return
    write("")
    rows = []
    for one in groups:
        largest = sorted(one.sizes.items(), key=lambda group: (-group[1], group[0]))
        shown = ", ".join(f"{name} {size}" for name, size in largest[:_SHOWN])
        more = f", and {len(largest) - _SHOWN:,} more" if len(largest) > _SHOWN else ""
        rows.append((one.repository, one.rule, f"{len(largest):,}", shown + more))
    table(["REPOSITORY", "RULE", "GROUPS", "IMAGES IN EACH"], rows[:_SHOWN], right=["GROUPS"])
    if len(rows) > _SHOWN:
        write(f"and {len(rows) - _SHOWN:,} more repositories")
    for one in groups:
        if one.are_single:
            note(
                yellow(
                    f"warning: most groups of {one.rule} in {one.repository} have one image, so "
                    "hardly anything goes; does the expression capture what is meant?"
                )
            )


def _print_sums(sums: "Sequence[Sums]") -> None:
    for one in sums:
        write(
            f"{one.rule}: {counted(one.old_and_beyond, 'image')} old and beyond the count, "
            f"{counted(one.old_or_beyond, 'image')} old or beyond it."
        )


def _print_bytes(made: "PrunePlan", untagged: int) -> None:
    plan, sizes = made.going, made.bytes
    if not plan.steps:
        return
    write("")
    images = counted(made.removed_images, "image")
    more = f", {untagged:,} of them untagged" if untagged else ""
    write(f"To go: {what_goes(plan.tag_count, plan.manifest_count)} ({images}{more}).")
    mark = "" if plan.estimate.exact or not sizes.freed_bytes else "≤ "
    write(f"{bold(mark + size_exactly(sizes.freed_bytes))} can be freed by a collection.")
    if sizes.shared_bytes:
        names = ", ".join(holder.repository for holder in sizes.holders[:3])
        more = f" and {sizes.holder_count - 3} more" if sizes.holder_count > 3 else ""  # noqa: PLR2004
        write(f"{size_exactly(sizes.shared_bytes)} stay, since images in {names}{more} need them.")
    note(*(dim(f"≤: {sentence}") for sentence in plan.estimate.unknown))
