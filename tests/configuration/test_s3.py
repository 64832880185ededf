"""The keys of the driver s3, as Distribution 2.8 and 3.x take them."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from ruamel.yaml import YAML

from jettison.configuration import read_configuration
from jettison.configuration.s3 import S3Bucket
from jettison.errors import ConfigurationError
from jettison.storage.objects.bucket import Bucket

SECRET = "s3cret/of+mine"
AMAZON = {"bucket": "images", "region": "eu-central-1"}
MINIO = {"bucket": "images", "regionendpoint": "http://127.0.0.1:9000"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yml"


def read(
    config: Path,
    keys: Mapping[str, object],
    environment: dict[str, str] | None = None,
    driver: str = "s3",
) -> S3Bucket:
    with config.open("w", encoding="utf-8") as out:
        YAML().dump({"version": "0.1", "storage": {driver: keys}}, out)
    found = read_configuration(config, environment or {})
    assert found.storage.driver == driver
    assert isinstance(found.storage.bucket, S3Bucket)
    return found.storage.bucket


@pytest.mark.parametrize(
    ("keys", "url", "by_host"),
    [
        (AMAZON, "https://images.s3.eu-central-1.amazonaws.com", True),
        ({**AMAZON, "forcepathstyle": True}, "https://s3.eu-central-1.amazonaws.com", False),
        ({**AMAZON, "region": "cn-north-1"}, "https://images.s3.cn-north-1.amazonaws.com.cn", True),
        ({**AMAZON, "bucket": "my.images"}, "https://s3.eu-central-1.amazonaws.com", False),
        ({**AMAZON, "secure": False}, "http://images.s3.eu-central-1.amazonaws.com", True),
        (
            {**AMAZON, "usedualstack": True, "usefipsendpoint": "true"},
            "https://images.s3-fips.dualstack.eu-central-1.amazonaws.com",
            True,
        ),
        ({**AMAZON, "accelerate": True}, "https://images.s3-accelerate.amazonaws.com", True),
        (MINIO, "http://127.0.0.1:9000", False),
        ({**MINIO, "regionendpoint": "127.0.0.1:9000/"}, "https://127.0.0.1:9000", False),
        ({**MINIO, "regionendpoint": "s3.here", "secure": "false"}, "http://s3.here", False),
        ({**MINIO, "forcepathstyle": False}, "http://images.127.0.0.1:9000", True),
    ],
)
def test_where_requests_go(
    config: Path, keys: Mapping[str, object], url: str, by_host: bool
) -> None:
    found = read(config, keys)
    assert (found.url, found.by_host) == (url, by_host)


def test_defaults_and_what_else_there_is(config: Path) -> None:
    found = read(config, MINIO)
    assert found == S3Bucket("images", "http://127.0.0.1:9000")
    assert found.location == "s3://images"
    more = {"rootdirectory": "/some/where/", "region": "x", "useragent": "me", "skipverify": True}
    found = read(config, {**MINIO, **more, "accesskey": 123, "secretkey": SECRET}, driver="s3aws")
    assert found == S3Bucket(
        "images",
        "http://127.0.0.1:9000",
        region="x",
        root="some/where",
        access_key="123",
        secret_key=SECRET,
        verify=False,
        user_agent="me",
    )
    assert found.location == "s3://images/some/where"
    assert SECRET not in f"{found!r}"
    assert SECRET in str(msgspec.structs.asdict(found))


def test_variables_set_keys(config: Path) -> None:
    assert read(config, MINIO, {"REGISTRY_STORAGE_S3_BUCKET": "others"}).name == "others"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"region": "eu-central-1"}, "storage.s3.bucket is missing"),
        ({**AMAZON, "bucket": "a/b"}, "storage.s3.bucket is 'a/b'"),
        ({"bucket": "images"}, "storage.s3.region is missing"),
        ({**AMAZON, "region": "evil.example/"}, "storage.s3.region is 'evil.example/'"),
        ({**MINIO, "accesskey": "me"}, "storage.s3.secretkey is missing"),
        ({**MINIO, "secretkey": SECRET}, "storage.s3.accesskey is missing"),
        ({**MINIO, "v4auth": False}, "storage.s3.v4auth is false. Signatures of version 2"),
        ({**MINIO, "secure": "maybe"}, "storage.s3.secure is the text 'maybe'"),
        ({**MINIO, "rootdirectory": "/a//b"}, "storage.s3.rootdirectory is 'a//b'"),
        ({**MINIO, "rootdir": "/a"}, "storage.s3.rootdir is not known, and may change what the"),
        ({**MINIO, "regionendpoint": f"http://me:{SECRET}@h"}, "storage.s3.regionendpoint is no"),
        ({**MINIO, "regionendpoint": "ftp://h"}, "storage.s3.regionendpoint is no address"),
        ({**MINIO, "regionendpoint": "h:x"}, "storage.s3.regionendpoint is no address"),
    ],
)
def test_what_is_refused(config: Path, keys: Mapping[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(config, keys)
    assert said in f"{caught.value.message}. {caught.value.hint}"
    assert SECRET not in f"{caught.value.message}. {caught.value.hint}"


def test_what_is_about_writing_is_needless(config: Path) -> None:
    keys = {"chunksize": 10485760, "objectacl": "public-read"}
    read(config, {**MINIO, **keys})
    assert read_configuration(config, {}).warnings == ()


@pytest.mark.parametrize(
    ("keys", "encryption", "key_id"),
    [
        ({}, None, None),
        ({"encrypt": True}, "AES256", None),
        ({"encrypt": "true", "keyid": "k"}, "aws:kms", "k"),
        ({"encrypt": False, "keyid": "k"}, None, None),
    ],
)
def test_how_the_store_encrypts(
    config: Path, keys: dict[str, object], encryption: str | None, key_id: str | None
) -> None:
    found = read(config, {**MINIO, **keys})
    assert (found.encryption, found.key_id) == (encryption, key_id)
    Bucket(found, {})


def test_a_bucket_is_served(config: Path) -> None:
    read(config, MINIO)
    assert read_configuration(config, {}, "serving").storage.bucket is not None
