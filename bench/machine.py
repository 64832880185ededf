"""What the figures were measured on, without the names of hosts."""

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["facts"]

MEMINFO: Final = Path("/proc/meminfo")
CPUINFO: Final = Path("/proc/cpuinfo")


def facts(folder: Path, jettison: str) -> dict[str, str]:
    """Return the machine's properties and the programs' versions, by name.

    ``folder`` is where the trees lie, ``jettison`` the executable.
    """
    found = {
        "Processor": f"{_cpu()}, {len(os.sched_getaffinity(0))} cores",
        "Memory": f"{_memory_kib() * 1024 / 1e9:.0f} GB",
        "Kernel": f"{platform.system()} {_number(platform.release())}",
        "File system": _told(["df", "--output=fstype", str(folder)]).split()[-1],
        "Python": platform.python_version(),
        "Jettison": _told([jettison, "--version"]).split()[-1],
        "docker-registry": _told(["docker-registry", "--version"]).split()[-1],
    }
    if shutil.which("registry"):
        found["Distribution 3"] = _told(["registry", "--version"]).split()[-1]
    return found


def _cpu() -> str:
    found = re.search(r"^model name\s*: (.+)$", CPUINFO.read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _memory_kib() -> int:
    found = re.search(r"^MemTotal:\s+(\d+) kB", MEMINFO.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def _number(release: str) -> str:
    """Return the kernel's number; what follows it may name who runs the machine."""
    found = re.match(r"\d+(\.\d+)*", release)
    return found[0] if found else "?"


def _told(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
