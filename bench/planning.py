"""How long a plan takes in one process, without the start of Python and without printing.

    python bench/planning.py WHERE POLICY.yml      prints {"listing", "plan", "cpu", …} as JSON

WHERE is an address (``HOST:PORT``) or the folder of a storage. ``listing`` is reading all that a
plan is made from, once and thrown away; ``plan`` is reading and deciding, the whole. Both are wall
time in seconds; ``cpu`` is the processor time of the second. Of a registry over its API only the
plan is measured, so that its requests are counted once.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from jettison import connect
from jettison.configuration.policy_file import read_policy
from jettison.jobs.discover import list_repositories
from jettison.jobs.prune import PruneJob, PruneRequest
from jettison.jobs.survey import survey
from jettison.model.retention.decide import Decider

__all__ = ["measure"]


async def measure(where: str, policy_file: Path, *, stored: bool) -> dict[str, float]:
    """Return the times in seconds, and how much was found."""
    policy = read_policy(policy_file)
    found: dict[str, float] = {}
    async with connect(None if stored else where, storage=where if stored else None) as session:
        place = session.workspace
        if stored:
            began = time.perf_counter()
            decider = Decider(policy, time.time())
            names, _ = await list_repositories(place.source)
            async for _ in survey(place.source, names, decider, now=time.time()):
                pass
            found["listing"] = time.perf_counter() - began
        began, processor = time.perf_counter(), time.process_time()
        made = await PruneJob(place).plan(PruneRequest(policy))
        found["plan"] = time.perf_counter() - began
        found["cpu"] = time.process_time() - processor
        found["steps"] = len(made.plan.steps)
    return found


if __name__ == "__main__":
    where, file = sys.argv[1:]
    print(json.dumps(asyncio.run(measure(where, Path(file), stored=Path(where).is_dir()))))
