"""From a configuration to a server that listens, and that ends what it has begun when told to stop.

One process serves; with ``jettison.workers`` several share the listening socket, and one more
watches over them. All that they have in common is the tree.
"""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from jettison.configuration import Configuration, is_local
from jettison.configuration.settings import Http
from jettison.errors import StorageError
from jettison.server.access import make_guard
from jettison.server.allocation import keep_memory
from jettison.server.api.app import RegistryApp
from jettison.server.api.context import Context
from jettison.server.api.events import Events
from jettison.server.http.sharing import Buffers
from jettison.server.http.tls import keep_certificate_fresh, make_context
from jettison.server.messages import log_messages
from jettison.server.observing import AccessLog, Exchange, Health, Metrics, Notifier, debug_app
from jettison.server.placement import Placement
from jettison.server.pruning import RetentionKeeper
from jettison.server.purging import keep_purging
from jettison.server.running import http_server, listen_at, serve_until_told
from jettison.server.shares import shares_of
from jettison.server.workers import call_apart, watch_over
from jettison.storage.opening import make_storage
from jettison.storage.protocol import Storage

__all__ = ["serve", "warn_of_the_open"]

_NOT_FOR_OTHERS: Final = 0o027
"""Bits of a mode: images and uploads are no business of the machine's other users."""

_BUFFERED: Final = 64 * 1024 * 1024
_BUFFERED_EACH: Final = 32 * 1024
"""Bytes of bodies that are not on the disk yet: for all connections, and for each beside that."""

_OWN_FILES: Final = 128
"""Files that are open whatever clients do: threads, sockets, folders, the log."""

_FILES_EACH: Final = 2
"""Files that a client may take up: its connection, and what it sends or gets."""

_log: Final = logging.getLogger(__name__)


def serve(
    configuration: Configuration,
    announce: Callable[[str], None],
    make: Callable[[Configuration], Storage] = make_storage,
) -> None:
    """Serve until SIGTERM or SIGINT; then finish the requests that are under way, and return.

    ``announce`` is told the URL as soon as clients can connect; ``make`` opens the storage. Raises
    :class:`~jettison.errors.ConfigurationError` or :class:`~jettison.errors.StorageError` before
    that if anything that the configuration names cannot be used.
    """
    log_messages(configuration.log)
    for warning in configuration.warnings:
        _log.warning("%s", warning)
    warn_of_the_open(configuration)
    configuration = _within_files(configuration)
    make_guard(configuration.auth, configuration.access).close()
    http = configuration.http
    context = None if http.tls is None else make_context(http.tls)
    with contextlib.ExitStack() as stack:
        listening = listen_at(http.addr, http.net, "http.addr")
        stack.callback(listening.close)
        debug = None if http.debug is None else listen_at(http.debug.addr, "tcp", "http.debug.addr")
        if debug is not None:
            stack.callback(debug.close)
        # Not before: who may connect to a local socket is the operator's umask to say.
        os.umask(os.umask(_NOT_FOR_OTHERS) | _NOT_FOR_OTHERS)
        opened = _opened(configuration, make)
        shared = None
        if configuration.workers > 1:
            shared = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jettison-")))
        url = _url(http, listening)

        def work(number: int, ready: Callable[[], None]) -> None:
            own = debug if number == 0 else None
            server = _Server(configuration, opened(), (listening, own), context, shared)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(server.run(ready, first=number == 0))

        if configuration.workers == 1:
            work(0, lambda: announce(url))
        else:
            watch_over(configuration.workers, work, lambda: announce(url))
        if http.net == "unix":
            Path(http.addr).unlink(missing_ok=True)


def _opened(
    configuration: Configuration, make: Callable[[Configuration], Storage]
) -> Callable[[], Storage]:
    """Return what gives each worker its storage: that of all, or one of its own if that is needed.

    Of a storage that is far away one question is asked, so that a server that cannot reach it, or
    has no right to it, does not start.
    """
    storage = make(configuration)
    readonly = configuration.storage.readonly
    if storage.features.forks or configuration.workers == 1:
        if not storage.features.local:
            _check_health(storage, readonly=readonly)
        return lambda: storage
    if not storage.features.local:
        # Asked here, it could not be asked again by those that are forked.
        call_apart(lambda: _check_health(make(configuration), readonly=readonly))
    return lambda: make(configuration)


def _check_health(storage: Storage, *, readonly: bool) -> None:
    try:
        storage.monitoring().check_health(write=not readonly)
        if not readonly:
            storage.require_strong_listing()
    except StorageError as error:
        message = f"cannot serve {storage.location}: {error.message}"
        raise StorageError(message, hint=error.hint) from error


def warn_of_the_open(configuration: Configuration) -> None:
    """Say it where anybody on the network may read and write."""
    http = configuration.http
    if configuration.auth is None and http.net == "tcp" and not is_local(http.addr):
        _log.warning(
            "NO LOGIN: whoever reaches %s may pull%s from this registry; set auth "
            "(docs/access.md), or http.addr: 127.0.0.1:PORT",
            *(http.addr, _left_open(configuration)),
        )
    if http.debug is not None and not is_local(http.debug.addr):
        _log.warning(
            "NO LOGIN: whoever reaches %s may read health and metrics; set http.debug.addr: "
            "127.0.0.1:PORT",
            http.debug.addr,
        )


