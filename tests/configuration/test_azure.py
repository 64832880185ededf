"""The keys of the driver azure, as Distribution 2.8 and 3.x take them."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from jettison.configuration import read_configuration
from jettison.configuration.azure import AzureContainer
from jettison.errors import ConfigurationError
from jettison.storage.objects.bucket import Bucket

SECRET = "c2VjcmV0IG9mIG1pbmU="
OLD = {"accountname": "mine", "accountkey": SECRET, "container": "images"}
"""What 2.8 takes."""
APPLICATION = {
    "accountname": "mine",
    "container": "images",
    "credentials": {"type": "client_secret", "tenantid": "t", "clientid": "c", "secret": SECRET},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.yml"


def read(
    config: Path, keys: Mapping[str, object], environment: dict[str, str] | None = None
) -> AzureContainer:
    with config.open("w", encoding="utf-8") as out:
        YAML().dump({"version": "0.1", "storage": {"azure": keys}}, out)
    found = read_configuration(config, environment or {}, "serving")
    assert found.warnings == ()
    assert isinstance(found.storage.bucket, AzureContainer)
    return found.storage.bucket


@pytest.mark.parametrize(
    ("keys", "url"),
    [
        ({}, "https://mine.blob.core.windows.net"),
        ({"realm": "core.chinacloudapi.cn"}, "https://mine.blob.core.chinacloudapi.cn"),
        ({"serviceurl": "http://127.0.0.1:10000/mine/"}, "http://127.0.0.1:10000/mine"),
        ({"credentials": {"type": "shared_key"}}, "https://mine.blob.core.windows.net"),
        ({"trimlegacyrootprefix": True}, "https://mine.blob.core.windows.net"),
    ],
)
def test_where_requests_go(config: Path, keys: dict[str, object], url: str) -> None:
    found = read(config, {**OLD, **keys})
    assert (found.url, found.account_key, found.place) == (url, SECRET, "azure://mine/images")
    Bucket(found, {})


def test_all_keys(config: Path) -> None:
    more = {"rootdirectory": "/some/where/", "skipverify": True, "max_retries": 3}
    found = read(config, {**OLD, **more})
    assert found.location == "azure://mine/images/some/where"
    assert found.verify is False
    assert SECRET not in f"{found!r}"


@pytest.mark.parametrize(
    ("keys", "kind"),
    [(APPLICATION, "client_secret"), ({"credentials": {"type": "default_credentials"}}, None)],
)
def test_who_asks(config: Path, keys: dict[str, object], kind: str | None) -> None:
    found = read(config, {"accountname": "mine", "container": "images", **keys})
    assert found.account_key is None
    assert found.credentials == (kind or "default_credentials")
    assert SECRET not in f"{found!r}"
    Bucket(found, {"AZURE_TENANT_ID": "t", "AZURE_CLIENT_ID": "c", "AZURE_CLIENT_SECRET": "s"})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"accountname": None}, "storage.azure.accountname is missing"),
        ({"accountname": "Mine"}, "storage.azure.accountname is 'Mine'"),
        ({"container": "a/b"}, "storage.azure.container is 'a/b'"),
        ({"accountkey": None}, "storage.azure.accountkey is missing"),
        ({"accountkey": "s3cret!"}, "storage.azure.accountkey is no account key"),
        ({"realm": "evil.example/"}, "storage.azure.realm is 'evil.example/'"),
        ({"serviceurl": "ftp://h"}, "storage.azure.serviceurl is no address"),
        ({"serviceurl": f"https://me:{SECRET}@h"}, "storage.azure.serviceurl is no address"),
        (
            {"serviceurl": "https://mine-secondary.blob.core.windows.net"},
            "storage.azure.serviceurl is a secondary endpoint",
        ),
        ({"credentials": {"type": "magic"}}, "storage.azure.credentials.type is the text 'magic'"),
        ({"credentials": {"type": "client_secret"}}, "credentials.tenantid is missing"),
        ({"rootdirectory": "/a//b"}, "storage.azure.rootdirectory is 'a//b'"),
        ({"trimlegacyrootprefix": False}, "trimlegacyrootprefix is false: all names begin with"),
        (
            {"credentials": {"type": "default_credentials"}, "rootdirectory": "/a b"},
            "storage.azure.rootdirectory has characters that are signed with an account key only",
        ),
        ({"legacyrootprefix": True}, "legacyrootprefix is true: all names begin with a slash"),
        ({"legacyprefix": True}, "storage.azure.legacyprefix is not known"),
    ],
)
def test_what_is_refused(config: Path, keys: Mapping[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(config, {**OLD, **keys})
    text = f"{caught.value.message}. {caught.value.hint}"
    assert said in text
    assert SECRET not in text
    assert "s3cret" not in text
