"""The traps of retention whose way to go wrong is in what a registry tells, on two registries.

The decisions alone are in tests/model/retention/test_traps.py (1-22, 25, 27 and 30). On registries:

| trap | test |
|---|---|
| 1, 2, 30 | `test_1_2_30_…` here |
| 3, 9, 10, 28 | `test_3_9_28_…` here; test_prune.py, `test_untagged_…` |
| 6, 7, 8, 29 | `test_6_7_8_29_…` here |
| 16 | test_pulls.py, test_listen.py |
| 22, 26 | `test_22_…` here; tests/jobs/test_prune_interrupted.py |
| 23, 24, 25 | test_prune.py, test_in_use.py |
"""

import time

import pytest

from jettison.demo import images
from jettison.demo.images import Image, Index
from tests.e2e.test_prune import image as aged
from tests.support.cli import Jettison
from tests.support.registry import SERVERS, DockerRegistry

pytestmark = pytest.mark.parametrize("program", SERVERS)
KEEP = ("--match", "b*", "--keep-last", "4", "--clock", "created", "--max-removal", "60%")
ALL = [f"b{number}" for number in range(1, 7)]


def push_builds(registry: DockerRegistry, repo: str, first: int = 0) -> None:
    """Six builds, one a day, b6 the newest."""
    for number in range(1, 7):
        registry.push(repo, f"b{number}", aged(first + number, 10 - number))


def dated(number: int, created: str) -> Image:
    own = images.layer({"own": images.random_bytes(number, 200)})
    return images.image([own], created=created)


def require_whole(registry: DockerRegistry, repo: str, content: Image | Index) -> None:
    for one in content.manifests():
        assert registry.manifest(repo, str(one.digest)).body == one.raw
    for blob in content.blobs():
        assert registry.request("GET", f"/v2/{repo}/blobs/{blob.digest}").body == blob.raw


def test_1_2_30_no_image_is_old_by_a_date_that_says_nothing(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    for number, created in enumerate(
        (
            "1970-01-01T00:00:00Z",
            "1980-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "2099-01-01T00:00:00Z",
        )
    ):
        registry.push("dates", f"b{number}", dated(number, created))
    registry.push("dates", "dated", dated(9, "2024-03-01T00:00:00Z"))
    for number in range(4):
        registry.push("same", f"b{number}", dated(10 + number, "2024-05-01T12:00:00Z"))
    chart = images.signature(dated(20, "2024-05-01T12:00:00Z"))
    registry.push("charts", "1.0", chart)
    options = ("--older-than", "1d", "--clock", "created", "--max-removal", "100%")
    found = jettison("prune", registry.host, *options, "-n", "-o", "json").json["plan"]
    assert [one["tag"] for one in found["decisions"]] == ["dated"]


def test_3_9_28_what_has_no_tag_of_its_own_is_not_rubbish(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    arm = aged(1, 3)
    provenance = images.image([images.layer({"p": b"slsa"})], architecture="unknown", os="unknown")
    multi = images.index([arm, provenance])
    registry.push("app", "1.0", multi)
    sbom = images.referrer(multi, "application/spdx+json", b"{}")
    registry.push("app", None, sbom)
    registry.push("app", images.referrers_tag(multi.digest), images.fallback_index([sbom]))
    signed = images.signature(multi)
    registry.push("app", images.cosign_tag(multi.digest), signed)
    lost = aged(2, 3)
    registry.push("app", "latest", lost)
    registry.push("app", "latest", aged(3, 2))
    time.sleep(1.5)
    more = ("--trust-times", "--max-removal", "100%", "--reclaim", "--without-undo", "--yes")
    now = ("--grace", "0s", "--assume-quiescent")
    jettison("prune", registry.root, "--untagged", "1s", *more, *now)
    assert registry.manifest("app", str(lost.digest)).status == 404
    for kept in (multi, sbom, signed, aged(3, 2)):
        require_whole(registry, "app", kept)
    assert lost.manifest.digest not in registry.blob_files()


def test_6_7_8_29_images_are_counted_and_shared_ones_stay(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    for number in range(1, 6):
        registry.push("app", f"b{number}", aged(number, 10 - number))
        registry.push("app", f"b{number}-too", aged(number, 10 - number))
        signed = images.signature(aged(number, 10 - number))
        registry.push("app", images.cosign_tag(aged(number, 10 - number).digest), signed)
    registry.push("app", "v1", aged(1, 9))
    registry.push("other", "stays", aged(2, 8))
    plan = registry.base / "plan.json"
    options = ("--match", "b*", "--keep-last", "2", "--clock", "created", "--out", plan)
    jettison("prune", f"{registry.host}/app", *options, "--max-removal", "90%")
    registry.delete("app", str(aged(3, 7).digest))
    jettison("apply", plan, "--yes")
    # That of the image which another tool removed is an orphan by now, which has a rule of its own.
    signatures = {images.cosign_tag(aged(n, 10 - n).digest) for n in (1, 3, 4, 5)}
    stays = {"b4", "b4-too", "b5", "b5-too", "v1", *signatures}
    assert set(registry.tags("app")) == stays
    registry.age(30 * 86400)
    jettison("gc", registry.root, "--grace", "0s", "--assume-quiescent", "--yes")
    require_whole(registry, "app", aged(1, 9))
    require_whole(registry, "other", aged(2, 8))


def test_22_a_list_that_is_not_complete_leaves_its_repository(
    registry: DockerRegistry, jettison: Jettison
) -> None:
    push_builds(registry, "app")
    push_builds(registry, "web", 10)
    newest = aged(6, 4).digest.hex
    data = registry.tree / "blobs" / "sha256" / newest[:2] / newest / "data"
    whole = data.read_bytes()
    data.write_bytes(whole[:40])
    assert registry.manifest("app", "b6").status == 500
    # A dry run lists what the run removes, and ends as it does.
    for way in ("-n", "--yes"):
        done = jettison("prune", registry.host, *KEEP, way, check=3)
        assert "To go: 2 tags and 2 manifests (2 images)" in done.stdout
        assert [line.split()[1] for line in done.stdout.splitlines()[1:3]] == ["web", "web"]
        assert "app" in done.stderr
    assert registry.tags("app") == ALL
    assert registry.tags("web") == ["b3", "b4", "b5", "b6"]
    data.write_bytes(whole)
    jettison("prune", registry.host, *KEEP, "--yes")
    assert registry.tags("app") == ["b3", "b4", "b5", "b6"]
