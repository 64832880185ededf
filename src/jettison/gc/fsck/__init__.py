"""Checking a storage tree and repairing it.

``check_tree`` reads everything and says what is wrong; ``plan_repair`` says what of it can be put
right and how, ``run_repair`` does it, and ``undo_repair`` takes it back.
"""

from jettison.gc.fsck.check import CheckOptions, check_again, check_tree
from jettison.gc.fsck.hashing import HASHING
from jettison.gc.fsck.job import run_repair, undo_repair
from jettison.gc.fsck.repair import plan_repair

__all__ = [
    "HASHING",
    "CheckOptions",
    "check_again",
    "check_tree",
    "plan_repair",
    "run_repair",
    "undo_repair",
]
