"""`jettison`, whose server works on the disk with one thread: all its calls come in one order.

Run as `python one_thread.py serve CONFIG`. The thread's id is written to `disk-thread` in the
current folder, for strace.
"""

import os
import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from jettison.cli.main import main
from jettison.server import serving

FILE = "disk-thread"


def one_thread(_: int, name: str) -> Executor:
    def note() -> None:
        draft = Path(f"{FILE}.draft")
        draft.write_text(str(threading.get_native_id()), encoding="ascii")
        os.replace(draft, FILE)  # noqa: PTH105 - the name is relative

    return ThreadPoolExecutor(1, name, initializer=note)


if __name__ == "__main__":
    vars(serving)["ThreadPoolExecutor"] = one_thread
    main()
