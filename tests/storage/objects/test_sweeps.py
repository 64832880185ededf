"""What pushes learn of sweeps, in orders that take days to come about."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from jettison.errors import StorageError
from jettison.model import codec
from jettison.storage.objects.announcing import AnnouncedKeys
from jettison.storage.objects.reliance import Reliance
from jettison.storage.objects.sweeps import MOST_SECONDS, MOST_WAITED, Announcement, Over, Sweeps
from tests.interleavings.bucket import SimulatedBucket
from tests.interleavings.scheduling import Simulation

DAYS = 3 * 24 * 3600.0


class Machine:
    """A bucket without anybody else, and several who ask it."""

    def __init__(self) -> None:
        self.simulation = Simulation()
        self.bucket = SimulatedBucket(self.simulation)

    def sweeps(self) -> Sweeps:
        bucket: Any = self.bucket
        return Sweeps(bucket, clock=self.simulation.clock, sleep=self.simulation.sleep)

    def sweep(self, *keys: str) -> int:
        """Announce keys, and come to an end."""
        collector = self.sweeps()
        number = collector.announce(keys, 90.0)
        collector.shut(number)
        return number


def test_a_push_that_stood_still_for_days_learns_of_a_record_that_is_gone() -> None:
    machine = Machine()
    server = machine.sweeps()
    assert server.naming(["blob"], Over()) == []
    first = machine.sweep("blob")
    machine.simulation.sleep(DAYS)
    machine.sweep("another")
    machine.sweep("a third")
    found = server.naming(["blob"], Over())
    assert first in found
    server.wait(found)
    assert server.naming(["blob"], server.over) == []


def test_a_sweep_that_stood_still_for_days_takes_a_new_number() -> None:
    machine = Machine()
    collector, server = machine.sweeps(), machine.sweeps()
    put_new = machine.bucket.put_new

    def stand_still(key: str, content: bytes) -> bool:
        machine.bucket.put_new = put_new  # type: ignore[method-assign] # once
        machine.sweep("one")
        machine.simulation.sleep(DAYS)
        machine.sweep("two")
        machine.sweep("three")
        assert server.naming(["blob"], Over())  # of those whose records are removed
        return put_new(key, content)

    machine.bucket.put_new = stand_still  # type: ignore[method-assign] # for one request
    before = server.over.up_to
    number = collector.announce(["blob"], 90.0)
    assert number > server.over.up_to > before
    assert server.naming(["blob"], server.over) == [number]


@pytest.mark.parametrize("ahead", range(0, 40, 4))
@pytest.mark.parametrize("count", [2, 3])
def test_sweeps_that_are_announced_at_the_same_time_do_not_go_past_one_another_for_ever(
    count: int, ahead: int
) -> None:
    machine = Machine()
    simulation = machine.simulation
    before = [machine.sweep("another") for _ in range(30)][-1]
    numbers: list[int] = []

    def collect() -> None:
        numbers.append(machine.sweeps().announce(["blob"], 90.0))

    for number in range(count):
        simulation.start(f"collector {number}", collect)

    def in_turn(point: int, usual: str, names: list[str]) -> str:
        awake = [name for name in names if simulation.processes[name].wakes <= simulation.now]
        return awake[max(0, point - ahead) % len(awake)] if awake else usual

    simulation.run(in_turn)
    assert len(numbers) == count
    assert max(numbers) - before <= 2 * count
    server = machine.sweeps()
    assert {*numbers} <= {*server.naming(["blob"], server.over)}


def test_a_sweep_that_is_never_shut_ends() -> None:
    machine = Machine()
    server = machine.sweeps()
    number = machine.sweeps().announce(["blob"], 90.0)
    assert server.naming(["blob"], Over()) == [number]
    began = machine.simulation.now
    server.wait([number])
    assert machine.simulation.now - began > 90.0
    assert server.over.up_to == number


def test_sweeps_that_nobody_ended_are_over_however_many_there_are() -> None:
    """What they name is not kept of so many, and their time does not begin again for that."""
    machine = Machine()
    collector, server = machine.sweeps(), machine.sweeps()
    last = [collector.announce([f"blob {number}"], 90.0) for number in range(70)][-1]
    for _ in range(4):
        server.naming(["another"], server.over)
        machine.simulation.sleep(60.0)
    server.naming(["another"], server.over)
    assert server.over.up_to == last


def test_the_first_push_of_a_server_reads_no_sweep_that_is_over() -> None:
    machine = Machine()
    for number in range(30):
        machine.sweep(f"blob {number}")
    going = machine.sweeps().announce(["blob"], 90.0)
    read: list[str] = []
    get = machine.bucket.get

    def note(key: str, limit: int) -> bytes | None:
        read.append(key)
        return get(key, limit)

    machine.bucket.get = note  # type: ignore[method-assign] # of this one alone
    server = machine.sweeps()
    assert server.naming(["blob 7"], server.known()) == []
    assert server.naming(["blob"], server.known()) == [going]
    assert len(read) == 1


def test_a_push_does_not_wait_for_ever() -> None:
    machine = Machine()
    server = machine.sweeps()
    number = machine.sweeps().announce(["blob"], 10 * DAYS)
    began = machine.simulation.now
    with pytest.raises(StorageError, match=f"process {os.getpid()} on .* names what is") as told:
        server.wait(server.naming(["blob"], Over()))
    assert f"/jettison/sweeps/{number:016}, and goes on for 600 s" in told.value.message
    assert "Push again when that collection is over" in (told.value.hint or "")
    assert MOST_WAITED < machine.simulation.now - began < MOST_WAITED + 2
    assert server.naming(["another"], Over()) == []
    machine.sweeps().shut(number)
    server.wait([number])


def test_a_sweep_that_was_killed_does_not_keep_pushes_from_what_a_later_one_took() -> None:
    """Only what the killed one names waits for its end."""
    machine = Machine()
    killed, reliance = machine.sweeps(), Reliance(machine.sweeps())
    open_one = killed.announce(["another"], 90.0)
    machine.sweep("blob")
    began = machine.simulation.now
    assert reliance.again(["blob"], lambda: True)
    assert machine.simulation.now == began
    assert reliance.sweeps.over == Over(open_one - 1, frozenset({open_one + 1}))


def test_a_record_that_is_gone_behind_a_sweep_that_goes_on_is_asked_for_once() -> None:
    machine = Machine()
    server = machine.sweeps()
    first = machine.sweeps().announce(["another"], 90.0)
    gone, last = machine.sweep("blob"), machine.sweep("a third")
    bucket: Any = machine.bucket
    bucket.remove([f"jettison/sweeps/{gone:016}{end}" for end in ("", ".shut")])
    found = server.naming(["blob"], Over())
    assert found == [gone]
    server.wait(found)
    assert server.over == Over(first - 1, frozenset({gone, last}))
    assert server.naming(["blob"], server.over) == []


def test_a_sweep_that_a_listing_missed_is_not_taken_for_one_that_is_over() -> None:
    """A listing is no snapshot: it came by before the first was made, and shows the second."""
    machine = Machine()
    server = machine.sweeps()
    first = machine.sweeps().announce(["blob"], 90.0)
    second = machine.sweep("another")
    pages = machine.bucket.pages
    missed = f"jettison/sweeps/{first:016}"

    def stood_still(*place: Any) -> Any:
        return ([one for one in page if one.key != missed] for page in pages(*place))

    bucket: Any = machine.bucket
    bucket.pages = stood_still  # for one listing
    server.naming(["a third"], Over())
    bucket.pages = pages
    assert server.over == Over(0, frozenset({second}))
    assert server.naming(["blob"], server.over) == [first]


def test_a_sweep_lasts_half_a_day_at_most_however_long_a_listing_takes() -> None:
    """Its record is removed a day after it was made, and only those that are over may be."""
    machine = Machine()
    bucket: Any = machine.bucket
    announced = AnnouncedKeys(bucket, machine.sweeps(), clock=machine.simulation.clock)
    announced._deletes = SimpleNamespace(seconds=10.0)  # type: ignore[assignment] # sends none
    lasts: list[float] = []
    for key in ("a", "b"):
        with announced.looking([key]):
            machine.simulation.sleep(2 * 3600.0)
        raw = bucket.get(f"jettison/sweeps/{len(lasts) + 1:016}", 10_000)
        lasts.append(codec.decode(raw, Announcement).seconds)
    assert lasts == [100.0, MOST_SECONDS]
