"""Threads of small requests share the processor of the event loop; others go anywhere."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from jettison.server import placement as module
from jettison.server.placement import Placement

ALL = {0, 1, 2, 3}


class System:
    """Four processors; the loop is on one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.current = 2
        self.allowed: dict[int, set[int]] = {}
        self.calls = 0
        self.error: OSError | None = None
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(ALL))
        monkeypatch.setattr(os, "sched_setaffinity", self.move)
        monkeypatch.setattr(module, "_current", lambda: self.current)
        monkeypatch.setattr(module, "_FREE_SECONDS", 0.0)

    def move(self, thread: int, processors: set[int]) -> None:
        if self.error is not None:
            raise self.error
        self.calls += 1
        self.allowed[thread or threading.get_native_id()] = set(processors)

    def where(self) -> set[int]:
        """Return where the thread may be that asks."""
        return self.allowed.get(threading.get_native_id(), ALL)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return System(monkeypatch)


def share(placed: Placement) -> None:
    """Let two small requests be under way at once."""
    with placed.sharing(), placed.sharing():
        pass


def in_thread(function: Callable[..., set[int]], *args: Callable[[], set[int]]) -> set[int]:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(function, *args).result()


async def test_small_ones_are_where_the_loop_is_and_others_anywhere(system: System) -> None:
    placed = Placement()
    share(placed)
    assert system.where() == {2}
    with ThreadPoolExecutor(1) as threads:
        for _ in range(2):
            assert threads.submit(placed.near, system.where).result() == {2}
        assert system.calls == 2  # the loop and the thread, once each
        assert threads.submit(placed.anywhere, system.where).result() == ALL
        assert threads.submit(placed.near, system.where).result() == {2}
    placed.let_go()


async def test_one_alone_shares_nothing(system: System) -> None:
    placed = Placement()
    for _ in range(2):
        with placed.sharing():
            assert in_thread(placed.near, system.where) == ALL
    assert system.calls == 0


async def test_the_loop_is_let_go_and_then_shares_where_it_is(system: System) -> None:
    placed = Placement()
    share(placed)
    placed.let_go()
    assert system.where() == ALL
    system.current = 1
    share(placed)
    assert system.where() == {1}
    assert in_thread(placed.near, system.where) == {1}
    placed.let_go()
    assert system.where() == ALL


async def test_it_stays_free_for_a_moment(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FREE_SECONDS", 1000.0)
    placed = Placement()
    share(placed)
    placed.let_go()
    share(placed)
    assert system.where() == ALL


async def test_where_it_is_not_allowed_nothing_is_done(system: System) -> None:
    system.error = PermissionError()
    placed = Placement()
    share(placed)
    assert in_thread(placed.near, system.where) == ALL
    system.error = None
    share(placed)
    assert in_thread(placed.anywhere, system.where) == ALL
    assert system.calls == 0


async def test_one_processor_is_shared_anyway(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2})
    placed = Placement()
    share(placed)
    assert in_thread(placed.near, system.where) == ALL
    assert system.calls == 0
