"""Processes whose wall clock is off, as that of a machine that was set wrongly."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.missing import lack

_SOURCE = Path(__file__).with_name("clock.c")


@functools.cache
def _library() -> Path:
    if shutil.which("cc") is None:
        lack("no C compiler, which it takes to make a clock that is off")
    target = Path(tempfile.mkdtemp(prefix="clock-")) / "clock.so"
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(target), str(_SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    return target


def clock_off(seconds: int) -> tuple[str, ...]:
    """Return the variables with which a command's clock is so many seconds ahead, for `env`."""
    if not seconds:
        return ()
    before = os.environ.get("LD_PRELOAD", "")
    preloaded = f"LD_PRELOAD={_library()}{':' if before else ''}{before}"
    return (preloaded, f"CLOCK_OFFSET={seconds}")
