import io
import traceback
from pathlib import Path

import pytest
from rich.console import Console
from rich.pretty import Pretty

from jettison.configuration.storage import (
    Configuration,
    RedisServer,
    RedisTls,
    findings,
    open_storage,
    read_configuration,
)
from jettison.errors import ConfigurationError, StorageError
from tests.support.trees import Tree

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


@pytest.mark.parametrize(
    ("section", "level"),
    [
        ("", "info"),
        ("log: {level: warn}\n", "warn"),
        ("log: {level: ERROR}\n", "error"),
        ("log: {level: loud}\n", "info"),
        ("log: all\n", "info"),
        ("loglevel: debug\n", "debug"),
        ("log: {level: error}\nloglevel: debug\n", "error"),
    ],
)
def test_the_level_of_the_log(config: Path, section: str, level: str) -> None:
    config.write_text(MINIMAL + section, encoding="utf-8")
    assert read_configuration(config, {}).log_level == level
    assert read_configuration(config, {"REGISTRY_LOG_LEVEL": "debug"}).log_level == "debug"


@pytest.mark.parametrize(
    ("written", "enabled"),
    [("yes", True), ("on", True), ("y", True), ("TRUE", True), ("no", False), ("'yes'", False)],
)
def test_truth_as_distribution_reads_it(config: Path, written: str, enabled: bool) -> None:
    config.write_text(f"{MINIMAL}  delete: {{enabled: {written}}}\n", encoding="utf-8")
    assert read_configuration(config, {}).delete_enabled is enabled
    config.write_text(MINIMAL, encoding="utf-8")
    variable = {"REGISTRY_STORAGE_DELETE_ENABLED": written}
    assert read_configuration(config, variable).delete_enabled is enabled


def test_variables_reach_into_lists(config: Path) -> None:
    variable = {"REGISTRY_REDIS_ADDRS_0": "cache:1", "REGISTRY_REDIS_ADDRS_1": "other:2"}
    found = read_configuration(config, variable).redis
    assert found == RedisServer("cache", 1, deployment="cluster")
    config.write_text(f"{MINIMAL}redis: {{addrs: ['a:1', 'b:2']}}\n", encoding="utf-8")
    variable = {"REGISTRY_REDIS_ADDRS_0": "cache:1"}
    assert read_configuration(config, variable).redis == found
    for name in ("REGISTRY_REDIS_ADDRS_3", "REGISTRY_REDIS_ADDRS_FIRST"):
        with pytest.raises(ConfigurationError, match=f"{name} names no entry of its list"):
            read_configuration(config, {name: "cache:1"})


def test_yaml_that_is_too_deep(config: Path) -> None:
    config.write_text("[" * 20_000, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="nested too deep"):
        read_configuration(config, {})


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


def test_redis_as_2_x_and_3_x_write_it(config: Path) -> None:
    def redis(section: str) -> RedisServer | None:
        config.write_text(f"{MINIMAL}redis: {section}\n", encoding="utf-8")
        return read_configuration(config, {}).redis

    two = "{addr: 'cache:6380', password: hunter2, db: 3, dialtimeout: 10ms, pool: {maxidle: 16}}"
    assert redis(two) == RedisServer("cache", 6380, password="hunter2", db=3)
    three = "{addrs: ['cache:6379'], username: reg, password: hunter2, poolsize: 64}"
    assert redis(three) == RedisServer("cache", 6379, "reg", "hunter2")
    # A file that both can read: 3.x's keys are the newer ones.
    assert redis("{addr: 'old:1', addrs: ['new:2']}") == RedisServer("new", 2)
    assert redis("{addr: 'old:1', addrs: []}") == RedisServer("old", 1)
    assert redis("{}") is redis("") is redis("{db: 2}") is None

    tls = "{addrs: ['c:1'], tls: {certificate: /c, key: /k, clientcas: [/a, /b]}}"
    assert redis(tls) == RedisServer("c", 1, tls=RedisTls("/c", "/k", ("/a", "/b")))
    tls = "{addrs: ['c:1'], tls: {rootcas: [/a]}}"
    assert redis(tls) == RedisServer("c", 1, tls=RedisTls(authorities=("/a",)))
    assert redis("{addrs: ['c:1'], tls: {enabled: true}}") == RedisServer("c", 1, tls=RedisTls())
    # As in 3.0, where these alone do not ask for TLS.
    assert redis("{addrs: ['c:1'], tls: {clientcas: [/a]}}") == RedisServer("c", 1)

    sentinels = "{addrs: ['a:1', 'b:2'], mastername: m, sentinelpassword: hunter2}"
    assert redis(sentinels) == RedisServer("a", 1, deployment="sentinel")
    assert redis("{addrs: ['a:1', 'b:2']}") == RedisServer("a", 1, deployment="cluster")
    assert redis("{addrs: ['a:1'], isclustermode: true}") == RedisServer(
        "a", 1, deployment="cluster"
    )


