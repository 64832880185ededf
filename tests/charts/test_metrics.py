"""Alerts and dashboard ask for metrics that the server has, by labels that those have."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.charts.rendering import CHART, parse

ROOT = Path(__file__).parents[2]
OTHERS = {
    "up": {"job", "instance"},  # Prometheus itself
    "kube_cronjob_status_last_successful_time": {"namespace", "cronjob"},  # kube-state-metrics
}
SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds to each."""


def documented() -> dict[str, set[str]]:
    """The metrics of docs/metrics.md with their labels."""
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `((?:jettison|registry)_\w+)` \|([^|]*)\|", text, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def expressions() -> Iterator[str]:
    for rule in parse((CHART / "files" / "alerts.yaml").read_text("utf-8")):
        yield rule["expr"].replace("CRONJOBS", 'namespace="n",cronjob="c"')
    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]


def named(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:jettison|registry|kube|process)_\w+|\bup\b", expression))


def labels(expression: str) -> set[str]:
    matched = re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression)
    grouped = re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", expression)
    return {*matched, *(one.strip() for group in grouped for one in group.split(","))}


@pytest.mark.parametrize("expression", [*dict.fromkeys(expressions())])
def test_what_is_asked_for_is_there(expression: str) -> None:
    known = {**documented(), **OTHERS}
    names = {re.sub("_(bucket|sum|count)$", "", one) for one in named(expression)}
    assert names
    assert names <= known.keys()
    allowed = {*SCRAPED, "le", *(label for one in names for label in known[one])}
    assert labels(expression) <= allowed


def test_the_checks_find_a_mistake() -> None:
    assert "jettison_no_such_total" in named("rate(jettison_no_such_total[5m]) > 0")
    assert labels('sum by (route, x) (a{code=~"5..",y="1"})') == {"route", "x", "code", "y"}


def test_panels_do_not_overlap() -> None:
    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text("utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
