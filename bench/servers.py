"""The two servers as processes: started, asked, weighed, stopped."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Self

from bench.memory import family, fields
from bench.programs import BenchError

__all__ = ["NAMES", "OTHERS", "Server", "Usage", "require", "serve_command"]

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
GLANCE: Final = 0.002
SETTLE_SECONDS: Final = 0.5
KIB: Final = 1024

JETTISON: Final = str(Path(sys.executable).with_name("jettison"))
OTHERS: Final = ("docker-registry", "Distribution 3")
"""Whom Jettison can be measured beside."""
NAMES: Final = (OTHERS[0], "Jettison")
COMMANDS: Final[Mapping[str, str]] = {
    "docker-registry": "docker-registry",
    "Jettison": JETTISON,
    "Distribution 3": "registry",
}

CONFIG: Final = """\
version: 0.1
storage:
{driver}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:{port}
catalog:
  maxentries: 100000
tags:
  maxtags: 100000
"""
FILES: Final = """\
  filesystem:
    rootdirectory: {root}"""


def serve_command(name: str, config: Path) -> list[str]:
    """Return what starts the server of that name."""
    return [COMMANDS[name], "serve", str(config)]


def require(name: str) -> None:
    """Raise :class:`BenchError` if a server's program is absent."""
    if shutil.which(COMMANDS[name]) is None:
        raise BenchError(f"{COMMANDS[name]} not found; run `make setup` first")


class Usage(NamedTuple):
    """Memory in bytes, over all of a server's processes: now, and at its highest.

    Of one process the resident memory (RSS). Of several, now: in proportion (PSS), so that what
    they share counts once; at the highest: the sum of their own peaks, which may be too much.
    """

    now: int
    peak: int


@dataclass
class Server:
    """One server on one storage, its configuration and its log below ``folder``.

    Its settings are those that it ships with: it logs every request, to a file as a service does.
    The ceilings of listings are lifted, so that a listing can be asked for in one piece.
    """

    name: str
    folder: Path
    root: Path
    environment: Mapping[str, str]
    driver: str | None = None
    """The lines of the storage's driver in the configuration; None for files below ``root``."""
    port: int = field(default=0, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> float:
        """Start it; return the seconds until it answered its first request with 200."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        config = self.folder / "config.yml"
        driver = self.driver or FILES.format(root=json.dumps(str(self.root)))
        config.write_text(CONFIG.format(driver=driver, port=self.port), encoding="utf-8")
        with self._log.open("ab") as log:
            began = time.perf_counter()
            self._process = subprocess.Popen(
                serve_command(self.name, config),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while not _answers(self.port):
            if self._process.poll() is not None:
                raise BenchError(f"{self.name} ended\n{self.log_tail()}")
            if time.perf_counter() - began > START_SECONDS:
                self.stop()
                raise BenchError(f"{self.name} does not answer\n{self.log_tail()}")
            time.sleep(GLANCE)
        return time.perf_counter() - began

    def stop(self) -> None:
        """End it as a service manager does, and if that does not help, at once."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    def usage(self) -> Usage:
        """Return the memory of its processes."""
        assert self._process is not None
        members = family(self._process.pid)
        told = [fields(f"/proc/{member}/status") for member in members]
        now = told[0]["VmRSS:"]
        if len(members) > 1:
            now = sum(fields(f"/proc/{member}/smaps_rollup")["Pss:"] for member in members)
        return Usage(now * KIB, sum(one["VmHWM:"] for one in told) * KIB)

    def processor_seconds(self) -> float:
        """Return how much processor time its processes have used so far, in seconds."""
        assert self._process is not None
        ticks = 0
        for member in family(self._process.pid):
            # After the name in parentheses; user and system are the 14th and 15th field of all.
            rest = Path(f"/proc/{member}/stat").read_text(encoding="utf-8").rpartition(")")[2]
            ticks += sum(map(int, rest.split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def log_size(self) -> int:
        """Return how much it has written, in bytes."""
        return self._log.stat().st_size

    def log_after(self, offset: int) -> str:
        """Return what it wrote after so many bytes, once it writes no more."""
        before = -1
        while before != self.log_size():
            before = self.log_size()
            time.sleep(SETTLE_SECONDS)
        with self._log.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def log_tail(self) -> str:
        """Return the end of what it wrote."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-1000:]

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    request = f"GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(request.encode())
            return b" 200 " in connection.recv(64)
    except OSError:
        return False
