"""The benchmark of buckets works; what it measures here is no result."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

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


def test_small_run_counts_the_requests_of_each(tmp_path: Path) -> None:
    document = tmp_path / "it.json"
    options = ["--manifests", "12", "--large", "20", "--delay", "1", "--json", str(document)]
    done = subprocess.run(
        [sys.executable, str(OBJECTS), *options, "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {(one["section"], one["program"]): one for one in json.loads(document.read_text())}
    cold = found["dry", "Jettison, cold"]["requests"]
    assert cold["GetObject"] == 13
    assert found["dry", "Jettison, warm"]["requests"]["GetObject"] == 1
    theirs = found["dry", "Distribution 3"]["requests"]
    assert sum(theirs.values()) > 5 * sum(cold.values())
    assert found["collect", "Jettison"]["requests"]["DeleteObjects"] < 10
    left = {one["blobs_left"] for key, one in found.items() if key[0] == "collect"}
    assert len(left) == 1
    assert found["large", "Jettison, cold"]["requests"]["GetObject"] == 21
    assert "| dry | Jettison, cold | 12 |" in done.stdout
    assert not list(tmp_path.glob("jettison-bench-*"))


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
