"""The plans of repairs, kept in the storage that was repaired.

Its owner may have written them: what they name is checked before anything is done with it
(docs/security.md).
"""

from collections.abc import Callable
from typing import Final

import msgspec

from jettison.errors import InvalidDocument, JournalError, NotFoundError, StorageError
from jettison.model import codec
from jettison.model.repair import RepairPlan
from jettison.storage.protocol import Documents, Storage

__all__ = ["REPAIRS", "has_plan", "load_plan", "repair_folder"]

_COLLECTION: Final = "fsck"
_PLAN: Final = "manifest.json"
REPAIRS: Final = f"jettison/{_COLLECTION}"
"""The folder of all repairs."""


def repair_folder(run_id: str) -> str:
    """Return the folder that keeps what the repair with this id moved aside."""
    return f"{REPAIRS}/{run_id}"


def has_plan(documents: Callable[[str], Documents], run_id: str) -> bool:
    """Whether the plan of a repair is there; ``documents`` opens a collection of its storage."""
    return documents(f"{_COLLECTION}/{run_id}").beginning(_PLAN, 1) is not None


def keep_plan(storage: Storage, plan: RepairPlan) -> None:
    """Write the plan of a repair down, before anything is done.

    Raises :class:`~jettison.errors.StorageError`, with nothing changed, if that cannot be done.
    """
    if storage.exists(plan.manifest):
        raise StorageError(f"cannot write {plan.manifest}: it is there already")
    document = msgspec.json.format(codec.encode(plan), indent=1) + b"\n"
    storage.documents(f"{_COLLECTION}/{plan.id}").write(_PLAN, document)


def load_plan(storage: Storage, run_id: str) -> RepairPlan:
    """Return the plan of a repair.

    Raises :class:`~jettison.errors.NotFoundError` if somebody removed it, and
    :class:`~jettison.errors.JournalError` for one that cannot be read, is of another run, or leads
    out of the tree.
    """
    folder = repair_folder(run_id)
    path = f"{storage.location}/{folder}/{_PLAN}"
    try:
        raw = storage.documents(f"{_COLLECTION}/{run_id}").read(_PLAN, codec.LARGEST)
        if raw is None:
            message = f"{path} is not there any more, so the repair cannot be undone"
            raise NotFoundError(message, hint="Somebody removed what it had moved aside.")
        plan: RepairPlan = codec.decode(raw, RepairPlan)
    except InvalidDocument as error:
        raise JournalError(f"{path} cannot be read: {error}") from error
    except StorageError as error:
        raise JournalError(error.message) from error
    stray = plan.stray_path
    if plan.id != run_id or plan.folder != folder or stray is not None:
        what = "is of another run" if stray is None else f"leads out of the tree, to {stray!r}"
        message = f"{path} {what}; Jettison did not write it, and does nothing of what it says"
        raise JournalError(message, hint="Find out who wrote it, and move it away.")
    return plan
