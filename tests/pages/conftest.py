"""One warm Jettison for all pages."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages.shell import warmed


@pytest.fixture(scope="session")
def warm() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder, warmed(Path(folder)) as path:
        yield path
