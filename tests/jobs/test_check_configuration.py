"""What ``check`` says of a configuration, and that every command says the same of it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from jettison.configuration import read_configuration
from jettison.errors import ConfigurationError
from jettison.jobs.check import Item, Level
from jettison.jobs.check_configuration import DELETE_VARIABLE, check_configuration
from jettison.storage.opening import open_storage
from tests.configuration.reader import MINIMAL

DELETE = "storage.delete.enabled"
NOW = datetime(2026, 10, 24, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yml"
    path.write_text(MINIMAL, encoding="utf-8")
    return path


def graves(items: list[Item]) -> list[Item]:
    """Those but of the storage itself, which is not there."""
    return [item for item in items if item.level is Level.ERROR and item.subject != "storage"]


def test_deletion_that_is_not_enabled(config: Path) -> None:
    _, items, error = check_configuration(config, {}, NOW)
    [disabled] = graves(items)
    assert (error, disabled.subject) == (None, DELETE)
    assert "restart" in (disabled.next or "")

    with config.open("a", encoding="utf-8") as file:
        file.write("  delete: {enabled: 'true'}\n  cache: {blobdescriptor: inmemory}\n")
    _, items, error = check_configuration(config, {}, NOW)
    [disabled] = graves(items)
    assert error is None
    assert "the key is the text 'true', only true enables it" in disabled.message
    [cache] = [item for item in items if item.level is Level.WARNING]
    assert "broken image" in cache.message


@pytest.mark.parametrize(
    ("value", "level"), [("false", Level.ERROR), ("true", Level.WARNING), ("no", Level.ERROR)]
)
def test_a_variable_that_overrides_the_file(config: Path, value: str, level: Level) -> None:
    _, items, _ = check_configuration(config, {DELETE_VARIABLE: value}, NOW)
    [override] = [item for item in items if "overrides the file" in item.message]
    assert (override.subject, override.level) == (DELETE, level)
    assert f"{DELETE_VARIABLE}={value}" in override.message


def test_what_only_the_server_refuses_is_told_and_is_no_error(config: Path) -> None:
    config.write_text(f"{MINIMAL}  delete: {{enabled: true}}\nmiddleware: {{storage: [a]}}\n")
    _, items, error = check_configuration(config, {}, NOW)
    assert (error, graves(items)) == (None, [])
    [told] = [item for item in items if item.subject == "middleware"]
    assert told.level is Level.INFO
    assert "only `jettison serve` refuses it" in told.message
    assert "middleware is not supported" in caught(config, {}, "serving")


def test_what_the_server_would_warn_of(config: Path) -> None:
    config.write_text(f"{MINIMAL}log: {{levle: debug}}\n", encoding="utf-8")
    _, items, _ = check_configuration(config, {}, NOW)
    [warning] = [item for item in items if item.subject == "serve"]
    assert "log.levle is not known and has no effect; did you mean log.level?" in warning.message


def test_a_driver_whose_storage_cannot_be_reached(config: Path) -> None:
    config.write_text("version: 0.1\nstorage: {oss: {bucket: b}, delete: {enabled: on}}\n")
    found, items, error = check_configuration(config, {}, NOW)
    assert (found.storage.delete_enabled, error, graves(items)) == (True, None, [])
    assert items[-1].message == "driver 'oss': its storage cannot be reached from here yet"


def caught(config: Path, environment: dict[str, str], command: str) -> str:
    with pytest.raises(ConfigurationError) as error:
        _ = (
            open_storage(config, environment)
            if command == "gc"
            else read_configuration(config, environment, "serving")
        )
    return f"{error.value.message}. {error.value.hint}"


@pytest.mark.parametrize(
    ("text", "environment", "key"),
    [
        ("version: 0.2\nstorage: {filesystem: }\n", {}, "version"),
        ("version: 0.1\nstorage: {filesystem: , s3: }\n", {}, "storage"),
        ("version: 0.1\nstorage: {floppy: }\n", {}, "storage"),
        ("version: 0.1\nstorage: {filesystem: {rootdirectory: 7}}\n", {}, "storage.filesystem"),
        ("version: 0.1\nstorage: {filesystem: {rootdir: /a}}\n", {}, "storage.filesystem.rootdir"),
        (MINIMAL + "storag: {}\n", {}, "storag"),
        (MINIMAL + "  delete: true\n", {}, "storage.delete"),
        (MINIMAL + "http: {addr: 5000}\n", {}, "http.addr"),
        (MINIMAL + "http: {net: udp}\n", {}, "http.net"),
        (MINIMAL + "auth: {token: {}, silly: {}}\n", {}, "auth"),
        (MINIMAL, {"REGISTRY_STORAGE_FILESYSTEM_ROOTDIR": "/a"}, "storage.filesystem.rootdir"),
        (MINIMAL, {"REGISTRY_STORAGE_FLOPPY_DRIVE": "A"}, "storage"),
        (MINIMAL, {"REGISTRY_STORAGE": "{"}, "the variable REGISTRY_STORAGE"),
    ],
)
def test_each_command_says_the_same_of_a_file(
    config: Path, text: str, environment: dict[str, str], key: str
) -> None:
    config.write_text(text, encoding="utf-8")
    said = caught(config, environment, "gc")
    assert said.startswith(f"{config}: {key}")
    assert said.removeprefix(f"{config}: ") in caught(config, environment, "serving")
    _, items, error = check_configuration(config, environment, NOW)
    [told, *_] = [item for item in items if item.level is Level.ERROR]
    assert said == f"{config}: {told.subject} {told.message}. {told.next}"
    # An unknown key may be harmless: the rest is looked at, too.
    assert (error is None) is ("is not known" in said)


def test_schedule_is_shown_with_its_next_times(config: Path) -> None:
    policy = config.with_name("policy.yml")
    policy.write_text("rules: [{state: untagged, remove: {older_than: 7d}}]", encoding="utf-8")
    retention = f"policy: {policy}, schedule: '30 3 * * *', time_zone: Europe/Berlin"
    text = f"{MINIMAL}  delete: {{enabled: true}}\njettison: {{retention: {{{retention}}}}}\n"
    config.write_text(text, encoding="utf-8")
    _, items, _ = check_configuration(config, {}, NOW)
    [found] = [item for item in items if item.subject == "jettison.retention"]
    assert found.level is Level.INFO
    times = "2026-10-25 03:30 CET and 2026-10-26 03:30 CET"
    assert found.message == f"`jettison serve` prunes by {policy}, next at {times}"
    policy.unlink()
    _, items, error = check_configuration(config, {}, NOW)
    [found] = [item for item in items if item.subject == "jettison.retention.policy"]
    assert error is None
    assert "only `jettison serve` refuses it" in found.message
