"""versitygw with buckets in it: made as trees on a disk, reached late, asked what it saw.

The gateway keeps an object as a file, and its ETag as an attribute of that. So a bucket of any size
is a tree that is written as files, each with the MD5 of its bytes.
"""

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.programs import BenchError

__all__ = ["Gateway", "add_etags"]

KEYS: Final = ("bench-access-key", "bench-secret-key-0123456789")
REGION: Final = "us-east-1"
START_SECONDS: Final = 20.0
LOG_SECONDS: Final = 30.0
DELAY: Final = Path(__file__).with_name("delay.py")
_REQUEST: Final = re.compile(r"^\S+ (\S+) \[[^]]*\] \S+ \S+ \S+ s3_(\w+) ", re.MULTILINE)

DRIVER: Final = """\
  s3:
    bucket: {bucket}
    region: {region}
    regionendpoint: http://127.0.0.1:{port}
    forcepathstyle: true
    secure: false
    accesskey: {keys[0]}
    secretkey: {keys[1]}"""
CONFIG: Final = """\
version: 0.1
storage:
{driver}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:0
"""


class Gateway:
    """One versitygw on ``folder/buckets``, with answers ``milliseconds`` late."""

    def __init__(self, folder: Path, milliseconds: float, environment: Mapping[str, str]) -> None:
        self.folder = folder / "buckets"
        self.folder.mkdir()
        self._home = folder
        self._milliseconds = milliseconds
        self._environment = environment
        self._log = folder / "access.log"
        self._running = contextlib.ExitStack()
        self._port = 0
        self._late_port = 0

    def __enter__(self) -> Self:
        program = shutil.which("versitygw")
        if program is None:
            raise BenchError("versitygw not found; run `make setup` where there is Go")
        self._port = _free_port()
        address = f"127.0.0.1:{self._port}"
        command = [program, "--port", address, "--access-log", str(self._log), "--quiet"]
        keys = {"ROOT_ACCESS_KEY": KEYS[0], "ROOT_SECRET_KEY": KEYS[1]}
        self._start(
            [*command, "--region", REGION, "posix", str(self.folder)],
            {**self._environment, **keys},
        )
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > end:
                raise BenchError("versitygw does not answer")
            time.sleep(0.05)
        late = self._start(
            [sys.executable, str(DELAY), str(self._port), str(self._milliseconds)],
            self._environment,
        )
        if late.stdout is None:
            raise BenchError("the delay has no output")
        self._late_port = int(late.stdout.readline())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close()

    def _start(
        self, command: list[str], environment: Mapping[str, str]
    ) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._running.callback(_end, process)
        return process

    def _answers(self) -> bool:
        try:
            return self._ask("/") > 0
        except OSError:
            return False

    def _ask(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def config(self, bucket: str) -> Path:
        """Write a registry's configuration for a bucket."""
        path = self._home / f"{bucket}.yml"
        path.write_text(CONFIG.format(driver=self.driver(bucket)), encoding="utf-8")
        return path

    def driver(self, bucket: str) -> str:
        """Return the lines of a registry's configuration that say where a bucket is."""
        return DRIVER.format(bucket=bucket, region=REGION, port=self._late_port, keys=KEYS)

    def requests(self, bucket: str) -> Counter[str]:
        """Count the requests about a bucket since the start, by operation."""
        mark = f"mark{time.monotonic_ns()}"
        self._ask(f"/{mark}")
        end = time.monotonic() + LOG_SECONDS
        while mark not in (text := self._log.read_text(encoding="utf-8")):
            if time.monotonic() > end:
                raise BenchError("versitygw does not log its requests")
            time.sleep(0.05)
        return Counter(kind for name, kind in _REQUEST.findall(text) if name == bucket)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def add_etags(bucket: Path) -> int:
    """Give each file of a bucket the ETag of an object put in one piece; return how many."""
    count = 0
    for above, _, names in os.walk(bucket):
        for name in names:
            path = Path(above) / name
            tag = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            os.setxattr(path, "user.etag", f'"{tag}"'.encode())
            count += 1
    return count
