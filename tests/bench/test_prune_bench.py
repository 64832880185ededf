"""The benchmark of prunes works; what it measures here is no result."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.missing import need

PRUNE = Path(__file__).parents[2] / "bench" / "prune.py"


def test_quick_run_measures_a_contest_and_a_storage(tmp_path: Path) -> None:
    need("docker-registry", "skopeo")
    document = tmp_path / "it.json"
    options = ["--quick", "--only", "contest", "scale", "--json", str(document)]
    done = subprocess.run(
        [sys.executable, str(PRUNE), *options, "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(document.read_text())
    ways = {one["name"]: one for one in figures["contests"]}
    assert {"jettison prune", "skopeo inspect, skopeo delete"} <= ways.keys()
    assert all(one["seconds"] > 0 and sum(one["requests"].values()) > 0 for one in ways.values())
    # Each leaves what it ought to: the newest ten of both repositories.
    assert {one["left"]["tags"] for one in ways.values()} == {20}
    assert figures["figures"]
    assert not list(tmp_path.glob("jettison-bench-*"))
