"""Versions of tags, and ranges of them, as npm reads them."""

import pytest

from jettison.model.retention.patterns import matcher
from jettison.model.retention.versions import parse_range, version_of

TAGS = "0.0.3 0.0.4 0.2.9 0.3.0 1.0.0-a 1 1.0.1-x 1.0.1 v1.2 1.2.3.4 1.9.9 2.0.0-beta 2.0.0-rc.1"
TAGS += " 2.0.0-rc.10 2.0.0 2.0.1_x 2.1.0-rc.1 V10.0.0"

RANGES = {
    "*": "0.0.3 0.0.4 0.2.9 0.3.0 1 1.0.1 v1.2 1.2.3.4 1.9.9 2.0.0 2.0.1_x V10.0.0",
    "<2.0.0": "0.0.3 0.0.4 0.2.9 0.3.0 1 1.0.1 v1.2 1.2.3.4 1.9.9",
    "<2": "0.0.3 0.0.4 0.2.9 0.3.0 1 1.0.1 v1.2 1.2.3.4 1.9.9",
    "<=2": "0.0.3 0.0.4 0.2.9 0.3.0 1 1.0.1 v1.2 1.2.3.4 1.9.9 2.0.0 2.0.1_x",
    ">2": "V10.0.0",
    ">=2": "2.0.0 2.0.1_x V10.0.0",
    ">= v2.0.1": "2.0.1_x V10.0.0",
    "=1.0.1": "1.0.1",
    "1.0.1": "1.0.1",
    "1.0": "1 1.0.1",
    "1.x": "1 1.0.1 v1.2 1.2.3.4 1.9.9",
    "1.0 - 1.2": "1 1.0.1 v1.2 1.2.3.4",
    "1.0.1 - 2.0.0": "1.0.1 v1.2 1.2.3.4 1.9.9 2.0.0",
    "~1": "1 1.0.1 v1.2 1.2.3.4 1.9.9",
    "~1.2": "v1.2 1.2.3.4",
    "~1.2.1": "1.2.3.4",
    "^1.2.1": "1.2.3.4 1.9.9",
    "^0.2.3": "0.2.9",
    "^0.0.3": "0.0.3",
    "^0.0": "0.0.3 0.0.4",
    "^0": "0.0.3 0.0.4 0.2.9 0.3.0",
    "~0.2 || ^2.0.1": "0.2.9 2.0.1_x",
    ">=2.0.0-0 <2.0.0": "2.0.0-beta 2.0.0-rc.1 2.0.0-rc.10",
    ">=2.0.0-rc.2 <2.0.0": "2.0.0-rc.10",
    ">2.0.0-rc.1": "2.0.0-rc.10 2.0.0 2.0.1_x V10.0.0",
    "<1.0.0-b": "0.0.3 0.0.4 0.2.9 0.3.0 1.0.0-a",
    ">1 <1": "",
    ">x": "",
}


@pytest.mark.parametrize("text", RANGES)
def test_ranges(text: str) -> None:
    matches = matcher([f"semver:{text}"])
    assert [tag for tag in TAGS.split() if matches(tag)] == RANGES[text].split()


@pytest.mark.parametrize(
    "text", ["", " ", "||", "1 ||", "new", ">1 <", "1.2.3.4", "1,2", "^", "01"]
)
def test_what_is_no_range(text: str) -> None:
    assert parse_range(text) is None


@pytest.mark.parametrize(
    "tag",
    ["latest", "1.x", "01.2.3", "1.02", "1.2.", "1.2.3.4.5", "1.2.3-", "vv1", "", "1.2-"],
)
def test_what_is_no_version(tag: str) -> None:
    assert version_of(tag) is None


def test_versions_sort_as_semver_says() -> None:
    # https://semver.org/#spec-item-11
    text = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11"
    found = [version_of(tag) for tag in f"{text} 1.0.0-rc.1 1.0.0 1.9.0 1.10.0".split()]
    assert None not in found
    assert found == sorted(found)  # type: ignore[type-var] # none is None
    assert len(set(found)) == len(found)


def test_build_metadata_is_not_compared() -> None:
    assert version_of("1.2.3_build.7") == version_of("v1.2.3")
