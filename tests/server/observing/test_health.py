"""Health: each kind of check, failing and recovering, and a storage that misbehaves."""

import asyncio
import errno
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from jettison.configuration.settings import FileCheck, HttpCheck, StorageHealth, TcpCheck
from jettison.configuration.settings import Health as HealthSettings
from jettison.server.observing import Health
from jettison.server.observing import health as module
from jettison.server.observing.health import STORAGE
from jettison.storage.filesystem.monitoring import TreeMonitor
from tests.server.observing.sinks import Sink, serving
from tests.support.registry import RegistryFactory, free_port

INTERVAL = 0.02


async def until(health: Health, expected: dict[str, str]) -> None:
    async with asyncio.timeout(20):
        while health.status() != expected:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)
    assert health.failing == bool(expected)


async def test_nothing_to_check_is_healthy(tmp_path: Path) -> None:
    health = Health(HealthSettings(), TreeMonitor(tmp_path))
    await health.start()
    assert health.status() == {}
    await health.stop()


async def test_a_file_says_that_the_server_is_down(tmp_path: Path) -> None:
    file = tmp_path / "down"
    settings = HealthSettings(files=(FileCheck(file, interval=INTERVAL),))
    health = Health(settings, TreeMonitor(tmp_path))
    await health.start()
    await until(health, {})
    file.touch()
    await until(health, {str(file): "file exists"})
    file.unlink()
    await until(health, {})
    await health.stop()


async def test_a_url_is_asked_with_head(tmp_path: Path) -> None:
    seen: list[web.BaseRequest] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0)
        seen.append(request)
        return web.Response(status=sink.status)

    sink = Sink()
    sink.handle = handle  # type: ignore[method-assign] # this one is asked, not told
    async with serving(sink):
        sink.status = 204
        headers: dict[str, tuple[str, ...]] = {"X-Check": ("yes",)}
        check = HttpCheck(sink.url, 204, headers, timeout=5, interval=INTERVAL, threshold=2)
        health = Health(HealthSettings(http=(check,)), TreeMonitor(tmp_path))
        await health.start()
        async with asyncio.timeout(20):
            while not seen:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.005)
        assert seen[0].method == "HEAD"
        assert seen[0].headers["X-Check"] == "yes"
        name = sink.url.replace("?x=1", "?…")
        sink.status = 500
        await until(health, {name: "downstream service returned unexpected status: 500"})
        sink.status = 204
        await until(health, {})
    await until(health, {name: f"error while checking: {name}"})
    await health.stop()


async def test_a_url_shows_no_secret(tmp_path: Path) -> None:
    check = HttpCheck("http://ann:hunter2@127.0.0.1:9/x?token=hunter2", interval=INTERVAL)
    health = Health(HealthSettings(http=(check,)), TreeMonitor(tmp_path))
    await health.start()
    name = "http://…@127.0.0.1:9/x?…"
    await until(health, {name: f"error while checking: {name}"})
    await health.stop()


async def test_an_address_must_take_connections(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    check = TcpCheck(address, timeout=5, interval=INTERVAL)
    health = Health(HealthSettings(tcp=(check,)), TreeMonitor(tmp_path))
    await health.start()
    await asyncio.sleep(3 * INTERVAL)
    assert health.status() == {}
    server.close()
    await until(health, {address: f"connection to {address} failed"})
    await health.stop()


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:x", "[::1]:99999", ":0"])
async def test_an_address_that_is_none_fails(tmp_path: Path, address: str) -> None:
    check = TcpCheck(address, timeout=5, interval=INTERVAL)
    health = Health(HealthSettings(tcp=(check,)), TreeMonitor(tmp_path))
    await health.start()
    await until(health, {address: f"connection to {address} failed"})
    await health.stop()


async def test_an_address_that_hangs_fails_also_without_a_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any, **__: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio, "open_connection", hang)
    monkeypatch.setattr(module, "_UNSET_SECONDS", 0.05)
    health = Health(
        HealthSettings(tcp=(TcpCheck("x:1", interval=INTERVAL),)), TreeMonitor(tmp_path)
    )
    await health.start()
    await until(health, {"x:1": "connection to x:1 failed"})
    await health.stop()


async def test_a_check_that_breaks_is_one_that_fails(tmp_path: Path) -> None:
    async def check() -> str | None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    health = Health(HealthSettings(), TreeMonitor(tmp_path))
    health._begin("x", check, FileCheck(tmp_path))
    await until(health, {"x": "the check itself fails: ZeroDivisionError"})
    await health.stop()


