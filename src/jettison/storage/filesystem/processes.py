"""Which processes of this machine write to a storage tree, as far as the kernel shows it.

Linux only, and a process of another user or container shows little: that none is found proves
nothing.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from jettison.storage.protocol import Writer

__all__ = ["writers"]

_PROCESSES: Final = Path("/proc")


def writers(root: Path, configuration: Path | None) -> Iterator[Writer]:
    """Yield the other processes that hold a file of a tree open to write, or serve it.

    A server is known by its command line, which names ``configuration`` or the ``root`` itself.
    """
    served = {root.resolve()}
    if configuration is not None:
        served.add(configuration.resolve())
    for process in _PROCESSES.glob("[0-9]*"):
        pid = int(process.name)
        if pid == os.getpid():
            continue
        if clue := _serves(process, served) or _writes(process, f"{root.resolve()}/"):
            yield Writer(pid, clue)


def _serves(process: Path, served: set[Path]) -> str | None:
    try:
        arguments = (process / "cmdline").read_bytes().split(b"\0")
        if b"serve" not in arguments:
            return None
        folder = (process / "cwd").readlink()
    except OSError:
        return None
    for argument in arguments[arguments.index(b"serve") + 1 :]:
        # Relative to where it was started, which most are.
        path = folder / os.fsdecode(argument.partition(b"=")[2] or argument)
        if argument and path.resolve() in served:
            return f"it serves {path}"
    return None


def _writes(process: Path, prefix: str) -> str | None:
    try:
        for opened in (process / "fd").iterdir():
            path = str(opened.readlink())
            if path.startswith(prefix) and _to_write(process / "fdinfo" / opened.name):
                return f"it writes {path}"
    except OSError:  # another user's, or ended just now
        return None
    return None


def _to_write(information: Path) -> bool:
    for line in information.read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "flags":
            return bool(int(value.strip(), 8) & os.O_ACCMODE)
    return False
