"""What policies decide, with every reason, case by case: tests/model/retention/golden/.

A case is NAME.yml (see cases.py), its decisions NAME.txt. `pytest tests/model/retention --golden`
writes those anew; read each line of `git diff`: it has to be what its author would expect.

The cases policy-NN are policies that people run, each as its author meant it, with what has to go
written in the case. Where the original is for a system that is imported, it is in the case, too.
"""

from pathlib import Path

import pytest

from jettison.errors import InvalidPolicy
from tests.model.retention.cases import Case, read_case
from tests.model.retention.foreign import imported, imported_text, removed_by_original

GOLDEN = Path(__file__).with_name("golden")
CASES = sorted(GOLDEN.glob("*.yml"))
POLICIES = [path for path in CASES if path.stem.startswith("policy-")]
MEANT = [path for path in CASES if "\nremoves:" in path.read_text("utf-8")]
IMPORTS = [path for path in CASES if "\noriginal:\n" in path.read_text("utf-8")]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_decisions(path: Path, pytestconfig: pytest.Config) -> None:
    case = read_case(path)
    text = case.text() + imported_text(case)
    beside = path.with_suffix(".txt")
    if pytestconfig.getoption("--golden"):
        beside.write_text(text, "utf-8")
    assert text == beside.read_text("utf-8"), f"if that is meant: pytest {__file__} --golden"


def test_every_policy_that_people_run_has_a_case() -> None:
    numbers = [int(path.stem.split("-")[1]) for path in POLICIES]
    assert numbers == list(range(1, 54))
    assert set(POLICIES) <= set(MEANT), "write in `removes` what has to go"


def test_every_text_has_its_case() -> None:
    assert {path.stem for path in CASES} == {path.stem for path in GOLDEN.glob("*.txt")}


@pytest.mark.parametrize("path", MEANT, ids=lambda path: path.stem)
def test_what_goes_is_what_was_meant(path: Path) -> None:
    case = read_case(path)
    assert case.meant is not None
    assert case.removed() == {name: sorted(names) for name, names in case.meant.items() if names}


@pytest.mark.parametrize("path", IMPORTS, ids=lambda path: path.stem)
def test_import_removes_no_more_than_the_original_and_asks(path: Path) -> None:
    case = read_case(path)
    assert case.original is not None
    try:
        found = imported(case.original)
    except InvalidPolicy:
        return
    removed = {(name, one) for name, some in case.removed(found.policy).items() for one in some}
    for original in removed_by_original(case):
        assert removed <= _as_written(case, original)
    assert case.meant is not None
    meant = {(name, one) for name, some in case.meant.items() for one in some}
    assert removed <= meant or found.questions, "it removes what was not meant, and does not ask"


def _as_written(case: Case, names: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return names as the case writes them: what has no tag in brackets."""
    tags = {
        (str(repository.name), str(tag))
        for repository in case.repositories
        for tag in repository.tags
    }
    return {(of, name if (of, name) in tags else f"[{name}]") for of, name in names}
