"""Collections back to back, beside clients that push, move, delete and pull all the while.

With the default grace period nobody may notice them. A grace period of a second is shorter than
pushes take: then a push may be refused at its end and has to be repeated, and no more than that.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.cli import Jettison
from support.load import Load
from support.missing import need
from support.registry import DockerRegistry

GRACES = pytest.mark.parametrize("grace", [None, "1s"], ids=["default-grace", "grace-1s"])


@contextmanager
def loaded(
    registry: DockerRegistry, jettison: Jettison | None, grace: str | None
) -> Iterator[Load]:
    need("docker-registry")
    load = Load(registry, jettison, grace)
    try:
        load.seed()
        yield load
    finally:
        load.close()


def stress(registry: DockerRegistry, jettison: Jettison, grace: str | None, seconds: float) -> None:
    with loaded(registry, jettison, grace) as load:
        load.run(seconds, check_every=max(7.0, seconds / 15))
        load.finish()
    print(f"\n{load.report()}")  # noqa: T201 - what `pytest -s` is asked for
    assert not load.failures, load.report()
    for what in ("pushes", "pulls in full", "manifests deleted", "blobs collected"):
        assert load.counts[what] > 0, load.report()


@GRACES
def test_collections_beside_clients(
    registry: DockerRegistry, jettison: Jettison, grace: str | None
) -> None:
    stress(registry, jettison, grace, 15)


@pytest.mark.soak
@GRACES
def test_collections_beside_clients_for_long(
    registry: DockerRegistry, jettison: Jettison, grace: str | None
) -> None:
    stress(registry, jettison, grace, 330)
