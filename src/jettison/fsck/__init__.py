"""Checks of a storage, and their repair.

``check_tree`` reads everything and reports defects; ``plan_repair`` says which of them can be
repaired and how. ``jobs.repair`` applies the plan and undoes it.
"""

from jettison.fsck.check import CheckOptions, check_again, check_tree
from jettison.fsck.hashing import HASHING
from jettison.fsck.repair import plan_repair

__all__ = [
    "HASHING",
    "CheckOptions",
    "check_again",
    "check_tree",
    "plan_repair",
]
