"""The figures as Prometheus reads them.

``jettison_…`` are Jettison's. ``registry_…`` are Distribution's, exported if they mean the same
here, so that its dashboards and alerts keep working.
"""

import platform
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from importlib import metadata
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from jettison.server.observing.metrics import (
    BOUNDS,
    EndpointFigures,
    Figures,
    RetentionFigures,
    Series,
)
from jettison.storage.protocol import Monitoring
from jettison.storage.scheduled_runs import RunResult

__all__ = ["exposition"]

_REGISTRY_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def exposition(
    figures: Figures, storage: Monitoring | None, retention: RetentionFigures | None = None
) -> tuple[str, bytes]:
    """Return the media type and the text for all figures; ``storage`` is looked at.

    The figures ``process_…`` are those of the calling process.
    """
    registry = CollectorRegistry(auto_describe=False)
    found = [*_families(figures), *_storage(storage), _build()]
    found += () if retention is None else _retention(retention)
    registry.register(_Prepared(found))
    ProcessCollector(registry=registry)
    return CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry)


class _Prepared(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(figures: Figures) -> Iterator[Metric]:
    series = []
    for name, found in sorted(figures.series.items()):
        route, _, method = name.partition(" ")
        series.append((route, method, found))
    yield from _requests("jettison_http", "route", BOUNDS, series)
    yield from _sizes(series)
    # Distribution does not count what none of its routes matched.
    known = [
        (_handler(route, method), method.lower(), found)
        for route, method, found in series
        if route != "other"
    ]
    yield from _requests("registry_http", "handler", _REGISTRY_BOUNDS, known)
    uploads = GaugeMetricFamily("jettison_uploads_in_progress", "Uploads that are being received.")
    uploads.add_metric((), figures.uploads)
    yield uploads
    lines = CounterMetricFamily(
        "jettison_access_log_dropped_lines", "Lines that the output did not take in time."
    )
    lines.add_metric((), figures.lines_dropped)
    yield lines
    if figures.endpoints:
        yield from _notifications(list(figures.endpoints.values()))


def _requests(
    prefix: str, label: str, bounds: tuple[float, ...], series: list[tuple[str, str, Series]]
) -> Iterator[Metric]:
    names = (label, "method")
    total = CounterMetricFamily(
        f"{prefix}_requests", "Requests that were answered.", labels=(*names, "code")
    )
    durations = HistogramMetricFamily(
        f"{prefix}_request_duration_seconds",
        "How long requests took, from their first byte to the last one of the answer.",
        labels=names,
    )
    flying: dict[str, int] = {}
    for name, method, found in series:
        flying[name] = flying.get(name, 0) + max(found.begun - found.finished, 0)
        for code, count in sorted(found.codes.items()):
            total.add_metric((name, method, str(code)), count)
        if found.codes:
            durations.add_metric((name, method), _buckets(found, bounds), found.seconds)
    yield total
    yield durations
    ours = prefix.startswith("jettison")
    gauge = "requests_in_flight" if ours else "in_flight_requests"
    in_flight = GaugeMetricFamily(
        f"{prefix}_{gauge}", "Requests that are being answered.", labels=(label,)
    )
    for name, count in flying.items():
        in_flight.add_metric((name,), count)
    yield in_flight


def _buckets(series: Series, bounds: tuple[float, ...]) -> list[tuple[str, float]]:
    below = dict(zip(BOUNDS, accumulate(series.buckets), strict=False))
    found: list[tuple[str, float]] = [(str(bound), below[bound]) for bound in bounds]
    return [*found, ("+Inf", sum(series.buckets))]


def _sizes(series: list[tuple[str, str, Series]]) -> Iterator[Metric]:
    labels = ("route", "method")
    received = CounterMetricFamily(
        "jettison_http_received_bytes", "Bytes of the bodies of requests.", labels=labels
    )
    sent = CounterMetricFamily(
        "jettison_http_sent_bytes", "Bytes of the bodies of answers.", labels=labels
    )
    for route, method, found in series:
        received.add_metric((route, method), found.received)
        sent.add_metric((route, method), found.sent)
    yield received
    yield sent


def _notifications(endpoints: list[EndpointFigures]) -> Iterator[Metric]:
    def gauge(name: str, text: str, value: Callable[[EndpointFigures], int]) -> Metric:
        family = GaugeMetricFamily(name, text, labels=("endpoint",))
        for endpoint in endpoints:
            family.add_metric((endpoint.name,), value(endpoint))
        return family

    def counter(name: str, text: str, value: Callable[[EndpointFigures], int]) -> Metric:
        family = CounterMetricFamily(f"jettison_notifications_{name}", text, labels=("endpoint",))
        for endpoint in endpoints:
            family.add_metric((endpoint.name,), value(endpoint))
        return family

    waiting = "Events that wait to be sent."
    yield gauge("jettison_notifications_queued", waiting, lambda e: e.queued)
    yield counter("sent", "Events that an endpoint accepted.", lambda e: e.sent)
    failed = "Attempts to send that failed; each is repeated."
    yield counter("failed", failed, lambda e: e.refused + e.errors)
    yield counter("dropped", "Events that were never sent.", lambda e: e.dropped)
    yield gauge("registry_notifications_pending_total", waiting, lambda e: e.queued)
    events = CounterMetricFamily(
        "registry_notifications_events",
        "Events by what became of them.",
        labels=("type", "endpoint"),
    )
    statuses = CounterMetricFamily(
        "registry_notifications_status", "Answers of endpoints.", labels=("code", "endpoint")
    )
    for endpoint in endpoints:
        events.add_metric(("Events", endpoint.name), endpoint.accepted)
        events.add_metric(("Successes", endpoint.name), endpoint.sent)
        events.add_metric(("Failures", endpoint.name), endpoint.refused)
        events.add_metric(("Errors", endpoint.name), endpoint.errors)
        for status, count in sorted(endpoint.statuses.items()):
            statuses.add_metric((_status(status), endpoint.name), count)
    yield events
    yield statuses


def _storage(storage: Monitoring | None) -> Iterator[Metric]:
    found = None if storage is None else storage.capacity()
    if found is None:
        return  # An absent figure is truer than a zero.
    size = GaugeMetricFamily("jettison_storage_size_bytes", "Size of the storage's file system.")
    size.add_metric((), found.size)
    yield size
    text = "Free on the storage's file system, for those who are not root."
    free = GaugeMetricFamily("jettison_storage_free_bytes", text)
    free.add_metric((), found.free)
    yield free


def _retention(figures: RetentionFigures) -> Iterator[Metric]:
    def gauge(name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"jettison_retention_{name}", text)
        family.add_metric((), value)
        return family

    yield gauge("next_run_timestamp_seconds", "When the schedule comes next.", figures.next)
    last = figures.last
    if last is None:
        return
    yield gauge("last_run_timestamp_seconds", "When the last run ended.", last.ended)
    if last.succeeded is not None:
        text = "When a run last did all that the policy says."
        yield gauge("last_success_timestamp_seconds", text, last.succeeded)
    results = GaugeMetricFamily(
        "jettison_retention_last_run_result", "1 for how the last run ended.", labels=("result",)
    )
    for result in RunResult:
        results.add_metric((result,), float(result is last.result))
    yield results
    yield gauge("last_run_removed_tags", "Tags that the last run removed.", last.tags)
    text = "Manifests that the last run removed."
    yield gauge("last_run_removed_manifests", text, last.manifests)
    text = "What a collection may free of what the last run removed."
    yield gauge("last_run_removed_bytes", text, last.bytes)
    text = "What the collection after the last run freed."
    yield gauge("last_run_freed_bytes", text, last.freed)


def _build() -> Metric:
    info = InfoMetricFamily("jettison_build", "The program that runs.")
    values = {"version": metadata.version("jettison"), "python": platform.python_version()}
    info.add_metric((), values)
    return info


def _handler(route: str, method: str) -> str:
    """Return Distribution's name for a route."""
    if route == "upload":
        return "blob_upload" if method == "POST" else "blob_upload_chunk"
    return route


def _status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return f"{code} "
