"""``jettison check CONFIG`` of a storage in a bucket, and what it tries with ``--probe``."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jettison.demo import images
from tests.support.buckets import Bucket, Gateway, LimitedBucket, S3Jettison, S3Registry
from tests.support.cli import Jettison
from tests.support.registry import DockerRegistry

ENFORCED = {
    "listing": "shows at once",
    "create-if-absent": "is enforced",
    "signed DELETE": "is refused when its time is over",
    "versions": "are off",
}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(tmp_path / "gateway") as running:
        yield running


@pytest.fixture
def registry(tmp_path: Path, gateway: Gateway) -> Iterator[S3Registry]:
    with S3Registry(tmp_path / "registry", gateway.bucket("images"), delete=True) as found:
        found.push("app", "1", images.image([images.layer({"one": b"one"})]))
        yield found


def said_of(text: str) -> dict[str, dict[str, str]]:
    return {item["subject"]: item for item in json.loads(text)["items"]}


def test_a_check_writes_nothing(registry: S3Registry, jettison: Jettison) -> None:
    before = registry.bucket.requests()
    told = jettison("check", registry.config, check=0).stdout
    reading = {"ListObjectsV2", "HeadObject", "ListMultipartUploads"}
    assert set(registry.bucket.requests() - before) == reading
    assert f"speaks S3 at {registry.bucket.gateway.endpoint}" in told
    assert "jettison check --probe CONFIG" in told


def test_the_rule_to_paste_is_a_command(registry: S3Registry, jettison: Jettison) -> None:
    found = said_of(jettison("check", registry.config, "-o", "json", check=0).stdout)
    command = found["unfinished uploads"]["next"].partition(": ")[2].partition(" (that")[0]
    words = shlex.split(command)
    assert words[:3] == ["aws", "s3api", "put-bucket-lifecycle-configuration"]
    assert words[words.index("--bucket") + 1] == "images"
    [rule] = json.loads(words[words.index("--lifecycle-configuration") + 1])["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert rule["Status"] == "Enabled"


def test_what_a_store_enforces_is_tried(registry: S3Registry, jettison: Jettison) -> None:
    before = registry.bucket.objects()
    told = jettison("check", registry.config, "--probe", check=0).stdout
    found = said_of(jettison("check", "--probe", registry.config, "-o", "json", check=0).stdout)
    for subject, sentence in ENFORCED.items():
        assert found[subject]["level"] == "ok", found[subject]
        assert sentence in found[subject]["message"]
        assert sentence in told
    assert registry.bucket.objects() == before


def test_who_may_not_write_is_told_so(registry: S3Registry, jettison: Jettison) -> None:
    gateway = registry.bucket.gateway
    gateway.stop()
    gateway.readonly = True
    gateway.start()
    told = jettison("check", "--probe", registry.config, check=0).stdout
    assert "not tried: no right to write" in told
    assert "create-if-absent" not in told


def test_versions_are_seen(tmp_path: Path, jettison: Jettison) -> None:
    with Gateway(tmp_path / "gateway", versions=True) as gateway:
        registry = S3Registry(tmp_path / "registry", gateway.bucket("images"), delete=True)
        registry.write_config()
        told = jettison("check", "--probe", registry.config, "-o", "json", check=None)
        assert "are on" in said_of(told.stdout)["versions"]["message"]


def test_a_folder_has_no_store_to_try(
    tmp_path: Path, registry: S3Registry, jettison: Jettison
) -> None:
    disk = DockerRegistry(tmp_path / "disk", delete=True)
    disk.write_config()
    disk.root.mkdir(parents=True, exist_ok=True)
    for target in (disk.config, disk.root, registry.host):
        told = jettison("check", "--probe", target, check=2)
        assert "in a bucket" in told.stderr


# The rights that docs/object-storage.md tells people to give.

DOCUMENT = Path(__file__).parents[2] / "docs" / "object-storage.md"


class Rooted(Bucket):
    """A bucket that has a registry below a root, as in the document."""

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = super().settings | {"rootdirectory": "/registry"}
        return found


def policies() -> list[dict[str, Any]]:
    blocks = re.findall(r"^```json\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    return [found for found in map(json.loads, blocks) if "Statement" in found]


class RootedLimited(LimitedBucket):
    """The same, for one with the rights of a policy."""

    @property
    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = super().settings | {"rootdirectory": "/registry"}
        return found


def configured(registry: S3Registry) -> S3Registry:
    registry.write_config()
    return registry


def test_the_policies_of_the_document_are_enough(
    tmp_path: Path, gateway: Gateway, jettison: Jettison
) -> None:
    (gateway.folder / "images").mkdir()
    reading, collecting, serving = policies()
    bucket = RootedLimited(Bucket(gateway, "images"), serving)
    with S3Jettison(tmp_path / "ours", bucket, delete=True) as ours:
        ours.push("app", "1", images.image([images.layer({"one": b"one"})]))
        gone = ours.push("app", "2", images.image([images.layer({"two": b"two"})]))
        ours.delete("app", gone)
    collect = ("gc", ours.config, "--grace", "0s", "--yes", "--assume-quiescent")
    bucket.allow(reading)
    for command in (["check"], ["ls"], ["fsck"], ["gc", "-n"]):
        jettison(*command, ours.config, check=0)
    before = bucket.objects()
    jettison(*collect, check=1)
    assert bucket.objects() == before
    bucket.allow(collecting)
    jettison(*collect, check=0)
    assert len(bucket.objects()) < len(before)
    link = bucket.folder / "registry/docker/registry/v2/repositories/app/_manifests/tags/1"
    (link / "current" / "link").write_bytes(b"")
    repair = ("fsck", ours.config, "--grace", "0s", "--repair", "--yes", "--assume-quiescent")
    jettison(*repair, check=3)
    bucket.allow(serving)
    jettison(*repair, check=0)
    undo = ("undo", "last", "--storage", ours.config, "--yes", "--assume-quiescent")
    jettison(*undo, check=0)
    jettison("prune", ours.config, "--keep-last", "1", "--trust-times", "--yes", check=0)


def images_in(bucket: Bucket) -> dict[str, bytes]:
    return {key: raw for key, raw in bucket.objects().items() if key.startswith("docker/")}


def test_who_may_not_delete_is_told_so_before_anything_is_changed(
    tmp_path: Path, registry: S3Registry, jettison: Jettison
) -> None:
    registry.push("app", "2", images.image([images.layer({"two": b"two"})]))
    gone = registry.push("app", "3", images.image([images.layer({"three": b"three"})]))
    registry.delete("app", gone)
    damaged = registry.bucket.folder / "docker/registry/v2/repositories/other/_manifests/tags"
    (damaged / "1/current").mkdir(parents=True)
    (damaged / "1/current/link").write_bytes(b"")
    registry.stop()
    registry.bucket.age(7200)
    policy = policies()[-1]
    policy["Statement"][0]["Resource"] = "arn:aws:s3:::images"
    policy["Statement"][1]["Resource"] = "arn:aws:s3:::images/*"
    policy["Statement"][1]["Action"].remove("s3:DeleteObject")
    limited = LimitedBucket(registry.bucket, policy)
    config = configured(S3Jettison(tmp_path / "limited", limited, delete=True)).config
    before = images_in(limited)
    quiescent = ("--yes", "--assume-quiescent")
    rule = ("--match", "1", "--older-than", "1h", "--trust-times", "--allow-all-tags")
    for command in (
        ("gc", config, *quiescent),
        ("garbage-collect", config, "--assume-quiescent"),
        ("fsck", config, "--repair", *quiescent),
        ("prune", config, *rule, "--allow-incomplete", "--max-removal", "100%", "--yes"),
        ("serve", config),
    ):
        done = jettison(*command, check=1)
        [error] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert "the credentials have no right to do that" in error, error
        assert "s3:DeleteObject" in done.stderr
        assert images_in(limited) == before, command
