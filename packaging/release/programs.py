"""Programs that the release runs: what they print is shown only if they fail."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class ReleaseError(Exception):
    """Something cannot be made; the message is for a person."""


def run(
    command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run a program; return what it wrote to stdout."""
    if not shutil.which(command[0]):
        raise ReleaseError(f"{command[0]} is not here, and it is needed")
    done = subprocess.run(command, cwd=cwd, env=env, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stderr + done.stdout).strip()
        raise ReleaseError(f"{command[0]} ended with exit code {done.returncode}\n{said}".strip())
    return done.stdout
