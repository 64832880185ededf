"""Collections of a bucket beside Distribution, which knows nothing of them, while it takes pushes.

Everything is looked at in the gateway's folder after each collection, before a next push can heal
what it broke.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jettison.demo import images
from jettison.demo.images import Image
from jettison.model.digest import Digest
from tests.contract.objects import open_bucket
from tests.support.buckets import Bucket, Gateway, S3Distribution3, S3Registry
from tests.support.cli import Jettison
from tests.support.load import MOMENT, Load

pytestmark = pytest.mark.e2e

SETTLE = 5.0
"""Seconds; longer than these registries take for a manifest, unless the machine stands still."""
PATIENCE = 60.0
DAY = 86_400.0


class Beside(S3Registry):
    """Its storage is looked at in the bucket's folder, and it sends blobs itself."""

    @property
    def lists_tags(self) -> bool:
        """Whether what it answers to a request for all tags can be relied on."""
        return self.program == "docker-registry" and not self.bucket.gateway.versions

    def __init__(self, base: Path, bucket: Bucket, **options: Any) -> None:
        super().__init__(base, bucket, **options)
        self.root = bucket.folder

    def _settings(self) -> dict[str, Any]:
        found = super()._settings()
        found["storage"]["redirect"] = {"disable": True}
        return found


class Beside3(Beside, S3Distribution3):
    pass


KINDS = {"2.8": Beside, "3.1": Beside3}
EACH = [("2.8", False), ("3.1", True), ("2.8", True), ("3.1", False)]
NAMES = [f"{kind}-{'versioned' if versions else 'plain'}" for kind, versions in EACH]


@pytest.fixture
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucket]:
    _, versions = request.param
    with Gateway(tmp_path / "gateway", versions=versions) as gateway:
        yield gateway.bucket("images")


@pytest.fixture
def registry(request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket) -> Iterator[Beside]:
    kind, _ = request.node.callspec.params["bucket"]
    with KINDS[kind](tmp_path / "registry", bucket, delete=True) as found:
        yield found


ONE = pytest.mark.parametrize("bucket", EACH[1:2], ids=NAMES[1:2], indirect=True)
SOAKED = [pytest.param(one, marks=pytest.mark.soak) for one in EACH[2:]]
SOME = pytest.mark.parametrize("bucket", [*EACH[:2], *SOAKED], ids=NAMES, indirect=True)
ALL = pytest.mark.parametrize("bucket", EACH, ids=NAMES, indirect=True)


def stress(registry: Beside, jettison: Jettison, seconds: float) -> None:
    load = Load(registry, jettison, "2s", options=["--settle", f"{SETTLE}s"])
    load.shared.patience = 2 * SETTLE
    try:
        load.seed()
        load.run(seconds, check_every=max(7.0, seconds / 15))
        load.finish()
    finally:
        load.close()
    print(f"\n{load.report()}")  # noqa: T201 - what `pytest -s` is asked for
    # Distribution 3.1 lists no tag whose name begins with another's on S3, and this gateway lists
    # the folders of hidden objects; every tag is pulled all the same.
    forgiven = {MOMENT} if registry.lists_tags else {MOMENT, "tags"}
    broken = [failure for failure in load.failures if failure.kind not in forgiven]
    if broken and load.shared.longest_put >= SETTLE:
        pytest.skip(f"a PUT took {load.shared.longest_put:.1f} s, for which nothing is promised")
    assert not broken, load.report()
    for what in ("pushes", "pulls in full", "manifests deleted", "blobs collected"):
        assert load.counts[what] > 0, load.report()


@SOME
def test_collections_beside_pushes(registry: Beside, jettison: Jettison) -> None:
    stress(registry, jettison, 14)


@pytest.mark.soak
@ALL
def test_collections_beside_pushes_for_long(registry: Beside, jettison: Jettison) -> None:
    stress(registry, jettison, 300)


