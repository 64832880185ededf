"""What policies decide, with every reason, case by case: tests/model/retention/golden/.

A case is NAME.yml (see cases.py), its decisions NAME.txt. `pytest tests/model/retention --golden`
writes those anew; read each line of `git diff`: it has to be what its author would expect.
"""

from pathlib import Path

import pytest

from tests.model.retention.cases import read_case

GOLDEN = Path(__file__).with_name("golden")
CASES = sorted(GOLDEN.glob("*.yml"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_decisions(path: Path, pytestconfig: pytest.Config) -> None:
    text = read_case(path).text()
    beside = path.with_suffix(".txt")
    if pytestconfig.getoption("--golden"):
        beside.write_text(text, "utf-8")
    assert text == beside.read_text("utf-8"), f"if that is meant: pytest {__file__} --golden"


def test_every_text_has_its_case() -> None:
    assert {path.stem for path in CASES} == {path.stem for path in GOLDEN.glob("*.txt")}
