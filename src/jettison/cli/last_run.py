"""The run that ``last`` means: the last one at hand, named and, if in doubt, confirmed."""

from typing import TYPE_CHECKING

from jettison.cli.options import confirm
from jettison.cli.output import note

if TYPE_CHECKING:
    from jettison.model.journal import EntryHead
    from jettison.storage.journal import Journal

__all__ = ["confirm_last", "tell_last"]


def tell_last(text: str, found: "EntryHead") -> None:
    """Tell which run ``last`` is."""
    if text == "last":
        what = " ".join((found.kind, *found.request))
        note(f"The last is run {found.id} of {found.started} on {found.place}: {what}")


def confirm_last(
    text: str, found: "EntryHead", journal: "Journal", *, named: bool, yes: bool
) -> None:
    """Ask if ``last`` is not the user's latest run, unless the registry was ``named``.

    Raises :class:`~jettison.errors.Refused` without a terminal and without ``--yes``.
    """
    latest = journal.latest()
    if text != "last" or named or latest is None or latest.may_be_beside(found):
        return
    note(f"The latest of your runs, {latest.id}, was on {latest.place}, not on {found.place}.")
    confirm(f"Take run {found.id} on {found.place}?", yes=yes)
