"""What is released is made once for all tests of this folder, of this tree's files."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.missing import lack, need
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


@pytest.fixture(scope="session", params=["bookworm", "trixie"])
def debian(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A root with Python alone, made of the packages of a Debian."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a root of its own")
    need("mmdebstrap")
    root = tmp_path_factory.mktemp("debian") / "root"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=python3", request.param]
    done = subprocess.run(
        [*command, str(root)], check=False, capture_output=True, text=True, timeout=1800
    )
    if done.returncode != 0:
        lack(f"mmdebstrap cannot reach Debian's packages: {done.stderr.splitlines()[-1:]}")
    return root
