"""The command line, run as a user runs it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.support.documents import check_printed
from tests.support.preloaded import Preloaded

PYTHON_MODULE = (sys.executable, "-m", "jettison")


@dataclass(frozen=True)
class Result:
    stdout: str
    stderr: str
    code: int

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.stdout)

    @property
    def ndjson(self) -> list[Any]:
        """Standard output as one JSON document a line."""
        return [json.loads(line) for line in self.stdout.splitlines()]


@dataclass(frozen=True)
class Jettison:
    """`jettison("rm", ref, "--yes", check=0)` runs the command and checks its exit code.

    It sees the environment of the test, with `env` on top. `start` leaves it running instead, in a
    process group of its own, for tests that interrupt or kill it. No word may name anything below
    `hidden`: the folder of a store whose buckets it has to ask for.
    """

    cwd: Path
    command: tuple[str, ...] = PYTHON_MODULE
    hidden: Path | None = None

    def __call__(
        self,
        *args: str | Path,
        check: int | None = 0,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> Result:
        """Run to the end; `check=None` accepts every exit code. `timeout` is in seconds."""
        environment = os.environ | (env or {})
        if self.command == PYTHON_MODULE and Preloaded.fits(environment):
            result = self._forked(self._words(args), environment, stdin or "", timeout)
        else:
            done = subprocess.run(
                [*self.command, *self._words(args)],
                cwd=self.cwd,
                env=environment,
                input=stdin or "",
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
            result = Result(done.stdout, done.stderr, done.returncode)
        assert check is None or result.code == check, (
            f"jettison {' '.join(map(str, args))}: exit {result.code}, not {check}\n"
            f"--- stdout\n{result.stdout}\n--- stderr\n{result.stderr}"
        )
        check_printed([str(arg) for arg in args], result.stdout, result.stderr)
        return result

    def _forked(
        self, args: list[str], environment: Mapping[str, str], stdin: str, timeout: float
    ) -> Result:
        with (
            tempfile.TemporaryFile("w+") as given,
            tempfile.TemporaryFile("w+") as stdout,
            tempfile.TemporaryFile("w+") as stderr,
        ):
            given.write(stdin)
            given.seek(0)
            files = (given.fileno(), stdout.fileno(), stderr.fileno())
            code = Preloaded.start(args, self.cwd, environment, files).wait(timeout)
            stdout.seek(0)
            stderr.seek(0)
            return Result(stdout.read(), stderr.read(), code)

    def later(self, seconds: float = 7200) -> "Jettison":
        """Return the same command as it runs some time from now: what is there has aged."""
        command = (sys.executable, str(Path(__file__).with_name("later.py")), str(seconds))
        return replace(self, command=command)

    def start(
        self,
        *args: str | Path,
        env: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
    ) -> subprocess.Popen[str]:
        """Start it, behind `prefix` (strace, say); the caller waits for it or kills it."""
        return subprocess.Popen(
            [*prefix, *self.command, *self._words(args)],
            cwd=self.cwd,
            env=os.environ | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _words(self, args: tuple[str | Path, ...]) -> list[str]:
        words = [str(arg) for arg in args]
        beside = [word for word in words if self.hidden is not None and str(self.hidden) in word]
        assert not beside, f"a bucket is told as the folder that it is kept in: {beside}"
        return words
