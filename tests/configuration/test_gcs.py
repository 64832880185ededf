"""The keys of the driver gcs, as Distribution 2.8 and 3.x take them."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from jettison.configuration import read_configuration
from jettison.configuration.gcs import GoogleBucket
from jettison.errors import ConfigurationError

KEY = {
    "type": "service_account",
    "client_email": "me@mine.example",
    "private_key": "s3cret",
    "private_key_id": "1",
}


def read(folder: Path, keys: Mapping[str, object]) -> GoogleBucket:
    config = folder / "config.yml"
    with config.open("w", encoding="utf-8") as out:
        YAML().dump({"version": "0.1", "storage": {"gcs": keys}}, out)
    found = read_configuration(config, {}, "serving")
    assert found.warnings == ()
    assert isinstance(found.storage.bucket, GoogleBucket)
    return found.storage.bucket


def test_all_keys(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(json.dumps(KEY), encoding="utf-8")
    keys = {"keyfile": str(tmp_path / "key.json"), "credentials": {**KEY, "client_email": "it"}}
    more = {"chunksize": 5242880, "maxconcurrency": 60, "rootdirectory": "/a/b", "useragent": "me"}
    found = read(tmp_path, {"bucket": "images", **keys, **more})
    assert (found.location, found.user_agent) == ("gs://images/a/b", "me")
    assert found.url == "https://storage.googleapis.com"
    assert json.loads(found.key or "") == KEY
    assert "s3cret" not in f"{found!r}"


def test_a_key_in_the_configuration(tmp_path: Path) -> None:
    found = read(tmp_path, {"bucket": "images", "credentials": KEY})
    assert json.loads(found.key or "") == KEY
    assert read(tmp_path, {"bucket": "images"}).key is None


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"bucket": None}, "storage.gcs.bucket is missing"),
        ({"bucket": "a/b"}, "storage.gcs.bucket is 'a/b'"),
        ({"keyfile": "/nowhere/key.json"}, "storage.gcs.keyfile cannot be read: No such file"),
        ({"credentials": "s3cret"}, "storage.gcs.credentials is no service account's key"),
        ({"credentials": {**KEY, "client_email": None}}, "has no client_email"),
        ({"credentials": {**KEY, "gcs_base_url": "h"}}, "has a gcs_base_url that is no address"),
        ({"rootdir": "/a"}, "storage.gcs.rootdir is not known, and may change what the"),
    ],
)
def test_what_is_refused(tmp_path: Path, keys: Mapping[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, {"bucket": "images", **keys})
    text = f"{caught.value.message}. {caught.value.hint}"
    assert said in text
    assert "s3cret" not in text
