"""Every test in this folder is marked `e2e`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.buckets import Bucket, Gateway, S3Registry
from tests.support.registry import DockerRegistry
from tests.support.stores import STORES, SlowStores, bucket_in, slow_stores


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlowStores]:
    with slow_stores(tmp_path_factory.mktemp("stores")) as stores:
        yield stores


@pytest.fixture(params=STORES)
def bucket(request: pytest.FixtureRequest, tmp_path: Path, slow: SlowStores) -> Iterator[Bucket]:
    """A bucket of each store; all but versitygw in `make soak` alone."""
    with bucket_in(request.param, tmp_path / "gateway", slow) as found:
        yield found


@pytest.fixture(params=["disk", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DockerRegistry]:
    """An empty registry of 2.8 that deletes, on a disk and in a bucket."""
    if request.param == "disk":
        with DockerRegistry(tmp_path / "registry", delete=True) as found:
            yield found
    else:
        with (
            Gateway(tmp_path / "gateway") as gateway,
            S3Registry(tmp_path / "registry", gateway.bucket("images"), delete=True) as found,
        ):
            yield found
