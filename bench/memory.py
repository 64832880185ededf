"""Measure the peak memory of a command and of all processes it starts.

A program of its own that imports next to nothing: a process inherits the peak of the one that
started it (`ru_maxrss` survives `exec`), so a large parent would hide a small child.

    python -I -S bench/memory.py COMMAND ...      prints {"code", "tree", "largest", "samples"}

`tree` is the peak of the sum over the command and its descendants, sampled, in bytes: anonymous and
shared memory in proportion (PSS), so that what forked workers share counts once; programs and
libraries whole, though other processes on this machine, such as this one, may have them mapped too.
`largest` is the kernel's own `ru_maxrss`, without sampling: the main process or a child that it
waited for, whichever was the largest.
"""

import contextlib
import json
import os
import sys
import time

__all__ = ["family", "fields", "measure"]

INTERVAL = 0.01
KIB = 1024
QUIET = [
    (os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0)
    for number in range(sys.stderr.fileno() + 1)
]
PROPORTIONAL = ("Pss_Anon:", "Pss_Shmem:")


def measure(command: list[str]) -> dict[str, int]:
    """Run the command to its end, sampling meanwhile."""
    process = os.posix_spawnp(command[0], command, os.environ, file_actions=QUIET)
    peak = samples = 0
    while True:
        ended, status, usage = os.wait4(process, os.WNOHANG)
        if ended:
            break
        peak = max(peak, _together(process))
        samples += 1
        time.sleep(INTERVAL)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "tree": peak,
        "largest": usage.ru_maxrss * KIB,
        "samples": samples,
    }


def _together(process: int) -> int:
    anonymous = mapped = largest_mapped = 0
    for member in family(process):
        # It may have ended since it was listed.
        with contextlib.suppress(OSError):
            parts = fields(f"/proc/{member}/smaps_rollup")
            whole = fields(f"/proc/{member}/status").get("RssFile:", 0)
            anonymous += sum(parts.get(name, 0) for name in PROPORTIONAL)
            mapped += parts.get("Pss_File:", 0)
            largest_mapped = max(largest_mapped, whole)
    return (anonymous + max(mapped, largest_mapped)) * KIB


def family(process: int) -> list[int]:
    """Return a process and its descendants."""
    found = [process]
    for member in found:  # which grows meanwhile
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{member}/task"):  # noqa: PTH208 - lean: no pathlib
                with contextlib.suppress(OSError):  # a thread that ends meanwhile
                    found += map(int, _read(f"/proc/{member}/task/{task}/children").split())
    return found


def fields(path: str) -> dict[str, int]:
    """Read lines such as ``Pss_Anon: 585 kB``."""
    rows = (line.split() for line in _read(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[2] == "kB"}


def _read(path: str) -> str:
    with open(path) as file:  # noqa: PTH123 - lean: no pathlib
        return file.read()


if __name__ == "__main__":
    json.dump(measure(sys.argv[1:]), sys.stdout)
