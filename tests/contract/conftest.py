"""Each kind of storage, new for each test."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.contract.objects import in_bucket
from tests.contract.storages import KINDS, Subject, subject_of
from tests.support.buckets import Gateway

NUMBERS = count(1)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One object store for all tests, each of which has a bucket of its own."""
    with Gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(params=KINDS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    kind: str = request.param
    if kind == "objects":
        running: Gateway = request.getfixturevalue("gateway")
        return in_bucket(running.bucket(f"contract-{next(NUMBERS)}"))
    return subject_of(kind, tmp_path)
