"""What ``last`` is: the last run of what is at hand, said and, if it may surprise, asked about."""

from typing import TYPE_CHECKING

from jettison.cli.options import confirm
from jettison.cli.output import note

if TYPE_CHECKING:
    from jettison.model.journal import EntryHead
    from jettison.storage.journal import Journal

__all__ = ["confirm_last", "tell_last"]


def tell_last(text: str, found: "EntryHead") -> None:
    """Say which run ``last`` is."""
    if text == "last":
        what = " ".join((found.kind, *found.request))
        note(f"The last is run {found.id} of {found.started} on {found.place}: {what}")


def confirm_last(
    text: str, found: "EntryHead", journal: "Journal", *, named: bool, yes: bool
) -> None:
    """Ask if ``last`` is not where the user was last, unless the place was ``named``.

    Raises :class:`~jettison.errors.Refused` where there is no terminal and no ``--yes``.
    """
    latest = journal.latest()
    if text != "last" or named or latest is None or latest.may_be_beside(found):
        return
    note(f"The latest of your runs, {latest.id}, was on {latest.place}, not on {found.place}.")
    confirm(f"Take run {found.id} on {found.place}?", yes=yes)
