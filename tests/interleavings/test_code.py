"""The code itself, beside itself, step by step: sweeps and pushes on one bucket.

Each run is the real collection and the real push on a bucket in memory; what varies is the order of
their requests. After each request it is seen whether what a push was told to be stored is there,
and what a tag leads to.
"""

import asyncio
import contextlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import pytest

from jettison.collector import CollectOptions, collect, plan_collection, sweep
from jettison.errors import StorageError, SweptMeanwhile
from jettison.manifest_cache import ManifestCache
from jettison.model import mediatypes
from jettison.model.digest import Digest
from jettison.model.names import RepoName, Tag
from jettison.registry import RawManifest
from jettison.storage.filesystem.places import TreePlaces
from jettison.storage.objects import (
    ObjectStorage,
    announcing,
    pages,
    scanning,
    sweeping,
    sweeps,
    writing,
)
from jettison.storage.objects.announcing import AnnouncedKeys
from jettison.storage.objects.deleting import Deleted
from jettison.storage.objects.reliance import Reliance
from jettison.storage.objects.sweeps import Sweeps
from jettison.storage.protocol import LinkKind
from jettison.storage.registry import StorageRegistry
from tests.interleavings.bucket import SimulatedBucket
from tests.interleavings.scheduling import (
    NETWORK,
    Chooser,
    Simulation,
    all_switches,
    killing,
    rolling,
    switching,
)
from tests.support.rules import RULES
from tests.support.trees import image_document

APP: Final = RepoName("app")
LAYER: Final = Digest.of(b"layer")
OTHER: Final = Digest.of(b"other")
RAW: Final = json.dumps(image_document(LAYER, [])).encode()
DIGEST: Final = Digest.of(RAW)
TAG: Final = Tag("1")
PLACES: Final = TreePlaces()

BLOB: Final = (PLACES.blob(LAYER), PLACES.link(LinkKind.LAYER, APP, LAYER))
IMAGE: Final = (
    *BLOB,
    PLACES.blob(DIGEST),
    PLACES.link(LinkKind.REVISION, APP, DIGEST),
    PLACES.tag(APP, TAG),
)
HISTORY: Final = PLACES.history_link(APP, TAG, DIGEST)
GRACE: Final = 3600.0
OLD: Final = 2 * GRACE
LASTS: Final = 30.0


class Time:
    """The module `time`, of a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self.time = self.monotonic = simulation.clock
        self.sleep = simulation.sleep


class SimulatedDeletes:
    """Deletes of which the store takes each until its end, and some are not answered.

    See :class:`jettison.storage.objects.deleting.SignedDeletes`.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self.seconds = LASTS

    def delete(self, keys: Sequence[str], end: float) -> list[Deleted]:
        return [self._delete(key, end) for key in keys]

    def _delete(self, key: str, end: float) -> Deleted:
        simulation = self._world.simulation
        lands_until = simulation.now + LASTS
        if lands_until > end:
            return Deleted(StorageError("there is no time left"))
        if not self._world.late:
            self._world.bucket.remove_one(key)
            return Deleted(outcome=True)

        def land() -> str:
            if simulation.now <= lands_until or not self._world.ending:
                self._world.bucket.objects.pop(key, None)
                return f"{NETWORK}: DELETE {key}"
            return f"{NETWORK}: DELETE {key} comes too late"

        simulation.step(f"DELETE {key}, not answered")
        simulation.on_their_way.append(land)
        return Deleted(StorageError("no answer"), lands_until)


