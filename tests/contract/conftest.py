"""Each kind of storage, new for each test."""

from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.contract.objects import in_bucket, in_store
from tests.contract.storages import KINDS, Subject, subject_of
from tests.support.azurite import Azurite
from tests.support.buckets import Gateway
from tests.support.google_stub import GoogleStub

NUMBERS = count(1)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One object store for all tests, each of which has a bucket of its own."""
    with Gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """The same for Azure."""
    with Azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture(scope="session")
def google() -> Iterator[GoogleStub]:
    """What stands for Google's store, and is none."""
    with GoogleStub() as running:
        yield running


@pytest.fixture(params=KINDS)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    kind: str = request.param
    if kind == "objects":
        running: Gateway = request.getfixturevalue("gateway")
        return in_bucket(running.bucket(f"contract-{next(NUMBERS)}"))
    if kind == "azure":
        emulator: Azurite = request.getfixturevalue("azurite")
        return in_store(emulator.bucket(f"contract-{next(NUMBERS)}").container())
    if kind == "google":
        stub: GoogleStub = request.getfixturevalue("google")
        settings = stub.bucket(f"contract-{next(NUMBERS)}")
        return in_store(settings, partial(stub.age, settings.name))
    return subject_of(kind, tmp_path)
