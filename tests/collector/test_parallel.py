"""Several processes find what one finds, and leave nothing behind."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jettison.collector.options import CollectOptions, Cutoffs
from jettison.collector.parallel import side_by_side
from jettison.collector.scan import RepositoryScanned, Scanner
from jettison.errors import StorageError
from tests.support.trees import NOW, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "registry")
    for number in range(40):
        made.image(f"app{number}", "1", [b"base", b"layer %d" % number])
        made.blob(b"garbage %d" % number, f"app{number}")
    made.write(made.tag_path("app7", "broken"), b"")
    return made


def scanner(tree: Tree) -> Scanner:
    return Scanner(tree.open(), Cutoffs.of(CollectOptions(), NOW))


def children() -> set[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {child for task in tasks for child in task.read_text(encoding="ascii").split()}


@pytest.fixture(autouse=True)
def no_children_are_left() -> Iterator[None]:
    """No others than before: other tests of this process have theirs."""
    before = children()
    yield
    assert children() <= before


@pytest.mark.parametrize("processes", [2, 3, 8])
def test_several_find_what_one_finds(tree: Tree, processes: int) -> None:
    names = [f"app{number}" for number in range(40)]
    scan = scanner(tree).scan
    alone = {name: (sorted(one.reached), one) for name, one in side_by_side(names, scan, 1)}
    together = {
        name: (sorted(one.reached), one) for name, one in side_by_side(names, scan, processes)
    }
    assert together.keys() == alone.keys() == set(names)
    for name, (reached, one) in together.items():
        assert reached == alone[name][0]
        assert (one.layer_links, one.problems) == (
            alone[name][1].layer_links,
            alone[name][1].problems,
        )
    assert together["app7"][1].problems


def failing(tree: Tree, error: BaseException) -> Callable[[str], RepositoryScanned]:
    scan = scanner(tree).scan

    def fail(name: str) -> RepositoryScanned:
        if name == "app20":
            raise error
        return scan(name)

    return fail


def test_an_error_in_a_worker_is_the_parents(tree: Tree) -> None:
    names = [f"app{number}" for number in range(40)]
    error = StorageError("cannot list it", hint="Look at it.")
    with pytest.raises(StorageError, match="cannot list it") as caught:
        list(side_by_side(names, failing(tree, error), 2))
    assert caught.value.hint == "Look at it."


def test_a_killed_worker_is_noticed(tree: Tree) -> None:
    names = [f"app{number}" for number in range(40)]
    parent = os.getpid()

    def killed(name: str) -> RepositoryScanned:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return scanner(tree).scan(name)

    with pytest.raises(StorageError, match="was killed"):
        list(side_by_side(names, killed, 2))


def test_who_stops_reading_leaves_no_process(tree: Tree) -> None:
    scans = side_by_side([f"app{number}" for number in range(40)], scanner(tree).scan, 2)
    next(iter(scans))
    scans.close()  # type: ignore[attr-defined] # it is a generator


def test_nothing_is_forked_beside_other_threads(tree: Tree) -> None:
    here = os.getpid()
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:

        def scan(name: str) -> RepositoryScanned:
            assert os.getpid() == here
            return scanner(tree).scan(name)

        assert len(list(side_by_side([f"app{number}" for number in range(40)], scan))) == 40
    finally:
        done.set()
        thread.join()
