"""What the benchmarks compare, judge and draw, by itself: also with bad input."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import memory
from bench.agreement import (
    CHILD,
    REFERRER,
    blob_files,
    compare,
    eligible,
    leftover_problems,
    prediction,
    wrongly_deleted,
)
from bench.chart import Bar, draw
from bench.families import make_families
from bench.report import (
    UNIT_MB,
    Series,
    Target,
    difference_lines,
    digits,
    memory_row,
    replaced,
    speed_row,
    unjudged,
)

A, B, C, D = (f"sha256:{letter * 64}" for letter in "abcd")


def test_eligible_blobs_are_read_and_manifests_are_not() -> None:
    output = [
        "app: marking manifest sha256:1 \n",
        f"manifest eligible for deletion: {A}\n",
        f"blob eligible for deletion: {B}\n",
    ]
    assert eligible(output) == {B}


def test_prediction_reads_the_plan() -> None:
    plan = {"blobs": [{"digest": A, "size": 3}, {"digest": B, "size": 4}], "bytes": 7}
    found = prediction(json.dumps({"plan": plan}).encode())
    assert (found.blobs, found.bytes) == (frozenset({A, B}), 7)


def test_differences_are_sorted_by_reason() -> None:
    found = compare(frozenset({A, B, C}), frozenset({A, D}), {B: CHILD})
    assert [(one.program, one.blobs, one.reason) for one in found] == [
        ("Distribution", frozenset({C}), None),
        ("Distribution", frozenset({B}), CHILD),
        ("Jettison", frozenset({D}), None),
    ]
    told = difference_lines("here", 1, found)
    assert told[0] == (
        f"here: both delete 1 blob; only Distribution deletes 1 blob, and nobody knows why: {C}"
    )
    assert told[1].endswith(f"deletes 1 blob {CHILD}.")


def test_no_reason_excuses_what_only_jettison_deletes() -> None:
    assert compare(frozenset(), frozenset({A}), {A: CHILD})[0].reason is None


def test_leftovers_are_checked_by_blob_and_byte() -> None:
    before = {A: 1, B: 2, C: 4}
    assert leftover_problems(before, {A: 1}, frozenset({B, C}), 6) == []
    assert leftover_problems(before, {A: 1}, frozenset({B, C}), 5) == [
        "+1 bytes freed beside the 5 predicted"
    ]
    assert leftover_problems(before, {A: 1}, frozenset({A, B}), 6) == [
        "1 blobs deleted that the dry run did not name, 1 not deleted"
    ]
    assert leftover_problems(before, {A: 9}, frozenset({B, C}), 6)


def test_children_and_referrers_are_found_in_the_tree(tmp_path: Path) -> None:
    make_families(tmp_path)
    found = wrongly_deleted(tmp_path)
    reasons = list(found.values())
    # Two children: manifest, config and layer of their own, and the layer that they share.
    assert (reasons.count(CHILD), reasons.count(REFERRER)) == (7, 3)
    assert found.keys() < blob_files(tmp_path).keys()


def test_targets_are_judged() -> None:
    fast, slow = Series((1.0, 2.0, 1.5)), Series((30.0,))
    row = speed_row("dry run", slow, fast, Target(least=20))
    assert row.cells == ("dry run", "30.0 s", "1.50 s (1.00–2.00)", "20.0×", "≥ 20×", "yes")
    assert row._replace(target=Target(least=20.1)).met == "no"
    assert unjudged([row])[0].cells[-2:] == ("", "")
    assert memory_row("memory", 100, 70, Target(most=0.7)).met == "yes"
    assert memory_row("memory", 100, 71, Target(most=0.7)).met == "no"
    limit = Target(most=120, unit=UNIT_MB)
    assert memory_row("memory", 1, 120_000_000, limit).cells[-2:] == ("≤ 120 MB", "yes")
    assert memory_row("memory", 10**12, 121_000_000, limit).met == "no"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.3624, "0.362"), (0.99951, "1.00"), (9.996, "10.0"), (99.96, "100"), (1234.5, "1,234")],
)
def test_figures_have_three_digits(value: float, shown: str) -> None:
    assert digits(value) == shown


def test_block_is_put_between_its_markers() -> None:
    text = replaced("# Benchmarks\n", "gc", "old")
    assert text == "# Benchmarks\n\n<!-- gc:begin -->\nold\n<!-- gc:end -->\n"
    text = replaced(text, "other", "stays")
    assert replaced(text, "gc", "new") == text.replace("old", "new")
    with pytest.raises(ValueError, match="without"):
        replaced("<!-- gc:begin -->", "gc", "new")


@pytest.mark.parametrize(
    "bars",
    [[], [Bar("a <b>", 0.5, "0.5×")], [Bar("a", 340, "340×", "1 s → 2 s", 300), Bar("b", 1, "1×")]],
)
def test_chart_is_well_formed_and_nothing_lies_outside(bars: list[Bar]) -> None:
    root = ET.fromstring(draw('A "title" & more', "below", bars))  # noqa: S314 - our own
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    boxes = [one for one in root if one.get("class") == "bar"]
    assert len(boxes) == len(bars)
    for one in root:
        if "x" in one.attrib:
            right = float(one.attrib["x"]) + float(one.attrib.get("width", 0))
            bottom = float(one.attrib["y"]) + float(one.attrib.get("height", 0))
            assert 0 <= float(one.attrib["x"]) <= right <= width
            assert 0 <= float(one.attrib["y"]) <= bottom <= height


FORKING = """
import os, time
shared = bytearray(os.urandom(1 << 20)) * 40
if os.fork() == 0:
    own = bytearray(os.urandom(1 << 20)) * 30
    time.sleep(1)
    os._exit(0)
os.wait()
"""


def test_memory_of_a_forked_process_counts_and_what_it_shares_counts_once() -> None:
    sampler = [sys.executable, "-I", "-S", memory.__file__, sys.executable, "-I", "-S", "-c"]
    done = subprocess.run([*sampler, FORKING], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    mb = 1 << 20
    assert found["code"] == 0
    assert 70 * mb < found["tree"] < 100 * mb
    assert 70 * mb < found["largest"] < 100 * mb
    assert found["samples"] > 5


def test_memory_tells_the_exit_code() -> None:
    sampler = [sys.executable, "-I", "-S", memory.__file__, sys.executable, "-c"]
    done = subprocess.run(
        [*sampler, "raise SystemExit(7)"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["code"] == 7
