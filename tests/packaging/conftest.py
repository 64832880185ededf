"""What is released is made once for all tests of this folder, of this tree's files."""

from pathlib import Path

import pytest

from tests.support.packages import made


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that the processes of one run of the tests share."""
    base = tmp_path_factory.getbasetemp()
    return (base if worker_id == "master" else base.parent) / "packages"


@pytest.fixture(scope="session")
def wheels(shared: Path) -> Path:
    return made(shared, "wheels")


@pytest.fixture(scope="session")
def pyz(shared: Path) -> Path:
    (path,) = made(shared, "pyz", "--architecture", "amd64").glob("*.pyz")
    return path
