"""Programs that a test needs: absent on a desk, the test is skipped; absent in CI, it fails."""

import os
import shutil
from typing import NoReturn

import pytest

from jettison.storage.filesystem import native


def need(*programs: str) -> None:
    """Skip the test, or fail it where CI is set, unless all `programs` are on the PATH."""
    absent = [program for program in programs if shutil.which(program) is None]
    if not absent:
        return
    lack(f"{', '.join(absent)} not found; `make setup` as root on Debian installs it")


def require_native() -> None:
    """Skip the test, or fail it where CI is set, unless the part in C was built."""
    if native.references_each([]) is None:
        lack("the part in C was not built; `make setup` builds it where there is a C compiler")


def lack(message: str) -> NoReturn:
    """Skip the test, or fail it where CI is set."""
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)
