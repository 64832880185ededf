"""What clients share: turns in threads, the memory of bodies, and the number of connections."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from jettison.server.http.connections import Connections
from jettison.server.http.sharing import Bodies, Buffers, Busy, Holding, Turns, client_key


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("", "", True),
    ],
)
def test_whose_an_address_is(one: str, other: str, same: bool) -> None:
    assert (client_key(one) == client_key(other)) is same


async def took(turns: Turns, client: str, order: list[str]) -> None:
    async with turns.turn(client):
        order.append(client)
        await asyncio.sleep(0)


async def test_clients_take_turns_however_much_one_of_them_asks() -> None:
    turns, order = Turns(1, 1), list[str]()
    many = [asyncio.create_task(took(turns, "greedy", order)) for _ in range(100)]
    await asyncio.sleep(0)
    await took(turns, "other", order)
    assert order.index("other") <= 2
    await asyncio.gather(*many)
    assert order.count("greedy") == 100
    assert turns.waiting == 0


async def test_one_client_leaves_slots_to_others() -> None:
    turns = Turns(3, 2)
    for _ in range(2):
        await turns.take("greedy")
    third = asyncio.create_task(turns.take("greedy"))
    await asyncio.sleep(0)
    assert not third.done()
    await asyncio.wait_for(turns.take("other"), 1)
    turns.give("greedy")
    await asyncio.wait_for(third, 1)


async def test_too_many_that_wait_are_refused_and_none_is_forgotten() -> None:
    turns = Turns(1, 1, most=2, total=3)
    await turns.take("a")
    waiting = [asyncio.create_task(turns.take(client)) for client in ("a", "a", "b")]
    await asyncio.sleep(0)
    for client in ("a", "b", "c"):
        with pytest.raises(Busy):
            await turns.take(client)
    assert turns.waiting == 3
    for _ in waiting:
        turns.give("a" if turns._running["a"] else "b")
        await asyncio.sleep(0)
    assert all(one.done() for one in waiting)


async def test_who_gives_up_waiting_takes_no_turn() -> None:
    turns = Turns(1, 1)
    await turns.take("a")
    waiting = [asyncio.create_task(turns.take(client)) for client in ("b", "c")]
    await asyncio.sleep(0)
    waiting[0].cancel()
    turns.give("a")  # before the one that was cancelled has noticed
    await asyncio.wait_for(waiting[1], 1)
    with contextlib.suppress(asyncio.CancelledError):
        await waiting[0]
    turns.give("c")
    await asyncio.wait_for(turns.take("a"), 1)
    granted = asyncio.create_task(turns.take("b"))
    await asyncio.sleep(0)
    turns.give("a")
    granted.cancel()  # it has its turn, and does not know it yet
    with contextlib.suppress(asyncio.CancelledError):
        await granted
    await asyncio.wait_for(turns.take("a"), 1)


async def test_nobody_reads_on_while_the_buffers_are_full() -> None:
    buffers = Buffers(1_000_000)
    buffers.take(1_000_000)
    waiting = [asyncio.create_task(buffers.room()) for _ in range(5)]
    await asyncio.sleep(0)
    assert not any(one.done() for one in waiting)
    buffers.give(10)
    await asyncio.sleep(0)
    assert not any(one.done() for one in waiting)
    buffers.give(300_000)
    await asyncio.sleep(0)
    assert [one.done() for one in waiting] == [True, False, False, False, False]
    buffers.give(buffers.used)
    await asyncio.wait_for(asyncio.gather(*waiting), 1)


async def test_the_slowest_body_makes_room_for_others() -> None:
    bodies = Bodies(100)

    async def slow() -> None:
        patience = asyncio.timeout(60)
        with bodies.hold(patience) as held:
            async with patience:
                held.grow(60)
                await asyncio.Event().wait()

    lasting = asyncio.create_task(slow())
    await asyncio.sleep(0)
    with bodies.hold(asyncio.timeout(60)) as held:
        held.grow(60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lasting, 5)
        held.settle()
        # What is there as a whole is not given up.
        with bodies.hold(asyncio.timeout(60)) as late, pytest.raises(Busy):
            late.grow(60)
    with bodies.hold(asyncio.timeout(60)) as held:
        held.grow(100)


async def test_a_body_whose_time_is_over_makes_room_for_others() -> None:
    """Its end may be under way, and then nobody may end it again."""
    bodies, loop, patience = Bodies(100), asyncio.get_running_loop(), asyncio.timeout(60)

    async def slow() -> None:
        with bodies.hold(patience) as held:
            async with patience:
                held.grow(60)
                await asyncio.Event().wait()

    lasting = asyncio.create_task(slow())
    await asyncio.sleep(0)
    ended: asyncio.Future[bool] = loop.create_future()

    def grow(held: Holding) -> None:
        held.grow(60)
        ended.set_result(patience.expired())

    with bodies.hold(asyncio.timeout(60)) as held:
        patience.reschedule(loop.time())
        loop.call_soon(grow, held)
        assert await asyncio.wait_for(ended, 5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lasting, 5)
        held.grow(40)


# Connections.


class Connection:
    def __init__(self) -> None:
        self.gone = False
        self.idle = True
        self.left = 0

    def unsent(self) -> int:
        return self.left

    def abort(self) -> None:
        self.gone = True


def entered(every: Connections, hosts: Iterator[str]) -> list[Connection]:
    made = []
    for host in hosts:
        made.append(Connection())
        assert every.enter(made[-1], host) is not None
    return made


async def test_one_address_with_all_connections_makes_room_for_another() -> None:
    every = Connections(10, 60)
    many = entered(every, iter(["192.0.2.1"] * 10))
    many[0].idle = False
    assert every.enter(Connection(), "192.0.2.1") is None
    assert every.enter(Connection(), "192.0.2.2") is not None
    assert [one.gone for one in many] == [False, True, *[False] * 8]
    assert len(every) == 10
    every.leave(many[1], "192.0.2.1")  # it is told of its end later
    assert len(every) == 10


async def test_who_has_no_more_than_others_is_not_put_out() -> None:
    every = Connections(4, 60)
    many = entered(every, iter(["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"]))
    assert every.enter(Connection(), "192.0.2.2") is None
    assert every.enter(Connection(), "192.0.2.3") is not None
    assert every.enter(Connection(), "192.0.2.4") is not None
    assert every.enter(Connection(), "192.0.2.5") is None
    assert sum(one.gone for one in many) == 2


async def test_an_answer_that_is_not_read_ends_its_connection() -> None:
    every = Connections(4, 0.2)
    stuck, slow, quiet = entered(every, iter(["192.0.2.1", "192.0.2.1", "192.0.2.1"]))
    stuck.left, slow.left = 5, 1000
    for _ in range(200):
        slow.left -= 1
        await asyncio.sleep(0.01)
        if stuck.gone:
            break
    assert stuck.gone
    assert not slow.gone
    assert not quiet.gone
    for one in (stuck, slow, quiet):
        every.leave(one, "192.0.2.1")
