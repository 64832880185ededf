from pathlib import Path

import pytest

from jettison.errors import ConfigurationError, StorageError
from jettison.store.configuration import findings, open_storage, read_configuration
from store.trees import Tree

MINIMAL = "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: /data\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yml"
    path.write_text(MINIMAL, encoding="utf-8")
    return path


def test_what_the_file_says(config: Path) -> None:
    config.write_text(
        "version: 0.1\nstorage:\n  filesystem: {rootdirectory: /data}\n  delete: {enabled: true}\n"
        "  cache: {blobdescriptor: redis}\n  maintenance:\n    readonly: {enabled: true}\n"
        "    uploadpurging: {enabled: false}\n"
        "http:\n  addr: :5000\n  prefix: /registry/\n  tls: {certificate: a, key: b}\n"
        "auth:\n  htpasswd: {realm: r, path: p}\njettison: {anything: goes}\n",
        encoding="utf-8",
    )
    found = read_configuration(config, {})
    assert found.root == Path("/data")
    assert (found.driver, found.delete_enabled, found.readonly) == ("filesystem", True, True)
    assert (found.cache, found.http_addr, found.http_prefix) == ("redis", ":5000", "/registry/")
    assert (found.tls, found.auth, found.purge_uploads) == (True, "htpasswd", False)


@pytest.mark.parametrize("driver", ["  filesystem:\n", "  filesystem: {}\n"])
def test_defaults(config: Path, driver: str) -> None:
    config.write_text(f"version: '0.1'\nstorage:\n{driver}", encoding="utf-8")
    found = read_configuration(config, {})
    assert found.root == Path("/var/lib/registry")
    assert not found.delete_enabled
    assert found.cache is None
    assert found.purge_uploads


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version: 0.1\nstorage: [\n", ["is not YAML", "line"]),
        ("just a text", ["no registry configuration", "the text 'just a text'"]),
        ("- a\n- b\n", ["no registry configuration", "a list"]),
        ("", ["no registry configuration", "nothing"]),
        ("storage:\n  filesystem:\n", ["version", "is missing"]),
        ("version: 0.2\nstorage:\n  filesystem:\n", ["version", "0.2"]),
        ("version: 0.1\n", ["storage", "names no driver"]),
        ("version: 0.1\nstorage:\n  delete: {enabled: true}\n", ["storage", "names no driver"]),
        ("version: 0.1\nstorage: [filesystem]\n", ["storage", "a list"]),
        ("version: 0.1\nstorage: {s3: {}, gcs: {}}\n", ["2 drivers", "'s3' and 'gcs'"]),
        ("version: 0.1\nstorage: {floppy: {}}\n", ["unknown driver 'floppy'"]),
        (
            "version: 0.1\nstorage: {filesystem: {rootdirectory: 7}}\n",
            ["storage.filesystem.rootdirectory", "7"],
        ),
        (
            MINIMAL + "  cache: {blobdescriptor: memcached}\n",
            ["storage.cache.blobdescriptor", "'memcached'"],
        ),
        (MINIMAL + "  delete: true\n", ["storage.delete", "True"]),
        (MINIMAL + "http: {addr: 5000}\n", ["http.addr", "5000"]),
        (MINIMAL + "auth: {token: {}, silly: {}}\n", ["auth", "token and silly"]),
    ],
)
def test_errors_name_the_key_and_what_was_found(config: Path, text: str, words: list[str]) -> None:
    config.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(config, {})
    assert caught.value.exit_code == 2
    assert all(word in caught.value.message for word in [str(config), *words])


def test_variables_override_the_file_and_add_to_it(config: Path) -> None:
    environment = {
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": "/elsewhere",
        "REGISTRY_STORAGE_DELETE_ENABLED": "true",
        "REGISTRY_STORAGE_MAINTENANCE_READONLY": "{enabled: true}",
        "REGISTRY_HTTP_ADDR": "127.0.0.1:5001",
        "REGISTRY_AUTH_FILE": "/the/containers/tools/own",
        "REGISTRY_CONFIGURATION_PATH": "/ignored",
        "HOME": "/root",
    }
    found = read_configuration(config, environment)
    assert found.root == Path("/elsewhere")
    assert found.delete_enabled
    assert found.readonly
    assert found.http_addr == "127.0.0.1:5001"
    assert found.auth is None


def test_a_second_driver_by_a_variable_is_an_error(config: Path) -> None:
    with pytest.raises(ConfigurationError, match="'filesystem' and 's3'"):
        read_configuration(config, {"REGISTRY_STORAGE_S3_BUCKET": "images"})
    with pytest.raises(ConfigurationError, match="the variable REGISTRY_STORAGE is not YAML"):
        read_configuration(config, {"REGISTRY_STORAGE": "{"})


def test_a_variable_may_name_the_driver_alone(config: Path) -> None:
    config.write_text("version: 0.1\nstorage: filesystem\n", encoding="utf-8")
    variable = {"REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": "/data"}
    assert read_configuration(config, variable).root == Path("/data")


def test_findings_say_what_to_change(config: Path) -> None:
    [disabled] = findings(read_configuration(config, {}), {})
    assert (disabled.level, disabled.key) == ("error", "storage.delete.enabled")
    assert "restart" in (disabled.fix or "")

    with config.open("a", encoding="utf-8") as file:
        file.write("  delete: {enabled: 'true'}\n  cache: {blobdescriptor: inmemory}\n")
    found = findings(read_configuration(config, {}), {})
    assert [one.level for one in found] == ["error", "warning"]
    assert "found 'true'" in found[0].message
    assert "broken image" in found[1].message

    override = {"REGISTRY_STORAGE_DELETE_ENABLED": "false"}
    found = findings(read_configuration(config, override), override)
    assert [one.key for one in found][:2] == ["storage.delete.enabled"] * 2
    assert "overrides" in found[0].message


def test_storage_is_opened_by_folder_or_by_configuration(tmp_path: Path, config: Path) -> None:
    tree = Tree(tmp_path / "registry")
    opened, configuration = open_storage(tree.root, {})
    assert (opened.root, configuration) == (tree.root, None)
    config.write_text(MINIMAL.replace("/data", str(tree.root)), encoding="utf-8")
    opened, configuration = open_storage(config, {})
    assert opened.root == tree.root
    assert configuration is not None
    assert configuration.path == config


def test_other_drivers_are_not_supported_yet(config: Path) -> None:
    config.write_text("version: 0.1\nstorage: {s3: {bucket: images}}\n", encoding="utf-8")
    assert read_configuration(config, {}).root is None
    with pytest.raises(ConfigurationError, match="'s3' is not supported yet") as caught:
        open_storage(config, {})
    assert "filesystem" in (caught.value.hint or "")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no folder"):
        open_storage(tmp_path / "nowhere", {})
