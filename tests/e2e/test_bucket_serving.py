"""`jettison serve` on a bucket, and the registries that share it one after another."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from jettison.configuration import read_configuration
from jettison.demo.images import Image, Index, image, index, layer, random_bytes
from jettison.jobs.scheduled_prune import prune_as_scheduled
from jettison.model.digest import Digest
from jettison.storage.opening import storage_of
from jettison.storage.scheduled_runs import RunResult
from tests.support.buckets import Bucket, S3Distribution3, S3Jettison, S3Registry
from tests.support.cli import Jettison
from tests.support.faulty_store import FaultyStore
from tests.support.missing import need
from tests.support.registry import DockerRegistry
from tests.support.stores import ON_VERSITYGW

DAY = 86_400.0
BASE = layer({"base": random_bytes("base of the bucket", 200_000)})


def made(name: str) -> Image:
    return image([BASE, layer({"own": random_bytes(name, 3000)})], labels={"name": name})


def both(name: str) -> Index:
    members = [image([BASE], architecture=cpu, labels={"name": name}) for cpu in ("amd64", "arm64")]
    return index(members)


def test_three_registries_take_turns_on_one_bucket(
    bucket: Bucket, tmp_path: Path, jettison: Jettison
) -> None:
    """Each reads what the others wrote, digest by digest, also after our collections."""
    need("docker-registry", "skopeo")
    tags: dict[str, Image | Index] = {}

    def check(registry: DockerRegistry) -> None:
        assert registry.tags("team/app") == sorted(tags)
        for tag, content in tags.items():
            pulled = registry.pull_skopeo("team/app", tag)
            assert pulled.manifest == content.manifest.raw
            assert pulled.blobs == {one.digest: one.raw for one in content.blobs()}
            shutil.rmtree(pulled.path)

    kinds = (S3Registry, S3Jettison, S3Distribution3, S3Jettison, S3Registry)
    if bucket.driver == "azure":  # 2.8 speaks to it over HTTPS alone
        kinds = (S3Distribution3, S3Jettison, S3Distribution3, S3Jettison, S3Distribution3)
    for number, kind in enumerate(kinds):
        with kind(tmp_path / f"{number}", bucket, delete=True) as registry:
            check(registry)
            tags[f"image-{number}"] = made(f"image {number}")
            tags[f"index-{number}"] = both(f"index {number}")
            going = made(f"going {number}")
            for tag in (f"image-{number}", f"index-{number}"):
                registry.push("team/app", tag, tags[tag])
            registry.push("team/app", "going", going)
            assert registry.delete("team/app", going.digest) == 202
            check(registry)
            bucket.age(7200)
            if kind is S3Jettison:
                done = jettison(
                    "gc", registry.config, "--yes", *bucket.grace, "-o", "json", check=0
                )
                assert done.json["collection"]["removed"]["blobs"]["count"] >= 3
                check(registry)
        own = going.layers[-1].digest
        assert (own in registry_blobs(bucket)) is (kind is not S3Jettison)


def registry_blobs(bucket: Bucket) -> set[Digest]:
    base = "docker/registry/v2/blobs/sha256/"
    keys = [key.split("/") for key in bucket.objects() if key.startswith(base)]
    return {Digest(f"sha256:{parts[-2]}") for parts in keys if parts[-1] == "data"}


def test_an_upload_goes_on_at_another_server(bucket: Bucket, tmp_path: Path) -> None:
    content = random_bytes("an upload", 100_000)
    digest = Digest.of(content)
    with (
        S3Jettison(tmp_path / "one", bucket) as one,
        S3Jettison(tmp_path / "two", bucket) as two,
    ):
        answer = one.request("POST", "/v2/app/blobs/uploads/")
        place = urlsplit(answer.headers["Location"]).path
        for server, first, last in ((two, 0, 30_000), (one, 30_000, 70_000)):
            headers = {"Content-Range": f"{first}-{last - 1}"}
            answer = server.request("PATCH", place, headers, content[first:last])
            assert answer.status == 202
            assert answer.headers["Range"] == f"0-{last - 1}"
        assert one.request("GET", place).headers["Range"] == "0-69999"
        answer = two.request("PUT", f"{place}?digest={digest}", {}, content[70_000:])
        assert answer.status == 201
        for server in (one, two):
            assert server.request("GET", f"/v2/app/blobs/{digest}").body == content
            assert server.request("GET", place).status == 404
    assert not [key for key in bucket.objects() if "/_uploads/" in key]


def test_wrong_bytes_never_lie_under_a_digest(bucket: Bucket, tmp_path: Path) -> None:
    digest = Digest.of(b"right")
    with S3Jettison(tmp_path / "one", bucket) as one:
        answer = one.request("POST", "/v2/app/blobs/uploads/")
        place = urlsplit(answer.headers["Location"]).path
        answer = one.request("PUT", f"{place}?digest={digest}", {}, b"wrong")
        assert answer.status == 400
        assert one.request("HEAD", f"/v2/app/blobs/{digest}").status == 404
    assert digest not in registry_blobs(bucket)


class RedirectingJettison(S3Jettison):
    """Refers clients to the store, as it does unless it is told not to."""

    def _settings(self) -> dict[str, Any]:
        found = super()._settings()
        del found["storage"]["redirect"]
        return found


def test_a_client_is_referred_to_the_store(bucket: Bucket, tmp_path: Path) -> None:
    need("skopeo")
    content = made("referred")
    with RedirectingJettison(tmp_path / "one", bucket) as one:
        one.push("app", "1", content)
        answer = one.request("GET", f"/v2/app/blobs/{BASE.digest}")
        assert answer.status == 307
        assert answer.headers["Location"].startswith(
            f"{bucket.gateway.endpoint}/{bucket.name}/docker/"
        )
        assert one.request("GET", f"/v2/app/blobs/{Digest.of(b'absent')}").status == 404
        pulled = one.pull_skopeo("app", "1")
        assert pulled.blobs == {one.digest: one.raw for one in content.blobs()}


@ON_VERSITYGW
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("secretkey", "wr0ng", "the secret does not belong to the access key"),
        ("bucket", "absent", "there is no bucket absent"),
        ("regionendpoint", "http://127.0.0.1:1", "http://127.0.0.1:1 does not answer"),
    ],
)
def test_a_bucket_that_cannot_be_used_ends_the_start(
    bucket: Bucket, tmp_path: Path, key: str, value: str, said: str
) -> None:
    server = S3Jettison(tmp_path / "one", Changed(bucket.gateway, bucket.name, {key: value}))
    with pytest.raises(RuntimeError, match="cannot serve s3://") as caught:
        server.start()
    assert said in str(caught.value)
    assert "Traceback" not in str(caught.value)


@dataclass(frozen=True)
class Changed(Bucket):
    """A bucket that is configured wrongly."""

    change: dict[str, str]

    @property
    def settings(self) -> dict[str, Any]:
        return super().settings | self.change


def written_by(bucket: Bucket, collect: Callable[[], object]) -> set[str]:
    """What a collection has in its part of the bucket: announcements, or what is out of sight."""
    before = len(bucket.gateway.requests())
    collect()
    keys = {one.key for one in bucket.gateway.requests()[before:]}
    return {part for part in ("sweeps", "aside") if any(f"jettison/{part}/" in k for k in keys)}


def litter(registry: DockerRegistry, bucket: Bucket, name: str) -> None:
    registry.push("app", "kept", made("kept"))
    assert registry.delete("app", registry.push("app", "going", made(name))) == 202
    bucket.age(DAY)


@ON_VERSITYGW
def test_a_collection_is_announced_to_our_own_servers_alone(
    bucket: Bucket, tmp_path: Path, jettison: Jettison
) -> None:
    def collect(config: Path, *words: str) -> set[str]:
        words = ("--settle", "1s", "--yes", *words)
        return written_by(bucket, lambda: jettison("gc", config, *words, check=0))

    with S3Jettison(tmp_path / "one", bucket, delete=True) as one:
        litter(one, bucket, "one")
        jettison("gc", one.config, "--yes", "--now", check=12)
        assert collect(one.config) == {"sweeps"}
    with S3Registry(tmp_path / "two", bucket, delete=True) as two:
        litter(two, bucket, "two")
        assert collect(two.config) == {"aside"}
        litter(two, bucket, "three")
    assert collect(two.config, "--served-by-jettison") == {"sweeps"}
    # A server of ours that serves something else says nothing of this bucket.
    other = bucket.gateway.bucket(f"other-{bucket.name}")
    with S3Jettison(tmp_path / "three", other, delete=True) as three:
        text = three.config.read_text(encoding="utf-8")
        config = tmp_path / "mistaken.yml"
        config.write_text(text.replace(other.name, bucket.name), encoding="utf-8")
        jettison("gc", config, "--yes", "--now", check=12)


def test_an_image_is_removed_and_its_space_is_free_at_once(
    bucket: Bucket, tmp_path: Path, jettison: Jettison
) -> None:
    going = made("going")
    with S3Jettison(tmp_path / "one", bucket, delete=True) as one:
        one.push("app", "kept", made("kept"))
        one.push("app", "1", going)
        bucket.age(7200)
        where = ("--storage", one.config)
        options = ("--yes", "--reclaim", *bucket.grace)
        done = jettison("rm", f"{one.host}/app:1", *options, *where, check=0)
        assert "freed, as predicted" in done.stdout
        assert going.layers[-1].digest not in registry_blobs(bucket)
        jettison("undo", "last", "--yes", *where, check=None)
        one.push("app", "2", made("two"))
        jettison("rm", f"{one.host}/app:2", "--yes", *where, check=0)
        jettison("undo", "last", "--yes", *where, check=0)
        assert one.manifest("app", "2").body == made("two").manifest.raw


def test_a_killed_collection_is_gone_on_with(
    bucket: Bucket, tmp_path: Path, jettison: Jettison
) -> None:
    """Killed at any moment it leaves garbage at worst, and pushes go on."""
    kept = made("kept")
    with S3Jettison(tmp_path / "one", bucket, delete=True) as one:
        one.push("app", "kept", kept)
        for number in range(3):
            going = made(f"going {number}")
            one.push("app", "going", going)
            assert one.delete("app", going.digest) == 202
            bucket.age(7200)
            command = [*jettison.command, "gc", str(one.config), "--yes", *bucket.grace]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
            try:
                process.wait(0.9 + 0.15 * number)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            one.push("app", "again", made("again"))
            for tag, content in (("kept", kept), ("again", made("again"))):
                assert one.manifest("app", tag).body == content.manifest.raw
                for blob in content.blobs():
                    assert one.request("GET", f"/v2/app/blobs/{blob.digest}").body == blob.raw
            bucket.age(7200)
            jettison("gc", one.config, "--yes", *bucket.grace, check=0)
        assert registry_blobs(bucket) == {
            content.digest
            for one_image in (kept, made("again"))
            for content in (*one_image.manifests(), *one_image.blobs())
        }


@pytest.mark.soak
@pytest.mark.parametrize("late", [4.0, 30.0])
@pytest.mark.parametrize("bucket", ["versitygw", "ceph"], indirect=True)
def test_a_delete_that_lands_late_takes_nothing_that_was_pushed_again(
    bucket: Bucket, tmp_path: Path, jettison: Jettison, late: float
) -> None:
    """Sent on while its signature lasts, it lands before the push ends; later the store refuses."""
    going = made("going")
    with FaultyStore(bucket.gateway, late=late) as store:
        faulty = Changed(bucket.gateway, bucket.name, {"regionendpoint": store.endpoint})
        with (
            S3Jettison(tmp_path / "one", bucket, delete=True) as one,
            S3Jettison(tmp_path / "two", faulty, delete=True) as two,
        ):
            one.push("app", "kept", made("kept"))
            one.push("app", "1", going)
            assert one.delete("app", going.digest) == 202
            bucket.age(7200)
            collection = jettison.start("gc", two.config, "--yes", *bucket.grace)
            deadline = time.monotonic() + 60
            while not any(key.startswith("jettison/sweeps/") for key in bucket.objects()):
                assert time.monotonic() < deadline
                assert collection.poll() is None, collection.communicate()
                time.sleep(0.02)
            one.push("app", "1", going)
            collection.communicate(timeout=200)
            assert collection.returncode in {0, 3}
            pause = deadline - time.monotonic() + late
            time.sleep(max(0.0, pause))
            assert one.manifest("app", "1").body == going.manifest.raw
            for blob in going.blobs():
                assert one.request("GET", f"/v2/app/blobs/{blob.digest}").body == blob.raw
    if late > 31:
        assert set(store.landed) <= {403}
    else:
        assert store.landed


@ON_VERSITYGW
def test_a_scheduled_collection_is_announced(bucket: Bucket, tmp_path: Path) -> None:
    """It goes on beside the pushes of the server that begins it."""
    policy = tmp_path / "policy.yml"
    policy.write_text("rules: [{tags: ['b*'], keep: {last: 2}, remove: rest}]\n", encoding="utf-8")
    retention = {"policy": str(policy), "schedule": "0 3 1 1 *", "collect": True}
    ours = {"jettison": {"retention": retention}}
    with S3Jettison(tmp_path / "one", bucket, delete=True, extra=ours) as one:
        one.push("app", "kept", made("kept"))
        assert one.delete("app", one.push("app", "going", made("going"))) == 202
        bucket.age(86_400)
        configuration = read_configuration(one.config, {}, "serving")
        storage = storage_of(configuration)
        before = len(bucket.gateway.requests())
        ended = asyncio.run(prune_as_scheduled(storage, time.time(), lambda: configuration))
        keys = {one.key for one in bucket.gateway.requests()[before:]}
    assert ended is not None
    assert ended.result is RunResult.DONE, ended.message
    assert any(key.startswith("jettison/sweeps/") for key in keys)
    assert made("going").layers[-1].digest not in registry_blobs(bucket)
