"""One object store for all tests of this folder, and a bucket for each."""

from collections.abc import Iterator
from itertools import count

import pytest

from tests.support.buckets import Bucket, Gateway

NUMBERS = count(1)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def bucket(gateway: Gateway) -> Bucket:
    return gateway.bucket(f"objects-{next(NUMBERS)}")
