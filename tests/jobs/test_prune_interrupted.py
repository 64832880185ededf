"""A prune that is met by something at its every request and every note in the journal.

``tests/e2e/test_prune_killed.py`` has the same with real registries and processes.
"""

import itertools
from collections.abc import Callable, Coroutine, Iterable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jettison.configuration.policy_file import parse_policy
from jettison.demo import images
from jettison.demo.images import Image, Index
from jettison.errors import (
    AccessDenied,
    DeletionRefused,
    JettisonError,
    LoginRefused,
    PartlyDone,
    RegistryFailing,
    Unreachable,
)
from jettison.jobs.prune import PruneJob, PruneRequest
from jettison.jobs.remove import RemovalSettings
from jettison.jobs.undo import UndoJob
from jettison.jobs.workspace import Workspace
from jettison.model.digest import Digest
from jettison.model.journal import JobState, RemovalEntry
from jettison.model.names import RepoName, Tag
from jettison.model.retention.prune_plan import PrunePlan
from jettison.storage.journal import Journal
from tests.support.memory import Killed, MemoryRegistry

APP, WEB = RepoName("app"), RepoName("web")
SETTINGS = RemovalSettings()
POLICY = parse_policy(
    "max_removal: 90%\nrules: [{tags: ['b*'], clock: created, keep: {last: 2}, remove: rest}]",
    "policy.yml",
)
REQUEST = PruneRequest(POLICY, ("prune",))
NOW = 1_764_000_000.0


def build(number: int) -> Image:
    own = images.layer({"own": images.random_bytes(number, 100)})
    return images.image([own], created=f"2025-10-{number:02}T00:00:00Z")


MULTI, OLD = images.index([build(20), build(21)]), images.index([build(4), build(5)])
NEW = images.image([images.layer({"own": b"new"})], created="2025-11-01T00:00:00Z")
CONTENT: dict[RepoName, dict[str, Image | Index]] = {
    APP: {
        "b0": MULTI,
        images.cosign_tag(MULTI.digest): images.signature(MULTI),
        "b1": build(1),
        "b1-too": build(1),
        "b2": build(2),
        "v1": build(2),
        "b3": OLD,
        images.cosign_tag(OLD.digest): images.signature(OLD),
        "b4": build(22),
    },
    WEB: {"b1": build(11), "b2": build(12), "b3": build(13)},
}
OLD_SIGNATURE = images.cosign_tag(OLD.digest)
GONE = {
    APP: {"b1", "b1-too", "b2", "b3", OLD_SIGNATURE},
    WEB: {"b1"},
}
STAY = {name: {tag for tag in of if tag not in GONE[name]} for name, of in CONTENT.items()}
ALL = {name: set(of) for name, of in CONTENT.items()}


class Met(MemoryRegistry):
    """Something happens before the ``at``-th call of it or of its journal, counted from 1."""

    def __init__(self, at: int | None = None, what: Callable[["Met"], None] | None = None) -> None:
        super().__init__()
        self.at = at
        self.calls = 0
        self.dead = False
        self.refuse: Callable[[RepoName], JettisonError | None] = lambda _: None
        self._what = what
        for name, of in CONTENT.items():
            for tag, made in of.items():
                self.push(name, tag, made)

    def tick(self) -> None:
        self.calls += 1
        if self.calls == self.at and self._what is not None:
            self._what(self)
        if self.dead:
            raise Killed

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in CALLS:
            return self._counted(found, changes=name in CHANGES)
        return found

    def _counted(
        self, call: Callable[..., Coroutine[Any, Any, Any]], *, changes: bool
    ) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def counted(repository: RepoName, *args: Any, **options: Any) -> Any:
            self.tick()
            refused = self.refuse(repository) if changes else None
            if refused is not None:
                raise refused
            return await call(repository, *args, **options)

        return counted

    @property
    def tags_now(self) -> dict[RepoName, set[str]]:
        return {name: set(here.tags) for name, here in self.found.items()}


CHANGES = frozenset({"delete_manifest", "untag", "put_manifest"})
CALLS = CHANGES | {"manifest", "resolve", "has_blob", "blob_size"}


class Noting(Journal):
    """Its writes are counted with the calls of the registry."""

    met: Met

    def write(self, run: Any) -> None:
        self.met.tick()
        super().write(run)

    def mark(self, run_id: str, marks: Iterable[tuple[int, bool]], *, at: str) -> None:
        self.met.tick()
        super().mark(run_id, marks, at=at)


