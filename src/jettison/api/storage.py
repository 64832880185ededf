"""A session with a storage: collecting, checking, repairing."""

from pathlib import Path
from typing import TYPE_CHECKING, Self

from jettison.api.journal import journal_if_home
from jettison.collector.options import CollectOptions
from jettison.collector.plan import CollectionPlan
from jettison.jobs.collect import Collection, CollectionJob
from jettison.jobs.workspace import Workspace, open_workspace
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.model.plausibility import NOTHING_SAID, Consent
from jettison.progress import Progress, silent

if TYPE_CHECKING:
    from jettison.fsck import CheckOptions
    from jettison.jobs.repair import RepairJob
    from jettison.model.check_report import CheckReport
    from jettison.model.journal import RepairEntry, UndoEntry
    from jettison.model.repair import RepairPlan

__all__ = ["StorageSession"]

COLLECT = CollectOptions()


class StorageSession:
    """A registry's storage: ``path`` is its root directory, or the registry's configuration file.

    ``journal`` is the folder in which it is noted where a job's entry lies, by default the one of
    the command line. ``progress`` is told how far a call has come; a call ends safely where it
    raises, and what was set aside is put back. What a call raises is a
    :class:`~jettison.errors.JettisonError`.
    """

    def __init__(
        self, path: str | Path, *, journal: Path | None = None, progress: Progress = silent
    ) -> None:
        place = open_workspace(str(path), users=journal_if_home(journal))
        self._workspace = place.reporting_to(progress)

    @property
    def workspace(self) -> Workspace:
        """What the jobs work with, for those who know :mod:`jettison.jobs`."""
        return self._workspace

    @property
    def location(self) -> str:
        """The name of the storage."""
        return self._workspace.own_storage.location

    def reporting_to(self, progress: Progress) -> Self:
        """Return the same session, telling ``progress`` how far a call has come."""
        other = object.__new__(type(self))
        other._workspace = self._workspace.reporting_to(progress)
        return other

    def repositories(self) -> list[RepoName]:
        """Return the names of all repositories, sorted."""
        return self._workspace.own_storage.repositories()

    def tags(self, repository: str) -> dict[Tag, Digest]:
        """Return the tags of a repository, with what each points to."""
        with self._workspace.own_storage.repository(repository) as found:
            current = found.tags().current
        return {tag: Digest.from_binary(current[tag]) for tag in sorted(current)}

    # Collecting.

    def collection(
        self,
        options: CollectOptions = COLLECT,
        *,
        end_undo: bool = False,
        consent: Consent = NOTHING_SAID,
        settle: float | None = None,
    ) -> CollectionJob:
        """Return a collection, to be planned and applied by hand; :meth:`collect` does it all.

        ``end_undo`` ends the undo windows first; ``consent`` is what is meant though it looks
        wrong; ``settle`` is for how many seconds what goes is kept out of a registry's sight
        before it goes for good.
        """
        return CollectionJob(
            self._workspace, options, end_undo=end_undo, consent=consent, settle=settle
        )

    def plan_collection(self, options: CollectOptions = COLLECT) -> CollectionPlan:
        """Return what a collection would remove, and what it would leave and why."""
        return self.collection(options).plan()

    def collect(
        self,
        options: CollectOptions = COLLECT,
        *,
        end_undo: bool = False,
        consent: Consent = NOTHING_SAID,
        assume_quiescent: bool = False,
    ) -> Collection:
        """Remove what nothing needs, beside a registry that may be running; return the receipt.

        Raises :class:`~jettison.errors.NotQuiescent` where ``options`` have no grace period and a
        registry may be taking pushes, unless ``assume_quiescent``, and for a bucket of a registry
        that remembers blobs; beside another a bucket takes some minutes. Raises
        :class:`~jettison.errors.Refused` for a collection that looks wrong.
        """
        job = self.collection(options, end_undo=end_undo, consent=consent)
        job.require_quiescent(assumed=assume_quiescent, beside=True)
        job.recover()
        plan = job.plan()
        job.require_plausible(plan)
        return job.apply(plan, (self.location,))

    # Checking.

    def check(self, options: "CheckOptions | None" = None) -> "CheckReport":
        """Read the whole storage and say what is wrong; nothing is changed."""
        return self._repair(options).check()

    def plan_repair(
        self, report: "CheckReport", options: "CheckOptions | None" = None
    ) -> "RepairPlan":
        """Return what of a report can be put right, and how; nothing is changed."""
        return self._repair(options).plan(report)

    def repair(
        self,
        plan: "RepairPlan",
        options: "CheckOptions | None" = None,
        consent: Consent = NOTHING_SAID,
        *,
        assume_quiescent: bool = False,
    ) -> "RepairEntry":
        """Carry a repair out; return its journal entry. Nothing is deleted, only moved aside.

        Raises :class:`~jettison.errors.NotQuiescent` where the storage is in a bucket and a
        registry may be taking pushes, unless ``assume_quiescent``.
        """
        job = self._repair(options)
        job.require_own_tree(consent)
        return job.apply(plan, (self.location,), assume_quiescent=assume_quiescent)

    def _repair(self, options: "CheckOptions | None") -> "RepairJob":
        # A collection loads nothing of a check.
        from jettison.fsck import CheckOptions  # noqa: PLC0415 - see above
        from jettison.jobs.repair import RepairJob  # noqa: PLC0415 - same

        return RepairJob(self._workspace, options or CheckOptions())

    def undo_repair(self, entry: "RepairEntry", *, assume_quiescent: bool = False) -> "UndoEntry":
        """Take a repair back; return the journal entry of that. Raises as :meth:`repair`."""
        from jettison.jobs.repair import RepairUndoJob  # noqa: PLC0415 - as in `_repair`

        return RepairUndoJob(self._workspace, entry).apply(assume_quiescent=assume_quiescent)
