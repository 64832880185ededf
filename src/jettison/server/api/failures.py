"""Answers for failures of the disk or of the program.

Paths and reasons go to the log, found by the request's id; a client learns what it can do.
"""

import logging
from typing import Final

from jettison.errors import StorageError
from jettison.server.http.answers import Answer, ApiError, Code

__all__ = ["answer_to_storage_error", "unexpected_answer"]

_log: Final = logging.getLogger("jettison.server")


def answer_to_storage_error(error: StorageError, number: str) -> Answer:
    """Log an error of the storage, and return 507 for a full disk, 500 for anything else."""
    _log.error("request %s: %s%s", number, error.message, f" {error.hint}" if error.hint else "")
    if error.is_full:
        message = "the registry's disk is full; nothing of this request was kept"
        return ApiError(507, Code.UNAVAILABLE, message, {"request": number}).answer()
    message = "the registry's storage failed; its log says more"
    return ApiError(500, Code.UNKNOWN, message, {"request": number}).answer()


def unexpected_answer(number: str) -> Answer:
    """Return 500 for a fault of the program, which is logged already."""
    message = "something unexpected happened; the registry's log says more"
    return ApiError(500, Code.UNKNOWN, message, {"request": number}).answer()