@pytest.mark.parametrize(
    ("text", "host", "port", "address"),
    [
        ("localhost:6379", "localhost", 6379, "localhost:6379"),
        (":6379", "localhost", 6379, "localhost:6379"),
        ("[::1]:6379", "::1", 6379, "[::1]:6379"),
        ("/run/redis.sock", "/run/redis.sock", 0, "/run/redis.sock"),
    ],
)
def test_addresses_of_redis(config: Path, text: str, host: str, port: int, address: str) -> None:
    config.write_text(f"{MINIMAL}redis: {{addr: '{text}'}}\n", encoding="utf-8")
    found = read_configuration(config, {}).redis
    assert found == RedisServer(host, port)
    assert found.address == address


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("cache:6379", ["redis has no keys", "addr"]),
        ("[a, b]", ["redis has no keys", "addr"]),
        ("{addr: 6379}", ["redis.addr is 6379", "text"]),
        ("{addr: cache}", ["redis.addr is 'cache'", "HOST:PORT"]),
        ("{addr: '::1:6379'}", ["redis.addr is '::1:6379'", "HOST:PORT"]),
        ("{addr: 'cache:0'}", ["redis.addr is 'cache:0'", "HOST:PORT"]),
        ("{addr: 'cache:66000'}", ["redis.addr is 'cache:66000'", "HOST:PORT"]),
        ("{addrs: 'cache:1'}", ["redis.addrs is no list", "list of HOST:PORT"]),
        ("{addrs: [1]}", ["redis.addrs is a list of other things", "list of HOST:PORT"]),
        ("{addrs: ['a:1', 'b']}", ["redis.addrs is 'b'", "HOST:PORT"]),
        ("{addr: 'a:1', db: many}", ["redis.db is 'many'", "whole number"]),
        ("{addr: 'a:1', db: true}", ["redis.db is True", "whole number"]),
        ("{addr: 'a:1', db: -1}", ["redis.db is -1", "whole number"]),
        ("{addr: 'a:1', tls: yes}", ["redis.tls is True", "keys"]),
        ("{addr: 'a:1', tls: {certificate: /c}}", ["redis.tls.key is missing", "together"]),
        ("{addr: 'a:1', tls: {key: /k}}", ["redis.tls.certificate is missing", "together"]),
        ("{addr: 'a:1', tls: {rootcas: /c}}", ["redis.tls.rootcas is no list", "list of paths"]),
        ("{addr: 'a:1', username: [a]}", ["redis.username is something else", "quotes"]),
    ],
)
def test_errors_about_redis(config: Path, section: str, words: list[str]) -> None:
    config.write_text(f"{MINIMAL}redis: {section}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(config, {})
    said = f"{caught.value.message} {caught.value.hint}".replace("the text ", "")
    assert all(word in said for word in [str(config), *words]), said


def test_variables_about_redis(config: Path) -> None:
    config.write_text(f"{MINIMAL}redis: {{addr: 'a:1', password: old}}\n", encoding="utf-8")
    environment = {
        "REGISTRY_REDIS_ADDR": "cache:6379",
        "REGISTRY_REDIS_PASSWORD": "0123",
        "REGISTRY_REDIS_DB": "4",
        "REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR": "redis",
    }
    found = read_configuration(config, environment)
    assert found.cache == "redis"
    assert found.redis == RedisServer("cache", 6379, password="0123", db=4)

    config.write_text(MINIMAL, encoding="utf-8")
    environment = {
        "REGISTRY_REDIS_ADDRS": "['cache:6379']",
        "REGISTRY_REDIS_TLS_CERTIFICATE": "/c",
        "REGISTRY_REDIS_TLS_KEY": "/k",
        "REGISTRY_REDIS_TLS_CLIENTCAS": "[/a]",
    }
    found = read_configuration(config, environment)
    assert found.redis == RedisServer("cache", 6379, tls=RedisTls("/c", "/k", ("/a",)))
    whole = {"REGISTRY_REDIS": "{addr: 'cache:1', password: x}", "REGISTRY_REDIS_DB": "2"}
    assert read_configuration(config, whole).redis == RedisServer("cache", 1, password="x", db=2)


@pytest.mark.parametrize(
    ("written", "password"),
    [
        ("0123", "0123"),
        ("1e5", "1e5"),
        ("1_000", "1_000"),
        ("true", "true"),
        ("2024-01-02", "2024-01-02"),
        ("'0123'", "0123"),
        ("''", None),
        ("~", None),
    ],
)
def test_a_password_is_what_is_written(config: Path, written: str, password: str | None) -> None:
    # Distribution reads it into a string, whatever YAML would make of it.
    config.write_text(f"{MINIMAL}redis:\n  addr: a:1\n  password: {written}\n", encoding="utf-8")
    assert read_configuration(config, {}).redis == RedisServer("a", 1, password=password)
    config.write_text(f"{MINIMAL}redis: {{addr: 'a:1'}}\n", encoding="utf-8")
    variable = {"REGISTRY_REDIS_PASSWORD": written}
    assert read_configuration(config, variable).redis == RedisServer("a", 1, password=password)


@pytest.mark.parametrize(
    "section",
    [
        "redis://:hunter2@cache:6379",
        "\n  addr: redis://:hunter2@cache:6379",
        "\n  addr: cache:6379:hunter2@",
        "\n  addr: [redis://:hunter2@cache]",
        "\n  addrs: redis://:hunter2@cache:6379",
        "\n  addrs: [redis://:hunter2@cache:6379]",
        "\n  addrs: [{password: hunter2}]",
        "\n  addr: a:1\n  password: [hunter2]",
        "\n  addr: a:1\n  password: {hunter2: 1}",
        "\n  addr: a:1\n  password: *hunter2",
        "\n  addr: a:1\n  password: !hunter2 x",
        "\n  addr: a:1\n  password: !hunter2!x",
        "\n  addr: a:1\n  password: !!hunter2 x",
        "\n  addr: a:1\n  password: !!int hunter2",
        "\n  addr: a:1\n  password: !!float hunter2",
        "\n  addr: a:1\n  password: !!bool hunter2",
        "\n  addr: a:1\n  password: !!timestamp hunter2",
        "\n  addr: a:1\n  password: %hunter2",
        "\n  addr: a:1\n  password: 'hunter2",
        '\n  addr: a:1\n  password: "\\hunter2"',
        "\n  addr: a:1\n  password: hunter2: x",
        "\n  addr: a:1\n  password: hunter2\n  password: hunter2",
        "\n  addr: a:1\n  password: &hunter2 &hunter2 x",
        "\n  addr: a:1\n  password: {hunter2, hunter2]",
        "\n  addr: a:1\n  password: hunter2\n  db: x",
        "\n  addr: a:1\n  password: hunter2\n  tls: {key: k}",
    ],
)
def test_a_password_is_in_no_error(config: Path, section: str) -> None:
    config.write_text(f"{MINIMAL}redis: {section}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(config, {})
    shown = "".join(traceback.format_exception(caught.value, chain=True))
    # The traceback quotes our source, so look for the message in it, and for what was chained.
    assert "hunter2" not in f"{shown} {caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    "value",
    ["[hunter2]", "*hunter2", "!hunter2 x", "!hunter2!x", "!!bool hunter2", "hunter2: x: y"],
)
def test_a_password_in_a_variable_is_in_no_error(config: Path, value: str) -> None:
    config.write_text(f"{MINIMAL}redis: {{addr: 'a:1'}}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"REDIS_PASSWORD|redis\.password") as caught:
        read_configuration(config, {"REGISTRY_REDIS_PASSWORD": value})
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


def test_a_password_is_in_no_representation() -> None:
    server = RedisServer("cache", 6379, "reg", "hunter2")
    console = Console(file=io.StringIO(), width=200)
    configuration = Configuration(Path("c"), None, "s3", redis=server)
    console.print(server, Pretty(configuration))
    assert isinstance(console.file, io.StringIO)
    for shown in (repr(server), str(server), repr(configuration), console.file.getvalue()):
        assert "hunter2" not in shown
        assert "cache" in shown
        assert "password='…'" in shown
    assert repr(RedisServer("cache", 6379)).count("None") == 3
