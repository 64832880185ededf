"""The figures of the last collection for Prometheus, through node_exporter's textfile collector.

The file is replaced in one step, as the collector requires, and drafted under a name that the owner
of its folder cannot guess. It is written after a failed collection too, so that an alert can be
built on it.
"""

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from jettison.collector.plan import CollectionPlan
from jettison.collector.sweep import CollectionReceipt
from jettison.errors import StorageError
from jettison.model.printable import printable
from jettison.storage.filesystem.draft import write_file
from jettison.storage.filesystem.folder import Folder

__all__ = ["write_textfile"]


def write_textfile(
    path: Path,
    storage: str,
    finished: float,
    exit_code: int,
    plan: CollectionPlan | None,
    receipt: CollectionReceipt | None,
) -> None:
    """Write what a collection of ``storage`` came to; sizes in bytes, times in seconds.

    ``plan`` and ``receipt`` are None if the collection did not come so far. Raises
    :class:`~jettison.errors.StorageError` if the file cannot be written.
    """
    registry = CollectorRegistry()

    def gauge(name: str, text: str, value: float, **labels: str) -> None:
        found = gauges.get(name)
        if found is None:
            names = ("storage", *labels)
            found = gauges[name] = Gauge(f"jettison_gc_{name}", text, names, registry=registry)
        found.labels(printable(storage), *labels.values()).set(value)

    gauges: dict[str, Gauge] = {}
    gauge("last_run_timestamp_seconds", "When the last collection ended.", finished)
    gauge("success", "Whether everything was understood and done.", float(exit_code == 0))
    gauge("exit_code", "The exit code of the last collection.", exit_code)
    if plan is not None:
        gauge("repositories", "Repositories in the storage.", plan.repositories)
        gauge("kept_blobs", "Blobs that something needs.", plan.kept_blobs)
        gauge(
            "problems", "What could not be read, and protects what it may need.", len(plan.problems)
        )
        gauge("predicted_bytes", "What was to be freed.", plan.bytes)
        waiting = {
            "young": plan.young.bytes,
            "held": sum(held.bytes for held in plan.held),
            "protected": plan.protected.bytes,
        }
        for reason, size in waiting.items():
            text = "Unreferenced and left: younger than the grace period, held for undo, protected."
            gauge("waiting_bytes", text, size, reason=reason)
    if receipt is not None:
        gauge("duration_seconds", "How long the removal took.", receipt.seconds)
        gauge("freed_bytes", "What was freed.", receipt.blobs.bytes)
        gauge("put_back_blobs", "Blobs that somebody wanted again.", receipt.put_back.count)
        gauge("failures", "Files that could not be removed.", receipt.failures)
        if receipt.disk_free_after is not None:
            gauge("disk_free_bytes", "Free on the storage's file system.", receipt.disk_free_after)
        for name, tally in receipt.removed.items():
            gauge("removed_files", "What was removed, by class.", tally.count, kind=name)
            gauge("removed_bytes", "What was removed, by class.", tally.bytes, kind=name)
    try:
        with Folder.root(path.parent) as folder:
            write_file(folder, path.name, generate_latest(registry))
    except StorageError as error:
        message = f"cannot write {path}: {error.message}"
        raise StorageError(message, hint="--textfile names a file to write.") from error
