"""Checking a storage tree and repairing it.

``check_tree`` reads everything and says what is wrong; ``plan_repair`` says what of it can be put
right and how, ``repair`` does it, and ``take_back`` undoes it.
"""

from jettison.gc.fsck.check import CheckOptions, check_tree
from jettison.gc.fsck.hashing import HASHING

__all__ = ["HASHING", "CheckOptions", "check_tree"]
