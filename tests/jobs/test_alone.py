"""Two processes that would carry out, finish, or undo one and the same run."""

import asyncio
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest

from jettison.configuration.policy_file import parse_policy
from jettison.demo.images import image, layer
from jettison.errors import Locked, PlanStale
from jettison.jobs.prune import PruneJob, PruneRequest
from jettison.jobs.removal_plan import RemovalRequest
from jettison.jobs.remove import RemovalJob, RemovalSettings
from jettison.jobs.undo import UndoJob
from jettison.jobs.workspace import Workspace
from jettison.model.digest import Digest
from jettison.model.journal import JobState, RemovalEntry
from jettison.model.names import Reference, RepoName, Tag
from jettison.storage.journal import Journal
from tests.support.memory import Killed, MemoryRegistry

APP = RepoName("app")
SETTINGS = RemovalSettings()
REQUEST = RemovalRequest(
    (Reference.parse("memory.test/app:1"), Reference.parse("memory.test/app:2"))
)
POLICY = parse_policy("max_removal: 100%\nrules: [{tags: ['1', '2'], remove: all}]", "policy.yml")


class Slow(MemoryRegistry):
    """A delete waits until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()

    async def delete_manifest(
        self, repository: RepoName, digest: Digest, only: AbstractSet[Tag] | None = None
    ) -> bool:
        self.reached.set()
        await self.go_on.wait()
        return await super().delete_manifest(repository, digest, only)


@pytest.fixture
def registry() -> Slow:
    made = Slow()
    for tag in ("1", "2", "3"):
        made.push(APP, tag, image([layer({"app": tag.encode()})]))
    return made


@pytest.fixture
def place(registry: Slow, tmp_path: Path) -> Workspace:
    return Workspace(registry, users=Journal.at(tmp_path / "runs"))


async def test_same_command_twice_at_once_is_done_once(registry: Slow, place: Workspace) -> None:
    first, second = RemovalJob(place), RemovalJob(place)
    plans = [await job.plan(REQUEST, SETTINGS) for job in (first, second)]
    running = asyncio.create_task(first.apply(plans[0]))
    await registry.reached.wait()
    [run] = place.users_journal.ids()
    with pytest.raises(Locked, match=f"as run {run} since"):
        await second.apply(plans[1])
    begun = place.users_journal.read(run)
    assert isinstance(begun, RemovalEntry)
    undo = UndoJob(place, begun)
    with pytest.raises(Locked, match=run):
        await undo.apply(await undo.plan())
    registry.go_on.set()
    done = await running
    assert done.receipt is not None
    assert done.receipt.ok
    assert place.users_journal.ids() == [run]
    assert registry.found[APP].tags.keys() == {"3"}


async def test_interrupted_run_is_finished_once(registry: Slow, place: Workspace) -> None:
    registry.go_on.set()
    registry.writes = 1
    job = RemovalJob(place)
    with pytest.raises(Killed):
        await job.apply(await job.plan(REQUEST, SETTINGS))
    registry.writes = None
    jobs = RemovalJob(place), RemovalJob(place)
    begun = [one.find_interrupted(REQUEST, SETTINGS) for one in jobs]
    assert begun[0] is not None
    assert begun[1] is not None
    assert begun[0].id == begun[1].id
    await jobs[0].apply(jobs[0].plan_rest(begun[0], SETTINGS))
    # What is pushed again after that is no business of the second's.
    registry.push(APP, "1", image([layer({"app": b"1"})]))
    with pytest.raises(PlanStale, match=f"finished run {begun[0].id} meanwhile"):
        await jobs[1].apply(jobs[1].plan_rest(begun[1], SETTINGS))
    assert registry.found[APP].tags.keys() == {"1", "3"}


async def test_run_that_another_begins_meanwhile_is_to_be_finished(
    registry: Slow, place: Workspace
) -> None:
    registry.go_on.set()
    late = RemovalJob(place)
    plan = await late.plan(REQUEST, SETTINGS)
    registry.writes = 1
    job = RemovalJob(place)
    with pytest.raises(Killed):
        await job.apply(await job.plan(REQUEST, SETTINGS))
    registry.writes = None
    with pytest.raises(PlanStale, match="began the same meanwhile"):
        await late.apply(plan)
    assert len(place.users_journal.ids()) == 1


async def test_one_plan_of_a_policy_is_applied_once(registry: Slow, place: Workspace) -> None:
    registry.go_on.set()
    jobs = PruneJob(place), PruneJob(place)
    made = await jobs[0].plan(PruneRequest(POLICY, ("prune",)))
    name = jobs[0].fingerprint_of(made)
    both = [
        await job.prepare(made, RemovalSettings(), name, made.decided, once=True) for job in jobs
    ]
    done = await jobs[0].apply(both[0])
    registry.push(APP, "1", image([layer({"app": b"1"})]))
    with pytest.raises(PlanStale, match=f"as run {done.id}"):
        await jobs[1].apply(both[1])
    assert registry.found[APP].tags.keys() == {"1", "3"}
    undo = UndoJob(place, done)
    planned = await undo.plan()
    await undo.apply(planned)
    with pytest.raises(PlanStale, match="undone run"):
        await undo.apply(planned)
    assert place.users_journal.head(done.id).state is JobState.UNDONE
