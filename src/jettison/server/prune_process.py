"""The process that prunes for a server, by the schedule of ``jettison.retention``.

``python -m jettison.server.prune_process CONFIG ROOT DUE``. It is a process of its own so that no
request waits for it, and so that neither takes the other down: if the server is killed, this one
finishes its run. How that ended is in the storage (:mod:`jettison.storage.scheduled_runs`).
"""

import asyncio
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Final

from jettison.configuration import read_configuration
from jettison.errors import Interrupted, JettisonError, StorageError
from jettison.jobs.scheduled_prune import prune_as_scheduled
from jettison.server.pruning import ELSEWHERE
from jettison.storage.opening import open_storage
from jettison.storage.protocol import Storage

__all__ = ["main"]

_NICE: Final = 10


def main(config: str, root: str, due: str) -> int | str:
    """Prune; return what ``sys.exit`` takes: 0 if it is noted in the storage how that ended."""
    os.nice(_NICE)
    # Also where the server was started with SIGINT ignored, as a shell does in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    read = partial(read_configuration, Path(config), os.environ, "serving")
    try:
        storage = _open(Path(config), root)
        found = asyncio.run(prune_as_scheduled(storage, float(due), read))
    except KeyboardInterrupt:
        return Interrupted.exit_code
    except JettisonError as error:
        return error.message
    return ELSEWHERE if found is None else 0


def _open(config: Path, root: str) -> Storage:
    """Open the storage that the server serves, whatever its configuration says by now."""
    if "://" not in root:
        return open_storage(Path(root), {})[0]
    storage, _ = open_storage(config, os.environ)
    if storage.location != root:
        message = f"{config} names {storage.location}, and the server serves {root}"
        raise StorageError(message, hint="Restart the server.")
    return storage


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
