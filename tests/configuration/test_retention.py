"""What of `jettison` concerns retention."""

from pathlib import Path

import pytest

from jettison.configuration import read_configuration
from jettison.configuration.settings import PullRecords
from jettison.errors import ConfigurationError
from jettison.model.retention.patterns import Pattern
from tests.configuration.reader import MINIMAL, Reader


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path / "config.yml")


def test_pulls_count_unless_something_else_is_said(read: Reader) -> None:
    assert read().pulls == PullRecords()
    assert read().immutable == ()
    found = read(
        "jettison:\n  pulls:\n    enabled: false\n    ignore_agents: ['trivy*']\n"
        "    ignore_users: ['re:mirror-\\d+']\n    across_restarts: true\n"
    ).pulls
    assert found == PullRecords(
        enabled=False,
        ignore_agents=(Pattern("trivy*"),),
        ignore_users=(Pattern("re:mirror-\\d+"),),
        across_restarts=True,
    )


def test_immutable_tags_are_patterns(read: Reader) -> None:
    found = read("jettison: {immutable: ['v*', 're:\\d+', 'semver:>=1']}\n")
    assert found.immutable == ("v*", "re:\\d+", "semver:>=1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("immutable: ['re:(']", "jettison.immutable[0] is no pattern: 're:(' is no RE2 expression"),
        ("immutable: [a, 'semver:x!']", "jettison.immutable[1] is no pattern"),
        ("immutable: 'v*'", "It is a list of texts"),
        ("pulls: {ignore_agents: ['re:[']}", "jettison.pulls.ignore_agents[0] is no pattern"),
        ("pulls: {enabled: perhaps}", "jettison.pulls.enabled"),
    ],
)
def test_mistake_is_an_error_with_its_key(text: str, said: str, read: Reader) -> None:
    assert said in read.error(f"jettison:\n  {text}\n")


def test_immutable_tags_that_cannot_be_read_prevent_work_on_the_storage(read: Reader) -> None:
    read.path.write_text(MINIMAL + "jettison: {immutable: ['re:(']}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="immutable"):
        read_configuration(read.path, {}, "storage")
