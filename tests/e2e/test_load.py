"""Collections back to back, beside clients that push, move, delete and pull all the while.

With the default grace period nobody may notice them. A grace period of a second is shorter than
pushes take: then a push may be refused at its end and has to be repeated, and no more than that.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jettison.demo.images import Image
from tests.support.cli import Jettison
from tests.support.load import MOMENT, POOL, Collector, Load
from tests.support.missing import need
from tests.support.registry import SERVERS, DockerRegistry

GRACES = pytest.mark.parametrize("grace", [None, "1s"], ids=["default-grace", "grace-1s"])


@contextmanager
def loaded(
    registry: DockerRegistry,
    jettison: Jettison | None,
    grace: str | None,
    *,
    returning: bool = False,
) -> Iterator[Load]:
    load = Load(registry, jettison, grace, returning=returning)
    try:
        yield load
    finally:
        load.close()


def stress(
    registry: DockerRegistry,
    jettison: Jettison,
    grace: str | None,
    seconds: float,
    *,
    returning: bool = False,
) -> None:
    need("docker-registry")
    wanted = ("pushes", "pulls in full", "manifests deleted", "blobs collected")
    with loaded(registry, jettison, grace, returning=returning) as load:
        load.seed()
        load.run(seconds, check_every=max(7.0, seconds / 15), wanted=wanted)
        load.finish()
    print(f"\n{load.report()}")  # noqa: T201 - what `pytest -s` is asked for
    # What comes back is told, and forgiven only where a manifest and a collection are made to meet.
    forgiven = {MOMENT} if returning else set()
    assert {failure.kind for failure in load.failures} <= forgiven, load.report()
    passing = load.counts["collections that met a write under way (exit 3)"]
    assert passing <= 2 + load.counts["collections"] / 5, load.report()
    for what in wanted:
        assert load.counts[what] > 0, load.report()


BOTH = pytest.mark.parametrize("program", SERVERS)


@BOTH
@GRACES
def test_collections_beside_clients(
    registry: DockerRegistry, jettison: Jettison, grace: str | None
) -> None:
    if not registry.reclaims:
        pytest.skip("a collection beside it waits five minutes; tests/e2e/test_bucket_beside.py")
    # jettison serve is quicker, so a few seconds are as much.
    stress(registry, jettison, grace, 6 if registry.program == "jettison" else 15)


@pytest.mark.soak
@BOTH
@GRACES
def test_collections_beside_clients_for_long(
    registry: DockerRegistry, jettison: Jettison, grace: str | None
) -> None:
    stress(registry, jettison, grace, 330)


@pytest.mark.soak
@BOTH
def test_old_images_that_come_back(registry: DockerRegistry, jettison: Jettison) -> None:
    """Deleted when they are a day old, and pushed again at once, at the default grace period.

    docker-registry does not touch a blob when it says that it is there, so a push may be refused.
    """
    stress(registry, jettison, None, 120, returning=True)


# What a collection must never do, for the checks to be seen at work. Each takes the storage's tree
# and, of the image in d:t1, its layer, the manifest, and another manifest of the repository.


def lose_blob(tree: Path, layer: str, manifest: str, other: str) -> None:
    (tree / "blobs/sha256" / layer[:2] / layer / "data").unlink()


def cut_blob(tree: Path, layer: str, manifest: str, other: str) -> None:
    (tree / "blobs/sha256" / layer[:2] / layer / "data").write_bytes(b"")


def lose_manifest_blob(tree: Path, layer: str, manifest: str, other: str) -> None:
    lose_blob(tree, manifest, manifest, other)


def lose_layer_link(tree: Path, layer: str, manifest: str, other: str) -> None:
    (tree / "repositories/d/_layers/sha256" / layer / "link").unlink()


def lose_revision(tree: Path, layer: str, manifest: str, other: str) -> None:
    (tree / "repositories/d/_manifests/revisions/sha256" / manifest / "link").unlink()


def lose_tag(tree: Path, layer: str, manifest: str, other: str) -> None:
    shutil.rmtree(tree / "repositories/d/_manifests/tags/t1")


def mistake_tag(tree: Path, layer: str, manifest: str, other: str) -> None:
    link = tree / "repositories/d/_manifests/tags/t1/current/link"
    link.write_text(f"sha256:{other}", encoding="ascii")


FILES = {lose_blob, cut_blob, lose_manifest_blob, lose_layer_link, lose_revision}


@pytest.mark.parametrize(
    "damage", [*sorted(FILES, key=lambda one: one.__name__), lose_tag, mistake_tag]
)
def test_the_checks_see_damage(
    registry: DockerRegistry,
    jettison: Jettison,
    damage: Callable[[Path, str, str, str], None],
) -> None:
    with loaded(registry, None, None) as load:
        load.shared.patience = 0
        images = [one for one in POOL[:2] if isinstance(one, Image)]
        for number, one in enumerate(images):
            load.push("d", f"t{number}", one)
        files = Collector(load.shared, jettison, None)
        load.check()
        files.check_files(1)
        assert not load.failures, load.report()
        first, second = images
        damage(registry.tree, second.layers[-1].digest.hex, second.digest.hex, first.digest.hex)
        if registry.in_bucket:  # there small contents stay in the server's memory
            load.shared.kills = True  # the checker connects again
            registry.restart()
        load.check()
        # From a bucket a tag is answered without a look at the revision.
        unseen = registry.in_bucket and damage is lose_revision
        assert unseen or {failure.kind for failure in load.failures} & {"image broken", "tags"}
        load.failures.clear()
        files.check_files(2)
        assert bool(load.failures) == (damage in FILES), load.report()
