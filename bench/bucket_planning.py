"""The plan of a collection of a large bucket whose store is simulated.

No bucket here holds as much, and none is asked: what a store lists and sends is made up from
numbers (`bench/bucket_simulation.py`). So its time is missing, and the requests are counted. Cold,
with nothing in the cache of manifests, and warm, once more. `made up` is how much of the time the
simulation itself takes, one after another. `memory` is the peak of the process that plans. `AWS
bills` is what these requests cost with S3 Standard in us-east-1: US$ 0.005 for 1,000 LIST, 0.0004
for 1,000 GET (https://aws.amazon.com/s3/pricing/, as of 2026-11); data within the region is free.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench import bucket_simulation
from bench.options import say
from bench.programs import captured
from bench.report import MB, digits
from bench.simulation import IMAGES

__all__ = ["Planned", "lines", "measure"]

_SCRIPT: Final = str(Path(bucket_simulation.__file__))


class Planned(NamedTuple):
    """One plan: ``seconds``, of which ``made_up`` are the simulation's own, ``memory`` in bytes."""

    cache: str
    manifests: int
    kept: int
    garbage: int
    seconds: float
    made_up: float
    memory: int
    requests: dict[str, int]


def measure(folder: Path, manifests: int, environment: Mapping[str, str]) -> list[Planned]:
    """Plan for so many manifests, twice."""
    repositories = max(1, manifests // IMAGES)
    index, cache = str(folder / "manifests"), str(folder / "cache-simulated")

    def run(verb: str, *more: str) -> bytes:
        words = [sys.executable, _SCRIPT, verb, index, str(repositories), *more]
        return captured(words, environment)

    say(f"simulated: making up {repositories * IMAGES:,} manifests")
    run("prepare")
    alone = json.loads(run("list"))
    found = []
    for name in ("cold", "warm"):
        say(f"simulated: {name}")
        told = json.loads(run("plan", cache))
        requests = told["requests"]
        made_up = alone["listing_seconds"]
        made_up += alone["reading_seconds"] if requests.get("GET") else 0.0
        counts = (repositories * IMAGES, told["kept"], told["garbage"])
        found.append(Planned(name, *counts, told["seconds"], made_up, told["memory"], requests))
    return found


def lines(found: Sequence[Planned]) -> list[str]:
    """Return the lines of a Markdown table."""
    names = ("cache", "manifests", "blobs kept", "to go", "time", "made up", "memory")
    table = [
        f"| {' | '.join((*names, *bucket_simulation.PRICES, 'AWS bills'))} |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for one in found:
        counts = (f"{one.manifests:,}", f"{one.kept:,}", f"{one.garbage:,}")
        times = (f"{digits(one.seconds)} s", f"{digits(one.made_up)} s")
        requests = (f"{one.requests.get(kind, 0):,}" for kind in bucket_simulation.PRICES)
        money = f"US$ {bucket_simulation.bill(one.requests):.4f}"
        memory = f"{digits(one.memory / MB)} MB"
        table.append(f"| {' | '.join((one.cache, *counts, *times, memory, *requests, money))} |")
    return table
