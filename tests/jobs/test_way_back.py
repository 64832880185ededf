"""Where blobs go with the last manifest, a removal has to be told how it can be undone, or not."""

import itertools
from pathlib import Path

import pytest

from jettison.demo.images import image, index, layer
from jettison.errors import Refused
from jettison.jobs.removal_plan import RemovalRequest
from jettison.jobs.remove import RemovalJob, RemovalSettings
from jettison.jobs.undo import UndoJob
from jettison.jobs.workspace import Workspace
from jettison.model.journal import JobState, RemovalEntry
from jettison.model.names import Reference, RepoName, Tag
from jettison.model.undo_promise import undo_promise_of
from jettison.storage.journal import Journal
from tests.support.memory import MemoryRegistry

APP = RepoName("app")
BASE = layer({"base": b"base"})
ONE, TWO = image([BASE, layer({"app": b"1"})]), image([BASE, layer({"app": b"2"})])
REQUEST = RemovalRequest((Reference.parse("memory.test/app:1"),))
NOW = 1_750_000_000.0


@pytest.fixture
def gitea() -> MemoryRegistry:
    made = MemoryRegistry(product="Gitea", drops_blobs=True)
    made.push(APP, "1", ONE)
    made.push(APP, "2", TWO)
    return made


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.at(tmp_path / "runs")


def place(registry: MemoryRegistry, journal: Journal, now: float = NOW) -> Workspace:
    times = itertools.count(now)
    return Workspace(registry, users=journal, clock=lambda: next(times))


def remover(registry: MemoryRegistry, journal: Journal) -> RemovalJob:
    return RemovalJob(place(registry, journal))


async def remove(
    registry: MemoryRegistry, journal: Journal, settings: RemovalSettings
) -> RemovalEntry:
    work = remover(registry, journal)
    prepared = await work.plan(REQUEST, settings)
    work.require_way_back(prepared)
    return await work.apply(prepared)


async def test_it_is_refused_and_both_ways_are_named(
    gitea: MemoryRegistry, journal: Journal
) -> None:
    with pytest.raises(Refused, match="Gitea") as refused:
        await remove(gitea, journal, RemovalSettings())
    assert refused.value.hint is not None
    assert "--backup DIR" in refused.value.hint
    assert "--without-undo" in refused.value.hint
    assert gitea.found[APP].tags.keys() == {"1", "2"}
    assert journal.ids() == []


async def test_without_undo_it_goes_and_nothing_is_promised(
    gitea: MemoryRegistry, journal: Journal
) -> None:
    run = await remove(gitea, journal, RemovalSettings(without_undo=True))
    found = undo_promise_of(run, NOW)
    assert found is not None
    assert not found.possible
    with pytest.raises(Refused, match="app:1: its blob"):
        await UndoJob(place(gitea, journal), run).plan()


async def test_with_a_backup_it_can_be_undone(
    gitea: MemoryRegistry, journal: Journal, tmp_path: Path
) -> None:
    run = await remove(gitea, journal, RemovalSettings(backup=str(tmp_path / "backup")))
    found = undo_promise_of(run, NOW)
    assert found is not None
    assert found.sentence == f"from the backup {tmp_path / 'backup'}"
    plan = await UndoJob(place(gitea, journal), run).plan()
    assert plan.blobs
    done, left = await UndoJob(place(gitea, journal), run).apply(plan)
    assert not left
    assert done.receipt is not None
    assert done.receipt.ok
    assert gitea.is_whole(APP, gitea.found[APP].tags[Tag("1")])
    assert journal.read(run.id).state is JobState.UNDONE


async def test_a_registry_that_is_not_known_to_do_so_is_found_out(journal: Journal) -> None:
    registry = MemoryRegistry(product="OCI registry", drops_blobs=True)
    registry.push(APP, "1", ONE)
    registry.push(APP, "2", TWO)
    run = await remove(registry, journal, RemovalSettings())
    found = undo_promise_of(run, NOW)
    assert found is not None
    assert not found.possible


async def test_what_was_broken_before_is_told_and_not_promised(journal: Journal) -> None:
    registry = MemoryRegistry()
    registry.push(APP, "1", ONE)
    registry.push(APP, "2", TWO)
    lost = ONE.layers[1].digest
    del registry.found[APP].blobs[lost]
    work = remover(registry, journal)
    prepared = await work.plan(REQUEST, RemovalSettings())
    assert any(str(lost) in warning for warning in prepared.plan.warnings)
    assert not work.promise(prepared).possible
    run = await work.apply(prepared)
    assert run.receipt is not None
    assert run.receipt.ok


async def test_an_undo_that_overwrites_can_be_undone(journal: Journal) -> None:
    registry = MemoryRegistry()
    one = registry.push(APP, "1", ONE)
    registry.push(APP, "2", TWO)
    run = await remove(registry, journal, RemovalSettings())
    two = registry.push(APP, "1", TWO)
    with pytest.raises(Refused, match=r"app:1: now points to sha256:\w+"):
        await UndoJob(place(registry, journal), run).plan()
    first = UndoJob(place(registry, journal, NOW + 100), run)
    plan = await first.plan(overwrite=True)
    done, _ = await first.apply(plan)
    assert registry.found[APP].tags[Tag("1")] == one
    second = UndoJob(place(registry, journal, NOW + 200), done)
    await second.apply(await second.plan())
    assert registry.found[APP].tags[Tag("1")] == two


async def test_a_sparse_index_comes_back_as_it_was(journal: Journal) -> None:
    registry = MemoryRegistry()
    registry.sparse = True
    both = index([ONE, TWO])
    registry.push(APP, "1", both)
    del registry.found[APP].manifests[TWO.digest]
    run = await remove(registry, journal, RemovalSettings())
    work = UndoJob(place(registry, journal), run)
    done, left = await work.apply(await work.plan())
    assert not left
    assert done.receipt is not None
    assert done.receipt.ok, done.receipt.findings
    assert registry.found[APP].tags[Tag("1")] == both.digest