@pytest.mark.parametrize("bucket", EACH[:1], ids=NAMES[:1], indirect=True)
def test_a_tag_that_is_not_let_go_beside_a_longer_one(registry: Beside, jettison: Jettison) -> None:
    registry.push("app", "1", GONE)
    registry.push("app", "1-alpine", KEPT)
    done = jettison("rm", f"{registry.host}/app:1", "--yes")
    assert "404 to GET, and is still in the registry's list" in done.stdout
    assert "leaves it there beside 1-alpine" in done.stdout
    registry.push("app", "10", GONE)
    assert "beside" not in jettison("rm", f"{registry.host}/app:10", "--yes").stdout


# One collection, step by step.


def an_image(*names: str) -> Image:
    return images.image([images.layer({name: name.encode()}) for name in names])


KEPT, GONE = an_image("base", "kept"), an_image("base", "gone")
OWN = [blob for blob in GONE.blobs() if blob.digest not in {one.digest for one in KEPT.blobs()}]


def populate(registry: Beside) -> None:
    registry.push("app", "kept", KEPT)
    registry.delete("app", registry.push("app", "gone", GONE))
    registry.bucket.age(DAY)


def is_there(registry: Beside, digest: Digest) -> bool:
    key = f"docker/registry/v2/blobs/sha256/{digest.hex[:2]}/{digest.hex}/data"
    return registry.is_there(registry.bucket.folder / key)


def whole(registry: Beside, tag: str, image: Image) -> bool:
    found = registry.manifest("app", tag).body == image.manifest.raw
    blobs = (registry.request("GET", f"/v2/app/blobs/{one.digest}") for one in image.blobs())
    return found and [one.body for one in blobs] == [one.raw for one in image.blobs()]


