"""The lines, spelled out, and flags as Go programs take them."""

from pathlib import Path

import pytest

from jettison.cli.garbage_collect import eligible_lines, log_line, marking_lines, plain_flags
from jettison.collector import CollectOptions, plan_collection
from jettison.collector.mark_log import RepositoryMarks
from jettison.model.digest import BinaryDigest
from tests.support.trees import NOW, Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "registry")


def raw(byte: int, length: int = 32) -> BinaryDigest:
    return BinaryDigest(bytes([byte]) * length)


def trace(
    marked: list[tuple[BinaryDigest, list[BinaryDigest]]] | None = None,
    going: list[BinaryDigest] | None = None,
    protected: list[BinaryDigest] | None = None,
    *,
    has_layers: bool = True,
) -> RepositoryMarks:
    return RepositoryMarks(marked or [], going or [], protected or [], has_layers)


def test_the_lines_about_a_repository() -> None:
    found = trace(
        [(raw(0x11), [raw(0x55), raw(0x44), raw(0x44)]), (raw(0x33), [])],
        going=[raw(0x22)],
        protected=[raw(0x66, 64)],
    )
    # A space ends the lines of manifests, and those alone.
    assert list(marking_lines("team/app", found)) == [
        "team/app",
        f"team/app: marking manifest sha256:{'11' * 32} ",
        f"team/app: marking blob sha256:{'55' * 32}",
        f"team/app: marking blob sha256:{'44' * 32}",
        f"team/app: marking blob sha256:{'44' * 32}",
        f"manifest eligible for deletion: sha256:{'22' * 32}",
        f"team/app: marking manifest sha256:{'33' * 32} ",
        f"team/app: marking blob sha512:{'66' * 64}",
    ]


def test_a_repository_of_which_there_is_nothing_to_say() -> None:
    assert list(marking_lines("app", trace())) == ["app"]
    assert list(marking_lines("app", trace(has_layers=False))) == []
    assert next(marking_lines("app", trace(going=[raw(1)], has_layers=False))) == "app"


def test_a_name_that_would_do_something_to_a_terminal() -> None:
    assert list(marking_lines("a\x1b[2J\udcff", trace())) == ["a\\x1b[2J\\udcff"]


def test_the_lines_behind_the_last_repository(tree: Tree) -> None:
    first, second = sorted([tree.blob(b"one"), tree.blob(b"two")])
    tree.image("app", None, [b"layer"])
    plan = plan_collection(tree.open(), CollectOptions(), NOW)
    assert list(eligible_lines(plan, 3)) == [
        "",
        "3 blobs marked, 2 blobs and 0 manifests eligible for deletion",
        f"blob eligible for deletion: {first}",
        f"blob eligible for deletion: {second}",
    ]


@pytest.mark.parametrize(
    ("nanoseconds", "shown"),
    [
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
        (1_700_000_000_120_000_000, "2023-11-14T22:13:20.12Z"),
        (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
    ],
)
def test_a_line_of_the_log(nanoseconds: int, shown: str) -> None:
    line = log_line("info", 'Deleting "blob"', nanoseconds)
    assert line == f'time="{shown}" level=info msg="Deleting \\"blob\\""'
    assert "level=warning " in log_line("warn", "text", nanoseconds)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("config.yml -d -m", "config.yml --dry-run --delete-untagged"),
        ("-dm config.yml", "--dry-run --delete-untagged config.yml"),
        ("--delete-untagged=true --dry-run=1 c", "--delete-untagged --dry-run c"),
        ("-m=T -dq=true", "--delete-untagged --dry-run --quiet"),
        ("-m --delete-untagged=false", ""),
        ("-dm=false", "--dry-run"),
        ("-d=false -d", "--dry-run"),
        # The parser complains about these.
        ("--dry-run=no", "--dry-run=no"),
        ("--dry-run=", "--dry-run="),
        ("-dx", "-dx"),
        # These are none of the flags.
        ("--grace 0s --grace=1h", "--grace 0s --grace=1h"),
        ("-- -d", "-- -d"),
    ],
)
def test_flags_as_go_takes_them(given: str, plain: str) -> None:
    assert plain_flags(given.split()) == plain.split()