class World:
    """A bucket, and who works on it: each on a server or machine of its own.

    `late`: no DELETE is answered, and each lands at any time until its end. `ending`: the store
    refuses it after that.
    """

    def __init__(self, *, late: bool = False, ending: bool = True) -> None:
        self.simulation = Simulation()
        self.bucket = SimulatedBucket(self.simulation)
        self.late = late
        self.ending = ending
        self.promised: set[str] = set()
        self.refused = 0
        self.simulation.is_wrong = self.is_broken

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Let the code have this world's time and requests."""
        simulation = self.simulation
        announced = partial(AnnouncedKeys, clock=simulation.clock, sleep=simulation.sleep)
        with pytest.MonkeyPatch.context() as patch:
            for module in (sweep, scanning, pages):
                patch.setattr(module, "time", Time(simulation))
            patch.setattr(announcing, "measure_clock", lambda _: None)
            patch.setattr(announcing, "SignedDeletes", lambda *_: SimulatedDeletes(self))
            patch.setattr(sweeping, "AnnouncedKeys", announced)
            # Often enough, and every look is a step.
            patch.setattr(sweeps, "_POLL_SECONDS", 20.0)
            # No image depends on it, so that two may collect at once.
            patch.setattr(sweeping, "hold", lambda *_: contextlib.nullcontext(enter_result=True))
            yield

    def is_broken(self) -> bool:
        there = self.bucket.objects
        tag = there.get(IMAGE[-1])
        is_tagged = tag is not None and tag.content == DIGEST.encode()
        lacks = is_tagged and not there.keys() >= {*IMAGE}
        return not self.promised <= there.keys() or lacks

    def open(self, *, live: bool = False) -> ObjectStorage:
        bucket: Any = self.bucket
        storage = ObjectStorage(bucket, ManifestCache(None), live=live)
        clocked = Sweeps(bucket, clock=self.simulation.clock, sleep=self.simulation.sleep)
        storage.sweeps = storage.reliance.sweeps = clocked
        storage.reliance.clock = self.simulation.clock
        return storage

    # What there is at first.

    def plant_layer(self) -> None:
        self.bucket.plant(BLOB[0], b"layer", OLD)
        self.bucket.plant(BLOB[1], LAYER.encode(), OLD)

    def plant_image(self) -> None:
        self.plant_layer()
        self.bucket.plant(IMAGE[2], RAW, OLD)
        self.bucket.plant(IMAGE[3], DIGEST.encode(), OLD)

    def plant_successor(self) -> None:
        """Plant an image to which the tag was moved."""
        raw = json.dumps(image_document(OTHER, [])).encode()
        digest = Digest.of(raw)
        self.bucket.plant(PLACES.blob(OTHER), b"other", OLD)
        self.bucket.plant(PLACES.blob(digest), raw, OLD)
        links = {
            PLACES.link(LinkKind.LAYER, APP, OTHER): OTHER,
            PLACES.link(LinkKind.REVISION, APP, digest): digest,
            PLACES.tag(APP, TAG): digest,
            PLACES.history_link(APP, TAG, digest): digest,
            HISTORY: DIGEST,
        }
        for key, target in links.items():
            self.bucket.plant(key, target.encode(), OLD)

    # Who works.

    def collect(self, *, untagged: bool = False) -> None:
        storage = self.open()
        now = self.simulation.now
        options = CollectOptions(grace=GRACE, untagged=0.0 if untagged else None)
        plan = plan_collection(storage, options, now)
        collect(
            storage,
            plan,
            clock=self.simulation.clock,
            sleep=self.simulation.sleep,
            heeded=True,
        )

    def push(self, storage: ObjectStorage | None = None) -> None:
        """Push an image as clients do: ask for the layer, upload it if it is absent, and the rest.

        What is refused is not pushed again, so that no push puts right what another has broken.
        """
        storage = storage or self.open(live=True)
        if storage.serving().touch_layer(APP, LAYER):
            self.promised.update(BLOB)
        else:
            storage.put_blob(APP, LAYER, [b"layer"])
            self.promised.update(BLOB)
        self.put_manifest(storage)

    def put_manifest(self, storage: ObjectStorage | None = None) -> None:
        storage = storage or self.open(live=True)
        serving = storage.serving()
        for _ in range(20):
            with contextlib.suppress(SweptMeanwhile), storage.writing(APP):
                there = serving.touch_layer(APP, LAYER)
                if there:
                    storage.put_manifest(APP, DIGEST, RAW, [TAG])
                done = there
                break
        else:
            raise AssertionError("no end of it")
        if done:
            self.promised.update((*IMAGE, HISTORY))
        else:
            self.refused += 1

    def restore(self) -> None:
        """Put an image back as an undo does, whose blobs are there still."""
        registry = StorageRegistry(self.open())
        manifest = RawManifest(DIGEST, mediatypes.OCI_MANIFEST, RAW)
        try:
            asyncio.run(registry.put_manifest(APP, TAG, manifest))
        except StorageError:
            self.refused += 1
        else:
            self.promised.update(IMAGE)


Start = Callable[[World], None]
"""Lets processes begin in a new world, in which something is planted."""


def sweep_beside_push(world: World) -> None:
    """An old layer is linked: a manifest relies on it just when it is taken."""
    world.plant_layer()
    world.simulation.start("sweep", world.collect)
    world.simulation.start("push", world.put_manifest)


def untagged_image(world: World) -> None:
    """The whole image is old and untagged, and pushed once more."""
    world.plant_image()
    world.simulation.start("sweep", partial(world.collect, untagged=True))
    world.simulation.start("push", world.push)


def moved_tag(world: World) -> None:
    """The tag was moved from the image, which is old, and is moved back."""
    world.plant_successor()
    untagged_image(world)


def blob_alone(world: World) -> None:
    """The blob is old, and no repository has it."""
    world.bucket.plant(BLOB[0], b"layer", OLD)
    world.simulation.start("sweep", world.collect)
    world.simulation.start("push", world.push)


def undo(world: World) -> None:
    """An undo whose time is over finds the blob in its place still."""
    world.plant_layer()
    world.simulation.start("sweep", world.collect)
    world.simulation.start("undo", world.restore)


def two_sweeps(world: World) -> None:
    """Two collect at once, which leases alone would prevent."""
    world.plant_layer()
    world.simulation.start("sweep", world.collect)
    world.simulation.start("sweep 2", world.collect)
    world.simulation.start("push", world.push)


def two_pushes(world: World) -> None:
    """Two servers take the same image."""
    world.plant_layer()
    world.simulation.start("sweep", world.collect)
    world.simulation.start("push", world.push)
    world.simulation.start("push 2", world.put_manifest)


