"""The benchmark of the servers works; what it measures here is no result."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import serving
from bench.listings import following
from bench.programs import BenchError
from bench.pushes import push_load
from bench.report import Series, Target, limit_row, rate_row, share_row
from bench.serving import Figure
from bench.traffic import Request, head_load, parse_wrk
from bench.transfer import Client, download
from tests.support.missing import need
from tests.support.registry import SERVERS, RegistryFactory

SERVE = Path(__file__).parents[2] / "bench" / "serve.py"
MEASURES = [
    "GET manifest by tag",
    "GET manifest by tag, p99",
    "HEAD manifest by tag",
    "GET blob of 10 KB",
    "upload of 8 MB, POST and PUT",
    "upload of 8 MB, PATCH of 16 MiB each",
    "upload of 8 MB, one PATCH, streamed",
    "download of 4 MB",
    "memory after the above",
    "memory at its peak",
    "pushes of small images",
    "processor time of such a push",
    "tags of 200",
    "tags of 200, pages of 50",
    "catalog of 40",
    "catalog of 40, pages of 50",
    "start, 40 repositories",
    "start, nothing stored",
]


@pytest.mark.parametrize("program", SERVERS)
def test_quick_run_measures_everything(tmp_path: Path, program: str) -> None:
    need("docker-registry", "wrk")
    name = {"jettison": "Jettison"}.get(program, program)
    trees, results, document = tmp_path / "trees", tmp_path / "results", tmp_path / "it.json"
    trees.mkdir()
    results.mkdir()
    options = ["--quick", "--program", name, "--dir", str(trees), "--json", str(document)]
    done = subprocess.run(
        [sys.executable, str(SERVE), *options, "--write", str(results)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(document.read_text())["figures"]
    assert [one["measure"] for one in figures] == MEASURES
    for one in figures:
        assert list(one["values"]) == [name]
        assert one["medians"][name] > 0
        assert one["met"] is None
    assert list(trees.iterdir()) == []
    written = (results / "RESULTS.md").read_text()
    assert "| GET manifest by tag |" in written
    assert "Not a result" in written
    assert str(trees) not in written
    assert ET.parse(results / "serve.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own


@pytest.mark.parametrize(
    "option",
    [
        *(["--quick"], ["--only", "start"], ["--program", "Jettison"]),
        ["--beside", "Distribution 3"],
    ],
)
def test_what_is_committed_is_not_replaced_by_parts(option: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(SERVE), "--write", *option],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--write alone" in done.stderr


def test_ratios_say_what_they_are_about() -> None:
    low, high = Series((10.0,), "/s"), Series((30.0,), "/s")
    row = rate_row("GET", low, high, Target(least=3))
    assert row.cells == ("GET", "10.0 /s", "30.0 /s", "3.00×", "≥ 3×", "yes")
    assert rate_row("GET", high, low, Target(least=1)).met == "no"
    assert share_row("p99", high, low, Target(most=0.4)).met == "yes"
    assert share_row("p99", low, high, Target(most=0.4)).met == "no"
    soon = limit_row("start", low, Series((0.9,)), Target(most=1, unit=" s"))
    assert (soon.judged, soon.met) == (0.9, "yes")
    figure = Figure("GET", "/s", {"docker-registry": low, "Jettison": high}, rate_row, Target(4))
    assert figure.document()["met"] is False
    assert figure._replace(found={"Jettison": high}).row.cells[1:3] == ("–", "30.0 /s")


WRK = """\
  Latency Distribution
     50%   16.62ms
     99%  {p99}
  3836 requests in 2.00s, 6.76MB read
{more}Requests/sec:   {rate}
"""


def test_wrk_is_read() -> None:
    load = parse_wrk(WRK.format(p99="58.76ms", rate="1914.09", more=""))
    assert load == pytest.approx((1914.09, 0.05876))
    assert parse_wrk(WRK.format(p99="850.00us", rate="1", more="")).p99 == pytest.approx(85e-5)
    assert parse_wrk(WRK.format(p99="1.10s ", rate="1", more="")).p99 == pytest.approx(1.1)


@pytest.mark.parametrize(
    "output",
    [
        WRK.format(p99="1.0ms", rate="5", more="  Non-2xx or 3xx responses: 1\n"),
        WRK.format(p99="1.0ms", rate="5", more="  Socket errors: connect 0, timeout 1\n"),
        WRK.format(p99="0.00us", rate="0.00", more=""),
        "",
    ],
)
def test_errors_that_wrk_counted_are_errors(output: str) -> None:
    with pytest.raises(BenchError, match="wrk"):
        parse_wrk(output)


def test_next_page_is_found() -> None:
    first = '</v2/_catalog?last=a&n=2>; rel="next"'
    assert following(['<https://a.test/b>; rel="other"', first]) == "/v2/_catalog?last=a&n=2"
    assert following(['<http://a.test/v2/x?n=1>; rel="next"']) == "/v2/x?n=1"
    assert following([]) is None


def test_wrong_answers_are_no_measurement(registry_factory: RegistryFactory) -> None:
    registry = registry_factory()
    with pytest.raises(BenchError, match="404"):
        head_load(Request(registry.host, "/v2/app/manifests/1", {}), 0.1)
    client = Client(registry.host)
    digest = client.push_blob("app", b"content")
    assert download(client, "app", digest, bytearray(7)) > 0
    for size in (6, 8):
        with pytest.raises(BenchError, match="GET"):
            download(client, "app", digest, bytearray(size))
    client.close()


def test_each_push_is_there_afterwards(
    registry_factory: RegistryFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registry_factory()
    done = push_load(registry.host, 0.3, clients=2)
    assert done.images >= 2
    repository, tag, manifest = done.last
    answer = registry.request("GET", f"/v2/{repository}/manifests/{tag}", {"Accept": "*/*"})
    assert answer.body == manifest
    monkeypatch.setattr("bench.pushes.MANIFEST", "text/plain")
    with pytest.raises(BenchError, match="400"):
        push_load(registry.host, 0.1, clients=1)


def test_what_an_upload_left_is_read_again(registry_factory: RegistryFactory) -> None:
    registry = registry_factory()
    digest = registry.push_blob("app", b"content")
    file = registry.tree / "blobs/sha256" / digest.hex[:2] / digest.hex / "data"
    os.truncate(file, 6)
    with pytest.raises(BenchError, match="its content"):
        serving.verify_and_remove(registry.root, digest)
