"""Sockets that listen, and uvicorn's servers on them, which end in good order."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import uvicorn

from jettison import __version__
from jettison.configuration import parse_address
from jettison.configuration.settings import Limits
from jettison.errors import JettisonError
from jettison.server.http.connections import Connections
from jettison.server.http.protocol import Connection, limited_protocol
from jettison.server.http.sharing import Buffers
from jettison.server.http.tls_connections import TlsServer

__all__ = ["HttpServer", "http_server", "listen_at", "serve_until_told"]

_BACKLOG: Final = 2048
_LAST_SECONDS: Final = 5.0
"""How long requests that were cancelled may take to let go of their files."""


class HttpServer(uvicorn.Server):
    """uvicorn's server, which tells when it listens, and leaves nothing open behind it.

    ``handshake`` is how long a client may take for TLS, in seconds.
    """

    def __init__(self, config: uvicorn.Config, connections: Connections, handshake: float) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.servers: list[asyncio.Server] = []
        self._connections = connections
        self._handshake = handshake

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections."""
        config, loop, tls = self.config, asyncio.get_running_loop(), self.config.ssl

        def make(left: Callable[[], None] | None = None) -> Connection:
            kind = cast("type[Connection]", config.http_protocol_class)
            return kind(config, self.server_state, {}, loop, left)

        for one in sockets or ():
            if tls is None:
                server = await loop.create_server(make, sock=one, backlog=config.backlog)
            else:
                own = TlsServer(one, self._connections, make, tls, self._handshake)
                server = cast("asyncio.Server", own)  # uvicorn only closes it
            self.servers.append(server)
        self.started = True
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is under way, in time."""
        await super().shutdown(sockets)
        # Whoever has not taken the rest of an answer by now would be waited for without end.
        self._connections.abort()
        remaining = list(self.server_state.tasks)
        if remaining:
            await asyncio.wait(remaining, timeout=_LAST_SECONDS)
        await asyncio.sleep(0)  # what was aborted is closed in the loop's next turn


def http_server(
    app: Callable[..., object],
    limits: Limits,
    drain_timeout: float,
    tls: ssl.SSLContext | None,
    buffers: Buffers,
) -> HttpServer:
    """Return a server of ``app``; requests that are under way when it ends have some seconds."""
    connections = Connections(limits.connections, limits.body_timeout)
    config = uvicorn.Config(
        app,
        http=limited_protocol(limits, connections, buffers),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=[("server", f"Jettison/{__version__}")],
        timeout_keep_alive=max(1, round(limits.keepalive_timeout)),
        timeout_graceful_shutdown=max(1, round(drain_timeout)),
        backlog=_BACKLOG,
    )
    config.load()
    config.ssl = tls
    return HttpServer(config, connections, limits.header_timeout)


async def serve_until_told(
    servers: list[tuple[HttpServer, socket.socket]], ready: Callable[[], None]
) -> None:
    """Serve until SIGTERM or SIGINT; ``ready`` is called as soon as clients can connect."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for server, _ in servers:
            # A second signal does not wait for anybody.
            server.force_exit = server.should_exit
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    tasks = [
        # Not `serve`, which would take the signals and, when all is done, raise them again.
        asyncio.create_task(server._serve([own.dup()]))  # noqa: SLF001 - see above
        for server, own in servers
    ]
    listening = asyncio.gather(*(server.listening.wait() for server, _ in servers))
    first: list[asyncio.Future[Any]] = [listening, *tasks]
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    if listening.done():
        ready()
    await asyncio.gather(*tasks)


def listen_at(addr: str, net: str, key: str) -> socket.socket:
    """Return a socket that clients can connect to from now on."""
    try:
        if net == "unix":
            return _listen_locally(Path(addr))
        host, port = parse_address(addr)
        family = socket.AF_INET6 if ":" in host or not host else socket.AF_INET
        dual = not host and socket.has_dualstack_ipv6()
        if not dual and not host:
            family = socket.AF_INET
        if host and ":" not in host:
            [(family, _, _, _, found), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            host = str(found[0])
        return socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=dual
        )
    except OSError as error:
        message = f"{key}: cannot listen on {addr}: {error.strerror or error}"
        hint = "Another registry may be running; stop it, or choose another address."
        raise JettisonError(message, hint=hint) from None


def _listen_locally(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode):
            path.unlink()  # left by a server that was killed
    found = socket.socket(socket.AF_UNIX)
    found.bind(os.fspath(path))
    found.listen(_BACKLOG)
    return found
