"""Case 10: a registry that remembers blobs which a collection beside it has removed."""

import pytest

from jettison.demo.images import image, layer, random_bytes
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry, RegistryFactory

BASE = layer({"base": random_bytes(1, 3000)})
GOES, STAYS = (image([BASE, layer({"app": random_bytes(seed, 2000)})]) for seed in (2, 3))


@pytest.fixture
def stale(registry_factory: RegistryFactory) -> DockerRegistry:
    """A registry whose cache knows every blob."""
    registry = registry_factory(cache="inmemory", delete=True)
    registry.push("app", "1", GOES)
    registry.push("app", "2", STAYS)
    for blob in [*GOES.blobs(), *STAYS.blobs()]:
        assert registry.request("HEAD", f"/v2/app/blobs/{blob.digest}").status == 200
    return registry


@pytest.mark.distribution
@pytest.mark.parametrize("with_storage", [True, False])
def test_a_stale_cache_is_seen(
    stale: DockerRegistry, jettison: Jettison, with_storage: bool
) -> None:
    storage = ("--storage", str(stale.storage))
    chosen = storage if with_storage else ()
    jettison("rm", f"{stale.host}/app:1", *chosen, "--yes")
    jettison("verify", "last", *chosen)  # nothing is collected yet, and nothing is promised
    quiet = ("--now", "--assume-quiescent", "--grace", "0s", "--yes")
    freed = jettison("gc", stale.storage, *quiet, "-o", "json").json["run"]["receipt"][
        "freed_bytes"
    ]
    lost = GOES.blobs()[0], GOES.layers[1], GOES.manifest
    assert freed == sum(content.size for content in lost)
    # The disk has lost them, and the registry swears that it has them.
    own = [GOES.config, GOES.layers[1]]
    assert not stale.blob_files().keys() & {blob.digest for blob in own}
    for blob in own:
        path = f"/v2/app/blobs/{blob.digest}"
        assert stale.request("HEAD", path).status == 200
    for again in (("last",), ("last", *chosen)):
        failed = jettison("verify", *again, check=5)
        assert "error: " in failed.stderr
        assert "restart" in (failed.stdout + failed.stderr).lower()
        assert "Traceback" not in failed.stderr
    found = jettison("verify", "last", *chosen, "-o", "json", check=5).json["findings"]
    bad = [finding for finding in found if not finding["ok"]]
    assert len(bad) == 1
    assert bad[0]["subject"].startswith(f"{len(own)} blobs (app@{min(b.digest for b in own)}")
    assert "restart" in bad[0]["sentence"]
    # What stays is whole all the time.
    assert stale.pull_skopeo("app", "2").manifest == STAYS.manifest.raw
    stale.restart()
    jettison("verify", "last", *chosen)
    for blob in own:
        assert stale.request("HEAD", f"/v2/app/blobs/{blob.digest}").status == 404
    stale.push("app", "1", GOES)
    assert stale.pull_skopeo("app", "1").manifest == GOES.manifest.raw


@pytest.mark.distribution
def test_removing_and_collecting_in_one_go(stale: DockerRegistry, jettison: Jettison) -> None:
    stale.age(7200)
    storage = ("--storage", str(stale.config))
    removal = ("rm", f"{stale.host}/app:1", "--reclaim", *storage, "--yes")
    if not stale.reclaims:
        assert "nothing can be hidden" in jettison(*removal, check=12).stderr
        assert stale.tags("app") == ["1", "2"]
        return
    done = jettison(*removal, check=5)
    assert "restart" in (done.stdout + done.stderr).lower()
    assert not stale.blob_files().keys() & {GOES.config.digest, GOES.layers[1].digest}
    entry = jettison("runs", "-o", "json").json["runs"][0]
    assert entry["state"] == "done"
    jettison("verify", "last", check=5)
    stale.restart()
    jettison("verify", "last")
    jettison("verify", "last", *storage)
