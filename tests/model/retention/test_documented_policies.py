"""The policies of docs/retention.md do what their headings say."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from jettison.model.retention.decide import Held
from jettison.model.retention.in_use import read_in_use
from tests.model.retention.building import Repository, decided, removed

PAGE = Path(__file__).parents[3] / "docs" / "retention.md"
SECTION = re.compile(r"^### (\d+)\. .*?^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECTIONS: dict[str, str] = dict(SECTION.findall(PAGE.read_text("utf-8")))


def untagged() -> Repository:
    found = Repository()
    found.add("gone long", pushed=99, untagged=8)
    found.add("gone lately", pushed=99, untagged=6)
    found.add("index", "latest", pushed=99, children=["amd64", "provenance"])
    found.add("amd64", pushed=99, untagged=99)
    found.add("provenance", pushed=99, untagged=99)
    found.add("sbom", pushed=99, untagged=99, subject="index")
    return found


def numbered(form: str, days: list[float], *others: str) -> Repository:
    """Tags by a form, each with an image of its own; the others are very old."""
    found = Repository()
    for number, day in enumerate(days, 1):
        found.add(f"image {form} {number}", form.format(number), pushed=day)
    for other in others:
        found.add(other, other, pushed=900)
    return found


def branches() -> Repository:
    found = Repository()
    for branch, builds in (("main", 7), ("feature-x", 2)):
        for number in range(builds):
            found.add(f"{branch} {number}", f"{branch}-{number:07x}", pushed=number)
    for day in (13, 15):
        found.add(f"pull request {day}", f"pr-{day}", pushed=day)
    found.add("commit of a pull request", f"pr-9-{9:07x}", pushed=13)
    found.add("latest", "latest", pushed=900)
    return found


def nightlies() -> Repository:
    found = Repository()
    for day in range(100):
        found.add(f"night {day}", f"nightly-{day}", pushed=day)
    return found


def releases() -> Repository:
    found = Repository()
    for tag, day in (("v1.0.0", 900), ("1.1.0", 900), ("v1.4.0-rc.1", 120), ("v1.4.0-rc.2", 20)):
        found.add(tag, tag, pushed=day)
    found.add("other", "other", pushed=900)
    return found


def environments() -> Repository:
    found = Repository()
    for name, count in (("prod", 21), ("staging", 6), ("dev", 3)):
        for number in range(count):
            found.add(f"{name} {number}", f"{name}-{number}", pushed=number)
    return found


def pulled() -> Repository:
    found = Repository()
    found.watching_since = 0
    found.add("new", "new", pushed=1)
    found.add("used", "used", pushed=400, pulled=3)
    found.add("unused", "unused", pushed=400, pulled=200)
    found.add("never used", "never", pushed=400)
    return found


def quarter() -> Repository:
    found = numbered("b{}", [100, 110, 120, 130, 140, 150], "latest", "release-1")
    found.add("runs", "runs", pushed=999)
    return found


def caches() -> Repository:
    found = Repository()
    kind = "application/vnd.buildkit.cacheconfig.v0"
    found.add("old cache", "cache-1", pushed=15, config=kind)
    found.add("new cache", "cache-2", pushed=3, config=kind)
    found.add("image", "1.0", pushed=900)
    found.add("signature", "sha256-" + 64 * "a" + ".sig", pushed=31)
    found.add("new signature", "sha256-" + 64 * "b" + ".sig", pushed=3)
    return found


def tags(form: str, *numbers: int) -> set[str]:
    return {form.format(number) for number in numbers}


CASES: dict[str, tuple[Callable[[], Repository], set[str]]] = {
    "1": (untagged, {"(untagged)"}),
    "2": (
        lambda: numbered("b{}", [*range(12)], "v1.0", "latest", "main", "prod-3", "release-1"),
        {"b11", "b12"},
    ),
    "3": (branches, {"main-0000005", "main-0000006", "pr-15"}),
    "4": (
        lambda: numbered("b{}", [float(day) for day in range(20, 60)], "v1.0", "latest"),
        tags("b{}", *range(31, 41)),
    ),
    "5": (
        nightlies,
        tags("nightly-{}", *range(100)) - tags("nightly-{}", *range(7), 12, 19, 15, 46, 76),
    ),
    "6": (releases, {"v1.4.0-rc.1"}),
    "7": (environments, {"prod-20", "staging-5", "dev-2"}),
    "8": (pulled, {"unused", "never"}),
    "9": (quarter, tags("b{}", 4, 5, 6)),
    "10": (caches, {"cache-1", "sha256-" + 64 * "a" + ".sig"}),
}


def test_each_policy_of_the_page_is_tried() -> None:
    assert sorted(SECTIONS) == sorted(CASES)


@pytest.mark.parametrize("number", sorted(CASES))
def test_policy(number: str) -> None:
    build, expected = CASES[number]
    held = Held()
    if number == "9":
        held = read_in_use(b"registry.internal/team/app:runs", "list")
    found = decided(build(), SECTIONS[number], held)
    gone = {name if ":" not in name else "(untagged)" for name in removed(found)}
    assert gone == expected
