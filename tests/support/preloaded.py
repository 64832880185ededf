"""Commands in processes forked off one that has loaded Jettison already.

The start of Python and the loading of modules are most of what a command of a test costs. A process
that has done both waits for arguments, an environment, a folder and three files, and forks another
for them, in which the command runs as by `python -m jettison`, to its exit code. Variables that are
read while Python starts or modules load cannot be given: `fits` tells.

    process = Preloaded.start(["ls", host], folder, os.environ, (stdin, stdout, stderr))
    code = process.wait(timeout=60)
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NoReturn

OWN = ("XDG_", "DOCKER_", "REGISTRY_", "AWS_", "PYTEST_")
OWN_NAMES = frozenset({"HOME", "COLUMNS", "_CONTAINERS_ROOTLESS_UID"})
"""Variables that are read when a command runs, and never while Python starts or modules load."""
LONGEST = 100_000
"""Bytes of a request; a message of a socket has a limit."""


@dataclass(frozen=True)
class Forked:
    """A command that runs; its number and its exit code come by a socket."""

    pid: int
    answers: socket.socket

    def wait(self, timeout: float) -> int:
        """Wait for its end and return its exit code as `subprocess` has it.

        Raises TimeoutError after so many seconds; by then it is killed.
        """
        with self.answers:
            if not select.select([self.answers], [], [], timeout)[0]:
                os.kill(self.pid, signal.SIGKILL)
                self.answers.recv(32)
                raise TimeoutError(f"process {self.pid} was still running after {timeout} s")
            return int(self.answers.recv(32))


class Preloaded:
    """The process that commands are forked off; there is one for all tests of a worker."""

    _one: ClassVar["Preloaded | None"] = None

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._fixed = _fixed(environment)
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._end)

    @classmethod
    def fits(cls, environment: Mapping[str, str]) -> bool:
        """Whether a command in this environment can be forked off; the first one decides."""
        if cls._one is None:
            cls._one = cls(environment)
        return cls._one._fixed == _fixed(environment)

    @classmethod
    def start(
        cls,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        files: tuple[int, int, int],
    ) -> Forked:
        """Run a command in an environment that fits; `files` are its standard ones."""
        assert cls.fits(environment)
        assert cls._one is not None
        request = json.dumps([list(arguments), str(folder), dict(environment)]).encode()
        assert len(request) < LONGEST
        answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            socket.send_fds(cls._one._requests, [request], [*files, theirs.fileno()])
        return Forked(int(answers.recv(32)), answers)

    def _end(self) -> None:
        self._requests.close()
        self._process.wait()


def _fixed(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(OWN) and name not in OWN_NAMES
    }


def load() -> None:
    """Import all of Jettison, and whatever it uses."""
    import jettison

    package = Path(jettison.__file__).parent
    for file in sorted(package.rglob("*.py")):
        if file.name != "__main__.py":
            names = file.relative_to(package.parent).with_suffix("").parts
            __import__(".".join(names).removesuffix(".__init__"))
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "a thread does not outlive a fork"


def serve(requests: socket.socket) -> list[str]:
    """Fork for each request; return the arguments in the process that is to run them."""
    # Ctrl-C ends the commands, as it ends the tests; this ends with the tests.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        message, files, _, _ = socket.recv_fds(requests, LONGEST, 4)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            pid = os.fork()
            if pid == 0:
                return _become(message, files)
            _tell(pid, files)
        for file in files:
            os.close(file)
        _forget()


def _forget() -> None:
    """Clear away what has ended."""
    while os.waitpid(-1, os.WNOHANG)[0]:
        pass


def _tell(pid: int, files: list[int]) -> NoReturn:
    """Tell the number of a process, and later how it ended."""
    *standard, answers = files
    for file in standard:
        os.close(file)
    os.write(answers, str(pid).encode())
    status = os.waitpid(pid, 0)[1]
    os.write(answers, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(message: bytes, files: list[int]) -> list[str]:
    arguments: list[str]
    arguments, folder, environment = json.loads(message)
    *standard, answers = files
    os.close(answers)
    for number, file in enumerate(standard):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return arguments


if __name__ == "__main__":
    load()
    gc.freeze()
    sys.argv[1:] = serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module("jettison", run_name="__main__", alter_sys=True)
