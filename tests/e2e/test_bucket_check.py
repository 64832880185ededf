"""``jettison check CONFIG`` of a storage in a bucket, and what it tries with ``--probe``."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison.demo import images
from tests.support.buckets import Gateway, S3Registry
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
    assert set(registry.bucket.requests() - before) == {"ListObjectsV2", "HeadObject"}
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
