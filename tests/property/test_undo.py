"""Removals, some of them killed, pushes, collections and undos in any order, beside a naive model.

Whatever the order: a tag changes only by a push, by the removal that names it, or by the undo of
one that took it, and then only where it is free; what an undo does not name as left is there,
whole; no throw-away manifest stays once an undo came to its end.
"""

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jettison.demo.images import Image, Index, image, index, layer
from jettison.errors import JettisonError
from jettison.jobs.removal_plan import RemovalRequest
from jettison.jobs.remove import RemovalJob, RemovalSettings
from jettison.jobs.undo import UndoJob, require_undoable
from jettison.jobs.workspace import Workspace
from jettison.model.digest import Digest
from jettison.model.journal import JobKind, JournalEntry
from jettison.model.names import Reference, RepoName, Tag
from jettison.model.untag_placeholder import is_untag_placeholder
from jettison.storage.journal import Journal
from tests.support.examples import examples
from tests.support.memory import Killed, MemoryRegistry

APP = RepoName("app")
TAGS = ("a", "b", "c", "d")
BASE = layer({"base": b"base"})


def _app(number: int, architecture: str = "amd64") -> Image:
    return image([BASE, layer({"app": bytes([number])})], architecture=architecture)


ONE, TWO, THREE = _app(1), _app(2), _app(3, "arm64")
PUSHED: tuple[Image | Index, ...] = (
    ONE,
    TWO,
    THREE,
    index([ONE, THREE]),
    index([TWO, THREE]),
    index([ONE]),
)

tags = st.sampled_from(TAGS)
kills = st.none() | st.integers(0, 5)
steps = st.one_of(
    st.tuples(st.just("push"), tags, st.integers(0, len(PUSHED) - 1)),
    st.tuples(st.just("rm"), st.sets(tags, min_size=1, max_size=2), kills),
    st.tuples(st.just("undo"), st.integers(0, 5), kills),
    st.tuples(st.just("collect")),
)


@dataclass
class Model:
    """What is known without reading the code: what each run really took, as it was seen to go."""

    registry: MemoryRegistry
    journal: Journal
    took: dict[str, dict[Tag, Digest]] = field(default_factory=dict)
    named: dict[str, dict[Tag, Digest]] = field(default_factory=dict)
    """What each run named, and where it pointed: killed in a step, it may have taken it."""
    now: float = 1_750_000_000.0

    def clock(self) -> float:
        self.now += 1.0
        return self.now

    def place(self) -> Workspace:
        return Workspace(self.registry, users=self.journal, clock=self.clock)

    def seen(self) -> dict[Tag, Digest]:
        return dict(self.registry.found[APP].tags)

    def is_free(self, digest: Digest | None) -> bool:
        found = self.registry.found[APP].manifests.get(digest) if digest else None
        return digest is None or (found is not None and is_untag_placeholder(found.raw))

    async def rm(self, names: set[str], writes: int | None) -> None:
        before = self.seen()
        references = tuple(Reference.parse(f"memory.test/app:{name}") for name in sorted(names))
        request = RemovalRequest(references, all_tags=False)
        known = set(self.journal.ids())
        self.registry.writes = writes
        try:
            job = RemovalJob(self.place())
            await job.apply(await job.plan(request, RemovalSettings()))
        except (Killed, JettisonError):
            pass
        finally:
            self.registry.writes = None
        after = self.seen()
        for run in set(self.journal.ids()) - known:
            self.took[run] = {t: d for t, d in before.items() if after.get(t) != d}
            self.named[run] = {t: d for t, d in before.items() if t in names}
        for tag in before.keys() | after.keys():
            if tag not in names:
                # Tags of one digest go alone: the others stay.
                assert after.get(tag) == before.get(tag)
            elif after.get(tag) != before.get(tag):
                assert self.is_free(after.get(tag))
        for tag, digest in after.items():
            assert self.is_free(digest) or self.registry.is_whole(APP, digest), tag

    async def undo(self, number: int, writes: int | None) -> None:
        runs = sorted(self.took)
        if not runs:
            return
        run_id = runs[number % len(runs)]
        run = self.journal.read(run_id)
        before = self.seen()
        free = {tag: self.is_free(before.get(tag)) for tag in map(Tag, TAGS)}
        named = await self._undo(run, writes)
        after = self.seen()
        for tag in map(Tag, TAGS):
            if after.get(tag) != before.get(tag):
                assert free[tag]
                assert after.get(tag) == self.named[run_id].get(tag)
        if named is None:
            return
        for tag, digest in self.took[run_id].items():
            if f"app:{tag}" not in named:
                assert after.get(tag) == digest
                assert self.registry.is_whole(APP, digest)
        if not named:
            for one in self.registry.found[APP].manifests.values():
                assert f'"{run_id}/'.encode() not in one.raw

    async def _undo(self, run: JournalEntry, writes: int | None) -> set[str] | None:
        """Return what it named as left; None if it was killed."""
        before = self.seen()
        self.registry.writes = writes
        try:
            job = UndoJob(self.place(), require_undoable(run))
            done, left = await job.apply(await job.plan())
        except Killed:
            return None
        except JettisonError as error:
            assert before == self.seen()  # nothing was changed, and each thing is named
            return {f"app:{tag}" for tag in self.took[run.id] if f"app:{tag}:" in error.message}
        finally:
            self.registry.writes = None
        assert done.receipt is not None
        assert done.receipt.ok == (not left), done.receipt.findings
        return {one.subject for one in left}


async def play(steps: list[tuple], *, untag: bool, folder: Path) -> None:  # type: ignore[type-arg] # of several shapes
    model = Model(MemoryRegistry(untag=untag), Journal.at(folder))
    for number, tag in enumerate(TAGS):
        model.registry.push(APP, tag, PUSHED[number])
    for step in steps:
        match step:
            case ("push", tag, number):
                model.registry.push(APP, tag, PUSHED[number])
            case ("rm", names, writes):
                await model.rm(names, writes)
            case ("undo", number, writes):
                await model.undo(number, writes)
            case _:
                model.registry.collect()
    assert all(
        isinstance(run, JournalEntry) and run.kind in {JobKind.RM, JobKind.UNDO}
        for run in model.journal.runs()
    )


@settings(examples(40), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, min_size=2, max_size=8), st.booleans())
def test_undo_in_any_order(steps: list[tuple], untag: bool) -> None:  # type: ignore[type-arg] # of several shapes
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        asyncio.run(play(steps, untag=untag, folder=Path(folder)))
