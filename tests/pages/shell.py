"""A shell that runs a page's commands in order, and knows things by the page's names."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

__all__ = ["Printed", "Shell", "warmed"]

_CLIENT: Final = """\
#!{python} -ISE
import json, os, socket, sys
ahead = float(open({clock!r}).read())
asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ), ahead]).encode()
with socket.socket(socket.AF_UNIX) as asking:
    asking.connect({path!r})
    socket.send_fds(asking, [len(asked).to_bytes(8, "big")], [0, 1, 2])
    asking.sendall(asked)
    said = asking.recv(10)
    sys.exit(int(said) if said else "the process ended by a signal")
"""
"""What `jettison` is there: it asks `warm.py`."""
_WARM: Final = Path(__file__).with_name("warm.py")
COLUMNS: Final = 100


@contextmanager
def warmed(folder: Path) -> Iterator[Path]:
    """Start `warm.py`, and yield its socket."""
    path = folder / "warm.sock"
    process = subprocess.Popen(
        [sys.executable, str(_WARM), str(path)],
        env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(_WARM.parents[2])},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield path
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


class Printed(NamedTuple):
    """What a command printed, both streams as a terminal would have them, and its exit code."""

    lines: list[str]
    code: int


class Shell:
    """A bash in a folder of its own.

    ``warm`` is the socket of `warm.py`, ``names`` has what the page calls things and what they are
    called here, and ``programs`` are scripts that stand before those of the machine.
    """

    def __init__(
        self, folder: Path, warm: Path, names: Mapping[str, str], programs: Mapping[str, str]
    ) -> None:
        self._names = names
        self._work = folder / "work"
        self._work.mkdir(parents=True)
        self._clock = folder / "clock"
        self._script = folder / "command.sh"
        self._ahead = 0
        self.pass_time(0)
        below = folder / "bin"
        below.mkdir()
        jettison = _CLIENT.format(python=sys.executable, clock=str(self._clock), path=str(warm))
        for name, script in {"jettison": jettison, **programs}.items():
            (below / name).write_text(script, "utf-8")
            (below / name).chmod(0o755)
        home = folder / "home"
        (home / "run").mkdir(parents=True, mode=0o700)
        environment = os.environ | {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_STATE_HOME": str(home / ".local" / "state"),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "DOCKER_CONFIG": str(home / ".docker"),
            "PATH": f"{below}:{os.environ['PATH']}",
            "COLUMNS": str(COLUMNS),
            "PYTHONUNBUFFERED": "1",
            "LC_ALL": "C.UTF-8",
        }
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=self._work,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def pass_time(self, seconds: int) -> None:
        """Let Jettison's clock go ahead."""
        self._ahead += seconds
        self._clock.write_text(str(self._ahead), "utf-8")

    def run(self, command: str, code: int = 0) -> Printed:
        """Run a command after one that ended with ``code``, and read what it prints."""
        mark = secrets.token_hex(8)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._script.write_text(self._there(command) + "\n", "utf-8")
        asked = f"(exit {code})\n. {self._script} </dev/null\nprintf '\\n%s %d\\n' {mark} $?\n"
        self._process.stdin.write(asked)
        self._process.stdin.flush()
        lines = list[str]()
        for line in self._process.stdout:
            if line.startswith(mark):
                text = self._here("\n".join(lines))
                return Printed(text.strip("\n").split("\n"), int(line.split()[1]))
            lines.append(line.rstrip("\n"))
        raise RuntimeError(f"the shell ended with: {command}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def _there(self, text: str) -> str:
        for name, real in sorted(self._names.items(), key=lambda one: -len(one[0])):
            text = text.replace(name, real)
        return text

    def _here(self, text: str) -> str:
        for name, real in sorted(self._names.items(), key=lambda one: -len(one[1])):
            text = text.replace(real, name)
        return text.replace(str(self._work), "~")
