"""The two collectors as commands, timed and weighed as whole processes, start-up included."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple, Protocol

__all__ = [
    "BenchError",
    "Distribution",
    "Jettison",
    "Job",
    "Program",
    "Weight",
    "captured",
    "clean_environment",
    "copied",
    "lines",
    "removed",
    "require_programs",
    "seconds",
    "weight",
]

MEMORY: Final = Path(__file__).with_name("memory.py")
PEERS: Final = Path(sys.prefix) / "peers"
"""Where `make setup` builds what comes as Go modules."""

os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), str(PEERS)])

FOREIGN: Final = ("REGISTRY_", "JETTISON_", "XDG_", "AWS_", "PYTHONDONTWRITEBYTECODE")


class BenchError(Exception):
    """A program is absent, or ended with an error: nothing was measured."""


class Job(NamedTuple):
    """What a collector is asked to do; ``untagged``: also with manifests that no tag holds."""

    dry: bool = True
    untagged: bool = False


class Program(Protocol):
    """One of the two."""

    @property
    def name(self) -> str:
        """As the table calls it."""

    def command(self, tree: Path, job: Job) -> list[str]:
        """Return the whole command."""


@dataclass(frozen=True)
class Distribution:
    """Distribution's own collector; ``folder`` is for its configuration files."""

    folder: Path
    name: str = "docker-registry"

    @property
    def executable(self) -> str:
        """Debian's program for 2.8, or the Go module's, found on the PATH."""
        return "docker-registry" if self.name == "docker-registry" else "registry"

    def command(self, tree: Path, job: Job) -> list[str]:
        """Write a configuration for the tree, and return the command."""
        root = json.dumps(str(tree))
        config = self.folder / f"{tree.name}.yml"
        config.write_text(
            f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {root}\n", encoding="utf-8"
        )
        flags = ["-d"] * job.dry + ["-m"] * job.untagged
        return [self.executable, "garbage-collect", *flags, str(config)]


@dataclass(frozen=True)
class Jettison:
    """The ``jettison`` beside this Python, with the grace period as shipped."""

    executable: str = str(Path(sys.executable).with_name("jettison"))
    name: str = "Jettison"

    def command(self, tree: Path, job: Job) -> list[str]:
        """Return the command."""
        flags = ["-n" if job.dry else "--yes", *(["--untagged", "0s"] if job.untagged else [])]
        return [self.executable, "gc", str(tree), *flags]

    def plan_command(self, tree: Path, job: Job) -> list[str]:
        """Return the command that prints the plan as JSON."""
        return [*self.command(tree, job), "-o", "json"]


def require_programs(*programs: Distribution | Jettison) -> None:
    """Raise :class:`BenchError` if one is absent."""
    for program in (one.executable for one in programs):
        if shutil.which(program) is None:
            raise BenchError(f"{program} not found; run `make setup` first")


def clean_environment(home: Path) -> dict[str, str]:
    """Return this environment without settings of either program, and with a home of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    return kept | {"HOME": str(home), "XDG_STATE_HOME": str(home / "state")}


def seconds(command: list[str], environment: Mapping[str, str]) -> float:
    """Return the wall time of a command from start to end; its output goes to a file, as a job's.

    Nowhere would be unfair: one of the two writes a line for each blob, and writing takes time.
    """
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        with _running(command, environment, output, output) as process:
            process.wait()
        took = time.perf_counter() - began
    _expect_success(command, process.returncode)
    return took


class Weight(NamedTuple):
    """Peak memory in bytes: of all processes together, and of the largest (see memory.py)."""

    tree: int
    largest: int


def weight(command: list[str], environment: Mapping[str, str]) -> Weight:
    """Run a command in the lean process that measures its memory."""
    sampler = [sys.executable, "-I", "-S", str(MEMORY), *command]
    found = json.loads(captured(sampler, environment))
    _expect_success(command, found["code"])
    return Weight(found["tree"], found["largest"])


def captured(command: list[str], environment: Mapping[str, str]) -> bytes:
    """Return what a command prints on stdout."""
    with _running(command, environment, subprocess.PIPE, subprocess.PIPE) as process:
        output, told = process.communicate()
    _expect_success(command, process.returncode, told)
    return output


def lines(command: list[str], environment: Mapping[str, str]) -> Iterator[str]:
    """Yield what a command prints on stdout, line by line: docker-registry prints much."""
    with _running(command, environment, subprocess.PIPE, subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield line.decode()
    _expect_success(command, process.returncode)


@contextmanager
def _running(
    command: list[str],
    environment: Mapping[str, str],
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command; if we are interrupted it ends with all its processes."""
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    ) as process:
        try:
            yield process
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


def _expect_success(command: list[str], code: int, told: bytes = b"") -> None:
    if code:
        tail = told.decode(errors="replace").strip()[-500:]
        raise BenchError(f"exit {code}: {' '.join(command)}" + (f"\n{tail}" if tail else ""))


@contextmanager
def copied(tree: Path, name: str, *, settle: bool) -> Iterator[Path]:
    """Yield a hard-link copy of a tree, in the cache and, to ``settle``, on the disk too.

    The copy's files are those of the tree, with their times; collecting only removes names. The
    copy is removed afterwards.
    """
    copy = tree.with_name(name)
    try:
        subprocess.run(["cp", "-al", "--", tree, copy], check=True)
        if settle:
            # Neither program should pay for writing what the copy left to be written.
            subprocess.run(["sync", "-f", copy], check=True)
        subprocess.run(["du", "-s", copy], stdout=subprocess.DEVNULL, check=True)
        yield copy
    finally:
        removed(copy)


def removed(folder: Path) -> None:
    """Remove a folder; Ctrl-C on the terminal does not reach what removes it."""
    subprocess.run(["rm", "-rf", "--", folder], start_new_session=True, check=False)
