"""How to collect: ages in seconds, as people give them; cut-offs as a storage keeps time."""

from typing import NamedTuple

import msgspec

from jettison.storage.protocol import Stamp, stamp_at

__all__ = ["ABANDONED", "CollectOptions", "Cutoffs"]

ABANDONED = 168 * 3600.0
"""An upload that has not moved for so long (seconds) is taken for given up, as by Distribution."""


class CollectOptions(msgspec.Struct, frozen=True):
    """``grace`` in seconds: nothing younger is swept.

    ``untagged``: also remove manifests that no tag, index or subject holds and that were pushed
    more than so many seconds ago (and more than ``grace``); None: they are kept. ``uploads``:
    remove uploads that have not moved for so many seconds (and for ``grace``); None: they are kept.
    ``thorough``: look for temporary files and empty folders also below what stays.
    """

    grace: float = 3600.0
    untagged: float | None = None
    uploads: float | None = ABANDONED
    thorough: bool = False


class Cutoffs(NamedTuple):
    """What was written after these is left alone.

    ``idle`` is the end of what is idle, ``untagged`` and ``uploads`` those for untagged manifests
    and for uploads; None: none of them goes. ``grace`` is a span in nanoseconds.
    """

    grace: int
    idle: Stamp
    untagged: Stamp | None
    uploads: Stamp | None

    @classmethod
    def of(cls, options: CollectOptions, now: float) -> "Cutoffs":
        """Return the moments for a collection at ``now`` (seconds since the epoch)."""

        def before(age: float) -> Stamp:
            return stamp_at(now - max(age, options.grace))

        return cls(
            int(options.grace * 1e9),
            before(0.0),
            None if options.untagged is None else before(options.untagged),
            None if options.uploads is None else before(options.uploads),
        )
