"""Programs that a test needs: absent on a desk, the test is skipped; absent in CI, it fails."""

import os
import shutil
from typing import NoReturn

import pytest


def need(*programs: str) -> None:
    """Skip the test, or fail it where CI is set, unless all `programs` are on the PATH."""
    absent = [program for program in programs if shutil.which(program) is None]
    if not absent:
        return
    lack(f"{', '.join(absent)} not found; `make setup` as root on Debian installs it")


def lack(message: str) -> NoReturn:
    """Skip the test, or fail it where CI is set."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
