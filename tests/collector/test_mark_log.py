"""What was marked is told in order, however the surveys come."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jettison.collector import CollectOptions, plan_collection
from jettison.collector.mark_log import RepositoryMarks, by_folders, traced
from tests.support.trees import NOW, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


@dataclass
class Survey:
    trace: RepositoryMarks | None


def test_traces_wait_for_their_turn_and_no_longer() -> None:
    told: list[str] = []

    def arriving() -> Iterator[tuple[str, Any]]:
        for name in "cabd":
            yield name, Survey(RepositoryMarks([], [], [], has_layers=True))

    seen = []
    for name, survey in traced("abcd", arriving(), lambda name, _: told.append(name)):
        assert survey.trace is None
        seen.append((name, "".join(told)))
    assert seen == [("c", ""), ("a", "a"), ("b", "abc"), ("d", "abcd")]


def test_names_in_the_order_of_a_walk() -> None:
    assert by_folders(["a-x", "a/b", "b", "a", "a/0"]) == ["a/0", "a", "a/b", "a-x", "b"]


def test_every_repository_is_told_with_what_it_references(tree: Tree) -> None:
    for number in range(20):
        tree.image(f"app{number:02}", "1", [b"%d" % number])
    found: dict[str, RepositoryMarks] = {}
    plan = plan_collection(tree.open(), CollectOptions(), NOW, tracing=found.__setitem__)
    assert list(found) == [f"app{number:02}" for number in range(20)]
    assert [len(targets) for trace in found.values() for _, targets in trace.marked] == [2] * 20
    assert plan == plan_collection(tree.open(), CollectOptions(), NOW)
