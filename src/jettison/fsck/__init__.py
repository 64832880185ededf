"""Checking a storage tree and repairing it.

``check_tree`` reads everything and says what is wrong; ``plan_repair`` says what of it can be put
right and how. ``jobs.repair`` does it and takes it back.
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
