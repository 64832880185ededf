"""A real redis-server for tests, on a loopback port, keeping nothing on the disk."""

import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis, RedisError

from jettison.configuration.settings import RedisServer, RedisTls
from tests.support.missing import need
from tests.support.registry import free_port

START_SECONDS = 60.0


class Server:
    """One `redis-server`, its folder and its log, ended by its own id.

    `username` and `password` are what its login asks for; `tls` is a folder with server.crt,
    server.key and ca.crt; `unix` is a socket that it makes as well.
    """

    def __init__(
        self,
        base: Path,
        *,
        password: str | None = None,
        username: str | None = None,
        tls: Path | None = None,
        unix: Path | None = None,
    ) -> None:
        need("redis-server")
        self.base = base
        self.tls = tls
        self.unix = unix
        self.password = password
        self.username = username
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def at(self, db: int = 0) -> RedisServer:
        tls = None if self.tls is None else RedisTls(authorities=(str(self.tls / "ca.crt"),))
        return RedisServer("127.0.0.1", self.port, self.username, self.password, db, tls)

    def client(self, db: int = 0, *, raw: bool = False) -> Redis:
        """A client of one of its databases, `raw` if answers are to stay bytes; close it."""
        return Redis(
            port=self.port,
            db=db,
            username=self.username,
            password=self.password,
            decode_responses=not raw,
            ssl=self.tls is not None,
            ssl_ca_certs=None if self.tls is None else str(self.tls / "ca.crt"),
        )

    def start(self) -> Self:
        self.base.mkdir(parents=True, exist_ok=True)
        for _ in range(20):
            self.port = free_port()
            if self._serve():
                return self
        raise RuntimeError(f"redis-server does not start: {self._log.read_text()}")

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        return self.base / "redis.log"

    def _serve(self) -> bool:
        options = ["--port", str(self.port)]
        if self.tls is not None:
            options = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            options += ["--tls-cert-file", str(self.tls / "server.crt")]
            options += ["--tls-key-file", str(self.tls / "server.key")]
            options += ["--tls-ca-cert-file", str(self.tls / "ca.crt")]
        options += ["--bind", "127.0.0.1", "--dir", str(self.base)]
        options += ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
        if self.unix is not None:
            options += ["--unixsocket", str(self.unix)]
        if self.username is not None:
            options += ["--user", self.username, "on", f">{self.password}", "~*", "&*", "+@all"]
            options += ["--user", "default", "off"]
        elif self.password is not None:
            options += ["--requirepass", self.password]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["redis-server", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with self.client() as client:
                    if client.info("server")["process_id"] == self._process.pid:
                        return True
            except RedisError:  # not up yet, or another server took the port
                time.sleep(0.02)
        self.stop()
        return False
