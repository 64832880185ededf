"""What is in use and what a registry does not list: referrers that only its API for them tells."""

from pathlib import Path

import pytest

from jettison.configuration.policy_file import parse_policy
from jettison.demo.images import image, layer, referrer
from jettison.jobs.prune import PruneJob, PruneRequest
from jettison.jobs.workspace import Workspace
from jettison.model.digest import Digest
from jettison.model.names import RepoName
from jettison.model.retention.in_use import read_in_use
from jettison.model.retention.prune_plan import PrunePlan
from jettison.registry import RawManifest
from jettison.storage.journal import Journal
from tests.support.memory import MemoryRegistry

APP = RepoName("team/app")
ALL = parse_policy('max_removal: 100%\nrules: [{tags: ["*"], remove: all}]', "policy.yml")


class WithReferrers(MemoryRegistry):
    """It lists what has a tag, and the referrers of what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.about: dict[Digest, list[Digest]] = {}

    async def referrers(self, repository: RepoName, digest: Digest) -> list[Digest] | None:
        del repository
        return self.about.get(digest, [])


async def planned(registry: MemoryRegistry, folder: Path, listed: str) -> PrunePlan:
    held = read_in_use(listed.encode(), "list", may_be_empty=True)
    job = PruneJob(Workspace(registry, users=Journal.at(folder / "runs")))
    return await job.plan(PruneRequest(ALL, ("prune",), held=held))


@pytest.fixture
def registry() -> WithReferrers:
    made = WithReferrers()
    one = image([layer({"app": b"one"})])
    sbom = referrer(one, "application/spdx", b"sbom")
    signature = referrer(sbom, "application/signature", b"signature")
    made.push(APP, "1.0", one)
    made.push(APP, "2.0", image([layer({"app": b"two"})]))
    for made_of, about in ((one, sbom), (sbom, signature)):
        raw = about.manifests()[-1]
        made.found[APP].manifests[raw.digest] = RawManifest(raw.digest, raw.media_type, raw.raw)
        made.found[APP].blobs |= {blob.digest: blob.raw for blob in about.blobs()}
        made.about[made_of.digest] = [about.digest]
    return made


async def test_referrer_in_use_keeps_what_it_is_about(
    registry: WithReferrers, tmp_path: Path
) -> None:
    one = registry.found[APP]
    subject = next(iter(registry.about))
    signature = list(registry.about.values())[-1][0]
    everything = await planned(registry, tmp_path, "")
    assert {step.deletes for step in everything.plan.steps} == one.manifests.keys()
    plan = await planned(registry, tmp_path, f"anywhere/x@{signature}")
    gone = {step.deletes for step in plan.plan.steps}
    assert subject not in gone
    assert signature not in gone
    assert [d.tag for d in plan.decisions] == ["2.0"]


async def test_list_of_something_else_is_noted(registry: WithReferrers, tmp_path: Path) -> None:
    noted = "no image that the policy is about is in the lists of what is in use"
    for listed, expected in (("other/app:1", 1), ("x.example/team/app:2.0", 0), ("", 0)):
        plan = await planned(registry, tmp_path, listed)
        assert sum(noted in note for note in plan.notes) == expected
