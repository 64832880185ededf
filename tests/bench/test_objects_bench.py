"""The benchmark of buckets works; what it measures here is no result."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench import bucket_serving
from bench.bucket_serving import COLD, PUSHES, REQUESTS_OF_PUSH, WARM, Figure
from bench.bucket_simulation import bill
from bench.buckets import Gateway, add_etags
from bench.objects import Measured, lines
from bench.programs import clean_environment
from tests.support.missing import lack, need
from tests.support.registry import PEERS

OBJECTS = Path(__file__).parents[2] / "bench" / "objects.py"


@pytest.fixture(autouse=True)
def _programs() -> None:
    need("docker-registry")
    for name in ("registry", "versitygw"):
        if not os.access(PEERS / name, os.X_OK):
            lack(f"{name} not found; `make setup` builds it where there is Go")


def run(folder: Path, *options: str) -> tuple[str, Any]:
    """Run it in a folder; return what it prints, and its document."""
    document = folder / "it.json"
    done = subprocess.run(
        [sys.executable, str(OBJECTS), *options, "--dir", str(folder), "--json", str(document)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, json.loads(document.read_text())


def test_small_run_counts_the_requests_of_each(tmp_path: Path) -> None:
    options = ["--manifests", "12", "--large", "20", "--delay", "1"]
    options += ["--only", "dry", "collect", "large"]
    printed, document = run(tmp_path, *options)
    found = {(one["section"], one["program"]): one for one in document}
    cold = found["dry", "Jettison, cold"]["requests"]
    assert cold["GetObject"] == 13
    assert found["dry", "Jettison, warm"]["requests"]["GetObject"] == 1
    theirs = found["dry", "Distribution 3"]["requests"]
    assert sum(theirs.values()) > 5 * sum(cold.values())
    assert found["collect", "Jettison"]["requests"]["DeleteObjects"] < 10
    left = {one["blobs_left"] for key, one in found.items() if key[0] == "collect"}
    assert len(left) == 1
    assert found["large", "Jettison, cold"]["requests"]["GetObject"] == 21
    assert "| dry | Jettison, cold | 12 |" in printed
    assert not list(tmp_path.glob("jettison-bench-*"))


def test_a_simulated_bucket_is_planned_for(tmp_path: Path) -> None:
    options = ["--only", "simulated", "--simulated", "300"]
    printed, document = run(tmp_path, *options)
    cold, warm = document
    # Each image has its manifest and four more, each of 15 deleted ones too; five are shared.
    assert (cold["kept"], cold["garbage"]) == (300 * 5 + 5, 15 * 5)
    assert cold["requests"]["GET"] == 300
    assert warm["requests"] == {"LIST": cold["requests"]["LIST"]}
    assert (warm["kept"], warm["garbage"]) == (cold["kept"], cold["garbage"])
    assert "| warm | 300 | 1,505 | 75 |" in printed
    assert bill({"LIST": 2000, "GET": 10_000}) == pytest.approx(0.014)


def test_quick_run_counts_the_requests_of_servers(tmp_path: Path) -> None:
    options = ["--only", "serving", "--quick", "--delay", "1"]
    printed, document = run(tmp_path, *options)
    found = {(one["measure"], one["server"]): one for one in document}
    ours = found[REQUESTS_OF_PUSH, "Jettison"]
    # For each blob a copy into its place and one to remove its upload.
    assert (ours["requests"]["CopyObject"], ours["requests"]["DeleteObjects"]) == (2, 2)
    assert ours["value"] <= 25
    for name in ("docker-registry", "Distribution 3"):
        assert found[REQUESTS_OF_PUSH, name]["value"] > 2 * ours["value"]
    assert found[COLD, "Jettison"]["requests"] == {"GetObject": 2}
    assert found[WARM, "Jettison"]["requests"] == {"GetObject": 1}
    assert all(one["rates"] for (measure, _), one in found.items() if measure == PUSHES)
    assert f"| {WARM} | Jettison | 1 |" in printed
    assert not list(tmp_path.glob("jettison-bench-*"))


def test_aims_are_about_jettison() -> None:
    found = [
        Figure(REQUESTS_OF_PUSH, "Distribution 3", Counter(PutObject=60)),
        Figure(REQUESTS_OF_PUSH, "Jettison", Counter(GetObject=6, PutObject=20)),
        Figure(PUSHES, "Distribution 3", None, (10.0, 12.0, 11.0)),
        Figure(PUSHES, "Jettison", None, (20.0, 33.0, 40.0)),
    ]
    assert [line.split("|")[3:7] for line in bucket_serving.lines(found)[2:]] == [
        [" 60 ", "  ", "  ", " 60 PutObject "],
        [" 26 ", " ≤ 25 ", " no ", " 20 PutObject, 6 GetObject "],
        [" 11.0 /s (10.0–12.0) ", "  ", "  ", "  "],
        [" 33.0 /s (20.0–40.0), 3.00× ", " ≥ 2× ", " yes ", "  "],
    ]


def test_ratios_are_to_the_first_of_a_section() -> None:
    found = [
        Measured("dry", "one", 10, 1.0, Counter(GetObject=11)),
        Measured("dry", "two", 10, 30.0, Counter(GetObject=100, HeadObject=20)),
    ]
    assert [line.split("|")[5:9] for line in lines(found)[2:]] == [
        ["  ", " 11 ", " 1.1 ", " 11 GetObject "],
        [" 30.0× ", " 120 ", " 12 ", " 100 GetObject, 20 HeadObject "],
    ]


def test_answers_are_late(tmp_path: Path) -> None:
    with Gateway(tmp_path, 300, clean_environment(tmp_path)) as gateway:
        (gateway.folder / "one").mkdir()
        (gateway.folder / "one" / "link").write_bytes(b"content")
        assert add_etags(gateway.folder / "one") == 1
        [address] = [
            line.split("//")[1]
            for line in gateway.config("one").read_text().splitlines()
            if "regionendpoint" in line
        ]
        connection = http.client.HTTPConnection(address, timeout=10)
        began = time.monotonic()
        connection.request("GET", "/one/link")
        assert connection.getresponse().status == 403
        assert time.monotonic() - began > 0.29
        connection.close()
