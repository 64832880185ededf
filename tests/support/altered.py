"""Run the command line with the times of a bucket's protocol cut short, and without some rules.

    python altered.py "last look" ARGUMENT...     leaves out a rule of `rules.RULES`
    python altered.py "" ARGUMENT...              leaves out none

What takes minutes after a kill takes seconds then, so that a test of a minute sees many. No
lease is held, on which no image depends: two collections really run at once.
"""

import contextlib
import sys

from jettison.cli.main import main
from jettison.storage.objects import announcing, deleting, sweeping, sweeps
from tests.support.rules import RULES

LASTS = 3.0
"""Seconds for which the store takes a DELETE of a sweep."""


def cut_short() -> None:
    """Let sweeps end soon that nobody shuts, and hold no lease."""
    for module, name, value in (
        (deleting, "_LASTS", LASTS),
        (announcing, "_LEAST_SECONDS", 5.0),
        (announcing, "_LISTINGS", 3),
        (sweeps, "_SLACK_SECONDS", 5.0),
        (sweeping, "hold", lambda *_: contextlib.nullcontext(enter_result=True)),
    ):
        assert hasattr(module, name)
        setattr(module, name, value)


if __name__ == "__main__":
    without = sys.argv.pop(1)
    cut_short()
    if without:
        RULES[without](setattr)
    main()
