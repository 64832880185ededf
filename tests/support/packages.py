"""What `make dist` makes, made once for all tests, and the Pythons to run it on."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from release.tree import ROOT, TOOLS

PYENV: Final = Path("~/.pyenv/versions").expanduser()
"""Looked for before a test has a home folder of its own."""

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")


def made(folder: Path, *arguments: str) -> Path:
    """Return a folder with what the release makes; processes beside wait for the first."""
    if not (TOOLS / "python").exists():
        pytest.skip("the tools of `make dist` are not installed; `make soak` installs them")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        target = folder / "-".join(arguments).replace("/", "_")
        if not (target / "SHA256SUMS").exists():
            command = [sys.executable, "-m", "release", *arguments, "--folder", str(target)]
            environment = os.environ | {"PYTHONPATH": str(ROOT / "packaging")}
            done = subprocess.run(
                command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        return target


def interpreter(version: str) -> str:
    """Return a Python of a version, or skip: of the PATH, of pyenv, or one that uv has."""
    folders = sorted(PYENV.glob(f"{version}.*/bin"))
    path = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
    found = shutil.which(f"python{version}", path=path)
    works = found and subprocess.run([found, "-c", ""], check=False, capture_output=True)
    if not found or not works or works.returncode != 0:
        command = [str(ROOT / ".venv/bin/uv"), "python", "find", "--no-python-downloads", version]
        looked = subprocess.run(command, check=False, capture_output=True, text=True)
        found = looked.stdout.strip() if looked.returncode == 0 else None
    if not found:
        pytest.skip(f"there is no Python {version} on this machine")
    return found


def run_in(root: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of sh, as root, in a root of Debian's."""
    command = [
        *("unshare", "--mount", "--pid", "--fork", "chroot", str(root), "env", "-i"),
        *("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"),
        *("sh", "-e", "-c", f"mount -t proc proc /proc\n{script}"),
    ]
    return subprocess.run(command, check=False, capture_output=True, text=True)
