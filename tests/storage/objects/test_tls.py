"""A store whose certificate is of a private authority, tried with a real one."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from jettison.errors import ConfigurationError, StorageUnavailable
from jettison.storage.objects.bucket import Bucket as OpenBucket
from jettison.storage.objects.deleting import SignedDeletes, measure_clock, uptime
from jettison.storage.objects.probing import probe_store
from tests.contract.objects import open_bucket
from tests.support.authority import Authority
from tests.support.buckets import Bucket, Gateway


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Bucket]:
    gateway = Gateway(tmp_path_factory.mktemp("gateway"))
    gateway.authority = authority
    with gateway:
        yield gateway.bucket("images")


def test_every_request_knows_an_authority_of_the_environment(
    there: Bucket, authority: Authority
) -> None:
    settings = open_bucket(there).settings
    opened = OpenBucket(settings, {"AWS_CA_BUNDLE": str(authority.file)})
    found = probe_store(opened, sleep=lambda _: None)
    assert found.creates
    assert found.untried == ""
    opened.put("a", b"content")
    deletes = SignedDeletes(opened, measure_clock(opened))
    [deleted] = deletes.delete(["a"], uptime() + 100)
    assert deleted.outcome is True
    assert opened.get("a", 10) is None


def test_an_authority_that_is_not_known_is_told(there: Bucket, authority: Authority) -> None:
    with pytest.raises(StorageUnavailable, match="its authority is not known here") as caught:
        open_bucket(there).get("a", 10)
    assert "AWS_CA_BUNDLE" in (caught.value.hint or "")
    settings = msgspec.structs.replace(open_bucket(there).settings, verify=False)
    assert OpenBucket(settings, {}).get("a", 10) is None


def test_tls_where_there_is_none_is_told(bucket: Bucket) -> None:
    settings = open_bucket(bucket).settings
    mistaken = settings.url.replace("http://", "https://")
    opened = OpenBucket(msgspec.structs.replace(settings, url=mistaken), {})
    with pytest.raises(StorageUnavailable, match="does not speak TLS"):
        opened.get("a", 10)


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\xff"])
def test_a_bundle_that_is_none_is_refused(
    bucket: Bucket, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        OpenBucket(open_bucket(bucket).settings, {"AWS_CA_BUNDLE": str(path)})
    assert "bundle.pem" in caught.value.message
    assert "AWS_CA_BUNDLE" in (caught.value.hint or "")
