"""Each kind of storage, new for each test."""

from pathlib import Path

import pytest

from tests.contract.storages import KINDS, Subject, subject_of


@pytest.fixture(params=KINDS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    kind: str = request.param
    return subject_of(kind, tmp_path)
