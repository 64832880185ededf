"""Ceph's gateway (RGW) over a cluster of one node in memory, from Debian's packages, for tests.

    with Ceph(tmp_path) as ceph:
        bucket = ceph.bucket("images")

It is slow to start, and the time of an object cannot be set: `age` waits for some seconds instead,
and a collection has to be told so (`bucket.grace`).
"""

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Final, Self

import pytest

from tests.support.buckets import ACCESS_KEY, REGION, SECRET_KEY, AskedBucket
from tests.support.registry import free_port

if TYPE_CHECKING:
    from obstore.store import S3Store

PROGRAMS: Final = ("ceph-mon", "ceph-osd", "ceph", "radosgw", "radosgw-admin", "monmaptool")
START_SECONDS: Final = 180.0
_STEP_SECONDS: Final = 120.0
_CONFIG: Final = """\
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{monitor}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
ms bind port min = {first}
ms bind port max = {last}
auth cluster required = none
auth service required = none
auth client required = none
auth allow insecure global id reclaim = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon warn on pool no redundancy = false
mon allow pool size one = true
mon data avail crit = 1
mon max pg per osd = 1000
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
pid file = {folder}/run/$name.pid
log file = {folder}/log/$name.log
crash dir = {folder}/run
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd class load list = *
osd class default list = *
keyring = {folder}/keyring
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw thread pool size = 16
rgw run sync thread = false
"""


class Ceph:
    """One cluster. It is below the folder of temporary files: its sockets need a short path."""

    def __init__(self, base: Path) -> None:
        absent = [program for program in PROGRAMS if shutil.which(program) is None]
        if absent:
            pytest.skip(
                f"{', '.join(absent)} not found; Debian's ceph-mon, ceph-osd, radosgw and "
                "ceph-common have them"
            )
        del base
        self._folder = Path(tempfile.mkdtemp(prefix="ceph-"))
        self._port = free_port()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def bucket(self, name: str) -> "CephBucket":
        bucket = CephBucket(self, name)  # type: ignore[arg-type] # it has what is needed of one
        bucket.make()
        return bucket

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _run(self, program: str, *arguments: str) -> None:
        with (self._folder / "log" / "steps").open("ab") as said_there:
            done = subprocess.run(
                [program, "-c", str(self._folder / "ceph.conf"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said_there,
                timeout=_STEP_SECONDS,
                check=False,
            )
        if done.returncode:
            said = (self._folder / "log" / "steps").read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"{program} {' '.join(arguments)}: {said[-2000:]}")

    def _try_until(self, deadline: float, program: str, *arguments: str) -> None:
        """Run what a monitor refuses while it is not ready ("wrong fsid", or no answer)."""
        while True:
            try:
                self._run(program, *arguments)
            except (RuntimeError, subprocess.TimeoutExpired):
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
            else:
                return

    def _start(self) -> None:
        for name in ("mon", "osd", "rgw", "run", "log"):
            (self._folder / name).mkdir(parents=True)
        monitor, fsid = free_port(), str(uuid.uuid4())
        first = 40_000 + os.getpid() % 200 * 100
        ports = {"monitor": monitor, "first": first, "last": first + 99, "port": self._port}
        text = _CONFIG.format(fsid=fsid, folder=self._folder, **ports)
        (self._folder / "ceph.conf").write_text(text, encoding="utf-8")
        monmap = str(self._folder / "monmap")
        address = f"[v1:127.0.0.1:{monitor}]"
        subprocess.run(
            ["monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", address, monmap],
            capture_output=True,
            check=True,
        )
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
        self._run("ceph-mon", "-i", "a")
        osd = str(uuid.uuid4())
        deadline = time.monotonic() + START_SECONDS
        self._try_until(deadline, "ceph", "--connect-timeout", "20", "osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._try_until(deadline, "ceph-osd", "-i", "0")
        keys = [f"--access-key={ACCESS_KEY}", f"--secret={SECRET_KEY}"]
        user = ["user", "create", "--uid=t", "--display-name=t", *keys]
        self._run("radosgw-admin", "-n", "client.rgw.a", *user)
        self._run("radosgw", "-n", "client.rgw.a")
        while not self._answers():
            if time.monotonic() > deadline:
                raise RuntimeError("Ceph's gateway does not answer")
            time.sleep(0.2)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(connection),
        ):
            connection.request("GET", "/")
            with connection.getresponse() as answer:
                return answer.status > 0
        return False

    def _end(self) -> None:
        """End the processes whose numbers they have written down, and no others."""
        for file in (self._folder / "run").glob("*.pid"):
            with contextlib.suppress(OSError, ValueError):
                number = int(file.read_text(encoding="utf-8"))
                command = Path(f"/proc/{number}/cmdline").read_bytes()
                if str(self._folder).encode() in command:
                    os.kill(number, signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)


@dataclass(frozen=True)
class CephBucket(AskedBucket):
    """A bucket of Ceph's gateway."""

    grace: ClassVar[tuple[str, ...]] = ("--grace", "1s")

    @property
    def folder(self) -> Path:
        raise AttributeError("a bucket of Ceph has no folder")

    @cached_property
    def store(self) -> "S3Store":
        from obstore.store import S3Store

        return S3Store(
            self.name,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            region=REGION,
            endpoint=self.gateway.endpoint,
            client_options={"allow_http": True},
        )

    def make(self) -> None:
        import obstore

        url = obstore.sign(self.store, "PUT", "", timedelta(seconds=60))
        host = self.gateway.endpoint.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=60)
        connection.request("PUT", url.removeprefix(self.gateway.endpoint))
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        connection.close()

    def age(self, seconds: float) -> None:  # noqa: ARG002 - nobody can make an object older
        """Wait until what is there is older than `grace`; the lease of a killed one ends too."""
        self.store.delete("jettison/lease")
        time.sleep(3.0)

    def requests(self) -> Counter[str]:
        """None: it does not count them."""
        return Counter()
