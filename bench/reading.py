"""How long it takes to read a storage for a policy, and how much memory: snapshots and times.

Each repository is read and dropped before the next, in one process, as a prune does it. The tree is
that of `bench/histories.py`. The first run may have to read the disk; the others show what is left.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# The folder above, for `bench.…`, wherever this is started from.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.histories import History, make_history
from bench.options import positive, say, scratch
from jettison.storage.evidence import read_evidence
from jettison.storage.filesystem.tree import StorageTree
from jettison.storage.snapshots import read_snapshot

KIB: Final = 1024


def read(root: Path) -> dict[str, float]:
    """Read every repository; return seconds, the peak of memory in MB, and what was found."""
    began, used = time.perf_counter(), time.process_time()
    storage = StorageTree(root)
    found = {"tags": 0, "manifests": 0, "untagged": 0}
    for name in storage.repositories():
        snapshot = read_snapshot(storage, name)
        evidence = read_evidence(storage, name)
        found["tags"] += len(snapshot.tags)
        found["manifests"] += len(snapshot.manifests)
        found["untagged"] += sum(one.untagged is not None for one in evidence.manifests.values())
    return {
        "seconds": round(time.perf_counter() - began, 4),
        "processor seconds": round(time.process_time() - used, 2),
        "MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB // 10**6,
        **found,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a tree, read it in processes of their own, and print what each took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repositories", type=positive, default=1000)
    parser.add_argument("--tags", type=positive, default=100, help="in each repository")
    parser.add_argument("--runs", type=positive, default=3)
    parser.add_argument("--dir", type=Path, help="where the tree is made, and removed")
    parser.add_argument("--tree", type=Path, help="a tree that is there, instead")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.read is not None:
        print(json.dumps(read(options.read)))
        return 0
    if options.tree is not None:
        _measure(options.tree, options.runs)
        return 0
    with scratch(options.dir) as folder:
        history = History(options.repositories, options.tags)
        say(f"making {history.repositories * history.tags:,} tags")
        make_history(folder / "tree", history, time.time())
        _measure(folder / "tree", options.runs)
    return 0


def _measure(root: Path, runs: int) -> None:
    """Each run has a process of its own, whose memory is that of no other work."""
    for _ in range(runs):
        command = [sys.executable, str(Path(__file__)), "--read", str(root)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ)
        print(done.stdout.decode().strip(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
