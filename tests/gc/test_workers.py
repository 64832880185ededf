"""What several processes find comes back whole."""

from pathlib import Path
from typing import Any

import pytest

from jettison.errors import StorageError
from jettison.gc import CollectOptions
from jettison.gc.options import Moments
from jettison.gc.survey import Surveyor
from jettison.gc.workers import survey_all
from jettison.model.reference import RepoName
from store.trees import NOW, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


@pytest.mark.parametrize("processes", [1, 2])
def test_a_problem_comes_back_from_a_process(tree: Tree, processes: int) -> None:
    names = [RepoName(f"app{number:02}") for number in range(12)]
    for name in names:
        tree.image(name, "1", [name.encode()])
    tree.write(tree.tag_path("app05", "2"), b"")
    surveyor = Surveyor(tree.open(), Moments.of(CollectOptions(), NOW))
    surveys = dict(survey_all(names, surveyor.survey, processes))
    found = [problem.repository for survey in surveys.values() for problem in survey.problems]
    assert found == ["app05"]


def test_an_error_comes_back_from_a_process() -> None:
    def fail(name: str) -> Any:
        raise StorageError(f"{name} cannot be read")

    with pytest.raises(StorageError, match="cannot be read"):
        list(survey_all([str(number) for number in range(12)], fail, 2))
