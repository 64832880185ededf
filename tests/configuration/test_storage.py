import io
import traceback
from pathlib import Path

import pytest
from rich.console import Console
from rich.pretty import Pretty

from jettison.configuration import Configuration, read_configuration
from jettison.configuration.settings import RedisServer, RedisTls, Storage
from jettison.errors import ConfigurationError

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
        "    uploadpurging: {enabled: false}\n  redirect: {disable: true}\n"
        "http:\n  addr: :5000\n  prefix: /registry/\n  tls: {certificate: a, key: b}\n"
        "auth:\n  htpasswd: {realm: r, path: p}\njettison: {anything: goes}\n",
        encoding="utf-8",
    )
    found = read_configuration(config, {})
    storage = found.storage
    assert (storage.driver, storage.root) == ("filesystem", Path("/data"))
    assert (storage.delete_enabled, storage.readonly, storage.cache) == (True, True, "redis")
    assert not storage.purging.enabled
    assert not storage.redirect
    assert (found.address, found.http.prefix, found.secure) == (":5000", "/registry/", True)


@pytest.mark.parametrize("driver", ["  filesystem:\n", "  filesystem: {}\n"])
def test_defaults(config: Path, driver: str) -> None:
    config.write_text(f"version: '0.1'\nstorage:\n{driver}", encoding="utf-8")
    found = read_configuration(config, {})
    assert found.storage == Storage(Path("/var/lib/registry"))
    assert (found.address, found.secure, found.redis, found.cache_of) == (None, False, None, None)


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
        (MINIMAL + "auth: {token: {}, silly: {}}\n", ["auth", "'silly' and 'token'"]),
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
    storage = Storage(Path("/elsewhere"), delete_enabled=True, readonly=True)
    assert (found.storage, found.address) == (storage, "127.0.0.1:5001")
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
    assert read_configuration(config, {}).log.level == level
    assert read_configuration(config, {"REGISTRY_LOG_LEVEL": "debug"}).log.level == "debug"


@pytest.mark.parametrize(
    ("written", "enabled"),
    [("yes", True), ("on", True), ("y", True), ("TRUE", True), ("no", False), ("'yes'", False)],
)
def test_truth_as_distribution_reads_it(config: Path, written: str, enabled: bool) -> None:
    config.write_text(f"{MINIMAL}  delete: {{enabled: {written}}}\n", encoding="utf-8")
    assert read_configuration(config, {}).storage.delete_enabled is enabled
    config.write_text(MINIMAL, encoding="utf-8")
    variable = {"REGISTRY_STORAGE_DELETE_ENABLED": written}
    assert read_configuration(config, variable).storage.delete_enabled is enabled


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
    assert read_configuration(config, variable).storage.root == Path("/data")


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
        ("cache:6379", ["redis is", "needs keys below it"]),
        ("[a, b]", ["redis is", "needs keys below it"]),
        ("{addr: 6379}", ["redis.addr is '6379'", "HOST:PORT"]),
        ("{addr: cache}", ["redis.addr is 'cache'", "HOST:PORT"]),
        ("{addr: '::1:6379'}", ["redis.addr is '::1:6379'", "HOST:PORT"]),
        ("{addr: 'cache:0'}", ["redis.addr is 'cache:0'", "HOST:PORT"]),
        ("{addr: 'cache:66000'}", ["redis.addr is 'cache:66000'", "HOST:PORT"]),
        ("{addrs: 'cache:1'}", ["redis.addrs is a text", "list of texts"]),
        ("{addrs: [1]}", ["redis.addrs[0] is '1'", "HOST:PORT"]),
        ("{addrs: ['a:1', 'b']}", ["redis.addrs[1] is 'b'", "HOST:PORT"]),
        ("{addr: 'a:1', db: many}", ["redis.db is 'many'", "whole number"]),
        ("{addr: 'a:1', db: true}", ["redis.db is True", "whole number"]),
        ("{addr: 'a:1', db: -1}", ["redis.db is -1", "whole number"]),
        ("{addr: 'a:1', tls: yes}", ["redis.tls is True", "keys"]),
        ("{addr: 'a:1', tls: {certificate: /c}}", ["redis.tls.key is missing", "together"]),
        ("{addr: 'a:1', tls: {key: /k}}", ["redis.tls.certificate is missing", "together"]),
        ("{addr: 'a:1', tls: {rootcas: /c}}", ["redis.tls.rootcas is '/c'", "list of texts"]),
        ("{addr: 'a:1', username: [a]}", ["redis.username is something else", "It is a text"]),
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
    assert found.storage.cache == "redis"
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
    configuration = Configuration(Storage(Path("/data")), redis=server)
    console.print(server, Pretty(configuration))
    assert isinstance(console.file, io.StringIO)
    for shown in (repr(server), str(server), repr(configuration), console.file.getvalue()):
        assert "hunter2" not in shown
        assert "cache" in shown
        assert "password='…'" in shown
    assert repr(RedisServer("cache", 6379)).count("None") == 3


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ("database: {enabled: true}", "GitLab"),
        ("database: {enabled: prefer, host: x}", "GitLab"),
        ("auth: {htpasswd: {realm: harbor-registry-basic-realm, path: p}}", "Harbor"),
        ("auth: {token: {service: harbor-registry}}", "Harbor"),
        ("auth: {token: {realm: 'https://h/service/token'}}", "Harbor"),
    ],
)
def test_owners_that_a_configuration_names(config: Path, keys: str, name: str) -> None:
    config.write_text(f"{MINIMAL}{keys}\n", encoding="utf-8")
    [owner] = read_configuration(config, {}).owners
    assert name in owner.name


@pytest.mark.parametrize(
    "keys",
    [
        "database: {enabled: false, host: x}",
        "database:",
        "auth: {token: {realm: 'https://auth/token', service: registry}}",
        "auth: {htpasswd: {realm: Registry}}",
        "auth: htpasswd",
    ],
)
def test_a_registry_of_its_own(config: Path, keys: str) -> None:
    config.write_text(f"{MINIMAL}{keys}\n", encoding="utf-8")
    assert read_configuration(config, {}).owners == ()


def test_every_error_is_said_at_once_with_the_variable_that_set_it(config: Path) -> None:
    config.write_text(f"{MINIMAL}redis: {{addr: cache, db: x}}\n", encoding="utf-8")
    environment = {
        "REGISTRY_HTTP_NET": "udp",
        "REGISTRY_REDIS": "{addr: 'cache', db: x}",
        "REGISTRY_STORAGE_S3_BUCKET": "b",
        "REGISTRY_STORAGE_DELETE": "{",
        "REGISTRY_LOG_LEVEL": "loud",
    }
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(config, environment)
    heading, *lines = caught.value.message.splitlines()
    assert heading == f"{config}: 5 keys cannot be used:"
    for line, words in zip(
        sorted(lines),
        [
            "http.net (set by REGISTRY_HTTP_NET) is the text 'udp'. Allowed are tcp and unix.",
            "redis.addr (set by REGISTRY_REDIS) is 'cache'. It is HOST:PORT, such as",
            "redis.db (set by REGISTRY_REDIS) is the text 'x'. It is a whole number",
            "storage names 2 drivers, 'filesystem' and 's3' (set by REGISTRY_STORAGE_S3_BUCKET).",
            "the variable REGISTRY_STORAGE_DELETE is not YAML, line 1, column 2: ",
        ],
        strict=True,
    ):
        assert line.startswith(f"  {words}")
    assert caught.value.hint == f"Mend them, and look again: jettison check {config}"