class Collecting:
    """A collection in a process of its own, until what goes is out of sight."""

    def __init__(self, registry: Beside, settle: float, home: Path) -> None:
        words = ["gc", str(registry.config), "--settle", f"{settle}s", "--max-removal", "100%"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jettison", *words, "--yes", "-o", "json"],
            env=os.environ | {"HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + PATIENCE
        while any(is_there(registry, one.digest) for one in OWN):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(self.kill())
            time.sleep(0.05)

    def kill(self) -> tuple[str, str]:
        self._process.send_signal(signal.SIGKILL)
        return self._process.communicate()

    def end(self) -> dict[str, Any]:
        """Wait for its end; it may have met a write under way, and keeps what that may need."""
        out, said = self._process.communicate(timeout=PATIENCE)
        assert self._process.returncode in {0, 3}, said
        assert self._process.returncode == 0 or "is missing" in said, said
        found: dict[str, Any] = json.loads(out)["collection"]
        return found


@SOME
def test_what_a_push_and_a_pull_see_meanwhile(
    registry: Beside, bucket: Bucket, jettison: Jettison, tmp_path: Path
) -> None:
    populate(registry)
    how = "with delete markers" if bucket.gateway.versions else "to jettison/aside"
    for told in (
        jettison("check", registry.config, check=None).stdout,
        jettison("gc", registry.config, "-n", check=0).stderr,
    ):
        words = " ".join(told.lower().split())
        assert "beside a registry that takes pushes gc" in words
        assert how in words
    running = Collecting(registry, 10, tmp_path)
    assert whole(registry, "kept", KEPT)
    for blob in OWN:
        assert registry.request("HEAD", f"/v2/app/blobs/{blob.digest}").status == 404
        assert registry.request("GET", f"/v2/app/blobs/{blob.digest}").status == 404
    # A client that was told a moment before that all is there.
    headers = {"Content-Type": GONE.manifest.media_type}
    refused = registry.request("PUT", "/v2/app/manifests/again", headers, GONE.manifest.raw)
    assert refused.status in {400, 404}, refused.body
    assert b"BLOB_UNKNOWN" in refused.body
    registry.push("app", "again", GONE)
    assert whole(registry, "again", GONE)
    receipt = running.end()
    assert whole(registry, "again", GONE)
    assert whole(registry, "kept", KEPT)
    assert receipt["failures"] == 0
    assert not [key for key in bucket.objects() if key.startswith("jettison/aside/")]


def link_as_distribution_does(registry: Beside) -> None:
    """The last steps of a manifest whose layers it has looked at before they went."""
    store = open_bucket(registry.bucket)
    top, digest = "docker/registry/v2/", GONE.digest
    store.put(f"{top}blobs/sha256/{digest.hex[:2]}/{digest.hex}/data", GONE.manifest.raw)
    inner = f"{top}repositories/app/_manifests/"
    store.put(f"{inner}revisions/sha256/{digest.hex}/link", digest.encode())
    store.put(f"{inner}tags/again/index/sha256/{digest.hex}/link", digest.encode())
    store.put(f"{inner}tags/again/current/link", digest.encode())


@SOME
def test_what_was_looked_at_before_it_went_comes_back(registry: Beside, tmp_path: Path) -> None:
    populate(registry)
    running = Collecting(registry, 8, tmp_path)
    link_as_distribution_does(registry)
    receipt = running.end()
    assert receipt["put_back"]["count"] >= len(OWN)
    assert whole(registry, "again", GONE)


@SOME
def test_a_killed_collection_is_taken_back_by_the_next(
    registry: Beside, bucket: Bucket, jettison: Jettison, tmp_path: Path
) -> None:
    populate(registry)
    running = Collecting(registry, 60, tmp_path)
    link_as_distribution_does(registry)
    running.kill()
    assert not whole(registry, "again", GONE)
    dry = jettison("gc", registry.config, "-n", "-o", "json", check=0)
    assert json.loads(dry.stdout)["plan"]["aside"] >= len(OWN)
    assert "is locked" in jettison("gc", registry.config, "--yes", check=12).stderr
    lease = bucket.folder / "jettison" / "lease"
    os.utime(lease, (time.time() - 60,) * 2)
    words = ("--settle", "1s", "--yes", "-o", "json")
    jettison("gc", registry.config, *words, check=0)
    assert whole(registry, "again", GONE)
    assert whole(registry, "kept", KEPT)
    assert not [key for key in bucket.objects() if key.startswith("jettison/aside/")]


@ONE
def test_what_rm_removed_is_undone_after_a_collection(
    registry: Beside, bucket: Bucket, jettison: Jettison
) -> None:
    populate(registry)
    registry.push("app", "removed", GONE)
    tag, where = f"{registry.host}/app:removed", ("--storage", registry.config)
    jettison("rm", tag, "--yes", *where, check=0)
    bucket.age(DAY / 24)
    words = ("--settle", "1s", "--yes")
    jettison("gc", registry.config, *words, check=0)
    jettison("undo", "last", "--yes", *where, check=0)
    assert whole(registry, "removed", GONE)
    jettison("rm", tag, "--yes", *where, check=0)
    registry.stop()
    jettison("gc", registry.config, "--now", "--assume-quiescent", "--yes", check=0)
    registry.start()
    assert not any(is_there(registry, one.digest) for one in OWN)
    assert whole(registry, "kept", KEPT)


# What holds for a bucket, and what is refused.


@ONE
def test_a_registry_that_remembers_blobs_is_refused(
    tmp_path: Path, bucket: Bucket, jettison: Jettison
) -> None:
    with Beside3(tmp_path / "remembers", bucket, delete=True, cache="inmemory") as registry:
        populate(registry)
        before = bucket.objects()
        done = jettison("gc", registry.config, "--yes", check=12)
        assert "takes pushes, and it remembers blobs (storage.cache: inmemory)" in done.stderr
        assert "Remove storage.cache and restart the registry" in done.stderr
        told = " ".join(jettison("check", registry.config, check=None).stdout.split())
        assert "gc is refused while the registry takes pushes" in told
        assert bucket.objects() == before
    with Beside3(tmp_path / "readonly", bucket, cache="inmemory", readonly=True) as registry:
        jettison("gc", registry.config, "--yes", check=0)
        assert not any(is_there(registry, one.digest) for one in OWN)
