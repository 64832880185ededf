"""Several servers of one bucket, and collections beside their clients.

The servers have nothing in common but the bucket. Everything is looked at in the gateway's folder
after each collection, before a next push can heal what it broke.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.buckets import Gateway, S3Jettison
from tests.support.cli import Jettison
from tests.support.load import Load


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[S3Jettison]]:
    with Gateway(tmp_path / "gateway") as gateway:
        bucket = gateway.bucket("images")
        with (
            S3Jettison(tmp_path / "one", bucket, delete=True) as one,
            S3Jettison(tmp_path / "two", bucket, delete=True) as two,
        ):
            yield [one, two]


def stress(servers: list[S3Jettison], jettison: Jettison, seconds: float) -> None:
    first, *others = servers
    wanted = ("pushes", "pulls in full", "manifests deleted", "blobs collected")
    load = Load(first, jettison, "2s", beside=others, collectors=2)
    try:
        load.seed()
        load.run(seconds, check_every=max(7.0, seconds / 15), wanted=wanted)
        load.finish()
    finally:
        load.close()
    print(f"\n{load.report()}")  # noqa: T201 - what `pytest -s` is asked for
    assert not load.failures, load.report()
    for what in wanted:
        assert load.counts[what] > 0, load.report()


def test_two_servers_and_two_collectors(servers: list[S3Jettison], jettison: Jettison) -> None:
    stress(servers, jettison, 25)


@pytest.mark.soak
def test_two_servers_and_two_collectors_for_long(
    servers: list[S3Jettison], jettison: Jettison
) -> None:
    stress(servers, jettison, 900)