def place(registry: Met, folder: Path) -> Workspace:
    journal = Noting.at(folder / "runs")
    journal.met = registry
    times = itertools.count(NOW)
    return Workspace(registry, users=journal, clock=lambda: float(next(times)))


async def prune(where: Workspace) -> tuple[PrunePlan | None, RemovalEntry | None]:
    """What the command does."""
    job = PruneJob(where)
    name = job.fingerprint(REQUEST, SETTINGS)
    begun = await job.find_interrupted(name, SETTINGS, REQUEST)
    if begun is not None:
        return None, await job.apply(begun)
    made = await job.plan(REQUEST)
    if not made.plan.steps:
        return made, None
    return made, await job.apply(await job.prepare(made, SETTINGS, name, made.decided))


def require_whole(registry: Met, tags: dict[RepoName, set[str]]) -> None:
    for name, of in tags.items():
        for tag in of:
            made = CONTENT[name][tag]
            assert registry.found[name].tags.get(Tag(tag)) == made.digest, tag
            assert registry.is_whole(name, made.digest), tag


async def undo_last(where: Workspace) -> None:
    heads = [where.users_journal.read(one) for one in where.users_journal.ids()]
    for entry in reversed(heads):
        if isinstance(entry, RemovalEntry) and entry.state is not JobState.UNDONE:
            work = UndoJob(where, entry)
            await work.apply(await work.plan())


async def calls_of_a_whole_run(folder: Path, kind: type[Met] = Met) -> int:
    registry = kind()
    _, entry = await prune(place(registry, folder / "count"))
    assert entry is not None
    assert entry.receipt is not None
    assert entry.receipt.ok
    assert registry.tags_now == STAY
    require_whole(registry, STAY)
    return registry.calls


def kill(registry: Met) -> None:
    registry.dead = True


class Outlived(Met):
    """Tags stay in the list when their image is deleted, and it removes none by itself."""

    def __init__(self, at: int | None = None, what: Callable[[Met], None] | None = None) -> None:
        super().__init__(at, what)
        self._untag = False

    async def resolve(self, repository: RepoName, tag: Tag) -> Digest | None:
        digest = await super().resolve(repository, tag)
        return digest if digest in self.found[repository].manifests else None

    async def delete_manifest(
        self, repository: RepoName, digest: Digest, only: AbstractSet[Tag] | None = None
    ) -> bool:
        tags = dict(self.found[repository].tags)
        deleted = await super().delete_manifest(repository, digest, only=only)
        if any(digest == made.digest for of in CONTENT.values() for made in of.values()):
            self.found[repository].tags = tags
        return deleted


@pytest.mark.parametrize("kind", [Met, Outlived])
async def test_killed_finished_and_undone(tmp_path: Path, kind: type[Met]) -> None:
    most = await calls_of_a_whole_run(tmp_path, kind)
    assert most > 50
    for at in range(1, most + 1):
        for again in (at % 2 == 0,):
            registry = kind(at, kill)
            where = place(registry, tmp_path / f"{at}-{again}")
            with pytest.raises(Killed):
                await prune(where)
            registry.dead = False
            require_whole(registry, STAY)
            if again:
                await prune(where)
                assert registry.tags_now == STAY
                require_whole(registry, STAY)
                assert (await prune(where))[1] is None
            await undo_last(where)
            assert registry.tags_now == ALL, at
            require_whole(registry, ALL)


@pytest.mark.parametrize("kind", [Met, Outlived])
async def test_what_is_pushed_again_after_an_interruption_is_let_be(
    tmp_path: Path, kind: type[Met]
) -> None:
    most = await calls_of_a_whole_run(tmp_path, kind)
    pushed = 0
    for at in range(1, most + 1):
        registry = kind(at, kill)
        where = place(registry, tmp_path / f"{at}")
        with pytest.raises(Killed):
            await prune(where)
        registry.dead = False
        heads = [where.users_journal.read(one) for one in where.users_journal.ids()]
        done = [
            one.plan.steps[number]
            for one in heads
            if isinstance(one, RemovalEntry)
            for number in where.users_journal.steps(one.id).done
        ]
        if not any("b1" in step.tags and step.repository == WEB for step in done):
            continue
        pushed += 1
        registry.push(WEB, "b1", CONTENT[WEB]["b1"])
        await prune(where)
        assert registry.tags_now == {**STAY, WEB: ALL[WEB]}, at
        require_whole(registry, registry.tags_now)
    assert pushed


