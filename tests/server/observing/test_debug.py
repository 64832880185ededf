"""The debug address: health and metrics, for whoever may reach it."""

import json
from pathlib import Path
from typing import Any

import pytest

from jettison.configuration.settings import Health as HealthSettings
from jettison.server.observing import Health, Metrics, debug_app
from jettison.storage.filesystem.monitoring import TreeMonitor
from tests.server.observing.exchanges import exchange


async def ask(app: Any, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    sent = []

    async def receive() -> dict[str, Any]:
        raise NotImplementedError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app({"type": "http", "method": method, "path": path}, receive, send)
    start, body = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, body["body"]


@pytest.fixture
def health(tmp_path: Path) -> Health:
    return Health(HealthSettings(), TreeMonitor(tmp_path))


async def test_health(health: Health) -> None:
    app = debug_app(health)
    status, headers, body = await ask(app, "/debug/health")
    assert (status, body) == (200, b"{}")
    assert headers["content-type"] == "application/json; charset=utf-8"
    health._failing["x"] = "broken"
    status, _, body = await ask(app, "/debug/health")
    assert status == 503
    assert json.loads(body) == {"x": "broken"}


async def test_metrics_have_a_path_of_their_own(health: Health) -> None:
    metrics = Metrics()
    metrics.observe(exchange())
    app = debug_app(health, metrics, "/figures")
    status, headers, body = await ask(app, "/figures")
    assert status == 200
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b"jettison_http_requests_total{" in body
    assert (await ask(app, "/metrics"))[0] == 404


async def test_without_prometheus_there_are_no_metrics(health: Health) -> None:
    status, _, body = await ask(debug_app(health), "/metrics")
    assert (status, body) == (404, b"404 page not found\n")


async def test_head_and_other_methods(health: Health) -> None:
    status, headers, body = await ask(debug_app(health), "/debug/health", "HEAD")
    assert (status, headers["content-length"], body) == (200, "2", b"")
    status, headers, _ = await ask(debug_app(health), "/debug/health", "POST")
    assert (status, headers["allow"]) == (405, "GET, HEAD")


async def test_it_takes_part_in_the_servers_life(health: Health) -> None:
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await debug_app(health)({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
