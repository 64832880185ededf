"""What pushes learn of sweeps, in orders that take days to come about."""

import os
from typing import Any

import pytest

from jettison.errors import StorageError
from jettison.storage.objects.sweeps import MOST_WAITED, Sweeps
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
    assert server.naming(["blob"], 0) == []
    first = machine.sweep("blob")
    machine.simulation.sleep(DAYS)
    machine.sweep("another")
    machine.sweep("a third")
    found = server.naming(["blob"], 0)
    assert first in found
    server.wait(found)
    assert server.naming(["blob"], server.settled) == []


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
        assert server.naming(["blob"], 0)  # of those whose records are removed
        return put_new(key, content)

    machine.bucket.put_new = stand_still  # type: ignore[method-assign] # for one request
    before = server.settled
    number = collector.announce(["blob"], 90.0)
    assert number > server.settled > before
    assert server.naming(["blob"], server.settled) == [number]


def test_a_sweep_that_is_never_shut_ends() -> None:
    machine = Machine()
    server = machine.sweeps()
    number = machine.sweeps().announce(["blob"], 90.0)
    assert server.naming(["blob"], 0) == [number]
    began = machine.simulation.now
    server.wait([number])
    assert machine.simulation.now - began > 90.0
    assert server.settled == number


def test_sweeps_that_nobody_ended_are_over_however_many_there_are() -> None:
    """What they name is not kept of so many, and their time does not begin again for that."""
    machine = Machine()
    collector, server = machine.sweeps(), machine.sweeps()
    last = [collector.announce([f"blob {number}"], 90.0) for number in range(70)][-1]
    for _ in range(4):
        server.naming(["another"], server.settled)
        machine.simulation.sleep(60.0)
    server.naming(["another"], server.settled)
    assert server.settled == last


def test_a_push_does_not_wait_for_ever() -> None:
    machine = Machine()
    server = machine.sweeps()
    number = machine.sweeps().announce(["blob"], 10 * DAYS)
    began = machine.simulation.now
    with pytest.raises(StorageError, match=f"process {os.getpid()} on .* names what is") as told:
        server.wait(server.naming(["blob"], 0))
    assert f"/jettison/sweeps/{number:016}, and goes on for 600 s" in told.value.message
    assert "Push again when that collection is over" in (told.value.hint or "")
    assert MOST_WAITED < machine.simulation.now - began < MOST_WAITED + 2
    assert server.naming(["another"], 0) == []
    machine.sweeps().shut(number)
    server.wait([number])
