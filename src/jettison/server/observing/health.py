"""Health: checks that run in the background, by the section ``health`` of the configuration.

A check that fails ``threshold`` times in a row makes the server unhealthy; one success makes it
healthy again. Names and reasons are Distribution's, if it has them.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from jettison.configuration.settings import (
    FileCheck,
    HttpCheck,
    StorageHealth,
    TcpCheck,
    without_login,
)
from jettison.configuration.settings import Health as HealthSettings
from jettison.errors import StorageError
from jettison.storage.protocol import Monitoring

if TYPE_CHECKING:
    import aiohttp

__all__ = ["STORAGE", "Health"]

STORAGE: Final = "storagedriver_filesystem"
_STUCK_SECONDS: Final = 10.0
"""How long a probe of the storage may take before it counts as failed."""

_UNSET_SECONDS: Final = 60.0
"""How long a check without a timeout of its own may take: one that hangs has failed."""

Check = Callable[[], Awaitable[str | None]]


class Health:
    """Runs the checks between :meth:`start` and :meth:`stop`.

    ``storage`` is looked at too. A ``readonly`` registry is not probed with a write.
    """

    def __init__(
        self, settings: HealthSettings, storage: Monitoring, *, readonly: bool = False
    ) -> None:
        self._failing: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._storage = _StorageProbe(storage, readonly=readonly)
        self._settings = settings

    @property
    def failing(self) -> bool:
        """Whether any check fails; cheap enough for every request."""
        return bool(self._failing)

    def status(self) -> dict[str, str]:
        """Return the reason of each failing check by its name."""
        return dict(sorted(self._failing.items()))

    async def start(self) -> None:
        """Begin to check, each check at once and then every ``interval`` seconds."""
        settings = self._settings
        if settings.http:
            # Imported here: most registries check no URL, and need not have the memory for it.
            import aiohttp  # noqa: PLC0415 - see above

            self._session = aiohttp.ClientSession(
                trust_env=True, cookie_jar=aiohttp.DummyCookieJar()
            )
        if settings.storage.enabled:
            self._begin(STORAGE, self._storage.check, settings.storage)
        for file in settings.files:
            self._begin(str(file.file), _file_check(file), file)
        for tcp in settings.tcp:
            self._begin(tcp.addr, _tcp_check(tcp), tcp)
        if self._session is not None:
            for http in settings.http:
                self._begin(without_login(http.uri), _http_check(http, self._session), http)

    async def stop(self) -> None:
        """End all checks; the last status stays."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _begin(
        self, name: str, check: Check, settings: StorageHealth | FileCheck | HttpCheck | TcpCheck
    ) -> None:
        watch = self._watch(name, check, settings.interval, max(settings.threshold, 1))
        self._tasks.append(asyncio.create_task(watch))

    async def _watch(self, name: str, check: Check, interval: float, threshold: int) -> None:
        failures = 0
        while True:
            try:
                reason = await check()
            except Exception as error:  # noqa: BLE001 - a check that breaks is one that fails
                reason = f"the check itself fails: {type(error).__name__}"
            failures = failures + 1 if reason is not None else 0
            if reason is None:
                self._failing.pop(name, None)
            elif failures >= threshold:
                self._failing[name] = reason
            await asyncio.sleep(interval)


class _StorageProbe:
    """Probes the storage in a thread, one probe at a time, even if one hangs for ever."""

    def __init__(self, storage: Monitoring, *, readonly: bool) -> None:
        self._storage = storage
        self._readonly = readonly
        self._seen = False
        self._running: asyncio.Future[bool] | None = None

    async def check(self) -> str | None:
        # A probe that hung may have come back in the meantime.
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(asyncio.to_thread(self._probe))
        try:
            async with asyncio.timeout(_STUCK_SECONDS):
                there = await asyncio.shield(self._running)
        except TimeoutError:
            return f"the storage does not answer within {_STUCK_SECONDS:g} s"
        except StorageError as error:
            return f"the storage fails: {error.message}"
        # Before the first push there need not be anything.
        return "the storage tree is gone" if self._seen and not there else None

    def _probe(self) -> bool:
        there = self._storage.check_health(write=not self._readonly)
        self._seen = self._seen or there
        return there


def _file_check(settings: FileCheck) -> Check:
    async def check() -> str | None:
        return "file exists" if await asyncio.to_thread(os.path.lexists, settings.file) else None

    return check


def _tcp_check(settings: TcpCheck) -> Check:
    host, _, port = settings.addr.rpartition(":")

    async def check() -> str | None:
        try:
            async with asyncio.timeout(settings.timeout or _UNSET_SECONDS):
                _, writer = await asyncio.open_connection(host.strip("[]") or "127.0.0.1", port)
        except (OSError, ValueError, OverflowError):
            return f"connection to {settings.addr} failed"
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return None

    return check


def _http_check(settings: HttpCheck, session: "aiohttp.ClientSession") -> Check:
    import aiohttp  # noqa: PLC0415 - already imported by start

    headers = [(name, text) for name, texts in settings.headers.items() for text in texts]
    limit = aiohttp.ClientTimeout(total=settings.timeout or _UNSET_SECONDS)

    async def check() -> str | None:
        try:
            async with session.head(
                settings.uri, headers=headers, timeout=limit, allow_redirects=True
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, ValueError):
            return f"error while checking: {without_login(settings.uri)}"
        if status == settings.status:
            return None
        return f"downstream service returned unexpected status: {status}"

    return check
