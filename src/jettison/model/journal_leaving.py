"""Which journal entries leave: those that are over, once a newer one stands in their place.

An entry is over when it is finished, nothing of it is held for an undo, and ``KEPT`` has passed
since. It leaves when an entry of the same kind on the same registry is written, so ``last`` never
means one that leaves. Each entry that is written lets a few leave, so that no single one waits for
thousands.
"""

import zlib
from collections.abc import Sequence
from typing import Final

from jettison.model.journal import EntryHead, RemovalHead, UndoHead
from jettison.model.times import rfc3339, seconds_of

__all__ = ["KEPT", "candidates", "is_over"]

KEPT: Final = 90 * 86400.0
"""Seconds that an entry is kept after it began, and after its undo window ended."""

LOOKED_AT: Final = 8
"""How many entries are looked at when one is written: more than one, so that they become fewer."""


def candidates(ids: Sequence[str], newer: EntryHead) -> list[str]:
    """Return a few ids of entries that are old enough to leave when ``newer`` is written.

    ``ids`` sort by time. Which they are depends on the id of ``newer``: some old entries stay for
    long, and are not to be in the way of others.
    """
    now = seconds_of(newer.started)
    if now is None:
        return []
    day, _, moment = rfc3339(now - KEPT).partition("T")
    oldest = f"{day.replace('-', '')}-{moment.replace(':', '')}"
    old = [run_id for run_id in ids if run_id < oldest and run_id < newer.id]
    start = zlib.crc32(newer.id.encode()) % max(1, len(old))
    return (old[start:] + old[:start])[:LOOKED_AT]


def is_over(head: EntryHead, newer: EntryHead) -> bool:
    """Whether an entry may leave now that ``newer`` is written, as far as its head tells."""
    now, began = seconds_of(newer.started), seconds_of(head.started)
    if now is None or began is None or head.unfinished:
        return False
    if (head.kind, head.registry) != (newer.kind, newer.registry) or head.id >= newer.id:
        return False
    until = head.window_until if isinstance(head, RemovalHead | UndoHead) else None
    return max(began, until or 0.0) + KEPT < now
