"""The benchmark of the collector works; what it measures here is no result."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.missing import need

GC = Path(__file__).parents[2] / "bench" / "gc.py"


def command(folder: Path, *more: str) -> list[str]:
    return [sys.executable, str(GC), "--quick", "--dir", str(folder), *more]


def test_quick_run_prints_the_table_and_writes_the_results(tmp_path: Path) -> None:
    need("docker-registry")
    trees, results = tmp_path / "trees", tmp_path / "results"
    trees.mkdir()
    results.mkdir()
    done = subprocess.run(
        command(trees, "--write", str(results)), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split("\n")[0].split() == (
        ["measure", "docker-registry", "Jettison", "ratio", "target", "met?"]
    )
    for measure in ("dry run, 200", "collection with untagged, 200", "memory, 400", "100 tags"):
        assert measure in done.stdout
    assert "only Distribution deletes 4 blobs of children of a tagged index" in done.stdout
    assert "only Distribution deletes 3 blobs of an untagged referrer" in done.stdout
    assert "exactly those blobs were gone, and 81,050 bytes freed" in done.stdout
    assert list(trees.iterdir()) == []
    written = (results / "RESULTS.md").read_text()
    assert "| dry run, 200 manifests |" in written
    assert "Not a result" in written
    assert str(trees) not in written
    assert ET.parse(results / "gc.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_trees_are_removed_when_it_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    need("docker-registry")
    trees = tmp_path / "trees"
    trees.mkdir()
    with subprocess.Popen(
        command(trees), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 20
        # Its workers write by then: what a signal raises right after a fork, Python swallows.
        written = "*/many/docker/registry/v2/repositories/*/*"
        while not list(trees.glob(written)) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, number)
        _, told = process.communicate()
    assert process.returncode in {130, 143}, told
    assert "Traceback" not in told
    assert list(trees.iterdir()) == []


@pytest.mark.parametrize("option", [["--quick"], ["--only", "dry"]])
def test_what_is_committed_is_not_replaced_by_parts(option: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(GC), "--write", *option], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--write alone" in done.stderr
