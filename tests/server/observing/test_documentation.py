"""docs/operations.md and docs/metrics.md: settings are taken, and what they list is there."""

import re
from pathlib import Path

from jettison.configuration import read_configuration
from jettison.server.observing.accesslog import _HARMLESS
from jettison.server.observing.exchange import ROUTES

DOCS = Path(__file__).parents[3] / "docs"
TEXT = (DOCS / "operations.md").read_text("utf-8")


def test_the_settings_in_it_are_good(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    settings = [block for block in blocks if not block.startswith("# Distribution")]
    assert len(settings) == 5
    path, policy = tmp_path / "config.yml", tmp_path / "retention.yml"
    start = (
        "version: 0.1\nstorage:\n  delete: {enabled: true}\n"
        "  filesystem:\n    rootdirectory: /srv/registry\n"
    )
    # Two of them are parts of the same section.
    text = "".join(settings).replace("jettison:\n  pulls:", "  pulls:", 1)
    policy.write_text("rules: [{state: untagged, remove: {older_than: 7d}}]", "utf-8")
    path.write_text(start + text.replace("/etc/jettison/retention.yml", str(policy)), "utf-8")
    configuration = read_configuration(path, {}, "serving")
    assert not configuration.warnings
    assert configuration.notifications.endpoints[0].ignored_actions == ("pull",)
    assert len(configuration.health.http) == 1
    assert configuration.pulls.across_restarts
    assert configuration.retention is not None
    assert configuration.retention.schedule.time_zone == "Europe/Berlin"


def test_the_parameters_that_are_logged_are_listed() -> None:
    found = re.search(r"only these parameters keep their values: (.*?)\.", TEXT, re.DOTALL)
    assert found is not None
    assert {name.lower() for name in re.findall(r"`([^`]+)`", found[1])} == _HARMLESS


def test_the_routes_are_listed() -> None:
    text = (DOCS / "metrics.md").read_text("utf-8")
    found = re.search(r"`route` is one of (.*?)\.", text, re.DOTALL)
    assert found is not None
    assert tuple(re.findall(r"`([^`]+)`", found[1])) == ROUTES