async def test_the_threshold_counts_failures_in_a_row(tmp_path: Path) -> None:
    health = Health(HealthSettings(), TreeMonitor(tmp_path))
    answers = iter([None, "a", "b", None, "c", "d", "e", "f"])
    seen = []

    async def check() -> str | None:
        await asyncio.sleep(0)
        seen.append(health.status().get("x"))
        return next(answers, None)

    health._begin("x", check, FileCheck(tmp_path, interval=0.0, threshold=3))
    async with asyncio.timeout(20):
        while len(seen) < 10:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
    await health.stop()
    assert seen[:10] == [None, None, None, None, None, None, None, "e", "f", None]


def storage_health(root: Path, **settings: Any) -> Health:
    return Health(HealthSettings(StorageHealth(True, INTERVAL, 1)), TreeMonitor(root), **settings)


async def test_the_storage_is_probed_and_nothing_stays(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    (root / "docker/registry/v2").mkdir(parents=True)
    health = storage_health(root)
    await health.start()
    await asyncio.sleep(5 * INTERVAL)
    assert health.status() == {}
    assert [path.name for path in root.iterdir()] == ["docker"]
    # The volume is unmounted, and mounted again.
    (root / "docker").rename(tmp_path / "away")
    await until(health, {STORAGE: "the storage tree is gone"})
    (tmp_path / "away").rename(root / "docker")
    await until(health, {})
    shutil.rmtree(root)
    await until(health, {STORAGE: "the storage tree is gone"})
    await health.stop()


async def test_a_storage_before_its_first_push_is_healthy(tmp_path: Path) -> None:
    health = storage_health(tmp_path / "not yet")
    await health.start()
    await asyncio.sleep(5 * INTERVAL)
    assert health.status() == {}
    await health.stop()


class Failing:
    """Makes the probe's write fail."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __call__(self, **_: Any) -> Any:
        raise OSError(self.code, "told to")


async def test_a_write_that_fails_is_unhealthy_unless_readonly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", Failing(errno.EROFS))
    health = storage_health(tmp_path)
    await health.start()
    await until(health, {STORAGE: "the storage fails: told to"})
    await health.stop()
    assert not TreeMonitor(tmp_path).check_health(write=False)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_still_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", Failing(code))
    assert not TreeMonitor(tmp_path).check_health(write=True)


async def test_a_storage_that_hangs_is_unhealthy_and_takes_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = threading.Event()
    started = []

    def check(_: TreeMonitor, *, write: bool) -> bool:
        started.append(write)
        return going_on.wait(20)

    monkeypatch.setattr(TreeMonitor, "check_health", check)
    monkeypatch.setattr(module, "_STUCK_SECONDS", 0.05)
    health = storage_health(tmp_path)
    await health.start()
    await until(health, {STORAGE: "the storage does not answer within 0.05 s"})
    await asyncio.sleep(0.2)
    assert len(started) == 1
    going_on.set()
    await until(health, {})
    await health.stop()


def test_names_and_reasons_are_the_real_registrys(
    registry_factory: RegistryFactory, tmp_path: Path
) -> None:
    down = tmp_path / "down"
    down.touch()
    closed = f"127.0.0.1:{free_port()}"
    debug = free_port()
    checks = {
        "file": [{"file": str(down), "interval": "100ms"}],
        "tcp": [{"addr": closed, "interval": "100ms", "timeout": "1s", "threshold": 1}],
        "http": [{"uri": f"http://{closed}/x", "interval": "100ms", "threshold": 1}],
    }
    extra = {"health": checks, "http": {"debug": {"addr": f"127.0.0.1:{debug}"}}}
    registry = registry_factory(extra=extra)
    main, registry.port = registry.port, debug
    theirs: Any = {}
    for _ in range(200):
        answer = registry.request("GET", "/debug/health")
        theirs = answer.json
        if len(theirs) == 3:
            assert answer.status == 503
            break
    registry.port = main

    async def ours() -> None:
        settings = HealthSettings(
            files=(FileCheck(down),),
            tcp=(TcpCheck(closed, 1.0),),
            http=(HttpCheck(f"http://{closed}/x", timeout=1.0),),
        )
        health = Health(settings, TreeMonitor(tmp_path))
        await health.start()
        await until(health, theirs)
        await health.stop()

    asyncio.run(ours())