def _left_open(configuration: Configuration) -> str:
    storage = configuration.storage
    if storage.readonly:
        return ""
    if configuration.access:
        return " and do whatever else jettison.access allows everybody"
    return ", push and delete" if storage.delete_enabled else " and push"


def _within_files(configuration: Configuration) -> Configuration:
    """Ask for as many open files as all connections need, or take fewer connections.

    With none left no connection could be taken and no file be opened, for anybody.
    """
    limits = configuration.limits
    wanted = _OWN_FILES + _FILES_EACH * limits.connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft != hard:  # a negative one is none
        # As many as there may be: who is still at TLS has one too, and is no connection yet.
        soft = hard if hard >= 0 else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft < 0:
        return configuration
    most = max(1, (soft - _OWN_FILES) // _FILES_EACH)
    if most >= limits.connections:
        return configuration
    _log.warning(
        "jettison.limits.connections is %d, but a process may open %d files (ulimit -n): "
        "%d connections are taken",
        *(limits.connections, soft, most),
    )
    limits = msgspec.structs.replace(limits, connections=most)
    return msgspec.structs.replace(configuration, limits=limits)


class _Observer:
    """The access log and the metrics, told of each request."""

    def __init__(self, log: AccessLog, metrics: Metrics) -> None:
        self.begin = metrics.begin
        self._observe = metrics.observe
        self._write = log.write

    def end(self, exchange: Exchange) -> None:
        self._observe(exchange)
        self._write(exchange)


class _Server:
    """What one process runs."""

    def __init__(
        self,
        configuration: Configuration,
        storage: Storage,
        sockets: tuple[socket.socket, socket.socket | None],
        tls: ssl.SSLContext | None,
        shared: Path | None,
    ) -> None:
        self._configuration = configuration
        self._storage = storage
        self._socket, self._debug_socket = sockets
        self._tls = tls
        self._shared = shared

    async def run(self, ready: Callable[[], None], *, first: bool) -> None:
        """Serve until told to stop; the ``first`` process also does what only one has to do."""
        configuration = self._configuration
        async with contextlib.AsyncExitStack() as stack:
            executor = ThreadPoolExecutor(shares_of(self._storage.features).threads, "disk")
            stack.callback(executor.shutdown)
            notifier = Notifier(configuration.notifications, configuration.http.addr)
            await notifier.start()
            stack.push_async_callback(notifier.stop, configuration.http.drain_timeout)
            log = AccessLog(configuration.log)
            stack.callback(log.close)
            buffers = Buffers(_BUFFERED + _BUFFERED_EACH * configuration.limits.connections)
            placement = Placement()
            stack.callback(placement.let_go)
            events = Events(notifier)
            context = Context(configuration, self._storage, events, executor, buffers, placement)
            run = partial(context.run, "")
            await context.pulls.start(run)
            stack.push_async_callback(context.pulls.stop, run)
            monitoring = self._storage.monitoring()
            keeper = self._keeper(context)
            metrics = Metrics(
                monitoring,
                endpoints=notifier.figures,
                lines_dropped=lambda: log.dropped,
                uploads=context.sessions.count,
                retention=None if keeper is None else keeper.figures,
                shared=self._shared,
            )
            await metrics.start()
            stack.push_async_callback(metrics.stop)
            settings = configuration.storage
            health = Health(configuration.health, monitoring, readonly=settings.readonly)
            await health.start()
            stack.push_async_callback(health.stop)
            guard = make_guard(configuration.auth, configuration.access)
            stack.callback(guard.close)
            app = RegistryApp(context, guard, _Observer(log, metrics), lambda: health.failing)
            if first and settings.purging.enabled and not settings.readonly:
                await stack.enter_async_context(_task(keep_purging(context, settings.purging)))
            if first and keeper is not None:
                await stack.enter_async_context(_task(keeper.keep_pruning()))
            if self._tls is not None and configuration.http.tls is not None:
                fresh = keep_certificate_fresh(self._tls, configuration.http.tls)
                await stack.enter_async_context(_task(fresh))
            limits, drain_timeout = configuration.limits, configuration.http.drain_timeout
            server = http_server(app, limits, drain_timeout, self._tls, buffers)
            servers = [(server, self._socket)]
            debug = configuration.http.debug
            if debug is not None and self._debug_socket is not None:
                shown = metrics if debug.prometheus else None
                debugging = debug_app(health, shown, debug.prometheus_path)
                server = http_server(debugging, limits, drain_timeout, None, buffers)
                servers.append((server, self._debug_socket))
            keep_memory()
            # What is here now stays: the garbage collector need not look at it again.
            gc.collect()
            gc.freeze()
            await serve_until_told(servers, ready)

    def _keeper(self, context: Context) -> RetentionKeeper | None:
        """Return what prunes by a schedule, if the configuration has one."""
        configuration = self._configuration
        path, settings = configuration.path, configuration.retention
        if path is None or settings is None:
            return None
        return RetentionKeeper(path, settings, self._storage, partial(context.run, ""))


@contextlib.asynccontextmanager
async def _task(coroutine: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _url(http: Http, listening: socket.socket) -> str:
    if http.net == "unix":
        return f"unix:{http.addr}"
    host, port = listening.getsockname()[:2]
    scheme = "http" if http.tls is None else "https"
    host = {"::": "localhost", "0.0.0.0": "localhost"}.get(host, host)  # noqa: S104 - shown only
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{http.prefix}"
