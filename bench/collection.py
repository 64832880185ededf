"""Measures both collectors on the same trees, and compares what they delete."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from bench import report, simulation
from bench.agreement import (
    Prediction,
    blob_files,
    compare,
    eligible,
    leftover_problems,
    prediction,
    wrongly_deleted,
)
from bench.families import make_families
from bench.options import say
from bench.programs import (
    Distribution,
    Jettison,
    Job,
    Program,
    Weight,
    captured,
    clean_environment,
    copied,
    lines,
    removed,
    seconds,
    weight,
)
from bench.report import Row, Series, Target
from bench.trees import Shape, make_tree

__all__ = ["FULL", "QUICK", "SECTIONS", "Bench", "Scale", "Settings"]

DRY: Final = Job()
DRY_UNTAGGED: Final = Job(untagged=True)
MEMORY_RUNS: Final = 3


class Scale(NamedTuple):
    """The trees: many repositories, one with many tags, and many more repositories."""

    many: Shape
    tags: Shape
    large: Shape
    simulated: int
    """Repositories of 100 images each."""


FULL: Final = Scale(Shape(200, 100), Shape(1, 2000, untagged=0), Shape(1000, 100), 10_000)
QUICK: Final = Scale(Shape(10, 20), Shape(1, 100, untagged=0), Shape(20, 20), 20)

SECTIONS: Final = {
    "dry": "dry run",
    "untagged": "dry run with untagged manifests",
    "collect": "a real collection, each on a fresh copy",
    "collect-untagged": "the same with untagged manifests",
    "memory": "peak memory in a dry run",
    "tags": "one repository with many tags",
    "large": "a tree five times as large: does time grow linearly, memory",
    "simulated": "a million manifests, the listing simulated (bench/simulation.py)",
}


class Settings(NamedTuple):
    """What to measure, how often, and on what."""

    scale: Scale
    runs: int
    large_runs: int
    sections: frozenset[str]
    beside: str = "docker-registry"
    settle: bool = True
    """Bring each copy to the disk before it is collected; takes long on a busy machine."""


class Race(NamedTuple):
    """What is timed, and how many times as fast Jettison should be."""

    job: Job
    target: float


RACES: Final = {
    "dry": Race(DRY, 10),
    "untagged": Race(DRY_UNTAGGED, 40),
    "collect": Race(Job(dry=False), 6),
    "collect-untagged": Race(Job(dry=False, untagged=True), 6),
}


class Agreement(NamedTuple):
    """What both programs said that they would delete."""

    theirs: frozenset[str]
    ours: Prediction


class Bench:
    """Measures, and collects rows for the table, sentences about differences, and problems."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._environment = clean_environment(folder / "home")
        self._theirs = Distribution(folder, settings.beside)
        self._ours = Jettison()
        self.rows: list[Row] = []
        self.sentences: list[str] = []
        self.problems: list[str] = []

    def run(self) -> None:
        """Measure everything that was asked for."""
        with self._tree("families") as tree:
            make_families(tree)
            self._agree("Children and referrers (a small tree)", tree, DRY)
            self._agree("Children and referrers, with untagged", tree, DRY_UNTAGGED)
        dry = self._many()
        if "tags" in self._settings.sections:
            self._tags()
        if "large" in self._settings.sections:
            self._large(dry)
        if "simulated" in self._settings.sections:
            self._simulated()

    # The trees.

    def _many(self) -> tuple[Series, Series] | None:
        """Measure on the tree of many repositories; return the times of the dry run."""
        shape, wanted = self._settings.scale.many, self._settings.sections
        what = f"{shape.manifests:,} manifests"
        races = {name: race for name, race in RACES.items() if name in wanted}
        times: dict[str, tuple[Series, Series]] = {}
        if not races and "memory" not in wanted:
            return None
        with self._tree("many", shape) as tree:
            where = f"{what} in {shape.repositories:,} repositories"
            needed = {race.job.untagged for race in races.values()}
            agreed = {}
            for untagged in sorted(needed or {False}):
                label = f"{where}, with untagged" if untagged else where
                agreed[untagged] = self._agree(label, tree, Job(untagged=untagged))
            for name, (job, target) in races.items():
                if job.dry:
                    times[name] = self._race(tree, job, self._settings.runs)
                else:
                    times[name] = self._collect(tree, job, agreed[job.untagged])
                self._speed(f"{_described(job)}, {what}", times[name], Target(least=target))
            if "memory" in wanted:
                both = self._weigh(tree, min(MEMORY_RUNS, self._settings.runs))
                self._memory(what, both, Target(most=0.7))
        return times.get("dry")

    def _tags(self) -> None:
        shape = self._settings.scale.tags
        with self._tree("tags", shape) as tree:
            where = f"one repository of {shape.images:,} tags"
            self._agree(f"{where}, with untagged", tree, DRY_UNTAGGED)
            times = self._race(tree, DRY_UNTAGGED, self._settings.runs)
            self._speed(f"dry run with untagged, {where}", times, Target(least=300))

    def _large(self, dry: tuple[Series, Series] | None) -> None:
        """Measure on the largest tree, against the dry run of the other, if it was measured."""
        shape = self._settings.scale.large
        with self._tree("large", shape) as tree:
            what = f"{shape.manifests:,} manifests"
            self._agree(f"{what} in {shape.repositories:,} repositories", tree, DRY)
            times = self._race(tree, DRY, self._settings.large_runs)
            self._speed(f"dry run, {what}", times, None)
            if dry is not None:
                self._add(_growth(self._settings.scale, dry, times))
            both = self._weigh(tree, 1)
            self._memory(what, both, Target(most=120, unit=report.UNIT_MB))

    def _simulated(self) -> None:
        """Plan what fits on no disk here; the other program cannot be asked for that."""
        repositories = self._settings.scale.simulated
        manifests = repositories * simulation.IMAGES
        say(f"making up {manifests:,} manifests")
        script, index = str(Path(simulation.__file__)), str(self._folder / "manifests")
        captured([sys.executable, script, "prepare", index, str(repositories)], self._environment)
        command = [sys.executable, script, "plan", index, str(repositories)]
        found = json.loads(captured(command, self._environment))
        took, weighed = seconds(command, self._environment), weight(command, self._environment)
        what = f"{manifests:,} manifests, {found['kept']:,} blobs kept, {found['garbage']:,} to go"
        self._add(Row(f"plan, listing simulated, {what}", "–", f"{report.digits(took)} s"))
        together = f"{report.digits(weighed.tree / report.MB)} MB"
        self._add(Row(f"memory, the same, {manifests:,} manifests", "–", together))

    @contextmanager
    def _tree(self, name: str, shape: Shape | None = None) -> Iterator[Path]:
        tree = self._folder / name
        try:
            if shape is not None:
                say(f"making a tree of {shape.manifests:,} manifests")
                make_tree(tree, shape)
            yield tree
        finally:
            removed(tree)

    # Measuring.

    def _agree(self, where: str, tree: Path, job: Job) -> Agreement:
        """Compare what both would delete; this also brings the tree into the cache."""
        say(f"comparing: {where}")
        theirs = eligible(lines(self._theirs.command(tree, job), self._environment))
        ours = prediction(captured(self._ours.plan_command(tree, job), self._environment))
        excuses = {}
        if job.untagged and theirs != ours.blobs:
            excuses = wrongly_deleted(tree)
        found = compare(theirs, ours.blobs, excuses)
        told = report.difference_lines(where, len(theirs & ours.blobs), found)
        self.sentences += told
        if any(one.reason is None for one in found):
            self.problems += told
        return Agreement(theirs, ours)

    def _race(self, tree: Path, job: Job, runs: int) -> tuple[Series, Series]:
        say(f"timing {_described(job)}, {runs} times each")
        times: dict[str, list[float]] = {self._theirs.name: [], self._ours.name: []}
        for program in self._in_turn(runs):
            command = program.command(tree, job)
            times[program.name].append(seconds(command, self._environment))
        return self._both(times)

    def _collect(self, tree: Path, job: Job, agreed: Agreement) -> tuple[Series, Series]:
        """Time real collections, and check each one: what is left, and the bytes freed."""
        runs = self._settings.runs
        say(f"timing {_described(job)}, {runs} times each, on fresh copies")
        before = blob_files(tree)
        expected = {
            self._theirs.name: (agreed.theirs, sum(before[one] for one in agreed.theirs)),
            self._ours.name: agreed.ours,
        }
        times: dict[str, list[float]] = {self._theirs.name: [], self._ours.name: []}
        found: set[str] = set()
        for program in self._in_turn(runs):
            with copied(tree, "copy", settle=self._settings.settle) as copy:
                command = program.command(copy, job)
                times[program.name].append(seconds(command, self._environment))
                wrong = leftover_problems(before, blob_files(copy), *expected[program.name])
            found |= {f"{program.name}, {_described(job)}: {one}" for one in wrong}
        self.problems += sorted(found)
        if not found:
            self.sentences.append(
                f"After each {_described(job)} ({runs} by each) exactly those blobs were gone, "
                f"and {agreed.ours.bytes:,} bytes freed, as Jettison had predicted."
            )
        return self._both(times)

    def _weigh(self, tree: Path, runs: int) -> tuple[Weight, Weight]:
        """Return the median of each figure, theirs and ours."""
        say(f"weighing a dry run, {runs} times each")
        found: dict[str, list[Weight]] = {self._theirs.name: [], self._ours.name: []}
        for program in self._in_turn(runs):
            found[program.name].append(weight(program.command(tree, DRY), self._environment))
        return _middle(found[self._theirs.name]), _middle(found[self._ours.name])

    # Turns, and rows.

    def _in_turn(self, runs: int) -> Iterator[Program]:
        """Yield both programs so many times, each first every other time."""
        for number in range(runs):
            pair = (self._theirs, self._ours)
            yield from pair if number % 2 == 0 else pair[::-1]

    def _both(self, times: dict[str, list[float]]) -> tuple[Series, Series]:
        theirs, ours = (Series(tuple(times[one.name])) for one in (self._theirs, self._ours))
        return theirs, ours

    def _speed(self, measure: str, times: tuple[Series, Series], target: Target | None) -> None:
        self._add(report.speed_row(measure, *times, target))

    def _memory(self, what: str, both: tuple[Weight, Weight], target: Target) -> None:
        theirs, ours = both
        together = report.memory_row(f"memory, {what}", theirs.tree, ours.tree, target)
        largest = report.memory_row(f"largest process, {what}", theirs.largest, ours.largest, None)
        self._add(together)
        self._add(largest)

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        # Now already: the whole takes long, and may be interrupted.
        print("   ", "   ".join(filter(None, row.cells)), file=sys.stderr, flush=True)


def _middle(weights: list[Weight]) -> Weight:
    return Weight(*(int(median(column)) for column in zip(*weights, strict=True)))


def _growth(scale: Scale, small: tuple[Series, Series], large: tuple[Series, Series]) -> Row:
    """Return the row that tells whether a manifest takes as long in the larger tree."""
    theirs, ours = (
        (after.median / scale.large.manifests) / (before.median / scale.many.manifests)
        for before, after in zip(small, large, strict=True)
    )
    measure = f"time per manifest, {scale.large.manifests:,} beside {scale.many.manifests:,}"
    return report.growth_row(measure, theirs, ours, Target(most=1.25))


def _described(job: Job) -> str:
    return ("dry run" if job.dry else "collection") + (" with untagged" if job.untagged else "")