def two_of_both(world: World) -> None:
    two_sweeps(world)
    world.simulation.start("push 2", world.put_manifest)


STARTS: Final = (
    *(sweep_beside_push, untagged_image, moved_tag, blob_alone, undo),
    *(two_sweeps, two_pushes, two_of_both),
)


def runner(start: Start, make: Callable[[], World] = World) -> Callable[[Chooser], Simulation]:
    """Return what runs processes once, in the order that is chosen."""

    def run(choose: Chooser) -> Simulation:
        world = make()
        with world.going_on():
            start(world)
            world.simulation.run(choose)
        return world.simulation

    return run


def explore(start: Start, switches: int, make: Callable[[], World] = World) -> int:
    """Run with every choice of so many switches; return how many runs there were."""
    runs = 0
    for done in all_switches(runner(start, make), switches):
        runs += 1
        assert not done.wrong, "\n".join(done.trace)
    return runs


def roll(start: Start, seeds: range, make: Callable[[], World] = World) -> None:
    """Run with switches at random."""
    run = runner(start, make)
    for seed in seeds:
        done = run(rolling(seed, (0.1, 0.3, 0.7)[seed % 3]))
        assert not done.wrong, f"seed {seed}\n" + "\n".join(done.trace)


def is_broken(start: Start, make: Callable[[], World] = World) -> bool:
    """Whether two switches break an image."""
    return any(done.wrong for done in all_switches(runner(start, make), 2))


late = partial(World, late=True)


@pytest.mark.parametrize("start", STARTS)
def test_one_switch_breaks_nothing(start: Start) -> None:
    assert explore(start, 1) > 15


def test_two_switches_break_nothing() -> None:
    assert explore(sweep_beside_push, 2) > 100


@pytest.mark.parametrize("start", [sweep_beside_push, two_sweeps])
def test_late_deletes_break_nothing(start: Start) -> None:
    assert explore(start, 1, late) > 15


@pytest.mark.parametrize("start", STARTS)
def test_switches_at_random_break_nothing(start: Start) -> None:
    roll(start, range(60))
    roll(start, range(60), late)


# Each rule left out.


def test_what_is_not_announced_breaks_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    RULES["announcement"](monkeypatch.setattr)
    assert is_broken(sweep_beside_push)


def test_a_sweep_that_does_not_list_again_breaks_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    RULES["second listing"](monkeypatch.setattr)
    assert is_broken(sweep_beside_push)


def test_a_push_that_does_not_look_last_breaks_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    RULES["last look"](monkeypatch.setattr)
    assert is_broken(sweep_beside_push)


def test_a_tag_that_is_written_before_a_look_breaks_an_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_sure = Reliance.make_sure

    def at_the_end(reliance: Reliance) -> None:
        if not reliance.is_part:
            make_sure(reliance)

    monkeypatch.setattr(Reliance, "make_sure", at_the_end)
    assert is_broken(sweep_beside_push)


def test_deletes_without_an_end_break_an_image() -> None:
    assert is_broken(sweep_beside_push, partial(late, ending=False))


# Deaths.


@pytest.mark.parametrize("start", [sweep_beside_push, untagged_image, two_pushes])
@pytest.mark.parametrize("make", [World, late], ids=["answered", "late"])
def test_a_sweep_that_dies_anywhere_breaks_nothing(start: Start, make: Callable[[], World]) -> None:
    steps = len(runner(start, make)(switching({})).choices)
    for point in range(steps):
        done = runner(start, make)(killing("sweep", point))
        assert not done.wrong, "\n".join(done.trace)


# Standing still.


def stand_still(world: World) -> None:
    """A push does not go on until its revision, without a tag as yet, is old and is taken."""
    put = world.bucket.put

    def late(key: str, content: bytes) -> None:
        if key == IMAGE[-1]:
            world.bucket.put = put  # type: ignore[method-assign] # once
            world.simulation.sleep(OLD)
            world.collect(untagged=True)
        put(key, content)

    world.bucket.put = late  # type: ignore[method-assign]
    # The tag leads nowhere until the push begins again.
    world.simulation.is_wrong = lambda: not world.promised <= world.bucket.objects.keys()
    world.plant_layer()
    world.simulation.start("push", world.put_manifest)


def test_a_push_that_stands_still_before_its_tag_breaks_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = runner(stand_still)(switching({}))
    assert any("DELETE" in step for step in found.trace)
    assert not found.wrong
    monkeypatch.setattr(writing, "_SOON", math.inf)
    assert runner(stand_still)(switching({})).wrong


# More.


@pytest.mark.soak
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("make", [World, late], ids=["answered", "late"])
def test_more_switches(start: Start, make: Callable[[], World]) -> None:
    if start not in {two_sweeps, two_pushes, two_of_both}:  # of those there are too many
        explore(start, 2, make)
    roll(start, range(2000), make)


@pytest.mark.soak
def test_three_switches() -> None:
    explore(sweep_beside_push, 3)
    explore(sweep_beside_push, 3, late)
