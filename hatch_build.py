"""Builds the part in C (``native.c``) into the package, where there is a C compiler.

Without one, or where it fails, the package is whole: the same is done in Python, more slowly. What
is built has no Python in it, so one wheel for a platform serves every version of Python.

A release (``make dist``) says in ``JETTISON_WHEEL_PLATFORM`` what the compiler in ``CC`` makes, for
example ``manylinux_2_17_x86_64``; there the part in C must be built. ``any`` leaves it out.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "src/jettison/storage/filesystem/native.c"
TARGET = "src/jettison/storage/filesystem/libnative.so"
FLAGS = ("-O2", "-shared", "-fPIC", "-s")
PLATFORM = "JETTISON_WHEEL_PLATFORM"


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling for each wheel, that of an editable install included."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build it, and say so in the wheel's name if it was built."""
        del version
        target = Path(self.root, TARGET)
        target.unlink(missing_ok=True)
        asked = os.environ.get(PLATFORM, "")
        if asked == "any":
            return
        reason = compiled(Path(self.root, SOURCE), target)
        if reason and asked:
            raise RuntimeError(f"the part in C for {asked} was not built: {reason}")
        if reason:
            print(f"jettison: installed without its part in C: {reason}", file=sys.stderr)  # noqa: T201
            return
        platform = asked or sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["artifacts"].append(f"/{TARGET}")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"


def compiled(source: Path, target: Path) -> str:
    """Compile a shared library; return why that failed, or nothing."""
    if not sys.platform.startswith("linux"):
        return "it is for Linux"
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    command = [*shlex.split(compiler), *FLAGS, "-o", str(target), str(source)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    if done.returncode == 0:
        return ""
    target.unlink(missing_ok=True)
    lines = done.stderr.strip().splitlines()
    return lines[0] if lines else f"{command[0]} ended with exit code {done.returncode}"
