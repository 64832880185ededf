"""A real registry for the demo: Debian's docker-registry, on a free loopback port."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from jettison.errors import JettisonError

__all__ = ["Peer", "running"]

PROGRAMS: Final = ("docker-registry", "registry")
CONFIGURATION: Final = """\
version: 0.1
# A registry as many run it; only the address and the folder are the demo's.
storage:
  filesystem:
    rootdirectory: {root}
  delete:
    enabled: true # without this, DELETE is answered with 405
http:
  addr: {host}
log:
  level: error
"""
_PATIENCE: Final = 15.0


class Peer(NamedTuple):
    """A running registry: its address, its configuration file, its root directory."""

    host: str
    configuration: Path
    root: Path


@contextmanager
def running(folder: Path) -> Iterator[Peer]:
    """Start a registry that keeps everything in ``folder``; it is stopped at the end."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        raise JettisonError(
            "the demo needs a registry program, and there is none",
            hint="On Debian: apt-get install docker-registry",
        )
    peer = Peer(f"127.0.0.1:{_free_port()}", folder / "config.yml", folder / "registry")
    peer.configuration.write_text(CONFIGURATION.format(root=peer.root, host=peer.host))
    # Its S3 driver panics on this variable, whatever storage is configured.
    environment = {k: v for k, v in os.environ.items() if k != "AWS_CA_BUNDLE"}
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(peer.configuration)], env=environment, stdout=log, stderr=log
        )
    try:
        _wait(process, peer.host, folder / "registry.log")
        yield peer
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], host: str, log: Path) -> None:
    name, _, port = host.partition(":")
    for _ in range(int(_PATIENCE / 0.05)):
        if process.poll() is not None:
            raise JettisonError(f"the registry did not start: {log.read_text()[-400:].strip()}")
        try:
            socket.create_connection((name, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise JettisonError(f"the registry does not answer at {host}")
