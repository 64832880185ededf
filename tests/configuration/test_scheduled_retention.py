"""A policy by which the server prunes: `jettison.retention`."""

from pathlib import Path

import pytest

from jettison.configuration import read_configuration
from jettison.configuration.policy_file import read_policy
from jettison.configuration.settings import ScheduledRetention
from jettison.model.retention.schedule import Schedule
from tests.configuration.reader import Reader

POLICY = "time_zone: Europe/Berlin\nrules: [{state: untagged, remove: {older_than: 7d}}]\n"
DELETING = "  delete: {enabled: true}\n"
DAY = 86400.0


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "config.yml")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yml"
    path.write_text(POLICY, encoding="utf-8")
    return path


def keys(policy: Path, more: str = "", schedule: str = "'30 3 * * *'") -> str:
    lines = f"    policy: {policy}\n    schedule: {schedule}\n{more}"
    return f"{DELETING}jettison:\n  retention:\n{lines}"


def test_without_the_key_nothing_is_pruned(read: Reader) -> None:
    assert read().retention is None


def test_it_goes_by_the_zone_of_the_policy(read: Reader, policy: Path) -> None:
    schedule = Schedule("30 3 * * *", "Europe/Berlin")
    expected = ScheduledRetention(policy, read_policy(policy), schedule, 7 * DAY)
    assert read(keys(policy)).retention == expected


def test_zone_and_window_can_be_said(read: Reader, policy: Path) -> None:
    more = "    time_zone: Asia/Kolkata\n    undo_window: 336h\n    collect: true\n"
    found = read(keys(policy, more, "0 4 * * SUN")).retention
    assert found is not None
    assert found.schedule == Schedule("0 4 * * SUN", "Asia/Kolkata")
    assert found.undo_window == 14 * DAY
    assert found.collect


def test_variables_set_it_too(read: Reader, policy: Path) -> None:
    found = read(
        DELETING,
        {
            "REGISTRY_JETTISON_RETENTION_POLICY": str(policy),
            "REGISTRY_JETTISON_RETENTION_SCHEDULE": "'0 4 * * *'",
            "REGISTRY_JETTISON_RETENTION_TIME_ZONE": "UTC",
        },
    ).retention
    assert found is not None
    assert found.schedule == Schedule("0 4 * * *", "UTC")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("    time_zone: Mars/Base\n", "jettison.retention.time_zone is 'Mars/Base'"),
        ("    undo_window: 7d\n", "It is a duration such as 30s, 1m30s or 168h."),
        ("    undo_window: 7\n", "jettison.retention.undo_window is 7"),
        ("    collect: nightly\n", "jettison.retention.collect is the text 'nightly'"),
        ("    timezone: UTC\n", "jettison.retention.timezone is not known; did you mean"),
        ("    cron: UTC\n", "Keys are policy, schedule, time_zone, undo_window, collect."),
    ],
)
def test_mistake_is_an_error_with_its_key(more: str, said: str, read: Reader, policy: Path) -> None:
    assert said in read.error(keys(policy, more))


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("'@daily'", "jettison.retention.schedule is no schedule. It is the five fields of cron"),
        ("'0 0 31 2 *'", "jettison.retention.schedule is no schedule: bad day-of-month"),
        ("'0 0 LW * */7'", "jettison.retention.schedule is a time that never comes"),
        ("5", "jettison.retention.schedule is no schedule"),
        ("", "jettison.retention.schedule is missing"),
    ],
)
def test_schedule_that_is_none_is_an_error(
    schedule: str, said: str, read: Reader, policy: Path
) -> None:
    assert said in read.error(keys(policy, schedule=schedule))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "No such file"),
        ("rules: []", "cannot be used: the policy is empty"),
        ("rules: [{tags: ['*'], keep: {last: 1}}]", "cannot be used: the policy removes nothing"),
        ("rules:\n- tags: ['*']\n  remove: rest\n  kepe: 1\n", "line 4: rules[0].kepe: "),
    ],
)
def test_policy_that_cannot_be_used_is_an_error(
    text: str | None, said: str, read: Reader, policy: Path
) -> None:
    policy.unlink()
    if text is not None:
        policy.write_text(text, encoding="utf-8")
    found = read.error(keys(policy))
    assert found.startswith("jettison.retention.policy cannot be used: ")
    assert said in found


def test_section_without_keys_is_an_error(read: Reader) -> None:
    found = read.error(f"{DELETING}jettison:\n  retention:\n")
    assert "jettison.retention.policy is missing" in found
    assert "jettison.retention.schedule is missing" in found
    assert "jettison.retention is a text" in read.error(f"{DELETING}jettison: {{retention: daily}}")


def test_storage_that_nothing_may_be_removed_from_is_an_error(read: Reader, policy: Path) -> None:
    text = keys(policy).removeprefix(DELETING)
    assert "jettison.retention needs a registry that deletes" in read.error(text)
    read_only = f"{DELETING}  maintenance: {{readonly: {{enabled: true}}}}\n{text}"
    assert "jettison.retention needs a storage that is not read-only" in read.error(read_only)


def test_cache_of_another_registry_is_an_error(read: Reader, policy: Path) -> None:
    assert "proxy.remoteurl" in read.error(keys(policy) + "proxy: {remoteurl: https://a.example}\n")


def test_only_a_server_minds(read: Reader, policy: Path) -> None:
    read.error(keys(policy, schedule="never"))
    assert read_configuration(read.path, {}).retention is None
