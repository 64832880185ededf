"""The wheels and the source distribution, as an index of Python packages takes them."""

import shlex
import sys
import tempfile
from pathlib import Path
from typing import Final

from release.programs import run
from release.tree import TOOLS, Source

TARGETS: Final = {
    "manylinux_2_17_x86_64": "x86_64-linux-gnu.2.17",
    "manylinux_2_17_aarch64": "aarch64-linux-gnu.2.17",
    "musllinux_1_2_x86_64": "x86_64-linux-musl",
    "musllinux_1_2_aarch64": "aarch64-linux-musl",
}
"""Platforms whose wheel has the part in C, and the compiler's name of each.

The wheel for any platform has none: it is what other hosts get, and slower on large storages.
"""


def build_sdist(source: Source, folder: Path) -> Path:
    """Build the source distribution."""
    return _hatch(source, folder, "sdist", {})


def build_wheel(source: Source, folder: Path, platform: str = "any") -> Path:
    """Build the wheel of a platform: one of ``TARGETS``, or ``any``."""
    variables = {"JETTISON_WHEEL_PLATFORM": platform}
    if platform != "any":
        compiler = [str(TOOLS / "python"), "-m", "ziglang", "cc", "-target", TARGETS[platform]]
        variables["CC"] = shlex.join(compiler)
    return _hatch(source, folder, "wheel", variables)


def _hatch(source: Source, folder: Path, target: str, variables: dict[str, str]) -> Path:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", place]
        run(command, source.folder, source.environment | variables)
        (made,) = Path(place).iterdir()
        return made.replace(folder / made.name)
