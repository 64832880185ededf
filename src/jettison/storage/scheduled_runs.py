"""The last run of a storage's scheduled retention: one at a time, and each time once.

Several servers may share a storage. Who prunes holds a lease that ends with its process, whatever
becomes of the server that began it, and notes afterwards for which time that was and how it ended,
in ``jettison/retention/last.json``. The document may be removed at any time.
"""

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from jettison.errors import InvalidDocument, StorageError
from jettison.model import strict_json
from jettison.storage.protocol import Storage

__all__ = ["RunResult", "ScheduledRun", "ScheduledRuns"]

_COLLECTION: Final = "retention"
_NAME: Final = "last.json"
_LEASE: Final = "run"
_MOST_BYTES: Final = 64 * 1024
_SCHEMA: Final = 1
_LONGEST: Final = 2000
_MOST_NOTES: Final = 5
_AHEAD: Final = 3600.0
"""How far a time that was noted may lie in the future and still be believed, in seconds."""


class RunResult(enum.StrEnum):
    """How a run ended.

    ``done``: all went that the policy says, be it nothing. ``partly``: some of it did not, or the
    collection after it did not do all. ``refused``: it looks like a mistake, and nothing was
    changed.
    """

    DONE = "done"
    PARTLY = "partly"
    REFUSED = "refused"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class ScheduledRun(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended, in times of seconds since the epoch.

    ``due`` is the time of the schedule. ``run`` is the id of the journal entry, "" if nothing was
    removed. ``bytes`` are what a collection may free of it later, ``freed`` are those that the
    collection after it freed of earlier ones. ``notes`` are what could not be known, the
    first few. ``succeeded`` is when a run was last done.
    """

    due: float
    ended: float
    result: RunResult
    run: str = ""
    tags: int = 0
    manifests: int = 0
    bytes: int = 0
    freed: int = 0
    message: str = ""
    hint: str = ""
    notes: tuple[str, ...] = ()
    succeeded: float | None = None
    schema_version: int = _SCHEMA


class ScheduledRuns:
    """What a storage knows of its scheduled retention."""

    def __init__(self, storage: Storage) -> None:
        self._documents = storage.documents(_COLLECTION)

    def last(self) -> ScheduledRun | None:
        """Return the last run; None if there was none, or it cannot be read."""
        try:
            raw = self._documents.read(_NAME, _MOST_BYTES)
            found = None if raw is None else strict_json.decode(raw, ScheduledRun)
        except (InvalidDocument, StorageError):
            return None
        return found if found is not None and found.schema_version == _SCHEMA else None

    @contextmanager
    def claim(self, due: float, now: float) -> Iterator[bool]:
        """Hold the run for a time in a ``with`` block; False: another process has, or had, it.

        Raises :class:`~jettison.errors.StorageError` if nothing can be held.
        """
        with self._documents.lease(_LEASE) as held:
            last = self.last() if held else None
            # A clock that was wrong must not end retention until that time comes.
            yield held and not (last is not None and due <= last.due <= now + _AHEAD)

    def note(self, run: ScheduledRun) -> ScheduledRun:
        """Note a run that ended, while it is held; return it as it is noted.

        Raises :class:`~jettison.errors.StorageError` if it cannot be written.
        """
        before = self.last()
        succeeded = None if before is None else before.succeeded
        if run.result is RunResult.DONE:
            succeeded = run.ended
        noted = msgspec.structs.replace(
            run,
            message=run.message[:_LONGEST],
            hint=run.hint[:_LONGEST],
            notes=tuple(note[:_LONGEST] for note in run.notes[:_MOST_NOTES]),
            succeeded=succeeded,
        )
        self._documents.write(_NAME, msgspec.json.encode(noted))
        return noted