def fails(error: type[JettisonError]) -> Callable[[Met], None]:
    def fail(registry: Met) -> None:
        raise error("it answers 500")

    return fail


@pytest.mark.parametrize("error", [RegistryFailing, Unreachable, LoginRefused, AccessDenied])
async def test_one_request_fails(tmp_path: Path, error: type[JettisonError]) -> None:
    most = await calls_of_a_whole_run(tmp_path)
    for at in range(1, most + 1, 5):
        registry = Met(at, fails(error))
        where = place(registry, tmp_path / f"{at}")
        with suppress(error, PartlyDone):
            await prune(where)
        require_whole(registry, STAY)
        for _ in range(2):
            await prune(where)
        assert registry.tags_now == STAY, at
        require_whole(registry, STAY)
        await undo_last(where)
        assert registry.tags_now == ALL, at
        require_whole(registry, ALL)


async def test_second_tool_removes_the_same_meanwhile(tmp_path: Path) -> None:
    def remove(registry: Met) -> None:
        for name, tags in GONE.items():
            here = registry.found[name]
            for tag in tags:
                here.tags.pop(Tag(tag), None)

    most = await calls_of_a_whole_run(tmp_path)
    for at in range(1, most + 1, 6):
        registry = Met(at, remove)
        where = place(registry, tmp_path / f"{at}")
        await prune(where)
        await prune(where)
        assert registry.tags_now == STAY, at
        require_whole(registry, STAY)


async def test_tag_that_is_pushed_meanwhile_stays(tmp_path: Path) -> None:
    most = await calls_of_a_whole_run(tmp_path)

    def push(registry: Met) -> None:
        registry.push(APP, "b1", NEW)

    for at in range(1, most + 1, 6):
        registry = Met(at, push)
        where = place(registry, tmp_path / f"{at}")
        await prune(where)
        assert registry.found[APP].tags[Tag("b1")] == NEW.digest, at
        assert registry.is_whole(APP, NEW.digest)
        # Where the plan was not made yet, it is one of the newest two in place of b0.
        require_whole(registry, {WEB: STAY[WEB], APP: {"v1", "b4"}})


async def test_repository_that_vanishes_meanwhile_harms_no_other(tmp_path: Path) -> None:
    most = await calls_of_a_whole_run(tmp_path)

    def vanish(registry: Met) -> None:
        registry.found.pop(APP)

    for at in range(1, most + 1, 6):
        registry = Met(at, vanish)
        where = place(registry, tmp_path / f"{at}")
        await prune(where)
        await prune(where)
        assert registry.tags_now[WEB] == STAY[WEB], at
        require_whole(registry, {WEB: STAY[WEB]})


@pytest.mark.parametrize("error", [AccessDenied, DeletionRefused])
async def test_repository_that_refuses_keeps_no_other(
    tmp_path: Path, error: type[JettisonError]
) -> None:
    registry = Met()
    where = place(registry, tmp_path)
    registry.refuse = lambda name: _refusal(error) if name == APP else None
    _, entry = await prune(where)
    assert entry is not None
    assert {entry.plan.steps[one.step].repository for one in entry.left} == {APP}
    assert registry.tags_now == {APP: ALL[APP], WEB: STAY[WEB]}
    registry.refuse = lambda _: None
    await prune(where)
    assert registry.tags_now == STAY


def _refusal(error: type[JettisonError]) -> JettisonError:
    if error is DeletionRefused:
        return DeletionRefused("it does not delete this", codes=frozenset({"DENIED"}))
    return error("this login may not")


async def test_manifest_that_is_not_answered_for_keeps_its_repository(tmp_path: Path) -> None:
    class Failing(Met):
        async def manifest(self, repository: RepoName, reference: Tag | Digest) -> Any:
            if reference == build(4).digest and self.failing:
                raise RegistryFailing("it answers 500")
            return await super().manifest(repository, reference)

        failing = True

    registry = Failing()
    where = place(registry, tmp_path)
    made, _ = await prune(where)
    assert made is not None
    assert [one.subject for one in made.unread] == [APP]
    assert registry.tags_now == {APP: ALL[APP], WEB: STAY[WEB]}
    registry.failing = False
    await prune(where)
    assert registry.tags_now == STAY
