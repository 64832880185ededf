"""A registry for the demo: our own, on a free loopback port."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from jettison.errors import JettisonError

__all__ = ["Peer", "running"]

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
    peer = Peer(f"127.0.0.1:{_free_port()}", folder / "config.yml", folder / "registry")
    peer.configuration.write_text(CONFIGURATION.format(root=peer.root, host=peer.host))
    command = [sys.executable, "-m", "jettison", "serve", str(peer.configuration)]
    # A variable of the user's own registry must not change the demo's.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("REGISTRY_")}
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
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
