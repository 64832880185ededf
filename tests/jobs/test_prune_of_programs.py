"""Policies that no file was read for: those of programs, and of plans that were edited."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from jettison.demo.images import image, layer
from jettison.errors import InvalidPolicy
from jettison.jobs.prune import PruneJob, PruneRequest
from jettison.jobs.workspace import Workspace
from jettison.model.names import RepoName
from jettison.model.retention.decide import NOTHING_HELD
from jettison.model.retention.patterns import Pattern
from jettison.model.retention.policy import Keep, Policy, Remove, Rule
from jettison.storage.journal import Journal
from tests.support.memory import MemoryRegistry

EVERY = (Pattern("*"),)
KEPT = Policy(rules=(Rule(tags=EVERY, keep=Keep(last=1), remove="rest"),))
NOT_MEANT = {
    "nothing": Rule(tags=EVERY, remove=Remove()),
    "leaving-of-what": Rule(tags=EVERY, remove=Remove(leaving=1)),
    "rest-of-what": Rule(tags=EVERY, remove="rest"),
    "no-tags": Rule(keep=Keep(last=1), remove="rest"),
    "no-types": Rule(tags=EVERY, artifact_types=(), remove="all"),
}


@pytest.fixture
def job(tmp_path: Path) -> PruneJob:
    registry = MemoryRegistry()
    registry.push(RepoName("app"), "1.0", image([layer({"app": b"one"})]))
    return PruneJob(Workspace(registry, users=Journal.at(tmp_path / "runs")))


@pytest.mark.parametrize("rule", NOT_MEANT.values(), ids=NOT_MEANT)
async def test_policy_that_cannot_be_meant_is_an_error(job: PruneJob, rule: Rule) -> None:
    policy = Policy(rules=(rule,))
    with pytest.raises(InvalidPolicy, match=r"rules\[0\]"):
        await job.plan(PruneRequest(policy, ("prune",)))
    made = await job.plan(PruneRequest(KEPT, ("prune",)))
    edited = replace(made, policy=policy, policy_fingerprint=policy.fingerprint)
    with pytest.raises(InvalidPolicy, match=r"rules\[0\]"):
        await job.renew(edited, NOTHING_HELD)
