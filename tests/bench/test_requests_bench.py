"""The count of requests works; what it measures here is no result."""

import json
import subprocess
import sys
from pathlib import Path

from bench.requests import Measured, table
from tests.support.missing import need

REQUESTS = Path(__file__).parents[2] / "bench" / "requests.py"


def test_quick_run_counts_on_a_server(tmp_path: Path) -> None:
    need("docker-registry", "skopeo")
    document = tmp_path / "it.json"
    options = ["--quick", "--server", "docker-registry", "--json", str(document)]
    done = subprocess.run(
        [sys.executable, str(REQUESTS), *options, "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = {one["what"]: one for one in json.loads(document.read_text())}
    assert figures["ls, names"]["requests"] == {"GET": 1}
    assert figures["ls -l, empty cache"]["met"]
    for cached in ("empty", "full"):
        removal = figures[f"rm --quick, {cached} cache"]
        assert removal["requests"]["DELETE"] >= 8
        assert removal["total"] > removal["beyond"] == 40
    assert figures["skopeo delete, one after another"]["requests"]["DELETE"] == 8
    assert not list(tmp_path.glob("jettison-bench-*"))


def test_a_figure_is_judged_beyond_what_every_listing_costs() -> None:
    one = Measured("it", "rm", {"GET": 90, "DELETE": 10}, 1.5, tags=10, beyond=60, most=4)
    assert (one.total, one.each, one.met) == (100, 4.0, True)
    assert one._replace(beyond=50).met is False
    assert table([one])[-1] == "| it | rm | 100 | 10.00 | 4.00 | ≤ 4 beyond | yes | 1.50 s |"
    assert table([one._replace(beyond=0, most=None)])[-1].endswith("| 10.00 |  |  |  | 1.50 s |")
