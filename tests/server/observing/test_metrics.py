"""Metrics: what is counted, what Prometheus reads, several workers, and the documentation."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from jettison.server.observing import Metrics
from jettison.server.observing.metrics import BOUNDS, EndpointFigures, RetentionFigures
from jettison.storage.filesystem.monitoring import TreeMonitor
from jettison.storage.scheduled_runs import RunResult, ScheduledRun
from tests.server.observing.exchanges import exchange
from tests.support.registry import DockerRegistry, free_port

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(metrics: Metrics) -> Samples:
    media_type, text = metrics.render()
    assert media_type == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


def some_metrics(tmp_path: Path) -> Metrics:
    endpoint = EndpointFigures("hook", 9, 2, 5, 3, 4, 1, {200: 5, 503: 2, 599: 1})
    run = ScheduledRun(
        due=1000.0,
        ended=1010.0,
        result=RunResult.REFUSED,
        tags=3,
        manifests=2,
        bytes=500,
        freed=400,
        succeeded=900.0,
    )
    return Metrics(
        TreeMonitor(tmp_path),
        endpoints=lambda: [endpoint],
        lines_dropped=lambda: 7,
        retention=lambda: RetentionFigures(2000.0, run),
    )


def test_requests_are_counted_by_route_method_and_code() -> None:
    metrics = Metrics()
    for status in (200, 200, 404):
        metrics.begin("manifest", "GET")
        metrics.observe(exchange(status=status, seconds=0.003, sent=100, received=10))
    metrics.begin("manifest", "GET")
    metrics.begin("upload", "POST")
    metrics.begin("upload", "PATCH")
    metrics.observe(exchange(route="upload", method="PATCH", status=202, seconds=400.0))
    found = samples(metrics)
    get = {"route": "manifest", "method": "GET"}
    theirs = {"handler": "manifest", "method": "get"}
    assert value(found, "jettison_http_requests_total", **get, code="200") == 2
    assert value(found, "jettison_http_requests_total", **get, code="404") == 1
    assert value(found, "registry_http_requests_total", **theirs, code="200") == 2
    assert value(found, "jettison_http_sent_bytes_total", **get) == 300
    assert value(found, "jettison_http_received_bytes_total", **get) == 30
    assert value(found, "jettison_http_requests_in_flight", route="manifest") == 1
    assert value(found, "registry_http_in_flight_requests", handler="manifest") == 1
    assert value(found, "registry_http_in_flight_requests", handler="blob_upload") == 1
    assert value(found, "registry_http_in_flight_requests", handler="blob_upload_chunk") == 0
    name = "jettison_http_request_duration_seconds"
    assert value(found, f"{name}_bucket", **get, le="0.001") == 0
    assert value(found, f"{name}_bucket", **get, le="0.005") == 3
    assert value(found, f"{name}_count", **get) == 3
    assert value(found, f"{name}_sum", **get) == pytest.approx(0.009)
    slow = {"handler": "blob_upload_chunk", "method": "patch"}
    name = "registry_http_request_duration_seconds"
    assert value(found, f"{name}_bucket", **slow, le="10.0") == 0
    assert value(found, f"{name}_bucket", **slow, le="+Inf") == 1


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bucket_holds_what_is_equal_to_its_bound(bound: float) -> None:
    metrics = Metrics()
    metrics.observe(exchange(seconds=bound))
    metrics.observe(exchange(seconds=bound * 1.01))
    name = "jettison_http_request_duration_seconds_bucket"
    labels = {"route": "manifest", "method": "GET", "le": str(bound)}
    assert value(samples(metrics), name, **labels) == 1


def test_what_clients_make_up_is_no_series_of_its_own() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.begin(f"route{number}", f"M{number}")
        metrics.observe(exchange(route=f"route{number}", method=f"M{number}"))
    found = samples(metrics)
    labels = {"route": "other", "method": "OTHER", "code": "200"}
    assert value(found, "jettison_http_requests_total", **labels) == 1000
    assert len(found) < 100
    assert not any(name.startswith("registry_http_requests_total") for name, _ in found)


def test_the_storage_and_the_process_are_told_of(tmp_path: Path) -> None:
    found = samples(Metrics(TreeMonitor(tmp_path), uploads=lambda: 3))
    system = os.statvfs(tmp_path)
    size = system.f_blocks * system.f_frsize
    assert value(found, "jettison_storage_size_bytes") == size
    assert 0 < value(found, "jettison_storage_free_bytes") <= size
    assert value(found, "jettison_uploads_in_progress") == 3
    assert value(found, "process_resident_memory_bytes") > 0
    assert any(name == "jettison_build_info" for name, _ in found)


def test_a_storage_that_is_gone_is_left_out(tmp_path: Path) -> None:
    names = {name for name, _ in samples(Metrics(TreeMonitor(tmp_path / "gone")))}
    assert "jettison_storage_size_bytes" not in names


def test_notifications_are_told_of(tmp_path: Path) -> None:
    found = samples(some_metrics(tmp_path))
    assert value(found, "jettison_notifications_queued", endpoint="hook") == 2
    assert value(found, "jettison_notifications_sent_total", endpoint="hook") == 5
    assert value(found, "jettison_notifications_failed_total", endpoint="hook") == 7
    assert value(found, "jettison_notifications_dropped_total", endpoint="hook") == 1
    assert value(found, "jettison_access_log_dropped_lines_total") == 7
    name = "registry_notifications_events_total"
    for kind, count in {"Events": 9, "Successes": 5, "Failures": 3, "Errors": 4}.items():
        assert value(found, name, endpoint="hook", type=kind) == count
    name = "registry_notifications_status_total"
    assert value(found, name, endpoint="hook", code="503 Service Unavailable") == 2
    assert value(found, "registry_notifications_pending_total", endpoint="hook") == 2


def test_retention_is_told_of(tmp_path: Path) -> None:
    found = samples(some_metrics(tmp_path))
    assert value(found, "jettison_retention_next_run_timestamp_seconds") == 2000
    assert value(found, "jettison_retention_last_run_timestamp_seconds") == 1010
    assert value(found, "jettison_retention_last_success_timestamp_seconds") == 900
    assert value(found, "jettison_retention_last_run_removed_tags") == 3
    assert value(found, "jettison_retention_last_run_removed_manifests") == 2
    assert value(found, "jettison_retention_last_run_removed_bytes") == 500
    assert value(found, "jettison_retention_last_run_freed_bytes") == 400
    for result in RunResult:
        told = value(found, "jettison_retention_last_run_result", result=result)
        assert told == (result is RunResult.REFUSED)
    before = samples(Metrics(retention=lambda: RetentionFigures(2000.0)))
    assert [name for name, _ in before if "retention" in name] == [
        "jettison_retention_next_run_timestamp_seconds"
    ]
    assert not [name for name, _ in samples(Metrics()) if "retention" in name]


async def test_workers_are_added_up(tmp_path: Path) -> None:
    first, second = (Metrics(shared=tmp_path, uploads=lambda: 1) for _ in range(2))
    for metrics in (first, second):
        await metrics.start()
        metrics.begin("manifest", "GET")
        metrics.observe(exchange(sent=10))
        metrics.begin("blob", "GET")
    second.save()
    labels = {"route": "manifest", "method": "GET"}
    found = samples(first)
    assert value(found, "jettison_http_requests_total", **labels, code="200") == 2
    assert value(found, "jettison_http_sent_bytes_total", **labels) == 20
    assert value(found, "jettison_http_requests_in_flight", route="blob") == 2
    assert value(found, "jettison_uploads_in_progress") == 2
    await first.stop()
    await second.stop()
    (tmp_path / "1-broken.figures").write_bytes(b"\xff")
    third = Metrics(shared=tmp_path)
    assert value(samples(third), "jettison_http_requests_total", **labels, code="200") == 2


def test_a_worker_that_was_killed_keeps_its_counts_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    endpoint = EndpointFigures("hook", accepted=3, queued=2, sent=1)
    other = Metrics(shared=tmp_path, uploads=lambda: 4, endpoints=lambda: [endpoint])
    other._file = f"{ended.pid}-0.figures"
    other.begin("manifest", "GET")
    other.begin("manifest", "GET")
    other.observe(exchange())
    other.save()
    found = samples(Metrics(shared=tmp_path))
    labels = {"route": "manifest", "method": "GET", "code": "200"}
    assert value(found, "jettison_http_requests_total", **labels) == 1
    assert value(found, "jettison_http_requests_in_flight", route="manifest") == 0
    assert value(found, "jettison_uploads_in_progress") == 0
    assert value(found, "jettison_notifications_queued", endpoint="hook") == 0
    assert value(found, "jettison_notifications_dropped_total", endpoint="hook") == 2


def test_a_folder_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    Metrics(shared=tmp_path / "gone").save()


def test_distributions_names_and_labels_are_its_own(registry: DockerRegistry) -> None:
    port = free_port()
    debug = {"addr": f"127.0.0.1:{port}", "prometheus": {"enabled": True}}
    registry.reconfigure(extra={"http": {"debug": debug}})
    registry.request("GET", "/v2/_catalog")
    main, registry.port = registry.port, port
    text = registry.request("GET", "/metrics").body.decode()
    registry.port = main
    theirs = {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    metrics = Metrics()
    metrics.begin("catalog", "GET")
    metrics.observe(exchange(route="catalog"))
    ours = {name: {label for label, _ in labels} for name, labels in samples(metrics)}
    for name in (name for name in ours if name.startswith("registry_http")):
        assert ours[name] == theirs[name]


def test_every_metric_is_documented(tmp_path: Path) -> None:
    metrics = some_metrics(tmp_path)
    metrics.begin("upload", "POST")
    metrics.observe(exchange(route="upload", method="POST"))
    _, text = metrics.render()
    names = set(re.findall(r"^# TYPE (\S+)", text.decode(), re.MULTILINE))
    documented = set(re.findall(r"^\| `([a-z_]+)`", PAGE.read_text("utf-8"), re.MULTILINE))
    assert {name for name in names if not name.startswith("process_")} == {
        name
        for name in documented
        if name.startswith(("jettison_", "registry_")) and not name.startswith("jettison_gc_")
    }


def test_counting_takes_no_prometheus_client() -> None:
    code = (
        "import sys; from jettison.server import observing; observing.Metrics();"
        "sys.exit(bool({'prometheus_client', 'aiohttp'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
