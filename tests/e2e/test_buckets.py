"""Registries with their storage in a bucket, and commands that look into it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jettison.demo import images
from jettison.demo.images import Image
from tests.support.buckets import S3_REGISTRIES, Bucket, Gateway, S3Registry

pytestmark = pytest.mark.e2e


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Bucket]:
    with Gateway(tmp_path / "gateway") as gateway:
        yield gateway.bucket("images")


@pytest.fixture(params=S3_REGISTRIES, ids=lambda kind: kind.program)
def registry(
    request: pytest.FixtureRequest, tmp_path: Path, bucket: Bucket
) -> Iterator[S3Registry]:
    with request.param(tmp_path / "registry", bucket, delete=True) as found:
        yield found


def an_image(*names: str) -> Image:
    return images.image([images.layer({name: name.encode()}) for name in names])


def test_a_registry_keeps_its_images_in_a_bucket(registry: S3Registry, bucket: Bucket) -> None:
    digest = registry.push("team/app", "1", an_image("one"))
    objects = bucket.objects()
    link = "docker/registry/v2/repositories/team/app/_manifests/tags/1/current/link"
    assert objects[link] == digest.encode()
    assert bucket.requests()["PutObject"] > 3
