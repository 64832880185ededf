"""Where a user's own journal is."""

import os
from contextlib import suppress
from pathlib import Path

from jettison.errors import JournalError
from jettison.storage.journal import Journal, state_directory

__all__ = ["journal_if_home", "users_journal"]


def users_journal(folder: Path | None = None) -> Journal:
    """Return the journal in a folder, by default in the user's state directory."""
    return Journal.at(state_directory(os.environ) / "runs" if folder is None else folder)


def journal_if_home(folder: Path | None = None) -> Journal | None:
    """Return the same, or None for a program without a home, which needs it for a pointer only."""
    with suppress(JournalError, RuntimeError):
        return users_journal(folder)
    return None
