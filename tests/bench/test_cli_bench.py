"""The benchmark of small commands works; what it measures here is no result."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import Measured, cost, table
from bench.programs import BenchError
from bench.report import Target

CLI = Path(__file__).parents[2] / "bench" / "cli.py"


def test_quick_run_times_every_question(tmp_path: Path) -> None:
    document = tmp_path / "it.json"
    options = ["--turns", "1", "--json", str(document), "--dir", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(CLI), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(document.read_text())
    ours = [one["what"] for one in figures if one["program"] == "Jettison"]
    assert ours[:3] == ["version", "help", "the repositories"]
    assert ours[-1] == "a dry collection"
    assert all(one["cpu"] > 0 and one["wall"] > 0 for one in figures)
    assert not list(tmp_path.glob("jettison-bench-*"))


def test_a_command_that_fails_is_no_figure() -> None:
    with pytest.raises(BenchError, match=r"exit 3: .*\nno such thing"):
        cost(["sh", "-c", "echo no such thing >&2; exit 3"], {"PATH": "/bin:/usr/bin"})


def test_only_ours_is_judged() -> None:
    ours = Measured("help", "Jettison", 0.4, 0.21, None, Target(most=0.2, unit=" s"))
    assert table([ours])[-1] == "| help | Jettison | 400 ms | 210 ms |  | ≤ 0.2 s | no |"
    assert table([ours._replace(cpu=0.2)])[-1].endswith("| yes |")
    theirs = Measured("help", "crane", 0.021, 0.02, 0.1)
    assert table([theirs])[-1] == "| help | crane | 21 ms | 20 ms | 0.10× |  |  |"
