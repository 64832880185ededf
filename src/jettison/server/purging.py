"""Removes abandoned uploads, as ``storage.maintenance.uploadpurging`` says."""

import asyncio
import logging
import time
from typing import Final

from jettison.configuration.settings import UploadPurging
from jettison.errors import StorageError
from jettison.server.api.context import Context
from jettison.storage.protocol import Storage, stamp_at

__all__ = ["keep_purging", "purge_uploads"]

_FIRST_SECONDS: Final = 60.0
"""Short, so that a registry that is restarted every night purges too."""

_log: Final = logging.getLogger(__name__)


async def keep_purging(context: Context, settings: UploadPurging) -> None:
    """Purge a minute after the start, and then every ``interval`` seconds."""
    pause = min(_FIRST_SECONDS, settings.interval)
    while True:
        await asyncio.sleep(pause)
        pause = settings.interval
        before = time.time() - settings.age
        try:
            count, size = await context.run(
                "", purge_uploads, context.storage, before, dry_run=settings.dry_run
            )
        except StorageError as error:
            _log.error("uploads were not purged: %s", error)
            continue
        if count:
            what = "would be purged" if settings.dry_run else "were purged"
            _log.info("%d uploads that were given up %s, %d bytes", count, what, size)


def purge_uploads(storage: Storage, before: float, *, dry_run: bool = False) -> tuple[int, int]:
    """Remove the uploads to which nothing was added since ``before``; return how many, and bytes.

    ``before`` is in seconds since the epoch. Distribution counts from the beginning of an upload,
    and removes one that is still in progress.
    """
    count = size = 0
    for name in storage.repositories():
        try:
            with storage.repository(name) as repository:
                uploads = [one for one in repository.uploads() if one.moved < stamp_at(before)]
            for upload in uploads:
                if dry_run or storage.remove_upload(name, upload.id, upload.moved):
                    count += 1
                    size += upload.bytes
        except StorageError as error:
            _log.error("the uploads of %s were not purged: %s", name, error)
    return count, size
