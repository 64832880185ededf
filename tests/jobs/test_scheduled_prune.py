"""The prune that a server runs by itself, on a tree, at a time of its schedule."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from jettison.configuration import read_configuration
from jettison.jobs.prune import PruneJob
from jettison.jobs.scheduled_prune import prune_as_scheduled
from jettison.jobs.undo import UndoJob
from jettison.jobs.workspace import Workspace
from jettison.model.journal import JobState, RemovalEntry
from jettison.storage.journal import tree_journal
from jettison.storage.scheduled_runs import RunResult, ScheduledRun, ScheduledRuns
from tests.support.scheduled import DAY, POLICY, Builds
from tests.support.trees import NOW, Tree, repo


class Place(Builds):
    """Six builds, of which one is immutable."""

    def __init__(self, folder: Path) -> None:
        keys = "schedule: '0 3 * * *', undo_window: 48h"
        super().__init__(folder, 6, schedule=keys, more="immutable: [b1]")
        self.due = NOW

    async def prune(self) -> ScheduledRun | None:
        """Prune at the next time."""
        self.due += 60
        read = partial(read_configuration, self.config, {}, "serving")
        return await prune_as_scheduled(self.storage, self.due, read, lambda: self.due)

    async def pruned(self) -> ScheduledRun:
        found = await self.prune()
        assert found is not None
        assert found == ScheduledRuns(self.storage).last()
        assert (found.due, found.ended) == (self.due, self.due)
        return found


ALL = ["b1", "b2", "b3", "b4", "b5", "b6"]
LEFT = ["b1", "b5", "b6"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_what_the_policy_says_goes_and_can_be_put_back(place: Place) -> None:
    found = await place.pruned()
    assert place.tags == LEFT
    assert found.result is RunResult.DONE
    assert (found.tags, found.manifests) == (3, 3)
    assert found.bytes > 0
    assert found.succeeded == place.due
    entry = tree_journal(place.storage).read(found.run)
    assert isinstance(entry, RemovalEntry)
    assert entry.kind == "prune"
    assert entry.window_until == place.due + 2 * DAY
    assert entry.request == (str(place.config),)
    again = await place.pruned()
    assert (again.result, again.run, again.tags) == (RunResult.DONE, "", 0)
    undo = UndoJob(Workspace(storage=place.storage).without_api(), entry)
    await undo.apply(await undo.plan())
    assert place.tags == ALL


async def test_time_is_done_once(place: Place) -> None:
    await place.pruned()
    place.due -= 60
    assert await place.prune() is None
    with ScheduledRuns(place.storage).claim(place.due + 60, place.due):
        assert await place.prune() is None


async def test_what_looks_wrong_is_refused_with_the_command(place: Place) -> None:
    place.policy.write_text(POLICY.replace("90%", "30%"), encoding="utf-8")
    found = await place.pruned()
    assert place.tags == ALL
    assert found.result is RunResult.REFUSED
    assert "30%" in found.message
    command = f"jettison prune {place.config} --policy {place.policy}"
    assert found.hint.startswith(f"Look at it: {command} -n; if it is meant: {command} --max-rem")
    assert found.succeeded is None
    place.policy.write_text(POLICY, encoding="utf-8")
    assert (await place.pruned()).result is RunResult.DONE
    assert place.tags == LEFT


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("policy", "rules: [{tags: ['b*'], remov: all}]", "rules[0].remov"),
        ("policy", "rules: []", "the policy is empty"),
        ("policy", None, "No such file"),
        ("config", "version: 0.1\nstorage: {inmemory: }\n", "storage"),
        ("config", None, "No such file"),
    ],
)
def test_file_that_broke_meanwhile_removes_nothing(
    place: Place, file: str, text: str | None, said: str
) -> None:
    path: Path = getattr(place, file)
    before = path.read_text(encoding="utf-8")
    path.unlink()
    if text is not None:
        path.write_text(text, encoding="utf-8")
    found = asyncio.run(place.pruned())
    assert found.result is RunResult.FAILED
    assert said in found.message
    assert place.tags == ALL
    path.write_text(before, encoding="utf-8")
    assert asyncio.run(place.pruned()).result is RunResult.DONE


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("enabled: true", "enabled: false", "needs a registry that deletes"),
        ("retention: {", "x-retention: {", "no longer in the configuration"),
        ("registry}", "other}", "names another storage by now"),
    ],
)
async def test_configuration_that_was_changed_meanwhile_counts(
    place: Place, old: str, new: str, said: str
) -> None:
    Tree(place.tree.root.with_name("other")).image("app", "b1", [b"layer"])
    text = place.config.read_text(encoding="utf-8")
    place.config.write_text(text.replace(old, new), encoding="utf-8")
    found = await place.pruned()
    assert found.result is RunResult.FAILED
    assert said in found.message
    assert place.tags == ALL


async def test_what_could_not_be_known_is_told(place: Place) -> None:
    for number in range(10):
        place.tree.image("copied", f"b{number}", [b"copied %d" % number], when=NOW - DAY)
    found = await place.pruned()
    assert found.result is RunResult.DONE
    assert any("look like those of a copy" in note for note in found.notes)


async def test_run_that_was_interrupted_is_finished_by_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = PruneJob.apply

    async def cancelled(job: PruneJob, *args: object) -> RemovalEntry:
        steps = asyncio.create_task(apply(job, *args))  # type: ignore[arg-type]
        while place.tags == ALL:  # noqa: ASYNC110 - the tree tells nobody
            await asyncio.sleep(0)
        steps.cancel()
        return await steps

    with monkeypatch.context() as patch:
        patch.setattr(PruneJob, "apply", cancelled)
        with pytest.raises(asyncio.CancelledError):
            await place.prune()
    last = ScheduledRuns(place.storage).last()
    assert last is not None
    assert last.result is RunResult.INTERRUPTED
    head = tree_journal(place.storage).head(last.run)
    assert head.state is JobState.INTERRUPTED
    found = await place.pruned()
    assert found.result is RunResult.DONE
    assert (found.run, found.tags) == (last.run, 3)
    assert place.tags == LEFT


def collecting(place: Place, window: str = "48h") -> None:
    text = place.config.read_text(encoding="utf-8")
    changed = text.replace("undo_window: 48h", f"undo_window: {window}, collect: true")
    place.config.write_text(changed, encoding="utf-8")


async def test_collection_takes_what_is_past_its_undo_window(place: Place) -> None:
    collecting(place)
    blobs = place.tree.blobs()
    first = await place.pruned()
    assert (first.result, first.tags, first.freed) == (RunResult.DONE, 3, 0)
    assert place.tree.blobs() == blobs
    place.due += 2 * DAY
    second = await place.pruned()
    assert (second.result, second.tags) == (RunResult.DONE, 0)
    assert second.freed == first.bytes > 0
    assert len(place.tree.blobs()) == len(blobs) - 9
    assert place.tags == LEFT


async def test_collection_that_cannot_be_done_is_told_and_the_prune_is_done(place: Place) -> None:
    collecting(place)
    with place.storage.lease("collection"):
        found = await place.pruned()
    assert (found.result, found.tags, found.freed) == (RunResult.PARTLY, 3, 0)
    assert found.message.startswith("nothing was collected: ")
    assert found.hint == f"Look at it: jettison gc {place.config} -n"
    assert place.tags == LEFT


async def test_nothing_is_collected_after_a_refusal(place: Place) -> None:
    collecting(place)
    await place.pruned()
    blobs = place.tree.blobs()
    place.due += 2 * DAY
    place.policy.write_text(POLICY.replace("last: 2", "last: 1").replace("90%", "1%"), "utf-8")
    assert (await place.pruned()).result is RunResult.REFUSED
    assert place.tree.blobs() == blobs


async def test_what_is_left_of_a_prune_keeps_nothing_else_from_being_collected(
    place: Place,
) -> None:
    collecting(place)
    await place.pruned()
    place.tree.image("gaps", "b1", [b"gaps"])
    place.tree.tag_path("gaps", "b1").write_bytes(b"no digest")
    place.due += 2 * DAY
    found = await place.pruned()
    assert found.result is RunResult.PARTLY
    assert "not everything was collected" in found.message
    assert found.freed > 0


async def test_repository_that_cannot_be_listed_is_left_and_told(place: Place) -> None:
    for number in range(1, 7):
        place.push(number, "gaps")
    place.tree.tag_path("gaps", "b3").write_bytes(b"no digest")
    found = await place.pruned()
    assert found.result is RunResult.PARTLY
    assert "gaps" in found.message
    assert found.hint == f"See it: jettison runs {found.run} --storage {place.config}"
    assert (found.tags, place.tags) == (3, LEFT)
    with place.tree.open().repository(repo("gaps")) as reader:
        assert len(reader.tags().current) == 5
